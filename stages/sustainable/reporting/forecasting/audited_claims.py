"""Our own claims, on the audited protocol: a statement, a rule over rows, and the verdict of the rule."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sustainable.reporting.forecasting.audited import Audited, AuditedLine
from sustainable.reporting.forecasting.published_claims import Claim
from sustainable.reporting.forecasting.searching import SearcherLine, Searching
from sustainable.reporting.formats import difference_text, small_ratio_text
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, Ratio, weakest

CHOICE, ORACLE = "ppo_stepwise", "oracle"


def judge_audited(
    audited: Audited,
    searching: Searching,
    agreement: Mapping[str, Mapping[int, Estimate]],
    parameters: ReportParameters,
) -> list[Claim]:
    """Claims C1 to C5."""
    return [
        saving_claim(audited, parameters),
        runtime_claim(audited, parameters),
        searcher_claim(searching),
        proxy_claim(agreement, parameters),
        frugal_claim(audited),
    ]


def saving_claim(audited: Audited, parameters: ReportParameters) -> Claim:
    """C1: the saving that was aimed at, at an accuracy that is no worse than declared."""
    target, margin = parameters.audited.target_speed_up, parameters.audited.accuracy_margin
    line = audited.lines[CHOICE]
    verdicts = [
        at_most(ratio, 1 / target, audited.blocks, parameters)
        for timing in line.timings.values()
        for ratio in (timing.ratio, timing.clean)
    ]
    kept = not_inferior(line.over_seeds, margin)
    return Claim(
        id="C1",
        statement=f"The deployment that the step-by-step PPO chooses needs at least {target:g} times less "
        "CPU time per forecast than the eager FP32 baseline, at non-inferior accuracy.",
        rule="at every batch size the CPU time ratio's interval over training seeds lies below "
        f"1/{target:g}, the same without flagged windows; the interval over seeds of the accuracy difference "
        f"lies above -{margin:g}",
        verdict=weakest([*verdicts, kept]),
        reason=f"{_ratios(line, audited)} Accuracy difference over {audited.seeds} seeds "
        f"{difference_text(line.over_seeds)}; over seeds and windows at once "
        f"{difference_text(line.crossed)}.",
        evidence="CPU time: clock; accuracy: exact count",
        values={"choice": _figures(line), "oracle": _figures(audited.lines[ORACLE]), "accuracy": kept},
    )


def runtime_claim(audited: Audited, parameters: ReportParameters) -> Claim:
    """C2: what compression adds to the best runtime."""
    line = audited.lines[CHOICE]
    verdicts = [
        at_most(timing.to_uncompressed, 1.0, audited.blocks, parameters) for timing in line.timings.values()
    ]
    found = ", ".join(
        f"batch {size}: {small_ratio_text(timing.to_uncompressed)}" for size, timing in line.timings.items()
    )
    quickest = {size: audited.lines[key] for size, key in audited.quickest.items()}
    runtimes = ", ".join(f"{own.runtime} (batch {size})" for size, own in quickest.items())
    return Claim(
        id="C2",
        statement="Compression saves CPU time against the best uncompressed runtime as well.",
        rule="at every batch size the interval over seeds of the CPU time ratio to the quickest runtime of "
        "the full network in fp32 lies below 1",
        verdict=weakest(verdicts),
        reason=f"The quickest runtime of the full network is {runtimes}; ratios to it: {found}.",
        evidence="CPU time: clock",
        values={
            "choice": _figures(line),
            "uncompressed": {str(size): _figures(own) for size, own in quickest.items()},
        },
    )


def searcher_claim(searching: Searching) -> Claim:
    """C3: is reinforcement learning the better searcher?"""
    best = searching.lines[CHOICE]
    rivals = {name: line.against for name, line in searching.lines.items() if not line.is_rl and line.against}
    worse = [name for name, found in rivals.items() if found.low > 0]
    beaten = [name for name, found in rivals.items() if found.high < 0]
    undecided = CONFIRMED if len(beaten) == len(rivals) else INCONCLUSIVE
    compared = "; ".join(f"{name} {difference_text(found)}" for name, found in rivals.items())
    return Claim(
        id="C3",
        statement="A reinforcement-learning agent finds the compression with fewer evaluations than other "
        "searchers do.",
        rule="the step-by-step PPO's mean regret over the budget is lower than that of every searcher that "
        "learns no policy: each difference's interval over seeds lies below 0; refuted if one lies above",
        verdict=REFUTED if worse else undecided,
        reason=f"Mean regret over {searching.budget} evaluations: {best.mean_regret.estimate:.3f} nats. Its "
        f"difference to the others: {compared}."
        if best.mean_regret
        else "Too few seeds.",
        evidence="exact count on the table of candidates",
        values={name: _searched(line) for name, line in searching.lines.items()},
    )


def proxy_claim(agreement: Mapping[str, Mapping[int, Estimate]], parameters: ReportParameters) -> Claim:
    """C4: whether operations may stand for a measurement."""
    needed = parameters.audited.rank_agreement
    found = agreement["flops"].values()
    if all(one.low >= needed for one in found):
        verdict = CONFIRMED
    else:
        verdict = REFUTED if any(one.high < needed for one in found) else INCONCLUSIVE
    text = "; ".join(
        f"{proxy.replace('_', ' ')} "
        + ", ".join(f"{one.estimate:.2f} (batch {size})" for size, one in by.items())
        for proxy, by in agreement.items()
    )
    return Claim(
        id="C4",
        statement="Counted operations rank deployments as measured CPU time does.",
        rule=f"Spearman's correlation of operations with CPU time over all candidates is at least {needed:g} "
        "at every batch size, by its whole interval; refuted where the whole interval is below",
        verdict=verdict,
        reason=f"Rank correlation with CPU time: {text}.",
        evidence="CPU time: clock; proxies: exact count",
        values={
            proxy: {str(size): asdict(one) for size, one in by.items()} for proxy, by in agreement.items()
        },
    )


def frugal_claim(audited: Audited) -> Claim:
    """C5: whether the network is worth its energy at all."""
    against = audited.against_frugal
    better = [name for name, found in against.items() if found.low > 0]
    worse = [name for name, found in against.items() if found.high < 0]
    undecided = CONFIRMED if len(better) == len(against) else INCONCLUSIVE
    text = "; ".join(
        f"{name.replace('_', ' ')} {audited.accuracies[name]:.3f}, difference {difference_text(found)}"
        for name, found in against.items()
    )
    regression = _ratios(audited.lines["logistic_last_day"], audited)
    return Claim(
        id="C5",
        statement="The uncompressed network forecasts better than every frugal forecaster.",
        rule="the interval, over training seeds and test windows, of its accuracy minus that of each frugal "
        "forecaster lies above 0; refuted if one lies below",
        verdict=REFUTED if worse else undecided,
        reason=f"Accuracy {audited.accuracies['baseline']:.3f}; {text}. The regression: {regression}",
        evidence="exact count",
        values={
            "accuracies": dict(audited.accuracies),
            "differences": {name: asdict(found) for name, found in against.items()},
        },
    )


def at_most(ratio: Ratio | None, bound: float, blocks: int, parameters: ReportParameters) -> str:
    """Whether a ratio is at most `bound`, by its whole interval; too few blocks decide nothing."""
    if ratio is None or blocks < parameters.minimum_blocks:
        return INCONCLUSIVE
    if ratio.high <= bound:
        return CONFIRMED
    return REFUTED if ratio.low > bound else INCONCLUSIVE


def not_inferior(difference: Estimate | None, margin: float) -> str:
    """Whether an accuracy difference is above -`margin`, by its whole interval."""
    if difference is None:
        return INCONCLUSIVE
    if difference.low > -margin:
        return CONFIRMED
    return REFUTED if difference.high < -margin else INCONCLUSIVE


def _ratios(line: AuditedLine, audited: Audited) -> str:
    twin = audited.lines[TWIN].timings
    return " ".join(
        f"Batch {size}: ratio {small_ratio_text(timing.ratio)} "
        f"(A/A control {small_ratio_text(twin[size].ratio)})."
        for size, timing in line.timings.items()
    )


def _figures(line: AuditedLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "accuracy": line.accuracy,
        "over_seeds": line.over_seeds and asdict(line.over_seeds),
        "over_seeds_and_windows": asdict(line.crossed),
        "by_batch_size": {str(size): asdict(timing) for size, timing in line.timings.items()},
    }


def _searched(line: SearcherLine) -> dict[str, Any]:
    wanted = ("mean_regret", "final_regret", "found", "against")
    numbers = {name: value and asdict(value) for name in wanted for value in [getattr(line, name)]}
    return numbers | {"near_after": line.near_after, "near": line.near, "seeds": line.seeds}
