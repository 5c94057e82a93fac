"""Figures of the audited protocol: the deployment space, proxies against measurement, regret, and ratios."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sustainable.reporting.forecasting.audited import PROXIES, Audited
from sustainable.reporting.forecasting.decomposition import Waterfall
from sustainable.reporting.forecasting.searching import ABLATION, OTHER_SPACE, RANKED, SearcherLine, Searching
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.forecasting.task import Task
from sustainable.reporting.formats import declared_percent, words
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, ratios_figure, save_figures, styled

RUNTIME_COLOURS = {"torch-eager": BLUE, "onnxruntime": ORANGE, "openvino": GREEN, "numba": PURPLE}
PRECISION_MARKS = {"fp32": "o", "int8": "s", "bf16": "^"}
POINTS: dict[str, Any] = {"alpha": 0.6, "markeredgewidth": 0}
PROXY_LABELS = {
    "flops": "operations",
    "parameters": "parameters",
    "size_bytes": "stored bytes",
    "sparsity": "sparsity",
    "proxy_flops": "ptflops",
    "proxy_parameters": "parameters()",
}


def draw_audited(folder: Path, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure of every task into `folder`; return their names, which end with the task."""
    names = []
    for task in study.tasks.values():  # figures of one task at a time, which saves memory
        figures = task_figures(task, study.labels)
        names += save_figures({f"{name}_{task.name}": one for name, one in figures.items()}, folder, stamp)
    return names


def task_figures(task: Task, labels: Mapping[str, str]) -> dict[str, Figure]:
    """Draw every figure of a task."""
    sizes, candidates = task.audited.batch_sizes, task.run.candidates
    steps = {"decomposition": decomposition_figure(task.decomposition)} if task.decomposition else {}
    return steps | {
        "audited": audited_figure(task.audited, labels),
        "candidates": candidates_figure(candidates, sizes),
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
    figure = ratios_figure(series, [labels[key] for key in lines], (5.6, 3.2))
    figure.axes[0].set(xscale="log", xlabel="CPU time of a forecast relative to the eager baseline")
    figure.axes[0].legend(fontsize=7, frameon=False)
    return figure


@styled()
def decomposition_figure(ways: Sequence[Waterfall]) -> Figure:
    """Plot the CPU time after each change, relative to the baseline's, one panel per order and batch size."""
    figure, axes = plt.subplots(1, len(ways), figsize=(2.4 * len(ways), 2.8), squeeze=False)
    for axis, way in zip(axes[0], ways, strict=True):
        levels = [1.0, *(factor.share for factor in way.factors)]
        for place, (before, after) in enumerate(pairwise(levels), start=1):
            colour = GREEN if after <= before else ORANGE
            axis.bar(place, before - after, bottom=after, color=colour, width=0.6)
            axis.annotate(f"{before / after:.3g}x", (place, max(before, after)), fontsize=7, ha="center",
                          xytext=(0, 2), textcoords="offset points")  # fmt: skip
        for place in (0, len(levels)):
            axis.bar(place, levels[min(place, len(levels) - 1)], color=BLUE, width=0.6)
        names = ["baseline", *(words(one.change) for one in way.factors), "choice"]
        axis.set_xticks(range(len(names)), names, fontsize=6, rotation=30)
        axis.set(yscale="log", title=f"batch {way.batch_size}, {words(way.order[0])} first")
        axis.set_ylim(min(levels) / 2, 1.6 * max(levels))
    axes[0][0].set_ylabel("CPU time of a forecast (baseline = 1)")
    return figure


@styled()
def candidates_figure(candidates: pd.DataFrame, sizes: Sequence[int]) -> Figure:
    """Plot validation accuracy against measured CPU time, one point per candidate."""
    space = candidates[candidates["family"] != "masked"]
    figure, axes = plt.subplots(1, len(sizes), figsize=(6.4, 2.8), sharey=True, squeeze=False)
    for axis, size in zip(axes[0], sizes, strict=True):
        for (runtime, precision), own in space.groupby(["runtime", "precision"]):
            look = POINTS | {"color": RUNTIME_COLOURS[str(runtime)], "markersize": 3}
            mark, label = PRECISION_MARKS[str(precision)], f"{runtime} {precision}"
            axis.plot(own[f"cpu_time_ms_batch_{size}"], own["validation_accuracy"], mark, label=label, **look)
        axis.set(xscale="log", xlabel=f"CPU time, ms per forecast, batch {size}")
    axes[0][0].set_ylabel("validation accuracy")
    axes[0][-1].legend(fontsize=6, frameon=False)
    return figure


@styled()
def proxies_figure(candidates: pd.DataFrame, size: int) -> Figure:
    """Plot measured CPU time against each proxy, one point per candidate."""
    figure, axes = plt.subplots(2, 3, figsize=(6.4, 3.8), sharey=True)
    for axis, proxy in zip(axes.flat, PROXIES, strict=True):
        for runtime, own in candidates.groupby("runtime"):
            look = POINTS | {"color": RUNTIME_COLOURS[str(runtime)], "markersize": 2.5}
            axis.plot(own[proxy], own[f"cpu_time_ms_batch_{size}"], "o", **look)
        if proxy != "sparsity":
            # a logarithmic axis that still shows 0, which the proxies report for quantized models
            smallest = float(candidates.loc[candidates[proxy] > 0, proxy].min())
            axis.set_xscale("symlog", linthresh=smallest)
        axis.set(yscale="log", xlabel=PROXY_LABELS[proxy])
    for axis in axes[:, 0]:
        axis.set_ylabel("CPU time, ms")
    for runtime, colour in RUNTIME_COLOURS.items():
        if runtime in set(candidates["runtime"]):
            axes[0, 0].plot([], [], "o", color=colour, markersize=3, label=runtime)
    axes[0, 0].legend(fontsize=6, frameon=False)
    return figure


SEARCHER_COLOURS: Any = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]


@styled()
def regret_figure(searching: Searching) -> Figure:
    """Plot mean simple regret against distinct evaluations with its interval over seeds, on log axes.

    Left: the searchers of the same space. Right: the others. Dotted lines are the budgets.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.2), sharey=True)
    panels = (searching.of(RANKED), [*searching.of(ABLATION), *searching.of(OTHER_SPACE)])
    lowest = min(_lowest_regret(line) for line in searching.lines.values())
    for axis, lines, title in zip(axes, panels, ("Same space", "Not ranked"), strict=True):
        for colour, line in zip(cycle(SEARCHER_COLOURS), lines, strict=False):
            steps, style = np.arange(1, len(line.curve.mean) + 1), "-" if line.is_rl else "--"
            axis.plot(steps, line.curve.mean, style, color=colour, linewidth=1.3, label=words(line.name))
            axis.fill_between(steps, line.curve.low, line.curve.high, color=colour, alpha=0.12, linewidth=0)
        for budget in searching.budgets:
            axis.axvline(budget, color=GREY, linewidth=0.6, linestyle=":")
        axis.set(xlabel="distinct evaluations", xscale="log", title=title, xticks=[1, *searching.budgets])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yscale("symlog", linthresh=lowest)  # a mean regret can be 0
        if lines:
            axis.legend(fontsize=6, frameon=False, loc="lower left")
    axes[0].set_ylabel("regret, nats")
    axes[0].set_ylim(bottom=0)  # of both, and after both are drawn
    return figure


def _lowest_regret(line: SearcherLine) -> float:
    """Return the lowest positive mean regret of a curve."""
    positive = line.curve.mean[line.curve.mean > 0]
    return float(positive.min()) if len(positive) else 1.0


@styled()
def ranks_figure(searching: Searching) -> Figure:
    """Plot the mean rank of each searcher of the same space at each budget, with its interval over seeds."""
    lines, budgets = searching.of(RANKED), searching.budgets
    figure, axis = plt.subplots(figsize=(5.6, 2.8))
    for index, (colour, line) in enumerate(zip(cycle(SEARCHER_COLOURS), lines, strict=False)):
        places = np.arange(len(budgets)) + 0.09 * (index - (len(lines) - 1) / 2)
        ranks = [rank for at in line.at.values() if (rank := at.rank)]
        means = [rank.estimate for rank in ranks]
        ends = [[rank.estimate - rank.low for rank in ranks], [rank.high - rank.estimate for rank in ranks]]
        look: Any = {"color": colour, "markersize": 4, "elinewidth": 1.2}
        mark = "o" if line.is_rl else "s"
        axis.errorbar(places, means, yerr=ends, fmt=mark, label=words(line.name), **look)
    labels = [f"{budget}\n({declared_percent(share)})" for budget, share in budgets.items()]
    axis.set_xticks(range(len(budgets)), labels)
    axis.set(xlabel="distinct evaluations (share of the grid)", ylabel="mean rank")
    axis.invert_yaxis()
    axis.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
