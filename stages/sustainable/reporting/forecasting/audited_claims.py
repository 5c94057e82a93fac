"""Claims C1 to C5: our own, judged on every audited task, with training seeds as the unit of intervals.

A claim holds if it holds on every task; its parts give the verdict on each.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from operator import attrgetter
from typing import Any, Protocol

from sustainable.reporting.declaration import EXACT_COUNT, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.accuracy_gate import Gate
from sustainable.reporting.forecasting.audited import Audited, AuditedLine
from sustainable.reporting.forecasting.searching import ABLATION, RANKED, SearcherLine
from sustainable.reporting.forecasting.task import TITLES, AuditedTask
from sustainable.reporting.formats import difference_text, p_value, percent, small_ratio_text
from sustainable.reporting.judging import above, verdict_if
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.names import forecaster_name, runtime_name, searcher_name
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import INCONCLUSIVE, Estimate, Ratio, weakest

CHOICE, ORACLE = "ppo_stepwise", "oracle"
AUDITED_FILES = tuple(
    path
    for task in TITLES
    for path in (ROW_FILES[task], HIT_TABLES[task], f"data/benchmark/{task}.conditions.json")
)


class OnTasks(Protocol):
    """What these judges read of an `Analysis`."""

    @property
    def tasks(self) -> Mapping[str, AuditedTask]: ...
    @property
    def parameters(self) -> ReportParameters: ...


def on_every_task(
    judge: Callable[[AuditedTask, ReportParameters], Judgement],
) -> Callable[[OnTasks], Judgement]:
    """Make the judge of one task that of all: every task gets its verdict, and the weakest is the claim's."""

    def judge_all(analysis: OnTasks) -> Judgement:
        judged = {name: judge(task, analysis.parameters) for name, task in analysis.tasks.items()}
        titles = {name: task.title for name, task in analysis.tasks.items()}
        parts: dict[str, str] = {}
        for name, own in judged.items():
            named = {f"{titles[name]}, {part}": verdict for part, verdict in own.parts.items()}
            parts |= named or {titles[name]: own.verdict}
        return Judgement(
            verdict=weakest([own.verdict for own in judged.values()]),
            reason=" ".join(f"{titles[name]}: {own.reason}" for name, own in judged.items()),
            evidence=next(iter(judged.values())).evidence,
            values={name: own.values for name, own in judged.items()},
            parts=parts,
        )

    return judge_all


@on_every_task
def judge_saving(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C1: the target saving, at an accuracy that is not inferior by the declared margin."""
    audited = task.audited
    bound = 1 / parameters.audited.target_speed_up
    line = audited.lines[CHOICE]
    verdicts = [
        at_most(ratio, bound, audited.blocks, parameters)
        for timing in line.timings.values()
        for ratio in (timing.ratio, timing.clean)
    ]
    accuracy = audited.gate.verdict_on(CHOICE) if task.fresh else INCONCLUSIVE
    return Judgement(
        verdict=weakest([*verdicts, accuracy]),
        reason=f"{_ratios(line, audited)} {_at_the_gate(audited.gate, task.fresh)}",
        evidence="CPU time: clock; accuracy: exact count",
        values={"choice": _figures(line), "oracle": _figures(audited.lines[ORACLE])},
        parts={"CPU time": weakest(verdicts), "accuracy": accuracy},
    )


def _at_the_gate(gate: Gate, fresh: bool) -> str:
    own = gate.lines[CHOICE]
    text = f"Accuracy minus the baseline's, over seeds and test windows: {difference_text(own.difference)}; "
    text += f"a forecaster equal to the baseline passes with a probability of {percent(own.power)}."
    if gate.wrongly_passing:
        passing = ", ".join(map(forecaster_name, gate.wrongly_passing))
        text += f" This task cannot tell: {passing} would pass as well."
    if not fresh:
        text += " The training seeds also chose the deployment, so they decide nothing about its accuracy."
    return text


@on_every_task
def judge_runtime(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C2: what compression adds to the fastest runtime."""
    audited = task.audited
    line = audited.lines[CHOICE]
    to_fastest = {size: timing.to_uncompressed for size, timing in line.timings.items()}
    ratios = ", ".join(f"batch {size}: {small_ratio_text(ratio)}" for size, ratio in to_fastest.items())
    fastest = {size: audited.lines[key] for size, key in audited.quickest.items()}
    runtimes = ", ".join(f"{runtime_name(line.runtime)} (batch {size})" for size, line in fastest.items())
    return Judgement(
        verdict=weakest([at_most(ratio, 1.0, audited.blocks, parameters) for ratio in to_fastest.values()]),
        reason=f"The fastest runtime of the full network is {runtimes}; ratios to it: {ratios}.",
        evidence="CPU time: clock",
        values={
            "choice": _figures(line),
            "uncompressed": {str(size): _figures(line) for size, line in fastest.items()},
        },
    )


@on_every_task
def judge_searchers(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C3: whether reinforcement learning is the better searcher."""
    searching = task.searching
    regret = searching.lines[CHOICE].mean_regret
    compared = "; ".join(
        f"{searcher_name(line.name)} {difference_text(line.against)} (p {p_value(line.adjusted_p)})"
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


@on_every_task
def judge_proxies(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C4: what counted operations can replace: a measurement of networks, but not of runtimes."""
    ranking, audited = task.ranking, parameters.audited
    within = [one for by_size in ranking.within.values() for one in by_size.values()]
    needed, factor = audited.rank_agreement, audited.runtime_factor
    widths = weakest([verdict_if(one.low >= needed, one.high < needed) for one in within])
    ratios = ranking.at_equal_operations
    runtimes = weakest([above(one, factor) for one in ratios.values()])
    lowest, highest = (pick(within, key=attrgetter("estimate")) for pick in (min, max))
    overall = ", ".join(f"{one.estimate:.2f} (batch {n})" for n, one in ranking.proxies["flops"].items())
    between = ", ".join(f"{small_ratio_text(one)} (batch {size})" for size, one in ratios.items())
    return Judgement(
        verdict=weakest([widths, runtimes]),
        reason=f"Rank correlation of operations with CPU time within one precision and runtime: "
        f"{lowest.estimate:.2f} to {highest.estimate:.2f}; over all candidates: {overall}. A network's CPU "
        f"time on its slowest target, relative to its fastest: {between}.",
        evidence="CPU time: clock; proxies: exact count",
        values={
            "proxies": _by_size(ranking.proxies),
            "within": _by_size(ranking.within),
            "at_equal_operations": {str(size): one and asdict(one) for size, one in ratios.items()},
        },
        parts={"ranks widths": widths, "does not rank runtimes": runtimes},
    )


def _by_size(estimates: Mapping[str, Mapping[int, Estimate]]) -> dict[str, dict[str, Any]]:
    return {
        name: {str(size): asdict(one) for size, one in by_size.items()} for name, by_size in estimates.items()
    }


@on_every_task
def judge_frugal(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C5: whether the network is worth its energy at all."""
    audited = task.audited
    frugal = [line for line in audited.gate.lines.values() if line.role == "frugal forecaster"]
    text = "; ".join(
        f"{forecaster_name(line.key)} {line.accuracy:.3f}, difference {difference_text(line.difference)}"
        for line in frugal
    )
    regression = _ratios(audited.lines["logistic_last_day"], audited)
    return Judgement(
        verdict=weakest([verdict_if(one.difference.high < 0, one.difference.low > 0) for one in frugal]),
        reason=f"Accuracy {audited.accuracies['baseline']:.3f}; {text}. The regression: {regression}",
        evidence=EXACT_COUNT,
        values={
            "accuracies": dict(audited.accuracies),
            "differences": {line.key: asdict(line.difference) for line in frugal},
        },
    )


AUDITED_CLAIMS = (
    Declaration(
        id="C1",
        statement="The deployment that the step-by-step PPO chooses needs at least {target_speed_up:g} times "
        "less CPU time per forecast than the eager FP32 baseline, at non-inferior accuracy.",
        rule="on every task: at every batch size, the CPU time ratio's interval over seeds lies below "
        "1/{target_speed_up:g}, with and without flagged windows; the accuracy difference's interval over "
        "fresh training seeds and test windows lies above -{accuracy_margin:g} (inconclusive with seeds that "
        "chose the deployment), and no frugal forecaster and no network that was broken on purpose passes "
        "this gate (otherwise the task cannot tell: inconclusive)",
        judge=judge_saving,
        decided_by=AUDITED_FILES,
        needs=("CPU time", "exact counts"),
        host_dependent="the deployment is chosen by costs that were measured on the host",
    ),
    Declaration(
        id="C2",
        statement="Compression also saves CPU time against the fastest uncompressed runtime.",
        rule="on every task and at every batch size, the interval over seeds of the CPU time ratio to the "
        "fastest runtime of the full network in fp32 lies below 1",
        judge=judge_runtime,
        decided_by=AUDITED_FILES,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C3",
        statement="A reinforcement-learning agent finds the compression with fewer evaluations than other "
        "searchers.",
        rule="on every task, with settings tuned on another: the step-by-step PPO's mean regret over the "
        "main budget is lower than that of every other searcher of the same space (paired t test over "
        "seeds, p adjusted by Holm's method over a task's comparisons, at most {error_percent:g} %); refuted "
        "if it is higher than that of one, with such a p; inconclusive with settings of no other task",
        judge=judge_searchers,
        decided_by=tuple(
            f"data/search/{task}/{name}" for task in TITLES for name in ("improvements.csv", "choices.json")
        ),
        needs=("exact counts",),
    ),
    Declaration(
        id="C4",
        statement="Counted operations rank the networks of one precision and runtime as measured CPU time "
        "does, but they do not rank runtimes.",
        rule="on every task, for every precision and runtime and at every batch size, the whole interval of "
        "Spearman's correlation between operations and CPU time over widths is at least {rank_agreement:g}; "
        "and the mean ratio of a network's CPU time on its slowest target to that on its fastest lies above "
        "{runtime_factor:g} with its whole interval; refuted if one lies below",
        judge=judge_proxies,
        decided_by=tuple(f"data/search/{task}/candidates.csv" for task in TITLES),
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C5",
        statement="The uncompressed network forecasts better than every frugal forecaster.",
        rule="on every task, the interval, over training seeds and test windows, of each frugal forecaster's "
        "accuracy minus the network's lies below 0; refuted if one lies above",
        judge=judge_frugal,
        decided_by=AUDITED_FILES,
        needs=("exact counts",),
    ),
)


def at_most(ratio: Ratio | None, bound: float, blocks: int, parameters: ReportParameters) -> str:
    """Whether a ratio's whole interval is at most `bound`; inconclusive with too few blocks."""
    if ratio is None or blocks < parameters.minimum_blocks:
        return INCONCLUSIVE
    return verdict_if(ratio.high <= bound, ratio.low > bound)


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
