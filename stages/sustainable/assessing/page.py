"""The pages of an assessment: tables, a figure, and a self-contained HTML report."""

import base64
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sustainable.assessing.changes import Counts
from sustainable.assessing.results import CLOCK, AssessedRow, AssessedModel
from sustainable.assessing.windows import BASELINE
from sustainable.core.files import write_json, write_rows, write_text
from sustainable.reporting import formats
from sustainable.reporting.declaration import Claim
from sustainable.reporting.parameters import POWER
from sustainable.reporting.style import BLUE, GREY, draw_interval, save_figures, styled
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, UNCHANGED, Code, Column, ReportTable, Row
from sustainable.reporting.tables import VerdictText, claims_table, rows_of
from sustainable.reporting.templates import Latex, render_html, render_latex
from sustainable.statistics import Ratio, noise_floor

OWN_TEMPLATES = Path(__file__).parent
FIGURE = "cpu_time"
VERDICTS = "Claims, and the verdicts that their rules compute."
ROW_HEIGHT_IN, MARGINS_IN = 0.26, 1.1


def write_model_pages(
    folder: Path,
    templates: Path,
    results: AssessedModel,
    claims: Sequence[Claim],
    host: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the whole report of a model into `folder`, see `write_report`."""
    twin = results.twin.to_baseline.ratio
    shown = {"results": results, "host": host, "noise_floor": noise_floor(twin) if twin else None}
    tables, figure = tables_of(results, claims), _ratios_figure(results)
    write_tables(folder, claims, host, rows)
    write_report(folder, templates, "report.html.j2", tables, "rows", figure, results.stamp, shown)


def write_tables(
    folder: Path, claims: Sequence[Claim], host: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows.csv, claims.json and host.json into `folder`."""
    write_rows(folder / "rows.csv", rows)
    write_json(folder / "claims.json", [for_json(asdict(claim)) for claim in claims])
    write_json(folder / "host.json", for_json(host))


def write_report(
    folder: Path,
    templates: Path,
    template: str,
    tables: Sequence[ReportTable],
    main: str,
    figure: Figure,
    stamp: str,
    shown: Mapping[str, Any],
) -> None:
    """Write the figure, the table `main` as LaTeX, and report.html into `folder`; no table without rows.

    `templates`: the folder of this project's templates, from which tables are typeset. `shown`: other values
    of the template.
    """
    save_figures({FIGURE: figure}, folder, "not evidence" if stamp else "")
    by_name = {table.name: table for table in tables if table.rows}
    write_text(folder / "table.tex", latex_table(templates, by_name[main]))
    printed = {
        "stamp": stamp,
        "clock": CLOCK,
        "tables": {name: table.on("html") for name, table in by_name.items()},
        "picture": base64.b64encode((folder / f"{FIGURE}.png").read_bytes()).decode(),
    }
    page = render_html([OWN_TEMPLATES, templates], template, {**shown, **printed})
    write_text(folder / "report.html", page)


def latex_table(templates: Path, table: ReportTable) -> str:
    """Typeset a table with its caption; it needs the package booktabs."""
    shown = table.on("latex")
    return render_latex(templates, "table.tex.j2", {"table": shown, "alignment": Latex(shown.alignment)})


def tables_of(results: AssessedModel, claims: Sequence[Claim]) -> list[ReportTable]:
    """Declare all tables."""
    return [
        claims_table("claims", VERDICTS, claims, ("Claim", "Reason")),
        _rows_table(results),
        _quality_table(results),
        _models_table(results),
        _changes_table(results),
        _latency_table(results),
        _break_even_table(results),
        refused_table((refusal.key, refusal.reason) for refusal in results.refused),
    ]


def _rows_table(results: AssessedModel) -> ReportTable:
    """Declare the main table: the CPU time of a call in every row."""
    caption = (
        f"CPU time of one call with {results.batch_size} example(s), in {results.blocks} randomised blocks: "
        "geometric mean, and ratios within blocks to the baseline and to the fastest runtime of the "
        f"unconverted baseline ({results.fastest}). Brackets: "
        f"{formats.declared_percent(results.confidence)} intervals (Student's t over blocks). "
        "Detectable: the effect found with a power of "
        f"{formats.declared_percent(POWER)}. Evidence: {CLOCK}."
    )
    ratio, detectable = partial(Column, format=formats.small_ratio_text), attrgetter("to_baseline.detectable")
    columns = [
        Column("Row", of=lambda line: line.key),
        ratio("ms per call", of=lambda line: line.cpu_time_ms),
        ratio("to baseline", of=unless_baseline(attrgetter("to_baseline.ratio"))),
        ratio("to fastest", of=partial(_to_fastest, results.fastest)),
        Column("Detectable", format=formats.percent, of=unless_baseline(detectable, BLANK)),
        Column("p (Holm)", format=formats.p_value, of=_adjusted_p, page="html"),
        Column("of ceiling", format=formats.ceiling_share, of=lambda line: line.attained),
        Column("less CPU time", format=VerdictText, of=lambda line: line.verdict or BLANK),
        Column("Flagged", format=str, of=lambda line: line.flagged, page="html"),
    ]
    rows = [*rows_of(results.lines.values(), columns), *_twin_row(results, columns)]
    return ReportTable("rows", caption, columns, rows, stamp=results.stamp)


def _twin_row(results: AssessedModel, columns: Sequence[Column]) -> list[Row]:
    (row,) = rows_of([results.twin], columns)
    return [Row(["baseline again (A/A)", *row.values[1:]], rule=True)]


def _adjusted_p(line: AssessedRow) -> Any:
    return BLANK if line.p_holm is None else line.p_holm


def unless_baseline(of: Any, instead: Any = UNCHANGED) -> Any:
    """Return the column's values, with `instead` in the row of the baseline."""
    return lambda line: instead if line.key == BASELINE else of(line)


def _to_fastest(fastest: str, line: AssessedRow) -> Any:
    return UNCHANGED if line.key == fastest else line.to_fastest


def _quality_table(results: AssessedModel) -> ReportTable:
    """Declare the table of accuracy or error; it has no rows without a target."""
    scored = [line for line in results.lines.values() if line.quality]
    measure = scored[0].quality.measure if scored and scored[0].quality else ""
    of = "points" if measure == "accuracy" else "of the baseline's error"
    caption = (
        f"{measure.capitalize()} for the examples that were given, and the paired difference from the "
        "baseline. Not inferior: the whole interval lies within a margin of "
        f"{formats.percent(results.margin)} ({of}), declared before measuring."
    )
    difference = unless_baseline(attrgetter("quality.difference"), BLANK)
    columns = [
        Column("Row", of=lambda line: line.key),
        Column(measure.capitalize(), format=formats.FOUR_DIGITS, of=attrgetter("quality.value")),
        Column("Difference", format=partial(formats.difference_text, digits=4), of=difference),
        Column("not inferior", format=VerdictText, of=lambda line: line.quality.verdict or BLANK),
    ]
    return ReportTable("quality", caption, columns, rows_of(scored, columns))


def _operations(line: AssessedRow) -> Any:
    return NOT_AVAILABLE if line.counts.flops is None else line.counts.flops


def _models_table(results: AssessedModel) -> ReportTable:
    """Declare the table of what can be counted without measuring."""
    caption = (
        "What can be counted. Disagreement: the largest difference of an output from the model's own "
        "runtime, as a share of the largest output (of classes: the share of examples). Operations: two "
        "for each multiplication and addition of a product, for one call in floating point."
    )
    counted = partial(Column, format=formats.grouped)
    columns = [
        Column("Row", of=lambda line: line.key),
        counted("Parameters", of=lambda line: line.counts.parameters),
        counted("not zero", of=lambda line: line.counts.nonzero),
        counted("bytes loaded", of=lambda line: line.size_bytes),
        counted("Operations", of=_operations),
        Column("Disagreement", format=lambda value: f"{value:.1e}", of=lambda line: line.difference),
    ]
    return ReportTable("models", caption, columns, rows_of(results.lines.values(), columns))


def _changes_table(results: AssessedModel) -> ReportTable:
    """Declare the table of what each variant changed; it has no rows without variants."""
    caption = "What each variant changed, compared with the baseline by parameter, byte and output."
    counts: Sequence[tuple[str, Any]] = (
        ("parameters", lambda counts: counts.parameters),
        ("not zero", lambda counts: counts.nonzero),
        ("bytes of weights", lambda counts: counts.weight_bytes),
        ("operations", lambda counts: counts.flops),
    )
    columns = [
        Column("Variant", of=lambda change: Code(change.name)),
        *(Column(name, of=partial(_before_after, count)) for name, count in counts),
        Column("outputs", format=lambda value: f"{value:.1e}", of=lambda change: change.difference),
        Column("what changed", width=0.4, of=lambda change: change.sentence),
    ]
    return ReportTable("changes", caption, columns, rows_of(results.changes.values(), columns))


def _before_after(count: Any, change: Any) -> str:
    def text(counts: Counts) -> str:
        value = count(counts)
        return formats.MISSING if value is None else formats.grouped(value)

    before, after = text(change.before), text(change.after)
    return f"{after} (unchanged)" if before == after else f"{before} to {after}"


def _latency_table(results: AssessedModel) -> ReportTable:
    """Declare the table of latencies."""
    caption = "Wall time of single calls in ms, timed apart from the windows with no meter running."
    milliseconds = partial(Column, format=formats.significant)
    columns = [
        Column("Row", of=lambda line: line.key),
        milliseconds("median", of=lambda line: line.latency_ms["p50"]),
        milliseconds("95th percentile", of=lambda line: line.latency_ms["p95"]),
        milliseconds("99th percentile", of=lambda line: line.latency_ms["p99"]),
    ]
    return ReportTable("latency", caption, columns, rows_of(results.lines.values(), columns))


def _break_even_table(results: AssessedModel) -> ReportTable:
    """Declare the table of calls after which a row has repaid what it cost to make."""
    at = f", and days at {results.rate:g} requests per second" if results.rate else ""
    caption = (
        f"Calls after which the CPU time that a row saves has repaid the CPU time that it cost{at}. "
        "Invested: converting and loading, and what was declared or measured for the compressor."
    )
    columns = [
        Column("Row", of=lambda line: line.key),
        Column("invested, CPU s", format=formats.significant, of=lambda line: line.invested_cpu_s),
        Column("calls", of=_calls),
        Column("days", of=partial(_days, results.rate)),
    ]
    columns = columns if results.rate else columns[:-1]
    lines = [line for line in results.lines.values() if line.break_even]
    return ReportTable("break_even", caption, columns, rows_of(lines, columns))


def _calls(line: AssessedRow) -> str:
    found = line.break_even
    assert found is not None
    if found.inferences is None or found.low is None or found.high is None:
        return found.reason
    return f"{found.inferences:,.0f} [{found.low:,.0f}, {found.high:,.0f}]"


def _days(rate: float | None, line: AssessedRow) -> str:
    days = line.days(rate) if rate else None
    return formats.MISSING if days is None else formats.significant(days)


def refused_table(refused: Iterable[tuple[str, str]]) -> ReportTable:
    """Declare the table of rows that could not be measured, each with the reason."""
    columns = (Column("Row"), Column("why it was not measured", width=0.7))
    caption = "Rows that were refused; the others are not affected."
    return ReportTable("refused", caption, columns, [Row(pair) for pair in refused])


def _ratios_figure(results: AssessedModel) -> Figure:
    """Plot the CPU time of every row relative to the baseline."""
    twin = results.twin.to_baseline.ratio
    ratios = {line.key: line.to_baseline.ratio for line in results.lines.values() if line.key != BASELINE}
    ratios["baseline again (A/A)"] = twin
    judged = {line.key for line in results.lines.values() if line.verdict}
    label = f"CPU time of a call, relative to the baseline ({results.lines[BASELINE].runtime})"
    return ratio_points_figure(ratios, judged, noise_floor(twin) if twin else None, label)


@styled()
def ratio_points_figure(
    ratios: Mapping[str, Ratio | None], judged: Collection[str], floor: float | None, label: str
) -> Figure:
    """Plot ratios with intervals on a logarithmic axis, one row each.

    Grey: the noise floor, and the same model as the baseline, which is not among the `judged`.
    """
    figure, axis = plt.subplots(figsize=(5.6, MARGINS_IN + ROW_HEIGHT_IN * len(ratios)))
    if floor is not None:
        axis.axvspan(math.exp(-floor), math.exp(floor), color=GREY, alpha=0.3, linewidth=0)
    axis.axvline(1, color="black", linewidth=0.6)
    for place, (key, ratio) in enumerate(ratios.items()):
        draw_interval(axis, ratio, place, BLUE if key in judged else GREY)
    axis.set_yticks(range(len(ratios)), list(ratios))
    axis.invert_yaxis()
    _label_ratios(axis)
    axis.set_xlabel(label)
    return figure


def _label_ratios(axis: Any) -> None:
    """Use a logarithmic axis with plain numbers."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    marks = [mark for mark in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low <= mark <= high]
    axis.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axis.minorticks_off()


def for_json(value: Any) -> Any:
    """Return `value` with what JSON has: no NumPy numbers, no infinity."""
    if isinstance(value, Mapping):
        return {str(key): for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value.item() if hasattr(value, "item") else value
