"""Judging some claims on the part of an analysis that they need."""

from collections import defaultdict
from dataclasses import fields
from types import SimpleNamespace

from sustainable.reporting.claims import judge_claim
from sustainable.reporting.declaration import Analysis
from sustainable.reporting.parameters import PoliciesParameters

POLICIES_THRESHOLDS = PoliciesParameters(
    saving_of_interest=0.05,
    minimum_models=6,
    memory_change=0.01,
    negligible_fall=0.015,
    split_of_interest=0.35,
    prediction_margin=0.05,
)


def analysis_of(**given):
    """An analysis of which only the `given` parts exist."""
    missing = dict.fromkeys(field.name for field in fields(Analysis))
    return Analysis(**(missing | {"source": SimpleNamespace(best_action=11)} | given))


def judged(declarations, statements=None, **given):
    """The claims by id, judged on the `given` parts of an analysis."""
    analysis, words = analysis_of(**given), defaultdict(str, statements or {})
    return {own.id: judge_claim(own, analysis, words) for own in declarations}
