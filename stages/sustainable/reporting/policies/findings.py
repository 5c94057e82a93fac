"""Findings F1 to F16: the second source's takeaways and guidelines, each judged on the rows.

A confirmed finding is printed with its figures and a refuted one is struck out. Policies that have not
learned are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

from sustainable.policies.returns import share_of
from sustainable.reporting.declaration import EXACT_COUNT, ROW_FILES, Judgement, untestable
from sustainable.reporting.formats import interval_text, share_text, small_ratio_text
from sustainable.reporting.judging import above, verdict_if
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies import claims
from sustainable.reporting.policies.costs import STEP_PARTS, PolicyLine
from sustainable.reporting.policies.pooling import costs_as_much
from sustainable.reporting.policies.returns import QUANTIZERS
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import Estimate, Ratio, student_interval

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
    smaller = [(cell, line) for cell, line in policies.pairs if line.to_reference_size < 1]
    cost = costs_as_much(policies, smaller, claims.decided_on(policies, "step"), parameters)
    return Judgement(cost.verdict, f"{len(smaller)} smaller policies: {cost.reason}", cost.values)


@claims.on_windows(
    "F2",
    statement="The environment's simulation often dominates energy consumption.",
    rule="share of learned policies whose environment takes more than half of a step's CPU time, in fp32 and "
    "eager torch: confirmed if its Wilson interval lies above one half, refuted if below",
    needs=("CPU time",),
)
def environment_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    costs = {cell.name: cell.lines["baseline"].costs for cell in policies.learned}
    shares = {
        name: {part: parts[part] / parts["step"] for part in STEP_PARTS} for name, parts in costs.items()
    }
    most = sum(parts["environment"] > 0.5 for parts in shares.values())
    share = share_of(most, len(shares), parameters.confidence)
    each = "; ".join(f"{name} {100 * parts['environment']:.0f} %" for name, parts in shares.items())
    return Judgement(
        _enough(policies, parameters, above(share, 0.5)),
        f"{most} of {len(shares)} environments dominate{_share_text(share)}: {each}.",
        {"shares": shares},
    )


@on_episodes(
    "F3",
    statement="Better performance means longer episodes, and so more energy in total.",
    rule="Spearman's correlation of mean return with mean steps over the variants of a model, in "
    "environments whose episodes can end early: confirmed if the interval of its mean over models lies above "
    "0, refuted if below; at least {minimum_models} models of two environments",
)
def coupling_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    correlation, models = _over_models(policies, "correlation", parameters)
    return Judgement(
        _of_enough_models(correlation, models, parameters, 0.0),
        f"Correlation {interval_text(correlation)} over {models}; if no episode ends early, its length "
        "never changes.",
        {"correlation": correlation and asdict(correlation)},
        EXACT_COUNT,
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
        return Judgement(NOT_TESTABLE, "No rows.", {"largest_rest": None})
    largest = max(abs(episode - steps - step) for episode, steps, step in known)
    mean_steps, mean_step = (_mean([abs(line[place]) for line in known]) for place in (1, 2))
    return Judgement(
        REFUTED if largest >= 1e-6 else NOT_TESTABLE,
        f"ln E_episode = ln steps + ln E_step holds within {largest:.0e} nats; on average an episode's "
        f"cost changes by {mean_steps:.3f} nats of steps and {mean_step:.3f} nats of cost per step.",
        {"largest_rest": largest},
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
        f"Coefficient of variation {interval_text(variation)} over {models}.",
        {"variation": variation and asdict(variation)},
        EXACT_COUNT,
    )


@claims.on_windows(
    "F6",
    statement="Measure end to end, the whole system, not only the model's inference.",
    rule="mean distance, over compressed policies, between the logarithm of the cost ratio of only the call "
    "and that of a whole step: confirmed if its interval lies above ln {equivalence_ratio:g}, refuted if "
    "below",
    needs=("CPU time",),
)
def whole_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    ratios = [[line.effects[name].same_runtime for name in ("policy", "step")] for _, line in policies.pairs]
    gaps = [abs(math.log(call.estimate / step.estimate)) for call, step in ratios if call and step]
    distance = student_interval(gaps, parameters.confidence)
    factor = f" (a factor of {math.exp(distance.estimate):.2f})" if distance else ""
    return Judgement(
        _enough(policies, parameters, above(distance, math.log1p(parameters.equivalence_margin))),
        f"The ratio of only the call is off by {interval_text(distance)} nats on average{factor}.",
        {"distance": distance and asdict(distance)},
    )


@claims.on_windows(
    "F7",
    statement="Consider episodes, not only steps.",
    rule="mean size of the length part of ln E_episode over compressed policies in environments whose "
    "episodes can end early: confirmed if its interval lies above ln {equivalence_ratio:g}, refuted if below",
    needs=("CPU time", "exact counts"),
)
def length_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    parts = [line.split["length"] for cell, line in policies.pairs if cell.ends_early]
    lengths = [abs(part.estimate) for part in parts if part is not None]
    length = student_interval(lengths, parameters.confidence)
    return Judgement(
        _enough(policies, parameters, above(length, math.log1p(parameters.equivalence_margin))),
        f"Length changes an episode's cost by {interval_text(length)} nats on average over {len(lengths)} "
        "compressed policies.",
        {"length": length and asdict(length)},
    )


@claims.on_windows(
    "F8",
    statement="Account for the overhead of compression.",
    rule="share of quantized policies whose call certainly costs more than the uncompressed one under the "
    "same runtime: confirmed if its Wilson interval lies above one half, refuted if below",
    needs=("CPU time",),
)
def overhead_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    pairs = [(cell, line) for cell, line in policies.pairs if line.method in QUANTIZERS]
    costlier, cheaper = (len(claims.certain(pairs, "policy", way, parameters)) for way in ("higher", "lower"))
    share = share_of(costlier, len(pairs), parameters.confidence)
    return Judgement(
        _enough(policies, parameters, above(share, 0.5)),
        f"{costlier} of {len(pairs)} quantized policies cost more per call{_share_text(share)}, "
        f"{cheaper} less.",
        {"dearer": costlier, "cheaper": cheaper, "of": len(pairs)},
    )


@claims.declare(
    "F9",
    statement="What compression can save is bounded by the policy's share of a step (Amdahl's law).",
    rule="measured cost of a step divided by the predicted one, at every dose and configuration but the A/A "
    "control: confirmed if every interval lies within {prediction_percent:g} %, refuted if one lies outside",
    decided_by=(WORKLOAD_FILE,),
    needs=("CPU time",),
    cut=claims.DOSES_ONLY,
)
def amdahl_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    found = [(dose, dose.error) for dose in policies.doses if dose.key != TWIN]
    errors = [(dose, error) for dose, error in found if error is not None]
    if not errors:
        return Judgement(INCONCLUSIVE, "No dose was measured often enough.", {"errors": {}})
    most = 1 + parameters.policies.prediction_margin
    verdict = verdict_if(
        all(1 / most <= error.low and error.high <= most for _, error in errors),
        any(error.high < 1 / most or error.low > most for _, error in errors),
    )
    sizes = [abs(math.log(error.estimate)) for _, error in errors]
    dose, worst = errors[sizes.index(max(sizes))]
    return Judgement(
        verdict,
        f"Over {len({dose.dose_us for dose in policies.doses})} doses and {len(errors)} predictions the mean "
        f"error is {100 * _mean(sizes):.1f} %, the largest {100 * max(sizes):.1f} % "
        f"({policies.labels[dose.key]} at {dose.dose_us:g} us: measured over predicted "
        f"{small_ratio_text(worst)}); "
        f"{sum(error.estimate < 1 for _, error in errors)} steps cost less than predicted.",
        {"errors": {f"{dose.dose_us:g} us: {dose.key}": asdict(error) for dose, error in errors}},
    )


@claims.declare(
    "F10",
    statement="Test on representative workloads and on the target's hardware.",
    rule="confirmed if one compressor's ratio differs, by intervals that do not overlap, between two "
    "runtimes or between the cheapest and the most expensive environment step; otherwise inconclusive. Other "
    "hardware: no rows",
    decided_by=(WINDOWS_FILE, WORKLOAD_FILE),
    also_reads=claims.READ_FOR_RETURNS,
    needs=("CPU time",),
)
def workload_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    disagreeing, compared = _differing_between_runtimes(policies)
    doses = _dose_spread(policies)
    some = bool(disagreeing) or any(_apart(ratios) for ratios in doses.values())
    named = f" ({'; '.join(disagreeing)})" if disagreeing else ""
    spans = "; ".join(
        f"{policies.labels[key]} {small_ratio_text(first)} to {small_ratio_text(last)}"
        for key, (first, last) in doses.items()
    )
    return Judgement(
        _enough(policies, parameters, CONFIRMED if some else INCONCLUSIVE),
        f"{len(disagreeing)} of {compared} compressed policies differ between runtimes{named}. From the "
        f"cheapest step to the most expensive: {spans or 'no rows'}. Other hardware: {NOT_TESTABLE}.",
        {"disagreeing": disagreeing, "compared": compared},
    )


@claims.on_windows(
    "F11",
    statement="Balance performance and energy explicitly.",
    rule="confirmed if a compressed policy whose episodes certainly cost less has lost its return: a choice "
    "by cost only would take it; refuted if there are savings and none has",
    needs=("CPU time", "exact counts"),
)
def balance_finding(policies: Policies, parameters: ReportParameters) -> Judgement:
    saved = claims.certain(policies.pairs, claims.decided_on(policies, "episode"), "lower", parameters)
    lost = [f"{policies.labels[line.key]} in {cell.name}" for cell, line in saved if line.loses]
    names = f" ({'; '.join(lost[:4])}{', ...' if len(lost) > 4 else ''})" if lost else ""
    return Judgement(
        INCONCLUSIVE if not saved else (CONFIRMED if lost else REFUTED),
        f"Of {len(saved)} savings per episode {len(lost)} have lost the return{names}.",
        {"saved": len(saved), "lost": len(lost)},
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


def _differing_between_runtimes(policies: Policies) -> tuple[list[str], int]:
    """The compressed policies whose ratios differ between runtimes, and how many were compared."""
    by_variant: dict[tuple[str, str, str | None, float], list[PolicyLine]] = {}
    for cell, line in policies.pairs:
        by_variant.setdefault((cell.name, line.method, line.norm, line.share), []).append(line)
    compared = {variant: lines for variant, lines in by_variant.items() if len(lines) > 1}
    differing = [
        f"{policies.labels[lines[0].key]} in {name}"
        for (name, *_), lines in compared.items()
        if _apart([line.effects["step"].same_runtime for line in lines])
    ]
    return differing, len(compared)


@dataclass(frozen=True)
class Models:
    """The learned models whose episodes can end early."""

    count: int
    environments: Sequence[str]

    def __str__(self) -> str:
        return f"{self.count} models of {', '.join(self.environments) or 'no environment'}"


def _over_models(
    policies: Policies, column: str, parameters: ReportParameters
) -> tuple[Estimate | None, Models]:
    """The mean of a column of `steps` over learned models whose episodes can end early, and these models."""
    cells = [cell for cell in policies.learned if cell.ends_early]
    steps = policies.steps
    own = steps[(steps["environment"] + " " + steps["algorithm"]).isin([cell.name for cell in cells])]
    known = own[own[column].notna()]
    models = Models(len(known), sorted(set(known["environment"])))
    return student_interval(known[column].to_list(), parameters.confidence), models


def _of_enough_models(
    found: Estimate | None, models: Models, parameters: ReportParameters, bound: float
) -> str:
    """As `above`; inconclusive for too few models, or models of one environment."""
    enough = models.count >= parameters.policies.minimum_models and len(models.environments) > 1
    return above(found, bound) if enough else INCONCLUSIVE


def _share_text(share: Estimate | None) -> str:
    return f" ({share_text(share)})" if share else ""


def _enough(policies: Policies, parameters: ReportParameters, verdict: str) -> str:
    return verdict if policies.blocks >= parameters.minimum_blocks else INCONCLUSIVE


def _apart(ratios: Sequence[Ratio | None]) -> bool:
    """Whether there are two intervals that do not overlap."""
    known = [ratio for ratio in ratios if ratio is not None]
    return bool(known) and max(ratio.low for ratio in known) > min(ratio.high for ratio in known)


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
