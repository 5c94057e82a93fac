"""Configurations pooled over environments, algorithms and training seeds, for claims about tendencies.

A source that says "generally do not" is not refuted by one small exception, so that the mean over all
policies decides; single policies count if their effect is large enough to survive Holm's correction.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from sustainable import statistics
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import interval_text
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.costs import MeasuredCell, PolicyLine
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, Ratio

Pairs = Sequence[tuple[MeasuredCell, PolicyLine]]
MINIMUM_ENVIRONMENTS = 2
"""Policies of one environment are no evidence for a statement about policies in general."""


@dataclass(frozen=True)
class Pooled:
    """One configuration over all policies: cost to the uncompressed policy under the same runtime."""

    key: str
    ratio: Ratio | None  # over every cell and training seed
    kept: Estimate | None  # normalised return, over the same
    cells: int
    environments: int

    @property
    def keeps(self) -> bool:
        """Whether the return is kept, by the whole interval."""
        return self.kept is not None and self.kept.low >= SURVIVES


@dataclass(frozen=True)
class LargeSaving:
    """One policy whose cost certainly lies below the smallest saving of interest."""

    cell: str
    key: str
    ratio: Ratio
    p: float  # one-sided, adjusted by Holm's method over all comparisons
    keeps: bool  # its return, by the whole interval


def pooled_lines(
    pairs: Pairs, outcome: str, parameters: ReportParameters, clean: bool = False
) -> list[Pooled]:
    """Pool every configuration of `pairs` over cells and training seeds; `clean`: without flagged windows."""
    by_key: dict[str, list[tuple[MeasuredCell, PolicyLine]]] = {}
    for cell, line in pairs:
        by_key.setdefault(line.key, []).append((cell, line))
    found = []
    for key, own in by_key.items():
        logs = [log for _, line in own for log in _logs(line, outcome, clean)]
        kept = [value for _, line in own for value in line.kept_by_seed if math.isfinite(value)]
        ratio = statistics.ratio_of_logs(logs, parameters.confidence)
        mean = statistics.student_interval(kept, parameters.confidence)
        environments = {cell.environment for cell, line in own if _logs(line, outcome, clean)}
        found.append(Pooled(key, ratio, mean, len(own), len(environments)))
    return found


def too_few(policies: int, environments: int, parameters: ReportParameters) -> str:
    """Say why these are too few for a statement about policies in general; empty if they are enough."""
    least = parameters.policies.minimum_models
    if policies >= least and environments >= MINIMUM_ENVIRONMENTS:
        return ""
    return (
        f"too few policies ({policies} of {environments} environments; needed: {least} of "
        f"{MINIMUM_ENVIRONMENTS})"
    )


def too_few_in(cells: Sequence[MeasuredCell], parameters: ReportParameters) -> str:
    """Say why the policies of these cells are too few, see `too_few`."""
    environments = {cell.environment for cell in cells}
    return too_few(sum(cell.seeds for cell in cells), len(environments), parameters)


def pooled_twin(cells: Sequence[MeasuredCell], outcome: str, parameters: ReportParameters) -> Ratio | None:
    """Pool the A/A control: the baseline measured again, over the baseline."""
    logs = [log for cell in cells for log in cell.lines[TWIN].effects[outcome].logs]
    return statistics.ratio_of_logs(logs, parameters.confidence)


def pooled_steps(cells: Sequence[MeasuredCell], key: str, to_baseline: bool = False) -> Ratio | None:
    """Pool the cost of a step under one configuration, relative to the uncompressed policy under the same
    runtime, or to the eager baseline. None if no cell has it."""
    effects = [cell.lines[key].effects["step"] for cell in cells if key in cell.lines]
    logs = [log for one in effects for log in (one.logs_to_baseline if to_baseline else one.logs)]
    return statistics.ratio_of_logs(logs, effects[0].measures.confidence) if effects else None


def large_savings(
    pairs: Pairs, outcome: str, parameters: ReportParameters, clean: bool = False
) -> list[LargeSaving]:
    """Return the policies that certainly save more than what is of interest, after Holm's correction."""
    bound = -math.log1p(parameters.policies.saving_of_interest)
    tested = [(cell, line) for cell, line in pairs if len(_logs(line, outcome, clean)) > 1]
    p_values = [_p_below(_logs(line, outcome, clean), bound) for _, line in tested]
    found = []
    for (cell, line), p in zip(tested, statistics.holm(p_values), strict=True):
        ratio = line.effects[outcome].same_runtime
        if p < 1 - parameters.confidence and ratio is not None:
            found.append(LargeSaving(cell.name, line.key, ratio, p, line.keeps))
    return found


def _logs(line: PolicyLine, outcome: str, clean: bool) -> Sequence[float]:
    effect = line.effects[outcome]
    return effect.clean_logs if clean else effect.logs


def _p_below(logs: Sequence[float], bound: float) -> float:
    """One-sided p of Student's t test that the mean lies below `bound`."""
    if np.ptp(logs) == 0:
        return 0.0 if logs[0] < bound else 1.0
    return float(stats.ttest_1samp(logs, bound, alternative="less").pvalue)


def saves_nothing(
    lines: Sequence[Pooled], single: Sequence[LargeSaving], parameters: ReportParameters
) -> str:
    """Verdict on "compression does not save": see the rules of claims B1 and B2.

    A configuration with too few policies, or with policies of one environment, is no tendency: there only
    `single` policies count.
    """
    bound = 1 / (1 + parameters.policies.saving_of_interest)
    enough = [
        (line.ratio, line.keeps)
        for line in lines
        if line.ratio is not None and not too_few(line.ratio.n, line.environments, parameters)
    ]
    if any(ratio.high < bound and keeps for ratio, keeps in enough) or any(one.keeps for one in single):
        return REFUTED
    return CONFIRMED if enough and all(ratio.low > bound for ratio, _ in enough) else INCONCLUSIVE


def control_is_sound(twin: Ratio, parameters: ReportParameters) -> bool:
    """Whether the whole interval of the A/A control lies within the smallest saving of interest."""
    bound = 1 + parameters.policies.saving_of_interest
    return 1 / bound < twin.low and twin.high < bound


@dataclass(frozen=True)
class CostVerdict:
    """Whether compression leaves a cost as it is; the reason names the test that decided."""

    verdict: str
    reason: str
    values: Mapping[str, Any]


def costs_as_much(
    policies: Policies, pairs: Pairs, outcome: str, parameters: ReportParameters
) -> CostVerdict:
    """Judge "compression does not save" on configurations pooled over policies; list single exceptions.

    Inconclusive with too few policies, if the A/A control differs by the saving of interest, or if flagged
    windows decide.
    """
    lines = pooled_lines(pairs, outcome, parameters)
    single = large_savings(pairs, outcome, parameters)
    twin = pooled_twin(policies.measured, outcome, parameters)
    cleaned = (
        pooled_lines(pairs, outcome, parameters, clean=True),
        large_savings(pairs, outcome, parameters, clean=True),
    )
    verdicts = {saves_nothing(lines, single, parameters), saves_nothing(*cleaned, parameters)}
    gate = too_few_in(policies.measured, parameters) or _control_gate(twin, parameters)
    if not gate and len(verdicts) > 1:
        gate = "the verdict differs without flagged windows"
    verdict = INCONCLUSIVE if gate else verdicts.pop()
    values = {
        "outcome": outcome,
        "pooled": {line.key: asdict(line) for line in lines},
        "control": twin and asdict(twin),
        "single": [asdict(one) for one in single],
        "left_out": policies.unlearned,
        "too_few_blocks": policies.thin,
        "gate": gate,
    }
    some = "; ".join(_described(one, policies) for one in single) or "none"
    decided = gate or "the pooled intervals and the single policies"
    reason = (
        f"{_span(lines, policies)} (A/A control {interval_text(twin)}); single policies beyond: {some}; "
        f"decided by: {decided}."
    )
    return CostVerdict(verdict, reason, values)


def _control_gate(twin: Ratio | None, parameters: ReportParameters) -> str:
    """Say why the A/A control leaves nothing to decide; empty if it does not."""
    if twin is not None and control_is_sound(twin, parameters):
        return ""
    return f"the A/A control may differ by {100 * parameters.policies.saving_of_interest:g} %"


def _span(lines: Sequence[Pooled], policies: Policies) -> str:
    known = {line.key: line.ratio for line in lines if line.ratio is not None}
    if not known:
        return "no rows"
    estimates = [ratio.estimate for ratio in known.values()]
    key = min(known, key=lambda name: known[name].estimate)
    return (
        f"pooled ratios {min(estimates):.3f} to {max(estimates):.3f}, the lowest {policies.labels[key]} "
        f"{interval_text(known[key])}"
    )


def _described(one: LargeSaving, policies: Policies) -> str:
    kept = "kept" if one.keeps else "lost or in doubt"
    return f"{policies.labels[one.key]} in {one.cell} {interval_text(one.ratio)}, return {kept}"
