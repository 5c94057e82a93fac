"""Claims C1 to C5: our own, judged on every audited task, with training seeds as the unit of intervals.

A claim holds if it holds on every task; its parts give the verdict on each.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, Protocol

from sustainable.reporting.declaration import CPU_CLOCK, EXACT_COUNT, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.accuracy_gate import Gate
from sustainable.reporting.forecasting.audited import Audited, AuditedLine, Ranking, Timing
from sustainable.reporting.forecasting.searching import ABLATION, RANKED, SearcherLine
from sustainable.reporting.forecasting.task import TITLES, AuditedTask
from sustainable.reporting.formats import difference_text, fixed, p_value, percent, small_ratio_text
from sustainable.reporting.judging import above, same_both_ways, verdict_if
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.names import forecaster_name, runtime_name, searcher_name
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import INCONCLUSIVE, Estimate, Ratio, verdict_on_ratio, weakest

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
        same_both_ways(*(at_most(one, bound, audited.blocks, parameters) for one in (own.ratio, own.clean)))
        for own in line.timings.values()
    ]
    accuracy = audited.gate.verdict_on(CHOICE) if task.fresh else INCONCLUSIVE
    return Judgement(
        verdict=weakest([*verdicts, accuracy]),
        reason=f"{_ratios(line, audited)} {_at_the_gate(audited.gate, task.fresh)}",
        evidence=f"{CPU_CLOCK}; accuracy: {EXACT_COUNT}",
        values={
            name: _figures(audited.lines[key])
            for name, key in (("choice", CHOICE), ("oracle", ORACLE), ("twin", TWIN))
        },
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
    line, twin = audited.lines[CHOICE], audited.lines[TWIN].timings
    enough = audited.blocks >= parameters.minimum_blocks
    verdicts = [_below_fastest(own, twin[size]) for size, own in line.timings.items()]
    ratios = ", ".join(
        f"batch {size}: {small_ratio_text(own.to_uncompressed)}, without flagged windows "
        f"{small_ratio_text(own.to_uncompressed_clean)} (A/A control {small_ratio_text(twin[size].ratio)})"
        for size, own in line.timings.items()
    )
    fastest = {size: audited.lines[key] for size, key in audited.quickest.items()}
    runtimes = ", ".join(f"{runtime_name(line.runtime)} (batch {size})" for size, line in fastest.items())
    return Judgement(
        verdict=weakest(verdicts) if enough else INCONCLUSIVE,
        reason=f"The fastest runtime of the full network is {runtimes}; ratios to it: {ratios}.",
        evidence=CPU_CLOCK,
        values={
            "choice": _figures(line),
            "uncompressed": {str(size): _figures(line) for size, line in fastest.items()},
        },
    )


def _below_fastest(timing: Timing, twin: Timing) -> str:
    """Judge the ratio to the fastest runtime as every direction of a ratio is, against the A/A control."""
    pairs = (timing.to_uncompressed, twin.ratio), (timing.to_uncompressed_clean, twin.clean)
    verdicts = [
        INCONCLUSIVE if ratio is None or control is None else verdict_on_ratio(ratio, control, "lower")
        for ratio, control in pairs
    ]
    return same_both_ways(*verdicts)


def judge_searchers(analysis: OnTasks) -> Judgement:
    """C3, with the probability that its rule refutes on some task although all searchers are equal."""
    judgement = _judge_searchers(analysis)
    rates = [task.searching.false_refutations.estimate for task in analysis.tasks.values()]
    wrongly = 1 - math.prod(1 - rate for rate in rates)
    text = f" If all searchers were equal, at least one task would refute the claim in {percent(wrongly)} of "
    return replace(judgement, reason=f"{judgement.reason}{text}simulations.")


@on_every_task
def _judge_searchers(task: AuditedTask, parameters: ReportParameters) -> Judgement:
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
        verdict=searching.verdict if regret and searching.tuned_on != searching.task else INCONCLUSIVE,
        reason=reason,
        evidence="exact count on the table of candidates",
        values={line.name: _searched(line) for line in searched},
    )


@on_every_task
def judge_proxies(task: AuditedTask, parameters: ReportParameters) -> Judgement:
    """C4: what counted operations can replace: a measurement of networks, but not of runtimes."""
    ranking, ratios = task.ranking, task.ranking.at_equal_operations
    needed, factor = parameters.audited.rank_agreement, parameters.audited.runtime_factor
    cells = _cells_of(ranking)
    able = [cell for cell in cells if cell.retest is not None and cell.retest >= needed]
    widths = [verdict_if(cell.found.low >= needed, cell.found.high < needed) for cell in able]
    runtimes = weakest([above(one, factor) for one in ratios.values()])
    overall = ", ".join(f"{one.estimate:.2f} (batch {n})" for n, one in ranking.proxies["flops"].items())
    between = ", ".join(f"{small_ratio_text(one)} (batch {size})" for size, one in ratios.items())
    parts = {
        "ranks widths": weakest(widths) if widths else INCONCLUSIVE,
        "does not rank runtimes": runtimes,
    }
    return Judgement(
        verdict=weakest(parts.values()),
        reason="Rank correlation of operations with CPU time within one precision and runtime: "
        f"{_agreement_text(cells, able)}. Over all candidates: {overall}. A network's CPU time on its "
        f"slowest target, relative to its fastest: {between}.",
        evidence=f"{CPU_CLOCK}; proxies: {EXACT_COUNT}",
        values={
            "proxies": _by_size(ranking.proxies),
            "within": _by_size(ranking.within),
            "retest": {
                name: {str(size): one for size, one in own.items()} for name, own in ranking.retest.items()
            },
            "at_equal_operations": {str(size): one and asdict(one) for size, one in ratios.items()},
        },
        parts=parts,
    )


class RankedCell(NamedTuple):
    """One precision and runtime at one batch size."""

    name: str
    found: Estimate  # rank correlation of operations with CPU time
    retest: float | None  # that of a second timing with the first


def _cells_of(ranking: Ranking) -> list[RankedCell]:
    return [
        RankedCell(f"{name}, batch {size}", found, ranking.retest[name][size])
        for name, by_size in ranking.within.items()
        for size, found in by_size.items()
    ]


def _agreement_text(cells: Sequence[RankedCell], able: Sequence[RankedCell]) -> str:
    """Print the range over the cells that can tell, and name the others with their retest correlation."""
    estimates = [cell.found.estimate for cell in able]
    text = f"{min(estimates):.2f} to {max(estimates):.2f}" if estimates else "no cell can tell"
    others = [
        f"{cell.name}: {cell.found.estimate:.2f} (a second timing: {fixed(cell.retest, 2)})"
        for cell in cells
        if cell not in able
    ]
    return f"{text}; cannot tell, because the times are too noisy: {'; '.join(others)}" if others else text


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
        "1/{target_speed_up:g}, refuted if above, and a verdict that changes without flagged windows is "
        "inconclusive; the accuracy difference's interval over "
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
        "fastest runtime of the full network in fp32 lies below 1, refuted if above; the effect exceeds the "
        "A/A noise floor, and both hold without flagged windows, otherwise inconclusive",
        judge=judge_runtime,
        decided_by=AUDITED_FILES,
        needs=("CPU time", "exact counts"),
    ),
    Declaration(
        id="C3",
        statement="At equal numbers of evaluations, the reinforcement-learning agent finds better "
        "deployments than every other searcher.",
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
        rule="on every task, in every cell (precision, runtime and batch size) that can tell, the whole "
        "interval of Spearman's correlation between operations and CPU time over widths is at least "
        "{rank_agreement:g}, refuted if one lies below. A cell can tell if a second timing would rank the "
        "networks like the first with a correlation of at least {rank_agreement:g}, simulated with the "
        "measured standard errors; the others are named, and if none can tell, this part is inconclusive. "
        "And the mean ratio of a network's CPU time on its slowest target to that on its fastest lies above "
        "{runtime_factor:g} with its whole interval, refuted if below: operations do not depend on the "
        "runtime, so they cannot rank runtimes by definition, and this part asks only how much that matters",
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
