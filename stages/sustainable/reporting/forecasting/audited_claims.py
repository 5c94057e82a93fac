"""Claims C1 to C5: our own, judged on the audited protocol, with training seeds as the unit of intervals."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sustainable.reporting.declaration import EXACT_COUNT, Analysis, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.audited import Audited, AuditedLine
from sustainable.reporting.forecasting.searching import ABLATION, RANKED, SearcherLine
from sustainable.reporting.formats import difference_text, p_value, small_ratio_text, words
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Ratio, weakest

CHOICE, ORACLE = "ppo_stepwise", "oracle"
AUDITED_FILES = (ROW_FILES["audited"], HIT_TABLES["audited"], "data/benchmark/audited.conditions.json")


def judge_saving(analysis: Analysis) -> Judgement:
    """C1: the target saving, at an accuracy that is not inferior by the declared margin."""
    audited, parameters = analysis.audited, analysis.parameters
    bound = 1 / parameters.audited.target_speed_up
    line = audited.lines[CHOICE]
    verdicts = [
        at_most(ratio, bound, audited.blocks, parameters)
        for timing in line.timings.values()
        for ratio in (timing.ratio, timing.clean)
    ]
    loss, margin = line.over_seeds, parameters.audited.accuracy_margin
    accuracy = decided(loss.low > -margin, loss.high < -margin) if loss else INCONCLUSIVE
    return Judgement(
        verdict=weakest([*verdicts, accuracy]),
        reason=f"{_ratios(line, audited)} Accuracy difference over {audited.seeds} seeds: "
        f"{difference_text(line.over_seeds)}; over seeds and test windows: {difference_text(line.crossed)}.",
        evidence="CPU time: clock; accuracy: exact count",
        values={"choice": _figures(line), "oracle": _figures(audited.lines[ORACLE]), "accuracy": accuracy},
    )


def judge_runtime(analysis: Analysis) -> Judgement:
    """C2: what compression adds to the fastest runtime."""
    audited = analysis.audited
    line = audited.lines[CHOICE]
    to_fastest = {size: timing.to_uncompressed for size, timing in line.timings.items()}
    ratios = ", ".join(f"batch {size}: {small_ratio_text(ratio)}" for size, ratio in to_fastest.items())
    fastest = {size: audited.lines[key] for size, key in audited.quickest.items()}
    runtimes = ", ".join(f"{line.runtime} (batch {size})" for size, line in fastest.items())
    return Judgement(
        verdict=weakest(
            [at_most(ratio, 1.0, audited.blocks, analysis.parameters) for ratio in to_fastest.values()]
        ),
        reason=f"The fastest runtime of the full network is {runtimes}; ratios to it: {ratios}.",
        evidence="CPU time: clock",
        values={
            "choice": _figures(line),
            "uncompressed": {str(size): _figures(line) for size, line in fastest.items()},
        },
    )


def judge_searchers(analysis: Analysis) -> Judgement:
    """C3: whether reinforcement learning is the better searcher."""
    searching = analysis.searching
    regret = searching.lines[CHOICE].mean_regret
    compared = "; ".join(
        f"{words(line.name)} {difference_text(line.against)} (p {p_value(line.adjusted_p)})"
        for line in searching.rivals
    )
    reason = "Too few seeds."
    if regret:
        reason = f"Mean regret over {searching.budget} evaluations: {regret.estimate:.3f} nats. "
        reason += f"Minus that of the others, with the p adjusted by Holm's method: {compared}."
    searched = [*searching.of(RANKED), *searching.of(ABLATION)]
    return Judgement(
        verdict=searching.verdict if regret else INCONCLUSIVE,
        reason=reason,
        evidence="exact count on the table of candidates",
        values={line.name: _searched(line) for line in searched},
    )


def judge_proxies(analysis: Analysis) -> Judgement:
    """C4: whether counted operations can replace a measurement."""
    needed, agreement = analysis.parameters.audited.rank_agreement, analysis.agreement
    operations = agreement["flops"].values()
    text = "; ".join(
        f"{words(proxy)} " + ", ".join(f"{one.estimate:.2f} (batch {size})" for size, one in by_size.items())
        for proxy, by_size in agreement.items()
    )
    return Judgement(
        verdict=weakest([decided(one.low >= needed, one.high < needed) for one in operations]),
        reason=f"Rank correlation with CPU time: {text}.",
        evidence="CPU time: clock; proxies: exact count",
        values={
            proxy: {str(size): asdict(one) for size, one in by_size.items()}
            for proxy, by_size in agreement.items()
        },
    )


def judge_frugal(analysis: Analysis) -> Judgement:
    """C5: whether the network is worth its energy at all."""
    audited = analysis.audited
    against = audited.against_frugal
    text = "; ".join(
        f"{words(name)} {audited.accuracies[name]:.3f}, difference {difference_text(difference)}"
        for name, difference in against.items()
    )
    regression = _ratios(audited.lines["logistic_last_day"], audited)
    return Judgement(
        verdict=weakest([decided(one.low > 0, one.high < 0) for one in against.values()]),
        reason=f"Accuracy {audited.accuracies['baseline']:.3f}; {text}. The regression: {regression}",
        evidence=EXACT_COUNT,
        values={
            "accuracies": dict(audited.accuracies),
            "differences": {name: asdict(difference) for name, difference in against.items()},
        },
    )


AUDITED_CLAIMS = (
    Declaration(
        id="C1",
        statement="The deployment that the step-by-step PPO chooses needs at least {target_speed_up:g} times "
        "less CPU time per forecast than the eager FP32 baseline, at non-inferior accuracy.",
        rule="at every batch size, the CPU time ratio's interval over training seeds lies below "
        "1/{target_speed_up:g}, with and without flagged windows; the accuracy difference's interval over "
        "seeds lies above -{accuracy_margin:g}",
        judge=judge_saving,
        decided_by=AUDITED_FILES,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C2",
        statement="Compression also saves CPU time against the fastest uncompressed runtime.",
        rule="at every batch size, the interval over seeds of the CPU time ratio to the fastest runtime of "
        "the full network in fp32 lies below 1",
        judge=judge_runtime,
        decided_by=AUDITED_FILES,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C3",
        statement="A reinforcement-learning agent finds the compression with fewer evaluations than other "
        "searchers.",
        rule="the step-by-step PPO's mean regret over the main budget is lower than that of every other "
        "searcher of the same space (paired t test over seeds, p adjusted by Holm's method over these "
        "comparisons, at most {error_percent:g} %); refuted if it is higher than that of one, with such a p",
        judge=judge_searchers,
        decided_by=("data/search/improvements.csv", "data/search/choices.json"),
        needs=("exact counts",),
    ),
    Declaration(
        id="C4",
        statement="Counted operations rank deployments as measured CPU time does.",
        rule="at every batch size, the whole interval of Spearman's correlation between operations and CPU "
        "time over all candidates is at least {rank_agreement:g}; refuted if a whole interval is below",
        judge=judge_proxies,
        decided_by=("data/search/candidates.csv",),
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C5",
        statement="The uncompressed network forecasts better than every frugal forecaster.",
        rule="the interval, over training seeds and test windows, of its accuracy minus that of each frugal "
        "forecaster lies above 0; refuted if one lies below",
        judge=judge_frugal,
        decided_by=AUDITED_FILES,
        needs=("exact counts",),
    ),
)


def at_most(ratio: Ratio | None, bound: float, blocks: int, parameters: ReportParameters) -> str:
    """Whether a ratio's whole interval is at most `bound`; inconclusive with too few blocks."""
    if ratio is None or blocks < parameters.minimum_blocks:
        return INCONCLUSIVE
    return decided(ratio.high <= bound, ratio.low > bound)


def decided(holds: bool, fails: bool) -> str:
    """The verdict on an interval that lies wholly where a claim holds, wholly where it fails, or neither."""
    return CONFIRMED if holds else REFUTED if fails else INCONCLUSIVE


def _ratios(line: AuditedLine, audited: Audited) -> str:
    twin = audited.lines[TWIN].timings
    return " ".join(
        f"Batch {size}: ratio {small_ratio_text(timing.ratio)} "
        f"(A/A control {small_ratio_text(twin[size].ratio)})."
        for size, timing in line.timings.items()
    )


def _figures(line: AuditedLine) -> Mapping[str, Any]:
    return {
        "name": line.name,
        "accuracy": line.accuracy,
        "over_seeds": line.over_seeds and asdict(line.over_seeds),
        "over_seeds_and_windows": asdict(line.crossed),
        "by_batch_size": {str(size): asdict(timing) for size, timing in line.timings.items()},
    }


def _searched(line: SearcherLine) -> Mapping[str, Any]:
    wanted = ("mean_regret", "final_regret", "found", "against")
    numbers = {name: value and asdict(value) for name in wanted for value in [getattr(line, name)]}
    counted = {"near_after": line.near_after, "near": line.near, "seeds": line.seeds}
    tied = {str(budget): at.tied.estimate for budget, at in line.at.items()}
    return numbers | counted | {"adjusted_p": line.adjusted_p, "ours_is": line.ours_is, "tied": tied}
