"""Figures of study B's teaching notebook: its six panels, and the power of each test."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sustainable.policies.published.rule import FINDINGS
from sustainable.reporting.policies.notebook import PUBLISHED, Notebook
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, styled

COLOURS = (GREY, BLUE, GREEN, ORANGE, PURPLE)
FINDING_LABELS = {"size": "size is not energy", "drop": "drop saves energy", "overhead": "overhead"}


@styled()
def panels_figure(notebook: Notebook) -> Figure:
    """Plot the notebook's panels from the first experiment as published; the last one from all of them."""
    rows = notebook.first[PUBLISHED]
    figure, axes = plt.subplots(3, 2, figsize=(6.8, 7.6))
    energy = f"net energy, J ({notebook.evidence[PUBLISHED]})"
    across = {
        "size_bytes": "size as the notebook counts it, bytes",
        "return_counted": "mean return of the history",
        "steps": "steps of the test",
    }
    for axis, (column, label) in zip(axes.flat, across.items(), strict=False):
        _points(axis, rows, column)
        axis.set(xlabel=label, ylabel=energy)
    _components(axes[1, 1], rows)
    _ratios(axes[2, 0], rows)
    _findings(axes[2, 1], notebook)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=name)
        for colour, name in zip(COLOURS, rows["test"], strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=7, frameon=False)
    return figure


def _points(axis: Axes, rows: pd.DataFrame, column: str) -> None:
    for colour, (_, row) in zip(COLOURS, rows.iterrows(), strict=False):
        axis.plot(row[column], row["total_net_j"], "o", color=colour, markersize=5)


def _components(axis: Axes, rows: pd.DataFrame) -> None:
    """Stack the net energy of processor and memory."""
    places = np.arange(len(rows))
    axis.bar(places, rows["cpu_net_j"], color=BLUE, label="processor")
    axis.bar(places, rows["ram_net_j"], bottom=rows["cpu_net_j"], color=ORANGE, label="memory")
    axis.set_xticks(places, rows["test"], fontsize=6)
    axis.set_ylabel("net energy, J")
    axis.legend(fontsize=6, frameon=False)


def _ratios(axis: Axes, rows: pd.DataFrame) -> None:
    """Plot size and net energy of the compressed models relative to the baseline."""
    others, first = rows.iloc[1:], rows.iloc[0]
    places = np.arange(len(others))
    bars = (("size_bytes", -0.2, GREY, "size"), ("total_net_j", 0.2, ORANGE, "net energy"))
    for column, offset, colour, label in bars:
        axis.bar(places + offset, others[column] / first[column], 0.38, color=colour, label=label)
    axis.axhline(1, color="black", linewidth=0.6)
    axis.set_xticks(places, others["test"], fontsize=7)
    axis.set_ylabel("relative to the baseline")
    axis.legend(fontsize=6, framealpha=0.8, edgecolor="none")


def _findings(axis: Axes, notebook: Notebook) -> None:
    """Plot for every arm the share of seeds in which each finding holds, and the paradox is validated."""
    arms = list(notebook.arms.values())
    colours = dict(zip(FINDINGS, (GREY, BLUE, GREEN), strict=True))
    for place, line in enumerate(arms):
        for offset, name in zip((-0.27, -0.09, 0.09), FINDINGS, strict=True):
            axis.barh(place + offset, line.holding(name) / line.seeds, 0.16, color=colours[name])
        if line.validated is not None:
            axis.barh(place + 0.27, line.validated.estimate, 0.16, color=ORANGE)
    axis.set_yticks(range(len(arms)), [line.arm for line in arms], fontsize=7)
    axis.invert_yaxis()
    axis.set(xlabel="share of seeds", xlim=(0, 1))
    shown = [(colours[name], FINDING_LABELS[name]) for name in FINDINGS] + [(ORANGE, "CONFIRMED")]
    handles = [Patch(color=colour, label=label) for colour, label in shown]
    axis.legend(
        handles=handles, fontsize=5.5, loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, frameon=False
    )


@styled()
def power_figure(notebook: Notebook) -> Figure:
    """Plot for every test of the first experiment as published its power over time and its energies."""
    rows = notebook.first[PUBLISHED]
    traces = notebook.power[notebook.power["arm"] == PUBLISHED]
    figure, axes = plt.subplots(2, len(rows), figsize=(7.2, 3.6), sharey="row")
    for column, (_, row) in enumerate(rows.iterrows()):
        trace = traces[traces["test"] == row["test"]]
        _trace(axes[0, column], trace, str(row["test"]))
        _energies(axes[1, column], row)
    axes[0, 0].set_ylabel("power, W (assumed)")
    axes[1, 0].set_ylabel("energy, J (estimate)")
    axes[0, 0].legend(fontsize=6, frameon=False)
    axes[1, 0].legend(fontsize=6, frameon=False)
    return figure


def _trace(axis: Axes, trace: pd.DataFrame, title: str) -> None:
    axis.plot(trace["time_s"], trace["total"], color=BLUE, linewidth=1, label="total")
    axis.axhline(trace["idle_w"].iloc[0], color=ORANGE, linestyle="--", linewidth=1, label="idle host")
    axis.set_title(title, fontsize=8)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("s")


def _energies(axis: Axes, row: pd.Series) -> None:
    """Plot the energy of each component with and without that of the idle host."""
    for place, name in enumerate(("cpu", "ram")):
        axis.bar(place - 0.2, row[f"{name}_gross_j"], 0.38, color=GREY, label=None if place else "with idle")
        axis.bar(place + 0.2, row[f"{name}_net_j"], 0.38, color=GREEN, label=None if place else "net")
    axis.set_xticks((0, 1), ("processor", "memory"), fontsize=7)
