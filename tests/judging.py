"""Judging some claims on the part of an analysis that they need."""

from collections import defaultdict
from dataclasses import fields
from types import SimpleNamespace

from sustainable.reporting.claims import judge_claim
from sustainable.reporting.declaration import Analysis


def analysis_of(**given):
    """An analysis of which only the `given` parts exist."""
    missing = dict.fromkeys(field.name for field in fields(Analysis))
    return Analysis(**(missing | {"source": SimpleNamespace(best_action=11)} | given))


def judged(declarations, statements=None, **given):
    """The claims by id, judged on the `given` parts of an analysis."""
    analysis, words = analysis_of(**given), defaultdict(str, statements or {})
    return {own.id: judge_claim(own, analysis, words) for own in declarations}
