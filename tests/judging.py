"""Judging some claims on the part of an analysis that they need."""

from collections import defaultdict
from dataclasses import fields
from types import SimpleNamespace

from sustainable.reporting.claims import judge_claim
from sustainable.reporting.declaration import Analysis
from sustainable.reporting.parameters import (
    AuditedParameters,
    LayerwiseMargins,
    PoliciesParameters,
    PublishedParameters,
    ReportParameters,
)

PARAMETERS = ReportParameters(
    minimum_blocks=12,
    equivalence_margin=0.02,
    audited=AuditedParameters(
        accuracy_margin=0.02, target_speed_up=10.0, rank_agreement=0.9, runtime_factor=2.0
    ),
    published=PublishedParameters(size_error=0.5, discovery_factor=2.0),
    layerwise=LayerwiseMargins(accuracy_margin=0.01, sparsity_margin=0.05),
    policies=PoliciesParameters(
        saving_of_interest=0.05,
        minimum_models=6,
        memory_change=0.01,
        negligible_fall=0.015,
        split_of_interest=0.35,
        prediction_margin=0.05,
    ),
    comparisons=["manual_pruning", "manual_quantization"],
    confidence=0.95,
    bootstrap_resamples=200,
    seed=0,
)


def analysis_of(**given):
    """An analysis of which only the `given` parts exist."""
    missing = dict.fromkeys(field.name for field in fields(Analysis))
    return Analysis(**(missing | {"source": SimpleNamespace(best_action=11)} | given))


def judged(declarations, statements=None, **given):
    """The claims by id, judged on the `given` parts of an analysis."""
    analysis, words = analysis_of(**given), defaultdict(str, statements or {})
    return {own.id: judge_claim(own, analysis, words) for own in declarations}
