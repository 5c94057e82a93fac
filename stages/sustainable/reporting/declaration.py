"""A claim is one declaration: claims.json, `make doctor`, `make claim-X` and the docs follow from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from sustainable.policies.returns import SURVIVES
from sustainable.reporting.forecasting.discovery import Discovery
from sustainable.reporting.forecasting.layerwise import Layerwise
from sustainable.reporting.forecasting.results import Results
from sustainable.reporting.forecasting.source import PublishedNumbers
from sustainable.reporting.forecasting.task import TITLES, AuditedTask
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import NOT_TESTABLE

Source = Literal["study_a", "study_b", "ours"]
Need = Literal["exact counts", "CPU time", "latency", "resident memory of processes", "energy counter"]
CPU_CLOCK = "CPU time: clock"
EXACT_COUNT = "exact count"
"""Class of evidence of a claim that must have the same verdict on every host."""
HIT_TABLES = {
    name: f"data/benchmark/{name}.hits.csv" for name in ("published", "remeasured", "layerwise", *TITLES)
}
ROW_FILES = {
    name: f"data/benchmark/{name}.csv" for name in (*HIT_TABLES, "policies", "workload", "memory", "notebook")
}


@dataclass(frozen=True)
class Analysis:
    """Everything that is computed from a run, for the judges.

    `results` are study A's benchmarks by name; `best_action` is the outcome of the published search.
    """

    results: Mapping[str, Results]
    actions: pd.DataFrame
    best_action: Mapping[str, Any]
    tasks: Mapping[str, AuditedTask]
    policies: Policies
    source: PublishedNumbers
    discovery: Discovery
    layerwise: Layerwise
    parameters: ReportParameters

    @property
    def published_action(self) -> int:
        """The action that the source reports."""
        return self.source.best_action


@dataclass(frozen=True)
class Judgement:
    """What a judge decides. `evidence`: class of the evidence."""

    verdict: str
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = field(kw_only=True)
    parts: Mapping[str, str] = field(default_factory=dict)
    """The verdicts on the parts of the claim, all of which must hold."""


@dataclass(frozen=True)
class HostVerdict:
    """The verdict on the rows of another host."""

    verdict: str
    this_run: str  # on this run's rows of the same cells and configurations

    @property
    def agrees(self) -> bool:
        """Whether the same part of the rows gives the same verdict on both hosts."""
        return self.verdict == self.this_run


@dataclass(frozen=True)
class Claim:
    """One judged claim, as claims.json has it."""

    id: str
    statement: str
    rule: str
    verdict: str
    reason: str
    evidence: str  # the class of evidence that it rests on
    values: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)  # the verdicts on its parts
    scope: str = ""  # what the verdict is about: the method, with every host's verdict, or a kind of CPU
    this_run: str = ""  # the verdict on this run's rows alone; see `over_hosts`
    hosts: Mapping[str, HostVerdict] = field(default_factory=dict)  # by the name of the other host


@dataclass(frozen=True)
class Declaration:
    """One claim: what it says, what decides it, and how."""

    id: str  # a letter and a number: A and B are the sources' claims, C ours, F the second source's takeaways
    rule: str  # how the verdict follows from the rows. `{name}` prints a threshold, see `thresholds`
    judge: Callable[[Analysis], Judgement]
    source: Source = "ours"  # who makes the claim: a section of paper/published.yaml, or this artifact
    statement: str | None = None
    """The claim in words, with thresholds as in `rule`. None: as paper/published.yaml has it."""
    decided_by: tuple[str, ...] = ()
    """Outputs that decide the claim: `make claim-X` computes them again. Empty if no row decides it."""
    also_reads: tuple[str, ...] = ()
    """Other outputs that the judge reads: computed again only if a stage that runs makes them."""
    needs: tuple[Need, ...] = ()  # what the host must be able to count or measure
    cut: Mapping[str, Any] = field(default_factory=dict)
    """Changes of params.yaml for `make claim-X`: what decides is measured as always, the rest is left out."""
    host_dependent: str | None = None
    """Why the verdict may differ between kinds of CPU. None: a claim about the method, so it must not."""
    untestable: str | None = None  # why no run of this pipeline can test the claim


def thresholds(parameters: ReportParameters, published_action: int) -> dict[str, float]:
    """The numbers that rules and statements print, by name; declared before anything was measured."""
    audited, policies, margin = parameters.audited, parameters.policies, parameters.equivalence_margin
    return {
        "published_action": published_action,
        "discovery_factor": parameters.published.discovery_factor,
        "size_error": parameters.published.size_error,
        "confidence_percent": 100 * parameters.confidence,
        "error_percent": 100 * (1 - parameters.confidence),
        "kept_accuracy": parameters.layerwise.accuracy_margin,
        "sparsity_margin": parameters.layerwise.sparsity_margin,
        "target_speed_up": audited.target_speed_up,
        "accuracy_margin": audited.accuracy_margin,
        "rank_agreement": audited.rank_agreement,
        "runtime_factor": audited.runtime_factor,
        "kept_percent": 100 * SURVIVES,
        "equivalence_percent": 100 * margin,
        "equivalence_ratio": 1 + margin,
        "saving_percent": 100 * policies.saving_of_interest,
        "minimum_blocks": parameters.minimum_blocks,
        "minimum_models": policies.minimum_models,
        "memory_percent": 100 * policies.memory_change,
        "negligible_percent": 100 * policies.negligible_fall,
        "split_percent": 100 * policies.split_of_interest,
        "prediction_percent": 100 * policies.prediction_margin,
    }


def untestable(id: str, statement: str, why: str) -> Declaration:
    """A takeaway of the second source that no row of this pipeline can test."""
    return Declaration(
        id=id,
        source="study_b",
        statement=statement,
        rule="no row measures this",
        judge=lambda analysis: Judgement(NOT_TESTABLE, f"{why.capitalize()}.", evidence="none"),
        untestable=why,
    )
