"""Figures that the source draws, from our rows, and figures about its search."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from sustainable.reporting.forecasting.discovery import Discovery
from sustainable.reporting.forecasting.conditions import Step
from sustainable.reporting.forecasting.figures import name_actions
from sustainable.reporting.forecasting.results import MICRO_IN_MILLI, Results
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.style import BLACK, BLUE, COLUMN, GREEN, GREY, MARKS, ORANGE, SMALL
from sustainable.reporting.style import draw_interval, legend_above, line_entry, mark_entry, name_rows
from sustainable.reporting.style import save_figures, styled
from sustainable.statistics import share_interval, student_interval

COUNTED = (("parameters", "proxy_parameters", 1e6, "parameters,\nmillions"),
           ("flops", "proxy_flops", 1e6, "operations of a\nforecast, millions"))  # fmt: skip
CONFIDENCE = 0.95


@styled()
def counts_figure(results: Results, labels: Mapping[str, str]) -> Figure:
    """Plot parameters and operations by configuration: what the proxies report, and what is there."""
    keys = [key for key in results.lines if key != TWIN]
    figure, axes = plt.subplots(1, 2, figsize=(COLUMN, 2.2), sharey=True)
    for axis, (own, proxy, unit, label) in zip(axes, COUNTED, strict=True):
        for offset, name, colour, text in ((-0.2, proxy, ORANGE, "reported by the proxies"),
                                           (0.2, own, BLUE, "in the model")):  # fmt: skip
            values = [results.lines[key].counts[name] / unit for key in keys]
            axis.barh(np.arange(len(keys)) + offset, values, 0.36, color=colour, label=text)
            for place, value in enumerate(values):
                if value == 0:
                    axis.text(0, place + offset, " 0", color=colour, fontsize=SMALL, va="center")
        axis.set_xlabel(label)
    name_rows(axes[0], [labels[key] for key in keys])
    legend_above(figure, axes[0].get_legend_handles_labels()[0], 2)
    return figure


@styled()
def accuracy_energy_figure(study: Forecasting, rows: pd.DataFrame) -> Figure:
    """Plot accuracy against energy of a forecast: the source's means, and ours with the published method.

    Bars are the published standard deviations, and our intervals over blocks and test windows.
    """
    figure, axis = plt.subplots(figsize=(COLUMN, 2.5))
    results, handles = study.results["published"], []
    for mark, (key, line) in zip(MARKS, results.lines.items(), strict=False):
        own = rows.loc[rows["configuration"] == key, "energy_mwh"].dropna()
        energy = student_interval((MICRO_IN_MILLI * own).tolist())
        if energy is not None and key != TWIN:
            ends = share_interval(line.correct, len(line.hits))
            axis.hlines(line.accuracy, energy.low, energy.high, color=BLUE, linewidth=1)
            axis.vlines(energy.estimate, *ends, color=BLUE, linewidth=0.6)
            axis.plot(energy.estimate, line.accuracy, mark, color=BLUE)
        published = study.source.lines.get(key)
        if published is not None:
            _published_point(axis, published, mark)
        if key != TWIN:
            handles.append(mark_entry(mark, BLACK, study.labels[key]))
    handles += [line_entry(BLUE, "reproduced"), line_entry(GREY, "published, converted")]
    axis.set(xlabel=f"energy of a forecast, µWh ({results.cpu_evidence})", ylabel="test accuracy")
    axis.set_xlim(left=0)
    legend_above(figure, handles, 2)
    return figure


def _published_point(axis: Axes, published: Any, mark: str) -> None:
    energy, accuracy = published.energy_uwh, published.accuracy.mean
    if energy.mean is None or accuracy is None:
        return
    if energy.std is not None:
        axis.hlines(accuracy, energy.mean - energy.std, energy.mean + energy.std, color=GREY, linewidth=1)
    axis.plot(energy.mean, accuracy, mark, color=GREY, markerfacecolor="white")


@styled()
def discovery_figure(found: Discovery, names: Mapping[int, str]) -> Figure:
    """Plot how many searches report each action, and what chance gives: its mean and interval."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.1))
    axis.bar(list(found.wins), list(found.wins.values()), color=BLUE)
    share = found.by_chance / found.searches if found.searches else 0
    low, high = stats.binom.interval(CONFIDENCE, found.searches, share)
    ends = min(found.tied) - 0.5, max(found.tied) + 0.5
    axis.fill_between(ends, low, high, color=ORANGE, alpha=0.25, linewidth=0, zorder=0)
    axis.hlines(found.by_chance, *ends, color=ORANGE)
    axis.annotate("by chance among\nthe tied actions", (ends[0], found.by_chance), (-4, 0), ha="right",
                  va="center", fontsize=SMALL, color=ORANGE, textcoords="offset points")  # fmt: skip
    name_actions(axis, list(found.wins), [names[action] for action in found.wins])
    axis.set(ylabel=f"of {found.searches} searches")
    return figure


@styled()
def conditions_figure(steps: list[Step], published: float) -> Figure:
    """Plot the int8 model's latency relative to the baseline as one condition after the other is replaced."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.3))
    for place, step in enumerate(steps):
        draw_interval(axis, step.twin, place + 0.15, GREY, mark="s")
        draw_interval(axis, step.int8, place - 0.15, BLUE)
    axis.axvline(published, color=ORANGE, linestyle="--")
    axis.axvline(1, color=BLACK, linewidth=0.6)
    name_rows(axis, [step.changed for step in steps])
    axis.set_xlabel("latency of a forecast (baseline = 1)")
    handles = [
        line_entry(BLUE, "int8", marker="o"),
        line_entry(GREY, "A/A control", marker="s"),
        line_entry(ORANGE, "int8, published", linestyle="--"),
    ]
    legend_above(figure, handles, len(handles))
    return figure


@styled()
def plans_figure(plans: pd.DataFrame) -> Figure:
    """Plot validation accuracy against sparsity of every evaluated int8 plan, with the Pareto front."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.5))
    equal = (plans["share_0"] == plans["share_1"]) & (plans["share_1"] == plans["share_readout"])
    looks = ((~equal, BLUE, "o", "shares by layer", 1.8), (equal, ORANGE, "s", "equal shares", 3.5))
    for mask, colour, mark, label, size in looks:
        part = plans[mask & plans["int8"]]
        look: dict[str, Any] = {"color": colour, "markersize": size, "alpha": 0.6, "markeredgewidth": 0}
        axis.plot(part["sparsity"], part["accuracy"], mark, label=label, **look)
    int8 = plans[plans["int8"]].sort_values("sparsity", ascending=False)
    front = int8[int8["accuracy"] > int8["accuracy"].cummax().shift(fill_value=-1.0)]
    axis.step(front["sparsity"], front["accuracy"], where="pre", color=BLACK, label="Pareto front")
    dense = plans[~plans["int8"] & (plans["sparsity"] == plans["sparsity"].min())]["accuracy"].iloc[0]
    axis.axhline(dense, color=GREEN, linestyle="--", label="uncompressed")
    axis.set(xlabel="sparsity (share of zeros)", ylabel="validation accuracy")
    legend_above(figure, axis.get_legend_handles_labels()[0], 2)
    return figure


def draw_source(folder: Path, run: Run, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure about the source into `folder` and return their names."""
    names = dict(zip(run.actions["action"], run.actions["name"], strict=True))
    published_int8 = study.source.claimed("manual_quantization", "latency_ms")
    figures = {
        "counts": counts_figure(study.results["published"], study.labels),
        "accuracy_energy": accuracy_energy_figure(study, run.rows["published"]),
        "discovery": discovery_figure(study.discovery, names),
        "conditions": conditions_figure(study.steps, published_int8),
        "plans": plans_figure(run.plans),
    }
    return save_figures(figures, folder, stamp)
