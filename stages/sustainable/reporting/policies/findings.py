"""Findings F1 to F16: the second source's takeaways and guidelines, each judged on the rows.

A confirmed finding is printed with its figures and a refuted one is struck out. Policies that have not
learned are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

from sustainable.reporting.declaration import ROW_FILES, Analysis, Declaration, Judgement, untestable
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.claims import (
    DOSES_ONLY,
    READ_FOR_RETURNS,
    certainly,
    collapsed,
    decided_on,
)
from sustainable.reporting.policies.costs import Dose, PolicyLine
from sustainable.reporting.policies.returns import QUANTIZERS
from sustainable.reporting.formats import interval_text, share_text, small_ratio_text
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Estimate,
    Ratio,
    share_interval,
    student_interval,
)

WINDOWS_FILE, WORKLOAD_FILE = ROW_FILES["policies"], ROW_FILES["workload"]
RETURNS_FILE = "data/policies/returns.csv"
READ_FOR_EPISODES = ("data/policies/table.json", WINDOWS_FILE)


def judge_size(analysis: Analysis) -> Judgement:
    """F1: whether smaller policies cost less."""
    policies, parameters = analysis.policies, analysis.parameters
    outcome = decided_on(policies, "step")
    smaller = [(cell, line) for cell, line in policies.pairs if line.to_reference_size < 1]
    saved = [pair for pair in smaller if certainly(*pair, outcome, "lower", parameters)]
    share = _share(len(smaller) - len(saved), len(smaller), parameters)
    return Judgement(
        _by_half(share, policies, parameters),
        f"{len(smaller) - len(saved)} of {len(smaller)} smaller policies save nothing for certain"
        f"{_share_text(share)}.",
        {"smaller": len(smaller), "saved": len(saved), "share": share and asdict(share)},
    )


def judge_environment(analysis: Analysis) -> Judgement:
    """F2: what takes the CPU time of a step."""
    policies, parameters = analysis.policies, analysis.parameters
    shares = {
        cell.name: {
            part: cell.lines["baseline"].costs[part] / cell.lines["baseline"].costs["step"]
            for part in ("policy", "environment", "remainder")
        }
        for cell in policies.learned
    }
    most = [name for name, parts in shares.items() if parts["environment"] > 0.5]
    share = _share(len(most), len(shares), parameters)
    each = "; ".join(f"{name} {100 * parts['environment']:.0f} %" for name, parts in shares.items())
    return Judgement(
        _by_half(share, policies, parameters),
        f"{len(most)} of {len(shares)} environments dominate{_share_text(share)}: {each}.",
        {"shares": shares},
    )


def judge_coupling(analysis: Analysis) -> Judgement:
    """F3: whether better policies have longer episodes."""
    policies, early = analysis.policies, _early(analysis.policies)
    steps = policies.steps[policies.steps["environment"].isin(early)]
    names = {cell.name for cell in policies.learned}
    steps = steps[(steps["environment"] + " " + steps["algorithm"]).isin(names)]
    correlation = student_interval(steps["correlation"].dropna().to_list(), analysis.parameters.confidence)
    return Judgement(
        _by_sign(correlation, 0.0),
        f"Correlation {interval_text(correlation)} over models of {', '.join(early) or 'no environment'}; "
        "if no episode ends early, its length never changes.",
        {"correlation": correlation and asdict(correlation)},
    )


def judge_accumulation(analysis: Analysis) -> Judgement:
    """F4: whether the rows agree that an episode's cost is its steps times the cost of a step."""
    logs = [
        {name: math.log(ratio.estimate) for name, ratio in ratios.items() if ratio is not None}
        for _, line in analysis.policies.pairs
        for ratios in [{name: line.effects[name].to_baseline for name in ("episode", "steps", "step")}]
    ]
    known = [one for one in logs if len(one) == 3]
    largest = max((abs(one["episode"] - one["steps"] - one["step"]) for one in known), default=math.nan)
    steps, step = (_mean([abs(one[name]) for one in known]) for name in ("steps", "step"))
    return Judgement(
        REFUTED if known and largest >= 1e-6 else NOT_TESTABLE,
        f"ln E_episode = ln steps + ln E_step holds within {largest:.0e} nats; on average an episode's "
        f"cost changes by {steps:.3f} nats of steps and {step:.3f} nats of cost per step."
        if known
        else "No rows.",
        {"largest_rest": largest if known else None},
    )


def judge_spread(analysis: Analysis) -> Judgement:
    """F5: how much the length of an episode varies."""
    policies, early = analysis.policies, _early(analysis.policies)
    names = {cell.name for cell in policies.learned if cell.environment in early}
    steps = policies.steps
    steps = steps[(steps["environment"] + " " + steps["algorithm"]).isin(names)]
    variation = student_interval(steps["variation"].dropna().to_list(), analysis.parameters.confidence)
    return Judgement(
        _by_sign(variation, analysis.parameters.equivalence_margin),
        f"Coefficient of variation {interval_text(variation)} over models of "
        f"{', '.join(early) or 'no environment'}.",
        {"variation": variation and asdict(variation)},
    )


def judge_whole(analysis: Analysis) -> Judgement:
    """F6: how wrong a measurement of only the model would be."""
    policies, parameters = analysis.policies, analysis.parameters
    margin = math.log1p(parameters.equivalence_margin)
    gaps = [
        abs(math.log(policy.estimate / step.estimate))
        for _, line in policies.pairs
        for policy, step in [(line.effects["policy"].same_runtime, line.effects["step"].same_runtime)]
        if policy is not None and step is not None
    ]
    distance = student_interval(gaps, parameters.confidence)
    return Judgement(
        _enough(policies, parameters, _by_sign(distance, margin)),
        f"The ratio of only the call is off by {interval_text(distance)} nats on average"
        + (f" (a factor of {math.exp(distance.estimate):.2f})." if distance else "."),
        {"distance": distance and asdict(distance)},
    )


def judge_length(analysis: Analysis) -> Judgement:
    """F7: how much of an episode's change is its length."""
    policies, parameters = analysis.policies, analysis.parameters
    margin = math.log1p(parameters.equivalence_margin)
    lengths = [
        abs(line.split["length"].estimate)
        for cell, line in policies.pairs
        if cell.ends_early and line.split["length"] is not None
    ]
    length = student_interval(lengths, parameters.confidence)
    return Judgement(
        _enough(policies, parameters, _by_sign(length, margin)),
        f"Length changes an episode's cost by {interval_text(length)} nats on average over {len(lengths)} "
        "compressed policies.",
        {"length": length and asdict(length)},
    )


def judge_overhead(analysis: Analysis) -> Judgement:
    """F8: what int8 costs per call, over all quantizers and runtimes."""
    policies, parameters = analysis.policies, analysis.parameters
    pairs = [(cell, line) for cell, line in policies.pairs if line.method in QUANTIZERS]
    costlier = [pair for pair in pairs if certainly(*pair, "policy", "higher", parameters)]
    cheaper = [pair for pair in pairs if certainly(*pair, "policy", "lower", parameters)]
    share = _share(len(costlier), len(pairs), parameters)
    return Judgement(
        _by_half(share, policies, parameters),
        f"{len(costlier)} of {len(pairs)} quantized policies cost more per call{_share_text(share)}, "
        f"{len(cheaper)} less.",
        {"dearer": len(costlier), "cheaper": len(cheaper), "of": len(pairs)},
    )


def judge_amdahl(analysis: Analysis) -> Judgement:
    """F9: whether the policy's share predicts the total."""
    policies, margin = analysis.policies, analysis.parameters.policies.prediction_margin
    errors = [(dose, dose.error) for dose in policies.doses if dose.error is not None]
    sizes = [abs(math.log(error.estimate)) for _, error in errors]
    doses = len({dose.dose_us for dose in policies.doses})
    verdict = INCONCLUSIVE
    if errors and all(1 / (1 + margin) <= one.low and one.high <= 1 + margin for _, one in errors):
        verdict = CONFIRMED
    elif any(one.high < 1 / (1 + margin) or one.low > 1 + margin for _, one in errors):
        verdict = REFUTED
    return Judgement(
        verdict,
        f"Over {doses} doses and {len(errors)} predictions the mean error is {100 * _mean(sizes):.1f} %, the "
        f"largest {100 * max(sizes, default=math.nan):.1f} %{_worst(policies, errors)}."
        if errors
        else "No dose was measured often enough.",
        {"errors": {f"{dose.dose_us:g} us: {dose.key}": asdict(error) for dose, error in errors}},
    )


def judge_workload(analysis: Analysis) -> Judgement:
    """F10: whether a compressor's effect carries over to another runtime or workload."""
    policies, parameters = analysis.policies, analysis.parameters
    disagreeing, compared = _differing_between_runtimes(policies)
    doses = _dose_spread(policies.doses)
    some = bool(disagreeing) or any(_apart(ratios) for ratios in doses.values())
    spans = "; ".join(
        f"{policies.labels[key]} {small_ratio_text(ratios[0])} to {small_ratio_text(ratios[-1])}"
        for key, ratios in doses.items()
    )
    return Judgement(
        _enough(policies, parameters, CONFIRMED if some else INCONCLUSIVE),
        f"{len(disagreeing)} of {compared} compressed policies differ between runtimes"
        + (f" ({'; '.join(disagreeing)})" if disagreeing else "")
        + f". From the cheapest step to the most expensive: {spans or 'no rows'}. Other hardware: "
        f"{NOT_TESTABLE}.",
        {"disagreeing": disagreeing, "compared": compared},
    )


def judge_balance(analysis: Analysis) -> Judgement:
    """F11: what a choice by cost only would take."""
    policies = analysis.policies
    outcome = decided_on(policies, "episode")
    saved = [pair for pair in policies.pairs if certainly(*pair, outcome, "lower", analysis.parameters)]
    lost = [(cell, line) for cell, line in saved if collapsed(line)]
    names = "; ".join(f"{policies.labels[line.key]} in {cell.name}" for cell, line in lost[:4])
    return Judgement(
        INCONCLUSIVE if not saved else (CONFIRMED if lost else REFUTED),
        f"Of {len(saved)} savings per episode {len(lost)} have lost the return"
        + (f" ({names}{', ...' if len(lost) > 4 else ''})." if lost else "."),
        {"saved": len(saved), "lost": len(lost)},
    )


POLICY_FINDINGS = (
    Declaration(
        id="F1",
        source="study_b",
        statement="Energy efficiency is not model size reduction: do not assume that compression saves "
        "energy.",
        rule="share of the smaller compressed policies that do not certainly cost less per step than the "
        "uncompressed one under the same runtime: confirmed if its Wilson interval lies above one half, "
        "refuted if below",
        judge=judge_size,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="F2",
        source="study_b",
        statement="The environment's simulation often dominates energy consumption.",
        rule="share of learned policies whose environment takes more than half of a step's CPU time, in fp32 "
        "and eager torch: confirmed if its Wilson interval lies above one half, refuted if below",
        judge=judge_environment,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time",),
    ),
    Declaration(
        id="F3",
        source="study_b",
        statement="Better performance means longer episodes, and so more energy in total.",
        rule="Spearman's correlation of mean return with mean steps over the variants of a model, in "
        "environments whose episodes can end early: confirmed if the interval of its mean over models lies "
        "above 0, refuted if below",
        judge=judge_coupling,
        decided_by=(RETURNS_FILE,),
        also_reads=READ_FOR_EPISODES,
        needs=("exact counts",),
    ),
    Declaration(
        id="F4",
        source="study_b",
        statement="Decisions are sequential: energy accumulates over the steps of an episode.",
        rule="none: by the way they are counted, the logarithm of an episode's cost ratio is the sum of "
        "those of its steps and of a step's cost, which no measurement can refute; only rows that contradict "
        "each other can",
        judge=judge_accumulation,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        untestable="it is true by definition; the rows are only checked for contradictions",
    ),
    Declaration(
        id="F5",
        source="study_b",
        statement="Episode lengths vary by chance, and total energy with them.",
        rule="coefficient of variation of the steps of an uncompressed policy's episodes, in environments "
        "whose episodes can end early: confirmed if its interval over models lies above "
        "{equivalence_percent:g} %, refuted if below",
        judge=judge_spread,
        decided_by=(RETURNS_FILE,),
        also_reads=READ_FOR_EPISODES,
        needs=("exact counts",),
    ),
    Declaration(
        id="F6",
        source="study_b",
        statement="Measure end to end, the whole system, not only the model's inference.",
        rule="mean distance, over compressed policies, between the logarithm of the cost ratio of only the "
        "call and that of a whole step: confirmed if its interval lies above ln {equivalence_ratio:g}, "
        "refuted if below",
        judge=judge_whole,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time",),
    ),
    Declaration(
        id="F7",
        source="study_b",
        statement="Consider episodes, not only steps.",
        rule="mean size of the length part of ln E_episode over compressed policies in environments whose "
        "episodes can end early: confirmed if its interval lies above ln {equivalence_ratio:g}, refuted if "
        "below",
        judge=judge_length,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="F8",
        source="study_b",
        statement="Account for the overhead of compression.",
        rule="share of quantized policies whose call certainly costs more than the uncompressed one under "
        "the same runtime: confirmed if its Wilson interval lies above one half, refuted if below",
        judge=judge_overhead,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time",),
    ),
    Declaration(
        id="F9",
        source="study_b",
        statement="What compression can save is bounded by the policy's share of a step (Amdahl's law).",
        rule="measured cost of a step divided by the predicted one, at every dose and configuration: "
        "confirmed if every interval lies within {prediction_percent:g} %, refuted if one lies outside",
        judge=judge_amdahl,
        decided_by=(WORKLOAD_FILE,),
        needs=("CPU time",),
        cut=DOSES_ONLY,
    ),
    Declaration(
        id="F10",
        source="study_b",
        statement="Test on representative workloads and on the target's hardware.",
        rule="confirmed if one compressor's ratio differs, by intervals that do not overlap, between two "
        "runtimes or between the cheapest and the most expensive environment step; otherwise inconclusive. "
        "Other hardware: no rows",
        judge=judge_workload,
        decided_by=(WINDOWS_FILE, WORKLOAD_FILE),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time",),
    ),
    Declaration(
        id="F11",
        source="study_b",
        statement="Balance performance and energy explicitly.",
        rule="confirmed if a compressed policy whose episodes certainly cost less has lost its return: a "
        "choice by cost only would take it; refuted if there are savings and none has",
        judge=judge_balance,
        decided_by=(WINDOWS_FILE,),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts"),
    ),
    untestable("F12", "Memory access: compressed models may use caches worse.", "no row counts cache misses"),
    untestable("F13", "Battery life may not improve with compression.", "no row comes from a battery"),
    untestable(
        "F14", "Thermal management stays important.", "no row has a temperature that a policy could change"
    ),
    untestable("F15", "Network communication may dominate the energy.", "no environment here communicates"),
    untestable(
        "F16", "Real-time constraints trade off against energy.", "no environment here has a deadline"
    ),
)


def _differing_between_runtimes(policies: Policies) -> tuple[list[str], int]:
    """The compressed policies whose ratios differ between runtimes, and how many were compared."""
    differing, compared = [], 0
    for cell in policies.learned:
        by_variant: dict[tuple[str, str | None, float], list[PolicyLine]] = {}
        for line in cell.compressed:
            by_variant.setdefault((line.method, line.norm, line.share), []).append(line)
        for lines in (same for same in by_variant.values() if len(same) > 1):
            ratios = [r for line in lines for r in [line.effects["step"].same_runtime] if r is not None]
            compared += 1
            if _apart(ratios):
                differing.append(f"{policies.labels[lines[0].key]} in {cell.name}")
    return differing, compared


def _early(policies: Policies) -> list[str]:
    return sorted({cell.environment for cell in policies.learned if cell.ends_early})


def _share(hits: int, of: int, parameters: ReportParameters) -> Estimate | None:
    """Share with Wilson's interval, which assumes independence: policies of one environment have less."""
    return Estimate(hits / of, *share_interval(hits, of, parameters.confidence), of) if of else None


def _share_text(share: Estimate | None) -> str:
    return f" ({share_text(share)})" if share else ""


def _enough(policies: Policies, parameters: ReportParameters, verdict: str) -> str:
    return verdict if policies.blocks >= parameters.minimum_blocks else INCONCLUSIVE


def _by_half(share: Estimate | None, policies: Policies, parameters: ReportParameters) -> str:
    if share is None:
        return INCONCLUSIVE
    verdict = CONFIRMED if share.low > 0.5 else (REFUTED if share.high < 0.5 else INCONCLUSIVE)
    return _enough(policies, parameters, verdict)


def _by_sign(value: Estimate | None, bound: float) -> str:
    if value is None:
        return INCONCLUSIVE
    return CONFIRMED if value.low > bound else (REFUTED if value.high < bound else INCONCLUSIVE)


def _apart(ratios: Sequence[Ratio]) -> bool:
    """Whether there are two intervals that do not overlap."""
    return bool(ratios) and max(ratio.low for ratio in ratios) > min(ratio.high for ratio in ratios)


def _dose_spread(doses: Sequence[Dose]) -> dict[str, list[Ratio]]:
    """The ratios at the cheapest and the most expensive step, for every configuration except the twin."""
    spread: dict[str, list[Ratio]] = {}
    ends = sorted({dose.dose_us for dose in doses})
    for dose in sorted(doses, key=lambda one: one.dose_us):
        if dose.dose_us in (ends[0], ends[-1]) and dose.measured and not dose.key.endswith("_twin"):
            spread.setdefault(dose.key, []).append(dose.measured)
    return {key: ratios for key, ratios in spread.items() if len(ratios) == 2}


def _worst(policies: Policies, errors: Sequence[tuple[Dose, Ratio]]) -> str:
    dose, error = max(errors, key=lambda one: abs(math.log(one[1].estimate)))
    where = f"{policies.labels[dose.key]} at {dose.dose_us:g} us"
    return f" ({where}: measured over predicted {small_ratio_text(error)})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
