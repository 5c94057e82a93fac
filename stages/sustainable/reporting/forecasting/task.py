"""An audited task of study A as it is printed: every summary of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from sustainable.reporting.forecasting import audited as audited_rows
from sustainable.reporting.forecasting.decomposition import Waterfall, decompose
from sustainable.reporting.forecasting.run import TaskRun
from sustainable.reporting.forecasting.searching import OURS, Searching, summarise_searches
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import BreakEven

TITLES = {"weather": "Weather", "mnist1d": "MNIST-1D"}
"""Tasks in print; any other has its own name."""


class PayBack(NamedTuple):
    """The forecasts after which the searched deployment has repaid its search, against one reference."""

    reference: str
    batch_size: int
    even: BreakEven


@dataclass(frozen=True)
class AuditedTask:
    """Everything that the rows of one task say."""

    name: str
    audited: audited_rows.Audited
    searching: Searching
    ranking: audited_rows.Ranking
    decomposition: list[Waterfall]
    controls: list[dict[str, Any]]
    invested: Mapping[str, float]  # CPU seconds spent to find the searched deployment, by purpose
    pay_back: list[PayBack]
    fresh: bool  # whether the measured networks' training seeds took no part in choosing deployments
    run: TaskRun

    @property
    def title(self) -> str:
        """The task's name in print."""
        return TITLES.get(self.name, self.name)

    @property
    def classes(self) -> int:
        """The classes to tell apart; a target of days has two, which `preprocess` does not count."""
        return len(self.run.metrics["preprocess"]["test"].get("of_class", ())) or 2

    @property
    def core(self) -> dict[str, Any]:
        """What the core reached when the task was measured: bytes, and operations by precision.

        The value of a precision is None if no ceiling is comparable with the rows (see `peak_rates`).
        """
        roofline = self.run.conditions["frozen"]["roofline"]
        ceilings: dict[str, dict[str, Any] | None] = dict.fromkeys(audited_rows.PRECISIONS)
        for precision, flops_per_s in audited_rows.peak_rates(roofline).items():
            ceilings[precision] = {
                "gflop_per_s": flops_per_s / 1e9,
                "library": roofline[precision]["library"],
                "product": " x ".join(map(str, roofline[precision]["shape"])),
            }
        return {
            "gflop_per_s": roofline["flops_per_s"] / 1e9,
            "gb_per_s": roofline["bytes_per_s"] / 1e9,
            **ceilings,
        }

    @property
    def test_accuracies(self) -> list[float]:
        """The network's test accuracy by fresh training seed."""
        return [float(seed["test"]["accuracy"]) for seed in self.run.metrics["confirmed"]["seeds"].values()]


def summarise_task(name: str, run: TaskRun, parameters: ReportParameters) -> AuditedTask:
    """Compute every summary of a task. Raises `UserError` for rows that do not fit together."""
    peaks = audited_rows.peak_rates(run.conditions["frozen"]["roofline"])
    audited = audited_rows.summarise_audited(run.rows, run.hits, peaks, parameters)
    sizes, invested = audited.batch_sizes, invested_cpu_s(run)
    names = {key: line.name for key, line in audited.lines.items()}
    costs = run.metrics["searchers_cost"]
    return AuditedTask(
        name=name,
        audited=audited,
        searching=summarise_searches(run.improvements, run.choices, costs, parameters),
        ranking=audited_rows.summarise_ranking(run.candidates, sizes, parameters),
        decomposition=decompose(run.rows, names, sizes, parameters.confidence),
        controls=audited_rows.control_lines(run.narrow, parameters.confidence),
        invested=invested,
        pay_back=_pay_back(run, audited, sum(invested.values()), parameters),
        fresh=is_fresh(run.hits, run.metrics),
        run=run,
    )


def is_fresh(hits: pd.DataFrame, metrics: Mapping[str, Any]) -> bool:
    """Whether no training seed of the measured networks took part in choosing deployments."""
    return not set(hits["training_seed"].astype(str)) & set(metrics["baseline"]["seeds"])


def invested_cpu_s(run: TaskRun) -> dict[str, float]:
    """Return the CPU seconds that it took to find the searched deployment, by purpose."""
    return {
        "training": run.metrics["training_cost"]["cpu_time_s"],
        "pruning and fine-tuning": run.metrics["shrinking_cost"]["cpu_time_s"],
        "evaluating candidates": run.metrics["candidates_cost"]["cpu_time_s"],
        "the searcher itself": run.metrics["searchers_cost"][OURS]["cpu_time_s"],
    }


def _pay_back(
    run: TaskRun, audited: audited_rows.Audited, cpu_s: float, parameters: ReportParameters
) -> list[PayBack]:
    """Against the eager baseline and the fastest uncompressed runtime, at every batch size."""

    def even(reference: str, size: int) -> BreakEven:
        return audited_rows.pay_back_audited(run.rows, OURS, reference, size, cpu_s, parameters)

    return [
        PayBack(reference, size, even(reference, size))
        for size in audited.batch_sizes
        for reference in dict.fromkeys((BASELINE, audited.quickest[size]))
    ]
