"""Findings F1 to F16: the second source's takeaways and guidelines, each judged on the rows.

A confirmed finding is printed with its figures and a refuted one is struck out. Policies that have not
learned, and cells with too few blocks, are left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from sustainable import statistics
from sustainable.policies.returns import share_of
from sustainable.reporting.declaration import CPU_CLOCK, EXACT_COUNT, ROW_FILES, Judgement, untestable
from sustainable.reporting.formats import interval_text, share_text, small_ratio_text
from sustainable.reporting.judging import above, verdict_if
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.names import runtime_name
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies import claims
from sustainable.reporting.policies.costs import STEP_PARTS, Dose, MeasuredCell, PolicyLine
from sustainable.reporting.policies.pooling import Pairs, costs_as_much, large_savings, too_few, too_few_in
from sustainable.reporting.policies.returns import QUANTIZERS
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import Estimate, Ratio, student_interval

OVER_CONTROL = (
    "averaged over the compressed policies of a cell, minus the same of the cell's A/A control, because "
    "noise alone makes a size positive: confirmed if the interval over cells of at least {minimum_blocks} "
    "blocks lies above ln {equivalence_ratio:g}, refuted if below and the control's own interval, too; at "
    "least {minimum_models} policies of two environments"
)
"""The rule of takeaways about sizes of effects, see `over_control`."""
WINDOWS_FILE, WORKLOAD_FILE = ROW_FILES["policies"], ROW_FILES["workload"]
on_episodes = partial(
    claims.declare,
    decided_by=("data/policies/returns.csv",),
    also_reads=("data/policies/table.json", WINDOWS_FILE),
    needs=("exact counts",),
)


@claims.on_windows(
    "F1",
    statement="Energy efficiency is not model size reduction: do not assume that compression saves energy.",
    rule="as the cost of a step in claim B1, over the policies whose weights take fewer bytes",
    needs=("CPU time", "exact counts"),
)
def size_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    smaller = [(cell, line) for cell, line in policies.measured_pairs if line.to_reference_size < 1]
    cost = costs_as_much(policies, smaller, claims.decided_on(policies, "step"), parameters)
    reason = f"{len(smaller)} smaller policies: {cost.reason}{claims.thin_text(policies)}"
    return Judgement(cost.verdict, reason, cost.values, evidence=CPU_CLOCK)


@claims.on_windows(
    "F2",
    statement="The environment's simulation often dominates energy consumption.",
    rule="share of cells (an environment with the policies of one algorithm, with at least {minimum_blocks} "
    "blocks) in which the environment takes more than half of a step's CPU time, in fp32 and eager torch. "
    "We read 'often' as 'in most cells': confirmed if its Wilson interval lies above one half, refuted if "
    "below; at least {minimum_models} policies of two environments",
    needs=("CPU time",),
)
def environment_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    costs = {cell.name: cell.lines["baseline"].costs for cell in policies.measured}
    shares = {
        name: {part: parts[part] / parts["step"] for part in STEP_PARTS} for name, parts in costs.items()
    }
    most = sum(parts["environment"] > 0.5 for parts in shares.values())
    share = share_of(most, len(shares), parameters.confidence)
    each = "; ".join(f"{name} {100 * parts['environment']:.0f} %" for name, parts in shares.items())
    return Judgement(
        _of_enough(policies.measured, parameters, above(share, 0.5)),
        f"The environment takes more than half in {most} of {len(shares)} cells{_share_text(share)}: {each}."
        f"{_gate_text(policies.measured, parameters)}{claims.thin_text(policies)}",
        {"shares": shares},
        evidence=CPU_CLOCK,
    )


@on_episodes(
    "F3",
    statement="Better performance means longer episodes, and so more energy in total.",
    rule="Spearman's correlation of mean return with mean steps over the variants of a model, in "
    "environments whose episodes can end early and in which the return is not the number of steps (there "
    "both are the same number): confirmed if the interval of its mean over models lies above 0, refuted if "
    "below; at least {minimum_models} models of two environments",
)
def coupling_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    correlation, models = _over_models(policies, "correlation", parameters, policies.paid_per_step)
    by_definition = ", ".join(policies.paid_per_step) or "none"
    return Judgement(
        _of_enough_models(correlation, models, parameters, 0.0),
        f"Correlation {interval_text(correlation)} over {models}; if no episode ends early, its length "
        f"never changes. Left out because the return is the number of steps: {by_definition}."
        f"{_few_text(models, parameters)}",
        {"correlation": correlation and asdict(correlation)},
        evidence=EXACT_COUNT,
    )


@claims.on_windows(
    "F4",
    statement="Decisions are sequential: energy accumulates over the steps of an episode.",
    rule="none: by the way they are counted, the logarithm of an episode's cost ratio is the sum of those of "
    "its steps and of a step's cost, which no measurement can refute; only rows that contradict each other "
    "can",
    untestable="it is true by definition; the rows are only checked for contradictions",
)
def accumulation_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    ratios = [
        [line.effects[name].to_baseline for name in ("episode", "steps", "step")]
        for _, line in policies.pairs
    ]
    logs = [[math.log(ratio.estimate) for ratio in line if ratio is not None] for line in ratios]
    known = [line for line in logs if len(line) == 3]
    if not known:
        return Judgement(NOT_TESTABLE, "No rows.", {"largest_rest": None}, evidence=CPU_CLOCK)
    largest = max(abs(episode - steps - step) for episode, steps, step in known)
    mean_steps, mean_step = (_mean([abs(line[place]) for line in known]) for place in (1, 2))
    return Judgement(
        REFUTED if largest >= 1e-6 else NOT_TESTABLE,
        f"ln E_episode = ln steps + ln E_step holds within {largest:.0e} nats; on average an episode's "
        f"cost changes by {mean_steps:.3f} nats of steps and {mean_step:.3f} nats of cost per step.",
        {"largest_rest": largest},
        evidence=CPU_CLOCK,
    )


@on_episodes(
    "F5",
    statement="Episode lengths vary by chance, and total energy with them.",
    rule="coefficient of variation of the steps of an uncompressed policy's episodes, in environments whose "
    "episodes can end early: confirmed if its interval over models lies above {equivalence_percent:g} %, "
    "refuted if below; at least {minimum_models} models of two environments",
)
def spread_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    variation, models = _over_models(policies, "variation", parameters)
    return Judgement(
        _of_enough_models(variation, models, parameters, parameters.equivalence_margin),
        f"Coefficient of variation {interval_text(variation)} over {models}.{_few_text(models, parameters)}",
        {"variation": variation and asdict(variation)},
        evidence=EXACT_COUNT,
    )


@claims.on_windows(
    "F6",
    statement="Measure end to end, the whole system, not only the model's inference.",
    rule="distance between the logarithms of the cost ratio of only the call and that of a whole step, "
    + OVER_CONTROL,
    needs=("CPU time",),
)
def whole_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    def distance(line: PolicyLine) -> float | None:
        call, step = (line.effects[name].same_runtime for name in ("policy", "step"))
        return abs(math.log(call.estimate / step.estimate)) if call and step else None

    found = over_control(policies.measured, distance, parameters)
    factor = f" (a factor of {math.exp(found.excess.estimate):.2f})" if found.excess else ""
    return Judgement(
        found.verdict,
        f"The ratio of only the call is off by {interval_text(found.excess)} nats{factor} more than the A/A "
        f"control's, over {found.cells} cells; the control's: {interval_text(found.control)}."
        f"{_gate_text(policies.measured, parameters)}{claims.thin_text(policies)}",
        asdict(found),
        evidence=CPU_CLOCK,
    )


@claims.on_windows(
    "F7",
    statement="Consider episodes, not only steps.",
    rule="size of the length part of ln E_episode in environments whose episodes can end early, "
    + OVER_CONTROL,
    needs=("CPU time", "exact counts"),
)
def length_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    def length(line: PolicyLine) -> float | None:
        part = line.split["length"]
        return None if part is None else abs(part.estimate)

    cells = [cell for cell in policies.measured if cell.ends_early]
    found = over_control(cells, length, parameters)
    return Judgement(
        found.verdict,
        f"Length changes an episode's cost by {interval_text(found.excess)} nats more than the A/A "
        f"control's, over {found.cells} cells; the control's: {interval_text(found.control)}."
        f"{_gate_text(cells, parameters)}{claims.thin_text(policies)}",
        asdict(found),
        evidence=CPU_CLOCK,
    )


@claims.on_windows(
    "F8",
    statement="Account for the overhead of compression.",
    rule="a call of a quantized policy against the uncompressed one under the same runtime; certainly "
    "dearer: its interval lies above 1 and its ratio beyond the A/A control; certainly not dearer: its "
    "interval lies below {equivalence_ratio:g}; both also without flagged windows. A call without an "
    "interval is not counted. The cell is the unit, because its configurations share a baseline: confirmed "
    "if in most cells most quantized policies are certainly dearer, refuted if in most cells most are "
    "certainly not dearer (Wilson's intervals of these shares above one half), otherwise inconclusive; at "
    "least {minimum_models} policies of two environments",
    needs=("CPU time",),
)
def overhead_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    pairs = [(cell, line) for cell, line in policies.measured_pairs if line.method in QUANTIZERS]
    known = [pair for pair in pairs if pair[1].effects["policy"].same_runtime is not None]
    dearer = claims.certain(known, "policy", "higher", parameters)
    bound = 1 + parameters.equivalence_margin
    not_dearer = [pair for pair in known if _call_below(pair[1], bound) and pair not in dearer]
    cells = {cell.name: cell for cell, _ in known}
    shares = [_most_of_cells(own, known, parameters) for own in (dearer, not_dearer)]
    verdict = verdict_if(*(above(share, 0.5) == CONFIRMED for share in shares))
    return Judgement(
        _of_enough(list(cells.values()), parameters, verdict),
        f"Calls of {len(known)} quantized policies in {len(cells)} cells: {len(dearer)} certainly dearer, "
        f"{len(not_dearer)} certainly not dearer; {len(pairs) - len(known)} more have no interval. Share of "
        f"cells in which most are dearer{_share_text(shares[0])}, not dearer{_share_text(shares[1])}."
        f"{_gate_text(list(cells.values()), parameters)}{claims.thin_text(policies)}",
        {
            "dearer": len(dearer),
            "not_dearer": len(not_dearer),
            "of": len(known),
            "missing": len(pairs) - len(known),
        },
        evidence=CPU_CLOCK,
    )


@claims.declare(
    "F9",
    statement="What compression can save is bounded by the policy's share of a step (Amdahl's law).",
    rule="measured cost of a step relative to the uncompressed policy, divided by its lower bound: 1 minus "
    "the policy's share of a step, for every compressed policy at every dose. Refuted if one lies below 1 "
    "(one-sided t tests over training seeds, or over blocks of one policy, with Holm's correction over "
    "all); confirmed if none does, and every one certainly lies above 1 / (1 + {prediction_percent:g} %), "
    "so that a larger saving would be seen (one-sided t tests, which all must pass); otherwise "
    "inconclusive, also with fewer than {minimum_blocks} blocks, or if the A/A control, whose bound is 1, "
    "lies below it by the same test. Other runtimes replace more than the policy and are printed, with the "
    "environment's share as their bound. The error of the predicted cost is printed, too",
    decided_by=(WORKLOAD_FILE,),
    needs=("CPU time",),
    cut=claims.DOSES_ONLY,
)
def amdahl_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    known = [dose for dose in policies.doses if len(dose.bound_logs) > 1]
    tested = [dose for dose in known if dose.compressed]
    others = [dose for dose in known if not dose.compressed and not dose.control]
    errors = {_dose_name(dose): dose.error for dose in policies.doses if dose.error and not dose.control}
    if not tested:
        return Judgement(
            INCONCLUSIVE,
            "No compressed policy was measured at several doses.",
            {"errors": {}},
            evidence=CPU_CLOCK,
        )
    beyond, beyond_others, drifting = (
        below_bound(doses, parameters) for doses in (tested, others, [dose for dose in known if dose.control])
    )
    seen = [dose for dose in tested if excludes_more(dose, parameters)]
    few = min(dose.blocks for dose in tested) < parameters.minimum_blocks
    control = any(dose.control for dose in known)
    verdict = verdict_if(not beyond and len(seen) == len(tested), bool(beyond))
    return Judgement(
        INCONCLUSIVE if few or drifting or not control else verdict,
        f"Of {len(tested)} compressed policies at {len({dose.dose_us for dose in tested})} doses, "
        f"{len(beyond)} certainly save more than the bound{_named(policies, beyond)}; a saving beyond it by "
        f"{100 * parameters.policies.prediction_margin:g} % can be excluded in {len(seen)}. Of {len(others)} "
        f"other runtimes, {len(beyond_others)} save more{_named(policies, beyond_others)}. A/A control below "
        f"its bound: {len(drifting)}{'' if control else ' (not measured)'}.{_error_text(policies, errors)}",
        {
            "beyond": [_dose_name(dose) for dose in beyond],
            "excluded": [_dose_name(dose) for dose in seen],
            "tested": len(tested),
            "errors": {name: asdict(error) for name, error in errors.items()},
        },
        evidence=CPU_CLOCK,
    )


@claims.declare(
    "F10",
    statement="Test on representative workloads and on the target's hardware.",
    rule="confirmed if the ratio of a compressed configuration differs between two runtimes, by a t test "
    "paired by policy, after Holm's correction over all such pairs; otherwise inconclusive, also with fewer "
    "than {minimum_models} policies of two environments in cells of {minimum_blocks} blocks. Other "
    "hardware: no rows",
    decided_by=(WINDOWS_FILE,),
    also_reads=(WORKLOAD_FILE, *claims.READ_FOR_RETURNS),
    needs=("CPU time",),
)
def workload_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    disagreeing, compared = _differing_between_runtimes(policies, parameters)
    doses = _dose_spread(policies)
    named = f" ({'; '.join(disagreeing)})" if disagreeing else ""
    spans = "; ".join(
        f"{policies.labels[key]} {small_ratio_text(first)} to {small_ratio_text(last)}"
        for key, (first, last) in doses.items()
    )
    return Judgement(
        _of_enough(policies.measured, parameters, CONFIRMED if disagreeing else INCONCLUSIVE),
        f"Of {compared} pairs of runtimes of one configuration, {len(disagreeing)} differ{named}. From the "
        f"cheapest step to the most expensive: {spans or 'no rows'}. Other hardware: {NOT_TESTABLE}."
        f"{_gate_text(policies.measured, parameters)}{claims.thin_text(policies)}",
        {"disagreeing": disagreeing, "compared": compared},
        evidence=CPU_CLOCK,
    )


@claims.on_windows(
    "F11",
    statement="Balance performance and energy explicitly.",
    rule="confirmed if a compressed policy whose episodes certainly cost less (by the smallest saving of "
    "interest or more, as a single policy in claim B1) has certainly lost its return, by the whole "
    "interval: a choice by cost only would take it; refuted if there are savings and each certainly "
    "keeps {kept_percent:g} % of the return; otherwise inconclusive. Cells with fewer than "
    "{minimum_blocks} blocks are left out",
    needs=("CPU time", "exact counts"),
)
def balance_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    outcome = claims.decided_on(policies, "episode")
    large = {(one.cell, one.key) for one in large_savings(policies.measured_pairs, outcome, parameters)}
    certain = claims.certain(policies.measured_pairs, outcome, "lower", parameters)
    saved = [(cell, line) for cell, line in certain if (cell.name, line.key) in large]
    kept = sum(line.keeps for _, line in saved)
    lost = [f"{policies.labels[line.key]} in {cell.name}" for cell, line in saved if line.loses]
    names = f" ({'; '.join(lost[:4])}{', ...' if len(lost) > 4 else ''})" if lost else ""
    return Judgement(
        verdict_if(bool(lost), bool(saved) and kept == len(saved)),
        f"Of {len(saved)} savings per episode {len(lost)} have certainly lost the return{names}, and {kept} "
        f"have certainly kept it.{claims.thin_text(policies)}",
        {"saved": len(saved), "lost": len(lost), "kept": kept},
        evidence=CPU_CLOCK,
    )


UNTESTED_TAKEAWAYS = (
    ("F12", "Memory access: compressed models may use caches worse.", "no row counts cache misses"),
    ("F13", "Battery life may not improve with compression.", "no row comes from a battery"),
    ("F14", "Thermal management stays important.", "no row has a temperature that a policy could change"),
    ("F15", "Network communication may dominate the energy.", "no environment here communicates"),
    ("F16", "Real-time constraints trade off against energy.", "no environment here has a deadline"),
)
"""Takeaways that no row of this pipeline can test: statement, and why."""
POLICY_FINDINGS = (
    size_finding,
    environment_finding,
    coupling_finding,
    accumulation_finding,
    spread_finding,
    whole_finding,
    length_finding,
    overhead_finding,
    amdahl_finding,
    workload_finding,
    balance_finding,
    *(untestable(*takeaway) for takeaway in UNTESTED_TAKEAWAYS),
)


def _differing_between_runtimes(policies: Policies, parameters: ReportParameters) -> tuple[list[str], int]:
    """The configurations whose ratios differ between two runtimes, and how many such pairs there are.

    A pair compares the policies that ran in both; Holm's correction is over all pairs.
    """
    by_runtime: dict[tuple[str, str | None, float], dict[str, dict[str, PolicyLine]]] = {}
    for cell, line in policies.measured_pairs:
        lines = by_runtime.setdefault((line.method, line.norm, line.share), {})
        lines.setdefault(line.runtime, {})[cell.name] = line
    pairs = [pair for lines in by_runtime.values() for pair in combinations(lines.values(), 2)]
    adjusted = statistics.holm([_p_of_pair(*pair) for pair in pairs])
    return [
        _pair_name(policies, *pair)
        for pair, p in zip(pairs, adjusted, strict=True)
        if p < 1 - parameters.confidence
    ], len(pairs)


def _p_of_pair(one: Mapping[str, PolicyLine], other: Mapping[str, PolicyLine]) -> float:
    """Two-sided p of Student's t test of one configuration in two runtimes, paired by policy.

    The lines are by cell. A cell is left out if one runtime lacks it, or some training seed.
    """
    logs = [[lines[cell].effects["step"].logs for cell in one if cell in other] for lines in (one, other)]
    pairs = [(ours, theirs) for ours, theirs in zip(*logs, strict=True) if len(ours) == len(theirs)]
    differences = [np.subtract(ours, theirs) for ours, theirs in pairs]
    return float(statistics.paired_p(np.concatenate([[], *differences])[np.newaxis])[0])


def _pair_name(policies: Policies, *pair: Mapping[str, PolicyLine]) -> str:
    """As in `PTDQ: PyTorch and ONNX Runtime`."""
    one, other = (next(iter(lines.values())) for lines in pair)
    return f"{policies.labels[one.key]}: {runtime_name(one.runtime)} and {runtime_name(other.runtime)}"


@dataclass(frozen=True)
class Models:
    """The learned models whose episodes can end early."""

    count: int
    environments: Sequence[str]

    def __str__(self) -> str:
        return f"{self.count} models of {', '.join(self.environments) or 'no environment'}"


def _over_models(
    policies: Policies, column: str, parameters: ReportParameters, without: Sequence[str] = ()
) -> tuple[Estimate | None, Models]:
    """The mean of a column of `steps` over learned models whose episodes can end early, and these models.

    Environments in `without` are left out.
    """
    cells = [cell for cell in policies.learned if cell.ends_early and cell.environment not in without]
    steps = policies.steps
    own = steps[(steps["environment"] + " " + steps["algorithm"]).isin([cell.name for cell in cells])]
    known = own[own[column].notna()]
    models = Models(len(known), sorted(set(known["environment"])))
    return student_interval(known[column].to_list(), parameters.confidence), models


def _of_enough_models(
    found: Estimate | None, models: Models, parameters: ReportParameters, bound: float
) -> str:
    """As `above`; inconclusive for too few models, or models of one environment."""
    few = too_few(models.count, len(models.environments), parameters)
    return INCONCLUSIVE if few else above(found, bound)


def _few_text(models: Models, parameters: ReportParameters) -> str:
    few = too_few(models.count, len(models.environments), parameters)
    return f" Decided by: {few}." if few else ""


def _share_text(share: Estimate | None) -> str:
    return f" ({share_text(share)})" if share else ""


def _of_enough(cells: Sequence[MeasuredCell], parameters: ReportParameters, verdict: str) -> str:
    return INCONCLUSIVE if too_few_in(cells, parameters) else verdict


def _gate_text(cells: Sequence[MeasuredCell], parameters: ReportParameters) -> str:
    few = too_few_in(cells, parameters)
    return f" Decided by: {few}." if few else ""


@dataclass(frozen=True)
class OverControl:
    """A size that noise alone makes positive, compared with the A/A control's over cells."""

    verdict: str
    excess: Estimate | None  # each cell's mean over its compressed policies, minus the control's there
    control: Estimate | None
    cells: int


def over_control(
    cells: Sequence[MeasuredCell], size: Callable[[PolicyLine], float | None], parameters: ReportParameters
) -> OverControl:
    """Judge whether `size` of compressed policies exceeds that of the A/A control, see `OVER_CONTROL`."""
    excesses, controls = [], []
    for cell in cells:
        noise = size(cell.lines[TWIN])
        known = [value for value in map(size, cell.compressed) if value is not None]
        if noise is not None and known:
            excesses.append(_mean(known) - noise)
            controls.append(noise)
    excess, control = (student_interval(values, parameters.confidence) for values in (excesses, controls))
    margin = math.log1p(parameters.equivalence_margin)
    verdict = above(excess, margin)
    if verdict == REFUTED and (control is None or control.high >= margin):
        verdict = INCONCLUSIVE  # a control that varies as much could hide the effect
    return OverControl(_of_enough(cells, parameters, verdict), excess, control, len(excesses))


def _call_below(line: PolicyLine, bound: float) -> bool:
    """Whether a call certainly costs less than `bound`, with and without flagged windows."""
    ratios = (line.effects["policy"].same_runtime, line.effects["policy"].clean)
    return all(ratio is not None and ratio.high < bound for ratio in ratios)


def _most_of_cells(own: Pairs, known: Pairs, parameters: ReportParameters) -> Estimate | None:
    """The share of the cells in `known` with more than half of their lines in `own`."""
    counts = [
        (sum(cell.name == name for cell, _ in own), sum(cell.name == name for cell, _ in known))
        for name in {cell.name for cell, _ in known}
    ]
    return share_of(sum(part > whole / 2 for part, whole in counts), len(counts), parameters.confidence)


def below_bound(doses: Sequence[Dose], parameters: ReportParameters) -> list[Dose]:
    """The doses whose cost certainly lies below its bound, with Holm's correction over all of them."""
    p_values = [_p_of_mean(dose.bound_logs, 0.0, "less") for dose in doses]
    adjusted = statistics.holm(p_values)
    return [dose for dose, p in zip(doses, adjusted, strict=True) if p < 1 - parameters.confidence]


def excludes_more(dose: Dose, parameters: ReportParameters) -> bool:
    """Whether a saving beyond the bound by more than the margin is excluded.

    All doses must pass, so that no correction is needed (an intersection-union test).
    """
    margin = math.log1p(parameters.policies.prediction_margin)
    return _p_of_mean(dose.bound_logs, -margin, "greater") < 1 - parameters.confidence


def _p_of_mean(logs: Sequence[float], bound: float, side: Literal["less", "greater"]) -> float:
    """One-sided p of Student's t test that the mean lies on that side of `bound`."""
    if min(logs) == max(logs):
        return 0.0 if (logs[0] < bound if side == "less" else logs[0] > bound) else 1.0
    return float(stats.ttest_1samp(logs, bound, alternative=side).pvalue)


def _dose_name(dose: Dose) -> str:
    return f"{dose.dose_us:g} us: {dose.key}"


def _named(policies: Policies, doses: Sequence[Dose]) -> str:
    names = "; ".join(f"{policies.labels[dose.key]} at {dose.dose_us:g} us" for dose in doses)
    return f" ({names})" if names else ""


def _error_text(policies: Policies, errors: Mapping[str, Ratio]) -> str:
    """Print how far the predicted costs are off."""
    if not errors:
        return ""
    sizes = {name: abs(math.log(error.estimate)) for name, error in errors.items()}
    worst = max(sizes, key=lambda name: sizes[name])
    dose, key = worst.split(": ")
    return (
        f" Error of {len(errors)} predicted costs: {100 * _mean(list(sizes.values())):.1f} % on average, at "
        f"most {100 * sizes[worst]:.1f} % ({policies.labels[key]} at {dose}: measured over predicted "
        f"{small_ratio_text(errors[worst])})."
    )


def _dose_spread(policies: Policies) -> dict[str, list[Ratio]]:
    """The ratios at the cheapest and the most expensive step, for every configuration except the twin."""
    doses = [dose.dose_us for dose in policies.doses]
    spread: dict[str, list[Ratio]] = {}
    for dose in sorted(policies.doses, key=lambda dose: dose.dose_us):
        if dose.dose_us in (min(doses), max(doses)) and dose.measured and not dose.key.endswith("_twin"):
            spread.setdefault(dose.key, []).append(dose.measured)
    return {key: ratios for key, ratios in spread.items() if len(ratios) == 2}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
