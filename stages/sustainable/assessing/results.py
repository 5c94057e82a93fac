"""What the measured rows of an assessment say: costs, comparisons with the baseline, and claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.assessing.changes import Change, Counts
from sustainable.assessing.quality import Quality
from sustainable.assessing.runtimes import DeployedModel, Refusal
from sustainable.assessing.windows import BASELINE, TWIN
from sustainable.energy.meter import carries_energy_claims
from sustainable.measuring.roofline import Roofline
from sustainable.reporting.forecasting.results import Comparison, adjusted_by_holm, compare_outcome
from sustainable.reporting.measured_rows import by_block
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import BreakEven, Estimate, Ratio

CPU_TIME, ENERGY = "cpu_time_ms", "energy_mwh"
MS_PER_S = 1000.0
S_PER_DAY = 86400.0
CLOCK = "CPU time, by the clock"


@dataclass(frozen=True)
class AssessedRow:
    """One measured row."""

    key: str
    model: str
    runtime: str
    precision: str
    counts: Counts
    size_bytes: int  # of what the runtime loads
    difference: float  # of outputs, from the model's own runtime
    cpu_time_ms: Estimate  # of one call: geometric mean over blocks
    to_baseline: Comparison  # of CPU time
    to_fastest: Ratio | None  # of CPU time, to the fastest runtime of the unconverted baseline
    energy: Comparison
    latency_ms: Mapping[str, float]
    attained: float | None  # share of the measured ceiling; None if there is no comparable one
    verdict: str  # less CPU time than the baseline? Empty for the baseline and for the same model
    energy_verdict: str
    quality: Quality | None
    invested_cpu_s: float
    break_even: BreakEven | None
    flagged: int
    p_holm: float | None

    def days(self, rate: float) -> float | None:
        """Return the days after which the investment is repaid at `rate` requests per second."""
        calls = self.break_even.inferences if self.break_even else None
        return None if calls is None else calls / rate / S_PER_DAY


@dataclass(frozen=True)
class AssessedModel:
    """Everything that the pages print."""

    lines: Mapping[str, AssessedRow]  # the baseline first, without its twin
    twin: AssessedRow
    changes: Mapping[str, Change]
    refused: Sequence[Refusal]
    blocks: int
    minimum_blocks: int
    flagged: int
    windows: int
    batch_size: int
    fastest: str  # the fastest runtime of the unconverted baseline
    confidence: float
    margin: float | None  # of the target's measure; None without a target
    rate: float | None
    meter: str
    meter_reason: str
    evidence: str  # class of the energies; empty if none was metered
    roofline: Roofline | None

    @property
    def contended(self) -> bool:
        """Whether most windows are flagged: the machine was too busy for a good measurement."""
        return self.flagged > self.windows / 2

    @property
    def stamp(self) -> str:
        return too_few_blocks(self.blocks, self.minimum_blocks)


def too_few_blocks(blocks: int, minimum: int) -> str:
    """Return what must be written across every page; empty if there are enough blocks for a verdict."""
    if blocks >= minimum:
        return ""
    return f"{blocks} blocks: fewer than {minimum}, which is not enough for a verdict"


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return measured rows as a table in which a window without a flag has a missing value."""
    table = pd.DataFrame(list(rows))
    return table.assign(flags=table["flags"].replace("", None))


def by_configuration(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each configuration, by block."""
    return {str(key): by_block(own, str(key)) for key, own in rows.groupby("configuration")}


def fastest_runtime(rows: Mapping[str, pd.DataFrame], deployments: Mapping[str, DeployedModel]) -> str:
    """Return the configuration of the unconverted baseline with the least CPU time.

    Comparing with it avoids speed-ups over a weak baseline only.
    """
    whole = [
        key for key, deployment in deployments.items()
        if deployment.model.name == BASELINE and not deployment.target.converts
    ]  # fmt: skip
    return min(whole, key=lambda key: float(np.log(rows[key][CPU_TIME]).mean()))


@dataclass(frozen=True)
class Context:
    """What every line is computed from."""

    rows: Mapping[str, pd.DataFrame]
    deployments: Mapping[str, DeployedModel]
    counts: Mapping[str, Counts]  # by model
    changes: Mapping[str, Change]  # by model
    qualities: Mapping[str, Quality]
    latency_ms: Mapping[str, Mapping[str, float]]
    invested_cpu_s: Mapping[str, float]  # by configuration
    roofline: Roofline | None
    parameters: ReportParameters

    @property
    def enough(self) -> bool:
        return len(self.rows[BASELINE]) >= self.parameters.minimum_blocks

    def judges(self, key: str) -> bool:
        """Whether a difference from the baseline could be an effect: not of the same model."""
        if key in (BASELINE, TWIN):
            return False
        change = self.changes.get(self.deployments[key].model.name)
        return change is None or not change.same_model


def assessed_rows(context: Context) -> dict[str, AssessedRow]:
    """Return one line per configuration, the A/A twin among them."""
    fastest = fastest_runtime(context.rows, context.deployments)
    keys = [BASELINE, TWIN, *(key for key in context.deployments if key != BASELINE)]
    compared = {
        key: {
            outcome: compare_outcome(
                context.rows[key], context.rows[BASELINE], context.rows[TWIN], outcome, context.parameters
            )
            for outcome in (CPU_TIME, ENERGY)
        }
        for key in keys
    }
    tested = {key: own[CPU_TIME].p for key, own in compared.items() if context.judges(key)}
    adjusted = adjusted_by_holm(tested)
    return {key: _line(key, context, compared, fastest, adjusted.get(key)) for key in keys}


def _line(
    key: str,
    context: Context,
    compared: Mapping[str, Mapping[str, Comparison]],
    fastest: str,
    p_holm: float | None,
) -> AssessedRow:
    deployment = context.deployments[BASELINE if key == TWIN else key]
    rows, target, counts = context.rows[key], deployment.target, context.counts[deployment.model.name]
    cost, judged = _geometric_mean(rows[CPU_TIME], context.parameters.confidence), context.judges(key)
    twin, times, energy = compared[TWIN], compared[key][CPU_TIME], compared[key][ENERGY]
    invested = context.invested_cpu_s.get(key, 0.0)
    return AssessedRow(
        key=key,
        model=deployment.model.name,
        runtime=target.runtime,
        precision=target.precision,
        counts=counts,
        size_bytes=deployment.session.size_bytes,
        difference=deployment.difference,
        cpu_time_ms=cost,
        to_baseline=times,
        to_fastest=statistics.student_ratio(rows[CPU_TIME], context.rows[fastest][CPU_TIME]),
        energy=energy,
        latency_ms=context.latency_ms.get(key, {}),
        attained=_attained(counts.flops, cost.estimate, target.precision, context.roofline),
        verdict=cost_verdict(times.ratio, twin[CPU_TIME].ratio, context.enough) if judged else "",
        energy_verdict=_energy_verdict(rows, energy.ratio, twin[ENERGY].ratio, context) if judged else "",
        quality=context.qualities.get(key),
        invested_cpu_s=invested,
        break_even=_break_even(key, invested, context) if judged else None,
        flagged=int(rows["flags"].notna().sum()),
        p_holm=p_holm,
    )


def _geometric_mean(values: pd.Series, confidence: float) -> Estimate:
    logs = statistics.student_interval(np.log(values), confidence)
    assert logs is not None  # there are at least two blocks
    mean, low, high = (float(np.exp(value)) for value in (logs.estimate, logs.low, logs.high))
    return Estimate(mean, low, high, logs.n)


def cost_verdict(ratio: Ratio | None, twin: Ratio | None, enough: bool) -> str:
    """Return whether a cost is lower than the baseline's; inconclusive with too few blocks."""
    if ratio is None or twin is None or not enough:
        return statistics.INCONCLUSIVE
    return statistics.verdict_on_ratio(ratio, twin, "lower")


def _energy_verdict(rows: pd.DataFrame, ratio: Ratio | None, twin: Ratio | None, context: Context) -> str:
    if not carries_energy_claims(str(rows["cpu_evidence"].iloc[0])):
        return statistics.NOT_TESTABLE
    return cost_verdict(ratio, twin, context.enough)


def _attained(
    flops: int | None, cpu_time_ms: float, precision: str, roofline: Roofline | None
) -> float | None:
    """Return the share of the measured peak rate that a call reaches; None if there is none of the precision.

    None as well if the share exceeds 1: then the ceiling was measured under load, or work was optimised away.
    """
    ceiling = getattr(roofline, precision, None)
    if not flops or ceiling is None:
        return None
    share = flops / (cpu_time_ms / MS_PER_S) / ceiling.flops_per_s
    return float(share) if share <= 1 else None


def _break_even(key: str, invested_cpu_s: float, context: Context) -> BreakEven:
    cost, reference = context.rows[key][CPU_TIME], context.rows[BASELINE][CPU_TIME]
    return statistics.break_even(invested_cpu_s * MS_PER_S, cost, reference, *context.parameters.bootstrap)
