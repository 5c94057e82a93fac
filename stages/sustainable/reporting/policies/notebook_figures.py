"""Figures of study B's teaching notebook: its six panels, and the power of each test."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sustainable.policies.published.rule import FINDINGS
from sustainable.reporting.policies.notebook import PUBLISHED, Notebook
from sustainable.reporting.style import BLACK, BLUE, GREEN, GREY, MARKS, ORANGE, PAGE, PINK, legend_above
from sustainable.reporting.style import legend_on_top, mark_entry, name_rows, styled

COLOURS = (GREY, BLUE, GREEN, ORANGE, PINK)
FINDING_LABELS = {"size": "size is not energy", "drop": "drop saves energy", "overhead": "overhead"}


@styled()
def notebook_panels_figure(notebook: Notebook) -> Figure:
    """Plot the notebook's panels from the first experiment as published; the last one from all of them.

    Its panel of size against energy is not drawn: the size that it counts is the same for every test.
    """
    rows = notebook.first[PUBLISHED]
    figure = plt.figure(figsize=(PAGE, 5.6))
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1, 1.35))
    axes = [figure.add_subplot(grid[place]) for place in ((0, 0), (0, 1), (1, 0), (1, 1), (2, slice(0, 2)))]
    across = {"return_counted": "mean return of the history", "steps": "steps of the test"}
    for axis, (column, label) in zip(axes, across.items(), strict=False):
        _points(axis, rows, column)
        axis.set(xlabel=label, ylabel=f"net energy, J\n({notebook.evidence[PUBLISHED]})")
    _components(axes[2], rows)
    _ratios(axes[3], rows)
    _findings(axes[4], notebook)
    looks = zip(MARKS, COLOURS, rows["test"], strict=False)
    handles = [mark_entry(*look) for look in looks]
    legend_above(figure, handles, 5)
    return figure


def _points(axis: Axes, rows: pd.DataFrame, column: str) -> None:
    for colour, mark, (_, row) in zip(COLOURS, MARKS, rows.iterrows(), strict=False):
        axis.plot(row[column], row["total_net_j"], mark, color=colour, markersize=5)


def _components(axis: Axes, rows: pd.DataFrame) -> None:
    """Stack the net energy of processor and memory."""
    places = np.arange(len(rows))
    axis.bar(places, rows["cpu_net_j"], color=BLUE, label="processor")
    axis.bar(places, rows["ram_net_j"], bottom=rows["cpu_net_j"], color=ORANGE, label="memory")
    axis.set_xticks(places, rows["test"], rotation=20)
    axis.set_ylabel("net energy, J")
    legend_on_top(axis)


def _ratios(axis: Axes, rows: pd.DataFrame) -> None:
    """Plot size and net energy of the compressed models relative to the baseline."""
    others, first = rows.iloc[1:], rows.iloc[0]
    places = np.arange(len(others))
    bars = (("size_bytes", -0.2, GREY, "size"), ("total_net_j", 0.2, ORANGE, "net energy"))
    for column, offset, colour, label in bars:
        axis.bar(places + offset, others[column] / first[column], 0.38, color=colour, label=label)
    axis.axhline(1, color=BLACK, linewidth=0.6)
    axis.set_xticks(places, others["test"], rotation=20)
    axis.set_ylabel("baseline = 1")
    legend_on_top(axis)


def _findings(axis: Axes, notebook: Notebook) -> None:
    """Plot for every arm the share of seeds in which each finding holds, and the paradox is validated."""
    arms = list(notebook.arms.values())
    colours = dict(zip(FINDINGS, (GREY, BLUE, GREEN), strict=True))
    for place, line in enumerate(arms):
        for offset, name in zip((-0.27, -0.09, 0.09), FINDINGS, strict=True):
            axis.barh(place + offset, line.holding(name) / line.seeds, 0.16, color=colours[name])
        if line.validated is not None:
            axis.barh(place + 0.27, line.validated.estimate, 0.16, color=ORANGE)
            axis.hlines(place + 0.27, line.validated.low, line.validated.high, color=BLACK, linewidth=0.8)
    name_rows(axis, [f"{line.arm} (n = {line.seeds})" for line in arms])
    axis.set(xlabel="share of seeds", xlim=(0, 1))
    shown = [(colours[name], FINDING_LABELS[name]) for name in FINDINGS] + [(ORANGE, "CONFIRMED")]
    handles = [Patch(color=colour, label=label) for colour, label in shown]
    legend_on_top(axis, handles)


@styled()
def power_figure(notebook: Notebook) -> Figure:
    """Plot for every test of the first experiment as published its power over time and its energies."""
    rows = notebook.first[PUBLISHED]
    traces = notebook.power[notebook.power["arm"] == PUBLISHED]
    figure, axes = plt.subplots(2, len(rows), figsize=(PAGE, 3.1), sharey="row")
    for column, (_, row) in enumerate(rows.iterrows()):
        trace = traces[traces["test"] == row["test"]]
        _trace(axes[0, column], trace, str(row["test"]))
        _energies(axes[1, column], row)
    axes[0, 0].set_ylabel("power, W (assumed)")
    axes[1, 0].set_ylabel("energy, J (estimate)")
    handles = [handle for axis in axes[:, 0] for handle in axis.get_legend_handles_labels()[0]]
    legend_above(figure, handles, len(handles))
    return figure


def _trace(axis: Axes, trace: pd.DataFrame, title: str) -> None:
    axis.plot(trace["time_s"], trace["total"], color=BLUE, linewidth=1, label="power")
    axis.axhline(trace["idle_w"].iloc[0], color=ORANGE, linestyle="--", linewidth=1, label="power, idle host")
    axis.set_title(title)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("time, s")


def _energies(axis: Axes, row: pd.Series) -> None:
    """Plot the energy of each component with and without that of the idle host."""
    for place, name in enumerate(("cpu", "ram")):
        bars = (("gross", -0.2, GREY, "energy, with the idle host's"), ("net", 0.2, GREEN, "energy, net"))
        for kind, offset, colour, label in bars:
            shown = None if place else label
            axis.bar(place + offset, row[f"{name}_{kind}_j"], 0.38, color=colour, label=shown)
    axis.set_xticks((0, 1), ("processor", "memory"))
