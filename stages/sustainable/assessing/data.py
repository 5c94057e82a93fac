"""A daily table of your own under study A's audited protocol: what it holds, and the report of its run."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from sustainable.assessing.page import VERDICTS, for_json, write_report
from sustainable.core.errors import UserError
from sustainable.core.files import write_bytes, write_json
from sustainable.core.parameters import read_section
from sustainable.core.reading import TABLE_BYTES, read_bytes
from sustainable.forecasting.data.daily import DailyParameters, ValueTarget, preprocess_daily
from sustainable.forecasting.data.daily import read_daily_table
from sustainable.forecasting.data.windows import Windows
from sustainable.reporting import formats
from sustainable.reporting.claims import DECLARATIONS, claim_of
from sustainable.reporting.declaration import Claim, thresholds
from sustainable.reporting.forecasting.audited import PRECISIONS, AuditedLine
from sustainable.reporting.forecasting.audited_claims import judge_frugal, judge_runtime, judge_saving
from sustainable.reporting.forecasting.audited_figures import audited_figure, candidates_figure
from sustainable.reporting.forecasting.audited_tables import gate_table
from sustainable.reporting.forecasting.recommendation import DEFAULT_RATE_PER_S, Choices, Offer
from sustainable.reporting.forecasting.recommendation import break_even_text, choices_of, default_floor
from sustainable.reporting.forecasting.recommendation import front_of, recommend, saving_text
from sustainable.reporting.forecasting.run import TaskRun, read_task
from sustainable.reporting.forecasting.task import AuditedTask, summarise_task
from sustainable.reporting.measured_rows import stamp_of
from sustainable.reporting.names import forecaster_name
from sustainable.reporting.parameters import ReportParameters, timing_rounds
from sustainable.reporting.style import save_figures
from sustainable.reporting.tables import Column, ReportTable, Row, claims_table, rows_of

JUDGES = {"C1": judge_saving, "C2": judge_runtime, "C5": judge_frugal}
"""Claims that one table can decide. C3 ranks searchers, and C4 is about the host."""
NO_ACTION = -1
"""In the place of the published action, which no rule of these claims names."""
SMALL = "small run"


@dataclass(frozen=True)
class PartOfTable:
    """Train, validation or test: its windows, by the day that each forecasts."""

    name: str
    windows: int
    positive: float  # share of the days to forecast
    first: date
    last: date


@dataclass(frozen=True)
class OwnTable:
    """A daily table and how it is cut."""

    title: str  # the file's name
    target: str  # in words
    features: Sequence[str]
    window_days: int
    first: date
    days: int  # from the first to the last, missing ones among them
    gaps: str  # the declared policy
    missing_days: int
    skipped: int  # windows that touch a missing day
    parts: Mapping[str, PartOfTable]

    @property
    def gap_line(self) -> str:
        """What the policy did to this table, with counts."""
        if self.gaps == "refuse":
            return "gaps: refuse; the table has none"
        every = self.days - self.window_days
        return (
            f"gaps: skip; missing days: {self.missing_days} of {self.days}; windows left out because they "
            f"touch one: {self.skipped} of {every}"
        )

    def lines(self) -> list[str]:
        """The table for people."""
        last = self.first + timedelta(days=self.days - 1)
        windows = ", ".join(
            f"{part.name} {part.windows} windows ({formats.percent(part.positive)} positive)"
            for part in self.parts.values()
        )
        return [
            f"{self.title}: {self.days} days, {self.first} to {last}",
            f"target: {self.target} Forecast from {self.window_days} days of {', '.join(self.features)}",
            self.gap_line,
            windows,
        ]


def describe_table(csv: Path, parameters: DailyParameters, margin: float) -> OwnTable:
    """Read, check and cut a table as the stage `preprocess` will.

    Raises `UserError` for the first fault, and for a part that is too small to be judged by `margin`.
    """
    table = read_daily_table(csv, parameters)
    parts, described = preprocess_daily(csv, parameters)
    first_target = table.first + timedelta(days=parameters.window_days)
    skipped = described.get("skipped", {"days": 0, "windows": 0})
    _refuse_few({name: len(part) for name, part in parts.items()}, margin)
    if len(set(parts["train"].previous.tolist())) < 2:  # type: ignore[union-attr]
        raise UserError(
            "preprocess: split: the last days of all training windows are alike; persistence needs both"
        )
    return OwnTable(
        title=csv.stem,
        target=target_in_words(parameters),
        features=parameters.features,
        window_days=parameters.window_days,
        first=table.first,
        days=len(table),
        gaps=parameters.gaps,
        missing_days=skipped["days"],
        skipped=skipped["windows"],
        parts={name: _part_of(name, part, first_target) for name, part in parts.items()},
    )


def _part_of(name: str, part: Windows, first_target: date) -> PartOfTable:
    """Describe a part; `first_target`: the day that the table's first window forecasts."""
    first, last = (first_target + timedelta(days=int(row)) for row in (part.first_day[0], part.first_day[-1]))
    return PartOfTable(name, len(part), float(part.target.mean()), first, last)


def _refuse_few(windows: Mapping[str, int], margin: float) -> None:
    """Raise `UserError` if one window of a part would weigh more than the accuracy margin."""
    fewest = math.ceil(1 / margin)
    for name, count in windows.items():
        if count < fewest:
            raise UserError(
                f"preprocess: split: {name} has too few windows ({count}): at least {fewest} are needed, so "
                f"that one weighs no more than the accuracy margin of {margin:g}"
            )


def target_in_words(parameters: DailyParameters) -> str:
    """As in `is TMAX above 75 on the next day?`."""
    target = parameters.target
    if isinstance(target, ValueTarget):
        return f"is {target.column} {' or '.join(target.positive)} on the next day?"
    return f"is {target.column} above {target.above:g} on the next day?"


@dataclass(frozen=True)
class OneTask:
    """What the judges and tables of tasks read, for one task."""

    tasks: Mapping[str, AuditedTask]
    labels: Mapping[str, str]
    parameters: ReportParameters


def write_data_report(run: Path, name: str, table: OwnTable, out: Path) -> list[Claim]:
    """Write the report of the task `name`, which ran in the folder `run`, into `out`; return the claims."""
    parameters = read_section(run / "params.yaml", "report", ReportParameters)
    files = _without_ceilings(read_task(run / "data", name))
    task = summarise_task(table.title, files, parameters)
    labels = {key: forecaster_name(key) for key in (*task.audited.lines, *task.audited.gate.lines)}
    study = OneTask({table.title: task}, labels, parameters)
    choices = choices_of(table.title, files, timing_rounds(run / "params.yaml"), parameters.confidence)
    stamp = stamp_of([task.audited]).replace("smoke run", SMALL)
    claims = own_claims(study)
    write_json(out / "claims.json", [for_json(asdict(claim)) for claim in claims])
    write_json(out / "host.json", files.conditions["host"])
    write_bytes(out / "rows.csv", read_bytes(run / f"data/benchmark/{name}.csv", TABLE_BYTES))
    save_figures({"candidates": candidates_figure(task)}, out, "not evidence" if stamp else "")
    picture = base64.b64encode((out / "candidates.png").read_bytes()).decode()
    shown = {"table": table, "task": task, "choices": choices, "candidates": picture, "small": SMALL in stamp}
    shown |= {"refused": {**files.refused, **choices.left_out}, "host": files.conditions["host"]}
    tables = own_tables(table, study, choices, claims)
    figure = audited_figure(task.audited, labels)
    write_report(out, run / "paper/templates", "data.html.j2", tables, "deployments", figure, stamp, shown)
    return claims


def _without_ceilings(files: TaskRun) -> TaskRun:
    """Leave out the core's peak rates: no page prints them, and one measured on a busy machine is too low."""
    frozen = files.conditions["frozen"]
    rates = {key: value for key, value in frozen["roofline"].items() if key not in PRECISIONS}
    return replace(files, conditions={**files.conditions, "frozen": {**frozen, "roofline": rates}})


def own_claims(study: OneTask) -> list[Claim]:
    """Judge the claims that one table can decide, by the rules of the paper."""
    declared = thresholds(study.parameters, NO_ACTION)
    return [claim_of(DECLARATIONS[name], judge(study), declared, {}) for name, judge in JUDGES.items()]


def own_tables(
    table: OwnTable, study: OneTask, choices: Choices, claims: Sequence[Claim]
) -> list[ReportTable]:
    """Declare all tables."""
    (task,) = study.tasks.values()
    return [
        claims_table("claims", VERDICTS, claims, ("Claim", "Reason")),
        _parts_table(table),
        gate_table(study, study.parameters),
        _answer_table(choices, study.parameters),
        _front_table(choices),
        _deployments_table(task, study),
    ]


def _parts_table(table: OwnTable) -> ReportTable:
    columns = [
        Column("Part", of=attrgetter("name")),
        Column("Windows", of=attrgetter("windows")),
        Column("First day to forecast", of=attrgetter("first")),
        Column("Last", of=attrgetter("last")),
        Column("Positive", format=formats.percent, of=attrgetter("positive")),
    ]
    caption = (
        f"The windows of {table.title}. The parts share no day. Positive: share of the days to forecast for "
        f"which the answer to “{table.target}” is yes."
    )
    return ReportTable("parts", caption, columns, rows_of(table.parts.values(), columns))


def _answer_table(choices: Choices, parameters: ReportParameters) -> ReportTable:
    """Declare the answer for every batch size at the default floor, with the runner-up."""
    floor = default_floor(choices, parameters.audited.accuracy_margin)
    columns = (
        Column("Batch"), Column(""), Column("Deployment"),
        Column("validation", format=formats.THREE_DIGITS, group="Accuracy"),
        Column("test", format=formats.THREE_DIGITS, group="Accuracy"),
        Column("ms per forecast"),
        Column("to the eager baseline", group="CPU time saved"),
        Column("to the fastest uncompressed runtime", group="CPU time saved"),
        Column("break-even"),
    )  # fmt: skip
    rows: list[Row] = []
    for size in choices.batch_sizes:
        answer = recommend(choices, floor, DEFAULT_RATE_PER_S, size)
        rows.append(Row([str(size), "deploy", *_offer_cells(answer.choice)], space=bool(rows)))
        if answer.runner_up:
            rows.append(Row(["", "runner-up", *_offer_cells(answer.runner_up)]))
    caption = (
        "The cheapest candidate, trivial forecasters among them, whose validation accuracy is at least "
        f"{formats.fixed(floor, 3)}: the baseline's less the margin of "
        f"{parameters.audited.accuracy_margin:g}. Brackets: {formats.declared_percent(choices.confidence)} "
        "intervals (Student's t over timings). Nothing is chosen by the test accuracy. Evidence: CPU time, "
        "by the clock."
    )
    return ReportTable("answer", caption, columns, rows)


def _offer_cells(offer: Offer) -> list[Any]:
    one, at_most = offer.candidate, "at most " if offer.cost.at_most else ""
    milliseconds = f"{at_most}{formats.significant(offer.cost.cpu_time_ms)}"
    savings = [saving_text(offer.saving), saving_text(offer.over_uncompressed)]
    return [
        one.name,
        one.validation_accuracy,
        one.test_accuracy,
        milliseconds,
        *savings,
        break_even_text(offer),
    ]


def _front_table(choices: Choices) -> ReportTable:
    """Declare the Pareto front of the candidates by batch size."""
    columns = (
        Column("Batch"), Column("Deployment"),
        Column("Validation accuracy", format=formats.THREE_DIGITS),
        Column("ms per forecast", format=formats.significant),
    )  # fmt: skip
    rows: list[Row] = []
    for size in choices.batch_sizes:
        for place, one in enumerate(front_of(choices, size)):
            cost = one.costs[size].cpu_time_ms
            values = ["" if place else str(size), one.name, one.validation_accuracy, cost]
            rows.append(Row(values, space=bool(rows) and not place))
    caption = (
        f"The Pareto front of {len(choices.candidates)} candidates, the cheapest first: no other candidate "
        "is both cheaper and as accurate. Means over training seeds; medians over rounds of timing."
    )
    return ReportTable("front", caption, columns, rows)


def _deployments_table(task: AuditedTask, study: OneTask) -> ReportTable:
    """Declare the deployments that were measured with fresh training seeds."""
    ratio = partial(Column, format=formats.small_ratio_text)
    columns = [
        Column("Configuration", of=lambda line: study.labels[line.key]),
        Column("Deployment", of=attrgetter("name")),
        Column(
            "minus the baseline's", format=formats.difference_text, of=attrgetter("crossed"), group="Accuracy"
        ),
    ]
    for size in task.audited.batch_sizes:
        group = f"CPU time, batch {size}"
        columns += [
            ratio("to eager", of=partial(_of_timing, "ratio", size), group=group),
            ratio("to best runtime", of=partial(_of_timing, "to_uncompressed", size), group=group),
        ]
    caption = (
        f"Deployments on {task.title}, measured with {task.audited.seeds} fresh training seeds in "
        f"{task.audited.blocks} randomised blocks. Best runtime: the uncompressed fp32 deployment with the "
        "least CPU time at that batch size. Brackets: "
        f"{formats.declared_percent(study.parameters.confidence)} intervals (Student's t: CPU time over "
        "training seeds, accuracy over seeds and test windows). Evidence: clock."
    )
    return ReportTable("deployments", caption, columns, rows_of(task.audited.lines.values(), columns))


def _of_timing(name: str, size: int, line: AuditedLine) -> Any:
    return getattr(line.timings[size], name)
