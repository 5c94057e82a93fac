"""The second source's takeaways and its guidelines for practitioners, each put as a finding on the rows.

A finding that the rows confirm is restated with its figures; one that they refute is struck out; what no
row can tell is said to be so. Policies that have not learned are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

from sustainable.reporting.forecasting.published_claims import Claim
from sustainable.reporting.policies.summary import Policies
from sustainable.reporting.policies.claims import (
    certainly,
    collapsed,
    decided_on,
)
from sustainable.reporting.policies.costs import Dose, PolicyLine
from sustainable.reporting.policies.returns import QUANTIZERS
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.formats import declared_percent, interval_text, share_text, small_ratio_text
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

ROWS = "data/benchmark/policies.csv"
UNTESTABLE = (
    ("Memory access: compressed models may use caches worse.", "no row counts a cache miss"),
    ("Battery life may not improve with compression.", "no row comes from a battery"),
    ("Thermal management stays important.", "no row has a temperature that a policy could change"),
    ("Network communication may dominate the energy.", "no environment here communicates"),
    ("Real-time constraints trade off against energy.", "no environment here has a deadline"),
)


def find_policies(policies: Policies, parameters: ReportParameters) -> list[Claim]:
    """Findings F1 onwards, in the order of the source's takeaways."""
    found = [
        size_finding(policies, parameters),
        environment_finding(policies, parameters),
        coupling_finding(policies, parameters),
        accumulation_finding(policies, parameters),
        spread_finding(policies, parameters),
        whole_finding(policies, parameters),
        length_finding(policies, parameters),
        overhead_finding(policies, parameters),
        amdahl_finding(policies, parameters),
        workload_finding(policies, parameters),
        balance_finding(policies, parameters),
        *(_untestable(takeaway, why) for takeaway, why in UNTESTABLE),
    ]
    return [Claim(**(vars(finding) | {"id": f"F{place}"})) for place, finding in enumerate(found, start=1)]


def size_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Efficiency is not a smaller model."""
    outcome = decided_on(policies, "step")
    smaller = [(cell, line) for cell, line in policies.pairs if line.to_reference_size < 1]
    saved = [pair for pair in smaller if certainly(*pair, outcome, "lower", parameters)]
    share = _share(len(smaller) - len(saved), len(smaller), parameters)
    return _finding(
        "Energy efficiency is not model size reduction: do not assume that compression saves energy.",
        "share of compressed policies that are smaller and do not certainly cost less a step than the "
        "uncompressed one under the same runtime: confirmed where its Wilson interval lies above one half, "
        "refuted where it lies below",
        _by_half(share, policies, parameters),
        f"{len(smaller) - len(saved)} of {len(smaller)} smaller policies save nothing certain"
        f"{_share_text(share)}.",
        {"smaller": len(smaller), "saved": len(saved), "share": share and asdict(share)},
    )


def environment_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Who takes the CPU time of a step."""
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
    return _finding(
        "The environment's simulation often dominates energy consumption.",
        "share of learned policies whose environment takes more than half of a step's CPU time, in fp32 and "
        "eager torch: confirmed where it is above one half by its Wilson interval, refuted where below",
        _by_half(share, policies, parameters),
        f"{len(most)} of {len(shares)} environments dominate{_share_text(share)}: {each}.",
        {"shares": shares},
    )


def coupling_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Do better policies live longer?"""
    early = _early(policies)
    own = policies.steps[policies.steps["environment"].isin(early)]
    names = {cell.name for cell in policies.learned}
    own = own[(own["environment"] + " " + own["algorithm"]).isin(names)]
    found = student_interval(own["correlation"].dropna().to_list(), parameters.confidence)
    return _finding(
        "Better performance means longer episodes, and so more energy in total.",
        "Spearman's correlation of mean return with mean steps over the variants of a model, in environments "
        "whose episodes can end early: confirmed where the mean's interval over models lies above 0, refuted "
        "where below",
        _by_sign(found, 0.0),
        f"Correlation {interval_text(found)} over models of {', '.join(early) or 'no environment'}; where no "
        "episode ends early, its length never changes.",
        {"correlation": found and asdict(found)},
        rows="data/policies/returns.csv",
    )


def accumulation_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Is an episode's cost just its steps?"""
    logs = [
        {name: math.log(ratio.estimate) for name, ratio in found.items() if ratio is not None}
        for _, line in policies.pairs
        for found in [{name: line.effects[name].to_baseline for name in ("episode", "steps", "step")}]
    ]
    known = [one for one in logs if len(one) == 3]
    largest = max((abs(one["episode"] - one["steps"] - one["step"]) for one in known), default=math.nan)
    steps, step = (_mean([abs(one[name]) for one in known]) for name in ("steps", "step"))
    return _finding(
        "Decisions are sequential: energy accumulates over the steps of an episode.",
        "none: by how they are counted, the logarithm of an episode's cost ratio is that of its steps and "
        "that of a step's cost together, which no measurement can refute; only rows that contradict each "
        "other do",
        REFUTED if known and largest >= 1e-6 else NOT_TESTABLE,
        f"ln E_episode = ln steps + ln E_step leaves at most {largest:.0e} nats; on average an episode's "
        f"cost changes by {steps:.3f} nats of steps and {step:.3f} nats of cost per step."
        if known
        else "No rows.",
        {"largest_rest": largest if known else None},
    )


def spread_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """How much the length of an episode varies by itself."""
    early, margin = _early(policies), parameters.equivalence_margin
    names = {cell.name for cell in policies.learned if cell.environment in early}
    own = policies.steps
    own = own[(own["environment"] + " " + own["algorithm"]).isin(names)]
    found = student_interval(own["variation"].dropna().to_list(), parameters.confidence)
    return _finding(
        "Episode lengths vary by chance, and total energy with them.",
        "coefficient of variation of an episode's steps, uncompressed, in environments whose episodes can "
        f"end early: confirmed where its interval over models lies above {100 * margin:.0f} %, refuted where "
        "below",
        _by_sign(found, margin),
        f"Coefficient of variation {interval_text(found)} over models of "
        f"{', '.join(early) or 'no environment'}.",
        {"variation": found and asdict(found)},
        rows="data/policies/returns.csv",
    )


def whole_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """What a measurement of the model alone would have said."""
    margin = math.log1p(parameters.equivalence_margin)
    gaps = [
        abs(math.log(policy.estimate / step.estimate))
        for _, line in policies.pairs
        for policy, step in [(line.effects["policy"].same_runtime, line.effects["step"].same_runtime)]
        if policy is not None and step is not None
    ]
    found = student_interval(gaps, parameters.confidence)
    return _finding(
        "Measure end to end, the whole system and not the model's inference alone.",
        "mean distance, over compressed policies, between the logarithms of the ratio of a call alone and of "
        f"a whole step: confirmed where its interval lies above ln {1 + parameters.equivalence_margin:g}, "
        "refuted where below",
        _enough(policies, parameters, _by_sign(found, margin)),
        f"The call alone is off by {interval_text(found)} nats on average"
        + (f" (a factor of {math.exp(found.estimate):.2f})." if found else "."),
        {"distance": found and asdict(found)},
    )


def length_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """How much of an episode's change is length."""
    margin = math.log1p(parameters.equivalence_margin)
    lengths = [
        abs(line.split["length"].estimate)
        for cell, line in policies.pairs
        if cell.ends_early and line.split["length"] is not None
    ]
    found = student_interval(lengths, parameters.confidence)
    return _finding(
        "Consider episodes, and not steps alone.",
        "mean size of the length part of ln E_episode over compressed policies in environments whose "
        f"episodes can end early: confirmed where its interval lies above ln "
        f"{1 + parameters.equivalence_margin:g}, refuted where below",
        _enough(policies, parameters, _by_sign(found, margin)),
        f"Length changes an episode's cost by {interval_text(found)} nats on average over {len(lengths)} "
        "compressed policies.",
        {"length": found and asdict(found)},
    )


def overhead_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """What int8 costs a call, whichever quantizer and runtime."""
    pairs = [(cell, line) for cell, line in policies.pairs if line.method in QUANTIZERS]
    dearer = [pair for pair in pairs if certainly(*pair, "policy", "higher", parameters)]
    cheaper = [pair for pair in pairs if certainly(*pair, "policy", "lower", parameters)]
    share = _share(len(dearer), len(pairs), parameters)
    return _finding(
        "Account for the overhead of compression.",
        "share of quantized policies whose call certainly costs more than uncompressed under the same "
        "runtime: confirmed where its Wilson interval lies above one half, refuted where below",
        _by_half(share, policies, parameters),
        f"{len(dearer)} of {len(pairs)} quantized policies cost more a call{_share_text(share)}, "
        f"{len(cheaper)} less.",
        {"dearer": len(dearer), "cheaper": len(cheaper), "of": len(pairs)},
    )


def amdahl_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Does the policy's share predict the total?"""
    errors = [(dose, dose.error) for dose in policies.doses if dose.error is not None]
    margin = parameters.policies.prediction_margin
    found = [abs(math.log(error.estimate)) for _, error in errors]
    doses = len({dose.dose_us for dose in policies.doses})
    verdict = INCONCLUSIVE
    if errors and all(1 / (1 + margin) <= one.low and one.high <= 1 + margin for _, one in errors):
        verdict = CONFIRMED
    elif any(one.high < 1 / (1 + margin) or one.low > 1 + margin for _, one in errors):
        verdict = REFUTED
    return _finding(
        "What compression can save is bounded by the policy's share of a step (Amdahl's law).",
        "measured over predicted cost of a step, at every dose and configuration: confirmed where every "
        f"interval lies within {declared_percent(margin)}, refuted where one lies outside",
        verdict,
        f"Over {doses} doses and {len(errors)} predictions the mean error is {100 * _mean(found):.1f} %, the "
        f"largest {100 * max(found, default=math.nan):.1f} %{_worst(policies, errors)}."
        if errors
        else "No dose was measured often enough.",
        {"errors": {f"{dose.dose_us:g} us: {dose.key}": asdict(error) for dose, error in errors}},
        rows="data/benchmark/workload.csv",
    )


def workload_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """Does a compressor's effect carry over to another runtime or workload?"""
    disagreeing, compared = [], 0
    for cell in policies.learned:
        by_way: dict[tuple[str, str | None, float], list[PolicyLine]] = {}
        for line in cell.compressed:
            by_way.setdefault((line.method, line.norm, line.share), []).append(line)
        for lines in (found for found in by_way.values() if len(found) > 1):
            ratios = [r for line in lines for r in [line.effects["step"].same_runtime] if r is not None]
            compared += 1
            if _apart(ratios):
                disagreeing.append(f"{policies.labels[lines[0].key]} in {cell.name}")
    doses = _dose_spread(policies.doses)
    some = bool(disagreeing) or any(_apart(ratios) for ratios in doses.values())
    enough = policies.blocks >= parameters.minimum_blocks
    spans = "; ".join(
        f"{policies.labels[key]} {small_ratio_text(ratios[0])} to {small_ratio_text(ratios[-1])}"
        for key, ratios in doses.items()
    )
    return _finding(
        "Test on representative workloads and on the target's hardware.",
        "confirmed where one compressor's ratio differs, by intervals that do not overlap, between two "
        "runtimes or between the cheapest and the dearest environment step; else inconclusive. Other "
        "hardware: no rows",
        CONFIRMED if some and enough else INCONCLUSIVE,
        f"{len(disagreeing)} of {compared} compressed policies differ between runtimes"
        + (f" ({'; '.join(disagreeing)})" if disagreeing else "")
        + f". From the cheapest step to the dearest: {spans or 'no rows'}. Other hardware: {NOT_TESTABLE}.",
        {"disagreeing": disagreeing, "compared": compared},
        rows=f"{ROWS}, data/benchmark/workload.csv",
    )


def balance_finding(policies: Policies, parameters: ReportParameters) -> Claim:
    """What choosing by cost alone would take."""
    outcome = decided_on(policies, "episode")
    saved = [pair for pair in policies.pairs if certainly(*pair, outcome, "lower", parameters)]
    lost = [(cell, line) for cell, line in saved if collapsed(line)]
    names = "; ".join(f"{policies.labels[line.key]} in {cell.name}" for cell, line in lost[:4])
    verdict = INCONCLUSIVE if not saved else (CONFIRMED if lost else REFUTED)
    return _finding(
        "Balance performance and energy explicitly.",
        "confirmed where a compressed policy whose episodes certainly cost less has lost its return: cost "
        "alone would choose it; refuted where there are savings and none has",
        verdict,
        f"Of {len(saved)} savings per episode {len(lost)} have lost the return"
        + (f" ({names}{', ...' if len(lost) > 4 else ''})." if lost else "."),
        {"saved": len(saved), "lost": len(lost)},
    )


def _finding(
    takeaway: str,
    rule: str,
    verdict: str,
    reason: str,
    values: dict[str, object],
    rows: str = ROWS,
) -> Claim:
    return Claim("", takeaway, rule, verdict, reason, rows, values)


def _untestable(takeaway: str, why: str) -> Claim:
    return Claim("", takeaway, "needs rows that there are not", NOT_TESTABLE, f"{why.capitalize()}.", "none")


def _early(policies: Policies) -> list[str]:
    return sorted({cell.environment for cell in policies.learned if cell.ends_early})


def _share(hits: int, of: int, parameters: ReportParameters) -> Estimate | None:
    """Wilson's interval, which takes the counted for independent: those of one environment are less so."""
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


def _by_sign(found: Estimate | None, bound: float) -> str:
    if found is None:
        return INCONCLUSIVE
    return CONFIRMED if found.low > bound else (REFUTED if found.high < bound else INCONCLUSIVE)


def _apart(ratios: Sequence[Ratio]) -> bool:
    """Whether some two intervals do not overlap."""
    return bool(ratios) and max(ratio.low for ratio in ratios) > min(ratio.high for ratio in ratios)


def _dose_spread(doses: Sequence[Dose]) -> dict[str, list[Ratio]]:
    """The ratios at the cheapest and the dearest step, of every configuration but the twin."""
    found: dict[str, list[Ratio]] = {}
    ends = sorted({dose.dose_us for dose in doses})
    for dose in sorted(doses, key=lambda one: one.dose_us):
        if dose.dose_us in (ends[0], ends[-1]) and dose.measured and not dose.key.endswith("_twin"):
            found.setdefault(dose.key, []).append(dose.measured)
    return {key: ratios for key, ratios in found.items() if len(ratios) == 2}


def _worst(policies: Policies, errors: Sequence[tuple[Dose, Ratio]]) -> str:
    dose, error = max(errors, key=lambda one: abs(math.log(one[1].estimate)))
    where = f"{policies.labels[dose.key]} at {dose.dose_us:g} us"
    return f" ({where}: measured over predicted {small_ratio_text(error)})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
