"""The tables of the audited tasks. Each table shows every task, one after the other, under its title."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Protocol

from sustainable.reporting import formats
from sustainable.reporting.forecasting.audited import Audited
from sustainable.reporting.forecasting.searching import ABLATION, NEAR_ORACLE, OTHER_SPACE, RANKED
from sustainable.reporting.forecasting.searching import SearcherLine, Searching
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.reporting.forecasting.shared_tables import EVEN_COLUMNS, forecasts, identical
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.names import searcher_name
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.reporting.tables import BLANK, Code, Column, ReportTable, Row, Spanning, rows_of
from sustainable.statistics import Estimate, student_interval

QUALITY_SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error")
TIMED = attrgetter("cpu_time_ms", "ratio", "to_uncompressed", "detectable", "attained", "energy")
GROUP_TITLES = {
    RANKED: "searchers of the same space",
    ABLATION: "ablations of the step-by-step PPO, not ranked",
    OTHER_SPACE: "search another space, not ranked",
}


def audited_tables(study: Forecasting, parameters: ReportParameters) -> list[ReportTable]:
    """Declare every table of the audited tasks."""
    return [
        audited_table(study, parameters),
        audited_by_size_table(study, parameters),
        gate_table(study, parameters),
        decomposition_table(study, parameters),
        quality_table(study),
        tasks_table(study, parameters),
        controls_table(study, parameters),
        searchers_table(study, parameters),
        budgets_table(study, parameters),
        repairs_table(study, parameters),
        proxies_table(study, parameters),
        pay_back_table(study, parameters),
    ]


class LabelledTasks(Protocol):
    """What the tables of tasks read of `Forecasting`."""

    @property
    def tasks(self) -> Mapping[str, AuditedTask]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


def under_titles(
    study: LabelledTasks,
    columns: Sequence[Column],
    rows: Callable[[AuditedTask], Sequence[Row]],
    about: Callable[[AuditedTask], str] = lambda task: "",
) -> list[Row]:
    """Return the rows of every task under its title; `about` adds what the title says of the task."""
    shown: list[Row] = []
    for task in study.tasks.values():
        heading = ", ".join(filter(None, [task.title, about(task)]))
        shown += [Row([Spanning(heading, len(columns))], space=bool(shown)), *rows(task)]
    return shown


def audited_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    first = next(iter(study.tasks.values())).audited
    columns = [
        Column("Configuration"),
        Column("Deployment"),
        Column("Weights", page="html"),
        Column("mean", format=formats.THREE_DIGITS, group="Test accuracy"),
        Column("over seeds alone", format=formats.difference_text, group="Test accuracy", page="html"),
        Column("difference", format=formats.difference_text, group="Test accuracy"),
    ]
    for size in first.batch_sizes:
        timed = partial(Column, group=f"CPU time, batch {size}")
        columns += [
            timed("ms/forecast", format=formats.significant),
            timed("to eager", format=formats.small_ratio_text),
            timed("to best runtime", format=formats.small_ratio_text),
            timed("detectable", format=formats.percent),
            timed("of peak FLOP/s", format=formats.ceiling_share, page="html"),
            timed(f"energy to eager ({first.cpu_evidence})", format=formats.small_ratio_text, page="html"),
        ]
    caption = (
        "Deployments of study A. Accuracy: mean over seeds, and difference to the "
        "baseline. CPU time: geometric mean, and its ratio to the eager baseline and to the best runtime, "
        "which is the uncompressed fp32 deployment with the least CPU time at that batch size. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t: CPU time over training seeds, "
        "accuracy over seeds and test windows). Detectable: "
        f"the effect found with a power of {declared_percent(POWER)}. CPU time is read from the clock."
    )
    rows = under_titles(study, columns, partial(_audited_rows, study.labels), _measured_on)
    return ReportTable("audited", caption, columns, rows, page="html")


def audited_by_size_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    """The same for the paper, with a row for each batch size."""
    timed = partial(Column, group="CPU time")
    columns = (
        Column("Configuration"),
        Column("Deployment"),
        Column("mean", format=formats.THREE_DIGITS, group="Test accuracy"),
        Column("difference", format=formats.difference_text, group="Test accuracy"),
        Column("Batch"),
        timed("ms/forecast", format=formats.significant),
        timed("to eager", format=formats.small_ratio_text),
        timed("to best runtime", format=formats.small_ratio_text),
        timed("detectable", format=formats.percent),
    )
    caption = (
        "Deployments of study A, measured on fresh training seeds. Accuracy: mean over seeds, and difference "
        "to the baseline. CPU time by batch size: geometric mean, and its ratio to the eager baseline and to "
        "the best runtime, which is the uncompressed fp32 deployment with the least CPU time at that batch "
        f"size. Brackets: {declared_percent(parameters.confidence)} intervals (Student's t: CPU time over "
        "training seeds, accuracy over seeds and test windows). Detectable: the effect found with a power of "
        f"{declared_percent(POWER)}. Evidence class: clock."
    )
    rows = under_titles(study, columns, partial(_rows_by_size, study.labels), _measured_on)
    return ReportTable("audited_latex", caption, columns, rows, page="latex", long=True)


def _rows_by_size(labels: Mapping[str, str], task: AuditedTask) -> list[Row]:
    rows = []
    for line in task.audited.lines.values():
        named: list[Any] = [labels[line.key], line.name, line.accuracy, line.crossed]
        for size, timing in line.timings.items():
            rows.append(Row([*named, str(size), *TIMED(timing)[:4]]))
            named = [BLANK] * len(named)
    return rows


def _audited_rows(labels: Mapping[str, str], task: AuditedTask) -> list[Row]:
    rows = []
    for line in task.audited.lines.values():
        values: list[Any] = [labels[line.key], line.name, Code(line.weights_sha256[:8])]
        values += [line.accuracy, line.over_seeds, line.crossed]
        for timing in line.timings.values():
            values += TIMED(timing)
        rows.append(Row(values, identical("model", line, labels)))
    lookups = [name for name in ("persistence", "majority") if name in task.audited.accuracies]
    for place, name in enumerate(lookups):
        accuracy = task.audited.accuracies[name]
        rows.append(Row([name.capitalize(), "lookup table", BLANK, accuracy], rule=not place))
    return rows


def _measured_on(task: AuditedTask) -> str:
    audited: Audited = task.audited
    return (
        f"{audited.windows} test windows, {audited.blocks} randomised blocks, {_seeds(task)}, "
        f"{audited.flagged} windows flagged for contention"
    )


def _seeds(task: AuditedTask) -> str:
    which = "fresh training seeds" if task.fresh else "training seeds, which also chose"
    return f"{task.audited.seeds} {which}"


def gate_table(study: LabelledTasks, parameters: ReportParameters) -> ReportTable:
    columns = (
        Column("Forecaster", of=lambda line: study.labels.get(line.key, formats.words(line.key))),
        Column("Role", of=attrgetter("role")),
        Column("Test accuracy", format=formats.THREE_DIGITS, of=attrgetter("accuracy")),
        Column("Minus the baseline's", format=formats.difference_text, of=attrgetter("difference")),
        Column("Passes", of=lambda line: "yes" if line.passes else "no"),
        Column("Power", format=formats.percent, of=attrgetter("power")),
    )
    caption = (
        "The accuracy gate: a forecaster passes if its accuracy minus the baseline's lies above "
        f"-{parameters.audited.accuracy_margin:g} with its whole {declared_percent(parameters.confidence)} "
        "interval (over training seeds and test windows). If a frugal forecaster or a network that was "
        "broken on purpose passes, the task cannot tell, and the gate decides nothing. "
        "Power: the probability that a forecaster equal to the baseline passes, given the interval's width."
    )
    rows = under_titles(study, columns, lambda task: rows_of(task.audited.gate.lines.values(), columns))
    return ReportTable("gate", caption, columns, rows)


def decomposition_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    columns = (
        Column("Batch"),
        Column("Order"),
        Column("Change"),
        Column("Deployment after it"),
        Column("Factor", format=formats.interval_text),
    )

    def rows(task: AuditedTask) -> list[Row]:
        shown = []
        for way in task.decomposition:
            order = ", ".join(formats.words(change) for change in way.order)
            about = [str(way.batch_size), order]
            shown += [Row([*about, formats.words(one.change), one.to, one.factor]) for one in way.factors]
            shown.append(Row([*about, "all", BLANK, way.whole]))
        return shown or [Row([Spanning("not measured in these rows", len(columns))])]

    caption = (
        "Where the saving of the step-by-step PPO's choice comes from: CPU time of a forecast before each "
        "change, divided by that after it, in either order; a change with a factor below unity costs. Every "
        "step is measured in the same blocks. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over training seeds). CPU time is "
        "read from the clock."
    )
    return ReportTable("decomposition", caption, columns, under_titles(study, columns, rows))


def quality_table(study: Forecasting) -> ReportTable:
    headers = ("accuracy", "balanced", "log-loss", "Brier", "calibration error")
    scores = [Column(header, format=formats.THREE_DIGITS, align="r") for header in headers]
    columns = (Column("Forecaster"), Column("Windows"), *scores)
    caption = (
        "Forecasting quality of the network and of the frugal forecasters: "
        "accuracy, balanced accuracy, log-loss, Brier score and expected calibration error. Exact for the "
        "given windows."
    )
    return ReportTable("quality", caption, columns, under_titles(study, columns, _quality_rows))


def _quality_rows(task: AuditedTask) -> list[Row]:
    quality, rows = task.run.metrics["baseline"], []
    network = f"GRU, mean of {len(quality['seeds'])} seeds"
    named = {network: quality["mean_over_seeds"], **quality["forecasters"]}
    for place, part in enumerate(("validation", "test")):
        for index, (name, scores) in enumerate(named.items()):
            values = [scores[part][score] for score in QUALITY_SCORES]
            rows.append(Row([formats.words(name), part, *values], space=bool(place) and not index))
    return rows


def tasks_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    columns = (
        Column("Forecaster"),
        Column("Test accuracy", format=formats.THREE_DIGITS),
        Column("The network minus it", format=formats.difference_text),
    )

    def rows(task: AuditedTask) -> list[Row]:
        own, frugal = task.test_accuracies, task.run.metrics["baseline"]["forecasters"]
        shown = [Row(["the network", sum(own) / len(own), BLANK])]
        return shown + [
            Row([formats.words(key), one["test"]["accuracy"], lead_over(own, one, parameters)])
            for key, one in frugal.items()
        ]

    def about(task: AuditedTask) -> str:
        return f"{task.classes} classes, {_seeds(task)}"

    caption = (
        "The network's lead over frugal forecasters. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over training seeds; the test "
        "windows are taken as they are)."
    )
    return ReportTable("tasks", caption, columns, under_titles(study, columns, rows, about))


def lead_over(
    own: Sequence[float], frugal: Mapping[str, Any], parameters: ReportParameters
) -> Estimate | None:
    """The network's lead in test accuracy over a frugal forecaster, with its interval over training seeds."""
    leads = [accuracy - frugal["test"]["accuracy"] for accuracy in own]
    return student_interval(leads, parameters.confidence)


def controls_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    loss = partial(Column, format=formats.interval_text, group="Validation loss")
    columns = (
        Column("Widths", of=itemgetter("widths")),
        Column("Method", of=itemgetter("method")),
        loss("before training", of=itemgetter("before")),
        loss("after training", of=itemgetter("loss")),
    )
    caption = (
        "Narrow networks by method: pruned by norm or at random and fine-tuned, trained from scratch, or "
        "distilled from the baseline. Validation loss before and after that training, mean over training "
        f"seeds with {declared_percent(parameters.confidence)} intervals (Student's t)."
    )

    def about(task: AuditedTask) -> str:
        return f"{task.controls[0]['seeds']} training seeds"

    rows = under_titles(study, columns, lambda task: rows_of(task.controls, columns), about)
    return ReportTable("controls", caption, columns, rows)


def searchers_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    regret = partial(Column, format=formats.interval_text, group="Regret (nats)")
    counted = partial(Column, group="Evaluations", align="r")
    html, share = partial(Column, page="html"), partial(Column, format=formats.share_text)
    energy = f"CPU energy (J, {next(iter(study.tasks.values())).audited.cpu_evidence})"
    columns = (
        Column("Searcher", of=lambda line: searcher_name(line.name)),
        regret("mean over the budget", of=attrgetter("mean_regret")),
        regret("final", of=attrgetter("final_regret")),
        share("finds the oracle", of=attrgetter("found")),
        share("or a tie", of=lambda line: line.at_main.tied),
        counted(f"to {declared_percent(NEAR_ORACLE)}", format=_near, of=lambda line: line),
        counted("used", format=formats.NO_DIGIT, of=attrgetter("distinct")),
        Column("CPU time (s)", format=formats.TWO_DIGITS, align="r", of=lambda line: line.cost["cpu_time_s"]),
        html(energy, formats.ONE_DIGIT, of=lambda line: line.cost["cpu_j"]),
        html("mean regret of ours minus this", formats.difference_text, of=attrgetter("against")),
        html("Holm's p", formats.p_value, of=attrgetter("adjusted_p")),
    )
    caption = (
        "Searchers on the table of each task, with the main budget of distinct evaluations. Regret: the "
        "oracle's reward minus that of the best deployment found so far; intervals at "
        f"{declared_percent(parameters.confidence)} (Student's t over seeds). "
        "Finds the oracle: share of seeds, with Wilson's interval; or a tie: any of the candidates that the "
        "noise of timing cannot tell from the oracle. "
        f"To {declared_percent(NEAR_ORACLE)}: median evaluations until that share of the oracle's reward, "
        "with the count of seeds that reach it. Used: mean count of distinct evaluations in a search with "
        "the largest budget. CPU time: the searcher's, without evaluations."
    )
    rows: list[Row] = []
    for task in study.tasks.values():
        rows += _searcher_rows(task, columns, first=not rows)
    return ReportTable("searchers", caption, columns, rows)


def _searcher_rows(task: AuditedTask, columns: Sequence[Column], first: bool) -> list[Row]:
    searching, rows = task.searching, list[Row]()
    ties = f"{searching.ties} ties with the oracle"
    about = f"{searching.budget} evaluations, {ties}, tuned on {searching.tuned_on}"
    for group, title in GROUP_TITLES.items():
        lines = searching.of(group)
        if lines:
            heading = f"{task.title}: {title} ({lines[0].seeds} seeds; {about})"
            space = bool(rows) or not first
            rows += [Row([Spanning(heading, len(columns))], space=space), *rows_of(lines, columns)]
    return rows


def budgets_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    interval = partial(Column, format=formats.interval_text)
    columns = (
        Column("Budget"),
        Column("Searcher"),
        interval("regret (nats)"),
        interval("normalised regret"),
        Column("mean rank", format=formats.coarse_text),
        Column("reaches a tie", format=formats.share_text),
        interval("test regret (nats)"),
    )
    caption = (
        "The searchers of the same space at each budget, on the table of each task: mean over "
        f"seeds, with {declared_percent(parameters.confidence)} intervals (bootstrap "
        "over seeds; Wilson's for shares). Budget: distinct evaluations, and their share of the grid. "
        "Normalised regret: regret as a share of the range between the best and worst reward of the grid. "
        "Rank: among these searchers, by regret. Test regret: the chosen deployments compared by their test "
        "accuracy, which no searcher sees."
    )
    rows = under_titles(study, columns, lambda task: _budget_rows(task.searching), _searched_with)
    return ReportTable("budgets", caption, columns, rows)


def _searched_with(task: AuditedTask) -> str:
    return f"{task.searching.best.seeds} seeds, tuned on {task.searching.tuned_on}"


def _budget_rows(searching: Searching) -> list[Row]:
    rows: list[Row] = []
    for budget, share in searching.budgets.items():
        title = f"{budget} ({declared_percent(share)})"
        for index, line in enumerate(searching.of(RANKED)):
            at = line.at[budget]
            values = [at.regret, at.normalised, at.rank, at.tied, at.test_regret]
            rows.append(Row([BLANK if index else title, searcher_name(line.name), *values], space=not index))
    return rows


def _near(line: SearcherLine) -> str:
    if line.near_after is None:
        return "not reached"
    return f"{formats.fixed(line.near_after, digits=0)} ({line.near} of {line.seeds})"


def repairs_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    span, audited = formats.span_text, study.tasks["weather"].audited
    timed = partial(Column, format=formats.small_ratio_text, group="CPU time of the pick, to eager")
    columns = (
        Column("Repair", of=itemgetter("variant")),
        Column("Most frequent pick", width=0.26, of=lambda line: ", ".join(line["picks"])),
        Column("on seeds", of=lambda line: f"{line['on']} of {line['seeds']}"),
        Column("ties", of=lambda line: f"{span(line['ties'])} ({span(line['models'])} models)"),
        Column("test accuracy difference", format=formats.difference_text, of=itemgetter("accuracy")),
        *(timed(f"batch {size}", of=itemgetter(size)) for size in audited.batch_sizes),
    )
    rows = rows_of([line | line["ratios"] for line in study.repairs], columns)
    caption = (
        "The published search on the audited networks of the weather, with its flaws repaired in turn: what "
        f"it picks, and what that pick achieves, over {study.repairs[0]['seeds']} training seeds. CPU time "
        "is measured in eager PyTorch; the accuracy difference to the baseline is counted on all test "
        "windows. Where actions tie, the figures are means over the tied actions. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over seeds)."
    )
    return ReportTable("repairs", caption, columns, rows)


def proxies_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    sizes = [f"batch {size}" for size in next(iter(study.tasks.values())).audited.batch_sizes]
    columns = (
        Column("Proxy"),
        Column("Candidates"),
        *(Column(size, format=formats.interval_text) for size in sizes),
    )

    def rows(task: AuditedTask) -> list[Row]:
        proxies, within = task.ranking.proxies, task.ranking.within
        shown = [Row([formats.words(name), "all", *by_size.values()]) for name, by_size in proxies.items()]
        return shown + [
            Row([formats.words("flops"), target, *by_size.values()], rule=not place)
            for place, (target, by_size) in enumerate(within.items())
        ]

    caption = (
        "Spearman's rank correlation of each proxy with measured CPU time, over all candidates of a task and "
        "over those of one precision and runtime (sparsity with its sign turned), with "
        f"{declared_percent(parameters.confidence)} intervals (bootstrap over candidates). A network has "
        "equal operations on every target, which keeps the correlation over all candidates low. Proxies are "
        "exact counts; CPU time is read from the clock."
    )
    shown = under_titles(study, columns, rows, lambda task: f"{len(task.run.candidates)} candidates")
    return ReportTable("proxies", caption, columns, shown)


def pay_back_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    columns = (Column("Reference"), Column("Batch"), *EVEN_COLUMNS)

    def rows(task: AuditedTask) -> list[Row]:
        return [
            Row([study.labels[one.reference], str(one.batch_size), *forecasts(one.even, days=False)])
            for one in task.pay_back
        ]

    def about(task: AuditedTask) -> str:
        return "; ".join(f"{purpose} {formats.NO_DIGIT(s)} s" for purpose, s in task.invested.items())

    caption = (
        "Forecasts after which the step-by-step PPO's choice has repaid the CPU time spent to find it, with "
        f"{declared_percent(parameters.confidence)} intervals (bootstrap over blocks)."
    )
    shown = under_titles(study, columns, rows, about)
    return ReportTable("pay_back", caption, columns, shown, page="html")
