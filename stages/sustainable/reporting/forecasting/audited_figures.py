"""Figures of the audited protocol: the deployment space, proxies against measurement, regret, and ratios."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sustainable.reporting.forecasting.audited import PROXIES, Audited
from sustainable.reporting.forecasting.decomposition import Waterfall
from sustainable.reporting.forecasting.searching import ABLATION, OTHER_SPACE, OURS, RANKED
from sustainable.reporting.forecasting.searching import SearcherLine, Searching
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.reporting.forecasting.transfer import DEPLOYMENT
from sustainable.reporting.formats import declared_percent, words
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.reporting.names import RUNTIME_NAMES, searcher_name
from sustainable.reporting.style import BLACK, BLUE, COLUMN, GREEN, GREY, MARKS, ORANGE, PAGE, PALETTE, PINK
from sustainable.reporting.style import SMALL, fraction_ticks, legend_above, line_entry, mark_entry
from sustainable.reporting.style import ratios_figure, save_figures, shade_noise, spread, styled

RUNTIME_COLOURS = {"torch-eager": BLUE, "onnxruntime": ORANGE, "openvino": GREEN, "numba": PINK}
PRECISION_MARKS = {"fp32": "o", "int8": "s", "bf16": "^"}
POINTS: dict[str, Any] = {"alpha": 0.55, "markeredgewidth": 0, "linestyle": ""}
PROXY_LABELS = {
    "flops": "operations",
    "parameters": "parameters",
    "size_bytes": "stored bytes",
    "sparsity": "sparsity",
    "proxy_flops": "operations, by ptflops",
    "proxy_parameters": "parameters()",
}


def draw_audited(folder: Path, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure of every task into `folder`; return their names, which end with the task."""
    names = []
    for task in study.tasks.values():  # figures of one task at a time, which saves memory
        figures = task_figures(task, study.labels)
        names += save_figures({f"{name}_{task.name}": one for name, one in figures.items()}, folder, stamp)
    return names


def task_figures(task: AuditedTask, labels: Mapping[str, str]) -> dict[str, Figure]:
    """Draw every figure of a task."""
    sizes, candidates = task.audited.batch_sizes, task.run.candidates
    steps = {"decomposition": decomposition_figure(task.decomposition)} if task.decomposition else {}
    return steps | {
        "audited": audited_figure(task.audited, labels),
        "candidates": candidates_figure(task),
        "proxies": proxies_figure(candidates, max(sizes)),
        "regret": regret_figure(task.searching),
        "ranks": ranks_figure(task.searching),
    }


@styled()
def audited_figure(audited: Audited, labels: Mapping[str, str]) -> Figure:
    """Plot CPU time relative to the eager baseline with its interval over seeds, on a logarithmic axis."""
    lines = {key: line for key, line in audited.lines.items() if key != BASELINE}
    series = {
        f"batch {size}": {key: line.timings[size].ratio for key, line in lines.items()}
        for size in audited.batch_sizes
    }
    figure = ratios_figure(series, [labels[key] for key in lines], COLUMN)
    axis = figure.axes[0]
    axis.set(xscale="log", xlabel="CPU time of a forecast\n(eager baseline = 1)")
    fraction_ticks(axis)
    shade_noise(axis, [timing.ratio for timing in audited.lines[TWIN].timings.values()])
    return figure


@styled()
def decomposition_figure(ways: Sequence[Waterfall]) -> Figure:
    """Plot the CPU time after each change, relative to the baseline's, one panel per order and batch size.

    A segment is a change: green saves, orange and dashed costs. Its number is the factor, and the black
    bar at its end the factor's interval.
    """
    figure, axes = plt.subplots(1, len(ways), figsize=(PAGE, 2.1), squeeze=False, sharey=True)
    for axis, way in zip(axes[0], ways, strict=True):
        levels = [1.0, *(factor.share for factor in way.factors)]
        for place, factor in enumerate(way.factors):
            before, after = levels[place], levels[place + 1]
            colour, style = (GREEN, "-") if after <= before else (ORANGE, "--")
            axis.plot(
                [place + 1] * 2, [before, after], style, color=colour, linewidth=4, solid_capstyle="butt"
            )
            axis.plot([place, place + 1], [before, before], color=GREY, linewidth=0.5)
            axis.annotate(f"x{before / after:.3g}", (place + 1, max(before, after)), (0, 3), fontsize=SMALL,
                          ha="center", textcoords="offset points")  # fmt: skip
            if factor.factor is not None:
                ends = [before / factor.factor.high, before / factor.factor.low]
                axis.plot([place + 1] * 2, ends, color=BLACK, linewidth=0.9)
        axis.plot(0, 1, "o", color=BLACK)
        axis.plot(len(levels) - 1, levels[-1], "o", color=BLACK)
        names = ["baseline", *(words(one.change) for one in way.factors)]
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.set(yscale="log", title=f"batch {way.batch_size}, {words(way.order[0])} first")
        axis.set_xlim(-0.5, len(levels) - 0.2)
    shares = [factor.share for way in ways for factor in way.factors]
    axes[0][0].set_ylim(min(shares) / 2, 3 * max([*shares, 1.0]))
    axes[0][0].set_ylabel("CPU time of a forecast\n(eager baseline = 1)")
    return figure


@styled()
def candidates_figure(task: AuditedTask) -> Figure:
    """Plot validation accuracy against measured CPU time, one point per candidate, by batch size.

    With the Pareto front, the searched choice, the eager baseline and the best frugal forecaster.
    """
    space = task.run.candidates[task.run.candidates["family"] != "masked"]
    sizes = task.audited.batch_sizes
    figure, axes = plt.subplots(1, len(sizes), figsize=(PAGE, 2.7), sharey=True, squeeze=False)
    frugal = _best_frugal(task)
    for axis, size in zip(axes[0], sizes, strict=True):
        for (runtime, precision), own in space.groupby(["runtime", "precision"]):
            mark = PRECISION_MARKS[str(precision)]
            look = POINTS | {"color": RUNTIME_COLOURS[str(runtime)], "markersize": 3.2, "marker": mark}
            axis.plot(own[f"cpu_time_ms_batch_{size}"], own["validation_accuracy"], **look)
        _front(axis, space, size)
        for name, mark, look in MARKED:
            choice = task.searching.choices.get("choices", {}).get(name)
            _mark_candidate(axis, space, choice, size, mark, look)
        if frugal:
            axis.axhline(frugal[1], color=BLACK, linestyle=":", linewidth=0.9)
        axis.set(xscale="log", xlabel=f"CPU time of a forecast, ms, batch {size}")
    axes[0][0].set_ylabel("validation accuracy")
    _candidates_legend(figure, space, frugal[0] if frugal else None)
    return figure


MARKED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("baseline", "D", {"markersize": 6, "markerfacecolor": "none"}),
    (OURS, "*", {"markersize": 11, "markerfacecolor": "white"}),
)
"""Candidates with a mark of their own: their choice, mark and look."""


def _best_frugal(task: AuditedTask) -> tuple[str, float] | None:
    """The frugal forecaster with the highest validation accuracy; None if there is none."""
    forecasters = task.run.metrics["baseline"].get("forecasters", {})
    found = {name: float(parts["validation"]["accuracy"]) for name, parts in forecasters.items()}
    name = max(found, key=lambda one: found[one], default=None)
    return (words(name), found[name]) if name else None


def _front(axis: Axes, space: pd.DataFrame, size: int) -> None:
    """Draw the Pareto front with the accuracies' standard deviations over seeds."""
    front = pareto_front(space, f"cpu_time_ms_batch_{size}", "validation_accuracy")
    x, y = front[f"cpu_time_ms_batch_{size}"], front["validation_accuracy"]
    axis.step(x, y, where="post", color=BLACK, linewidth=1)
    if "validation_accuracy_sd" in front:
        axis.errorbar(x, y, yerr=front["validation_accuracy_sd"], fmt="none", ecolor=BLACK, elinewidth=0.6)


def pareto_front(rows: pd.DataFrame, cost: str, gain: str) -> pd.DataFrame:
    """Return the rows to which no other has more `gain` at no more `cost`, by ascending cost."""
    ordered = rows.sort_values([cost, gain], ascending=[True, False])
    return ordered[ordered[gain] > ordered[gain].cummax().shift(fill_value=-np.inf)]


def _mark_candidate(
    axis: Axes,
    space: pd.DataFrame,
    choice: Mapping[str, Any] | None,
    size: int,
    mark: str,
    look: Mapping[str, Any],
) -> None:
    if choice is None:
        return
    same = np.logical_and.reduce([space[name] == choice[name] for name in DEPLOYMENT])
    for _, row in space[same].head(1).iterrows():
        axis.plot(row[f"cpu_time_ms_batch_{size}"], row["validation_accuracy"], mark, color=BLACK, **look)


def _candidates_legend(figure: Figure, space: pd.DataFrame, frugal: str | None) -> None:
    runtimes, precisions = set(space["runtime"]), set(space["precision"])
    handles = [
        mark_entry("o", colour, RUNTIME_NAMES[name])
        for name, colour in RUNTIME_COLOURS.items()
        if name in runtimes
    ]
    handles += [mark_entry(mark, GREY, name) for name, mark in PRECISION_MARKS.items() if name in precisions]
    handles.append(line_entry(BLACK, "Pareto front"))
    for (_, mark, look), label in zip(MARKED, ("eager baseline", "PPO's choice"), strict=True):
        handles.append(mark_entry(mark, BLACK, label, **look))
    if frugal:
        handles.append(line_entry(BLACK, frugal, linestyle=":"))
    legend_above(figure, handles, 6)


@styled()
def proxies_figure(candidates: pd.DataFrame, size: int) -> Figure:
    """Plot measured CPU time against each proxy, one point per candidate."""
    figure, axes = plt.subplots(2, 3, figsize=(PAGE, 3.6), sharey=True)
    marks = dict(zip(RUNTIME_COLOURS, MARKS, strict=False))
    for axis, proxy in zip(axes.flat, PROXIES, strict=True):
        for runtime, own in candidates.groupby("runtime"):
            look = POINTS | {"color": RUNTIME_COLOURS[str(runtime)], "markersize": 2.8}
            axis.plot(own[proxy], own[f"cpu_time_ms_batch_{size}"], marker=marks[str(runtime)], **look)
        if proxy != "sparsity":
            _scale_with_zero(axis, candidates[proxy])
        axis.set(yscale="log", xlabel=PROXY_LABELS[proxy])
    for axis in axes[:, 0]:
        axis.set_ylabel("CPU time of a\nforecast, ms")
    handles = [
        mark_entry(marks[name], colour, RUNTIME_NAMES[name])
        for name, colour in RUNTIME_COLOURS.items()
        if name in set(candidates["runtime"])
    ]
    legend_above(figure, handles, len(handles))
    return figure


def _scale_with_zero(axis: Axes, values: pd.Series) -> None:
    """Make a logarithmic axis that still shows 0, which the proxies report for quantized models.

    Zeros stand a decade below the smallest value, with a tick of their own.
    """
    smallest = float(values[values > 0].min())
    axis.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    low, high = int(np.ceil(np.log10(smallest))), int(np.floor(np.log10(values.max())))
    powers = list(range(low, high + 1))
    ticks, names = [10.0**power for power in powers], [f"$10^{power}$" for power in powers]
    if (values == 0).any():
        ticks, names = [0.0, *ticks], ["0", *names]
    axis.set_xticks(ticks, names)
    axis.xaxis.set_minor_locator(NullLocator())


def searcher_looks(searching: Searching) -> dict[str, tuple[str, str]]:
    """A colour and a mark for each searcher; the two panels of `regret_figure` share none but ours."""
    looks = {OURS: (BLACK, "o")}
    for lines in (searching.of(RANKED), [*searching.of(ABLATION), *searching.of(OTHER_SPACE)]):
        others = [line.name for line in lines if line.name != OURS]
        colours = [colour for colour in PALETTE if colour != BLACK]
        looks |= dict(zip(others, zip(colours, MARKS[1:], strict=False), strict=False))
    return looks


@styled()
def regret_figure(searching: Searching) -> Figure:
    """Plot mean simple regret against distinct evaluations with its interval over seeds, on log axes.

    Left: the searchers of the same space. Right: ours again, with the searchers that are not ranked.
    """
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, 3.0), sharey=True)
    ours = [line for line in searching.of(RANKED) if line.name == OURS]
    others = [*ours, *searching.of(ABLATION), *searching.of(OTHER_SPACE)]
    looks, titles = searcher_looks(searching), ("searchers of the same space", "variants of PPO")
    for axis, lines, title in zip(axes, (searching.of(RANKED), others), titles, strict=True):
        for line in lines:
            _regret_line(axis, line, *looks[line.name])
        for budget in searching.budgets:
            axis.axvline(budget, color=GREY, linewidth=0.6, linestyle=":")
        axis.set(xlabel="distinct evaluations", xscale="log", title=title, xticks=[1, *searching.budgets])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    lowest = min(_last_regret(line) for line in searching.lines.values())
    threshold = 10 ** math.floor(math.log10(lowest))  # a power of ten: its tick is not beside that of 0
    axes[0].set_yscale("symlog", linthresh=threshold, linscale=0.6)  # a mean regret can be 0
    axes[0].set_ylabel("regret, nats")
    axes[0].set_ylim(bottom=0)  # of both, and after both are drawn
    handles = [
        line_entry(looks[line.name][0], searcher_name(line.name), marker=looks[line.name][1])
        for line in [*searching.of(RANKED), *others[len(ours) :]]
    ]
    legend_above(figure, handles, 4)
    return figure


def _regret_line(axis: Axes, line: SearcherLine, colour: str, mark: str) -> None:
    steps = np.arange(1, len(line.curve.mean) + 1)
    every = np.unique(np.geomspace(1, len(steps), 7).astype(int)) - 1
    axis.plot(steps, line.curve.mean, color=colour, marker=mark, markevery=list(every), markersize=3.5)
    axis.fill_between(steps, line.curve.low, line.curve.high, color=colour, alpha=0.12, linewidth=0)


def _last_regret(line: SearcherLine) -> float:
    """Return the lowest mean regret of a curve that is not below a thousandth of the first."""
    visible = line.curve.mean[line.curve.mean > line.curve.mean[0] / 1000]
    return float(visible.min()) if len(visible) else 1.0


@styled()
def ranks_figure(searching: Searching) -> Figure:
    """Plot the mean rank of each searcher of the same space at each budget, with its interval over seeds."""
    lines, budgets = searching.of(RANKED), searching.budgets
    figure, axis = plt.subplots(figsize=(COLUMN, 2.5))
    looks, handles = searcher_looks(searching), []
    for offset, line in zip(spread(len(lines), 0.6), lines, strict=True):
        ranks = [rank for at in line.at.values() if (rank := at.rank)]
        means = [rank.estimate for rank in ranks]
        ends = [[rank.estimate - rank.low for rank in ranks], [rank.high - rank.estimate for rank in ranks]]
        colour, mark = looks[line.name]
        look: Any = {"color": colour, "markersize": 4, "elinewidth": 1, "fmt": mark}
        axis.errorbar(np.arange(len(budgets)) + offset, means, yerr=ends, **look)
        handles.append(mark_entry(mark, colour, searcher_name(line.name)))
    labels = [f"{budget}\n({declared_percent(share)})" for budget, share in budgets.items()]
    axis.set_xticks(range(len(budgets)), labels)
    axis.set(xlabel="distinct evaluations (share of the grid)", ylabel="mean rank")
    axis.invert_yaxis()
    legend_above(figure, handles, 3)
    return figure
