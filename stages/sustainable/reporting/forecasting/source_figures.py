"""Figures that the source draws, from our rows, and figures about its search."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sustainable.reporting.forecasting.discovery import Discovery
from sustainable.reporting.forecasting.conditions import Step
from sustainable.reporting.forecasting.results import Results
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, draw_interval, save_figures, styled

COUNTED = (("parameters", "proxy_parameters", 1e6, "parameters, millions"),
           ("flops", "proxy_flops", 1e6, "operations per forecast, millions"))  # fmt: skip


@styled()
def counts_figure(results: Results, labels: Mapping[str, str]) -> Figure:
    """Plot parameters and operations by configuration: what the proxies report, and what is there."""
    keys = [key for key in results.lines if key != TWIN]
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8))
    for axis, (own, proxy, unit, label) in zip(axes, COUNTED, strict=True):
        for offset, name, colour, text in ((-0.2, proxy, ORANGE, "reported by the proxies"),
                                           (0.2, own, BLUE, "in the model")):  # fmt: skip
            values = [results.lines[key].counts[name] / unit for key in keys]
            axis.bar(np.arange(len(keys)) + offset, values, 0.4, color=colour, label=text)
        axis.set_xticks(range(len(keys)), [labels[key] for key in keys], rotation=30, ha="right", fontsize=6)
        axis.set_ylabel(label)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=7, frameon=False, ncols=2, loc="outside upper center")
    return figure


@styled()
def accuracy_energy_figure(study: Forecasting) -> Figure:
    """Plot accuracy against energy per forecast: the source's means, and ours with the published method."""
    figure, axis = plt.subplots(figsize=(4.8, 3.0))
    results = study.results["published"]
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 5}
    for index, (key, line) in enumerate(results.lines.items()):
        mean = line.outcomes["energy_mwh"].mean
        if mean is not None and key != TWIN:
            place = 1e3 * mean, line.accuracy
            axis.plot(*place, "o", color=BLUE, markersize=4)
            axis.annotate(study.labels[key], place, (0, 4 + 7 * (index % 3)), ha="center", **look)
    for published in study.source.lines.values():
        energy, accuracy = published.energy_uwh.mean, published.accuracy.mean
        if energy is not None and accuracy is not None:
            axis.plot(energy, accuracy, "s", color=GREY, markersize=4, markerfacecolor="white")
    axis.plot([], [], "s", color=GREY, markerfacecolor="white", label="published (Wh per pass, converted)")
    axis.plot([], [], "o", color=BLUE, label=f"reproduced ({results.cpu_evidence}: an estimate)")
    axis.set(xlabel="energy, µWh per forecast", ylabel="test accuracy")
    axis.set_xlim(left=0)
    axis.margins(0.15)
    axis.legend(fontsize=6, frameon=False, loc="best")
    return figure


@styled()
def discovery_figure(found: Discovery, names: Mapping[int, str]) -> Figure:
    """Plot how many searches report each action, and how many would by chance."""
    figure, axis = plt.subplots(figsize=(4.8, 2.4))
    axis.bar(list(found.wins), list(found.wins.values()), color=BLUE)
    axis.hlines(found.by_chance, min(found.tied) - 0.5, max(found.tied) + 0.5, color=ORANGE,
                label="by chance among the tied actions")  # fmt: skip
    axis.set_xticks(list(found.wins), [f"{action}\n{names[action]}" for action in found.wins], fontsize=5)
    axis.set(xlabel="action", ylabel=f"of {found.searches} searches")
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    return figure


@styled()
def conditions_figure(steps: list[Step], published: float) -> Figure:
    """Plot the int8 model's latency relative to the baseline as one condition after the other is replaced."""
    figure, axis = plt.subplots(figsize=(5.2, 2.8))
    for place, step in enumerate(steps):
        draw_interval(axis, step.twin, place + 0.12, GREY)
        draw_interval(axis, step.int8, place - 0.12, BLUE)
    axis.plot([], [], "o-", color=BLUE, label="int8")
    axis.plot([], [], "o-", color=GREY, label="A/A control")
    axis.axvline(published, color=ORANGE, linestyle="--", linewidth=1, label="int8, published")
    axis.axvline(1, color="black", linewidth=0.6)
    axis.set_yticks(range(len(steps)), [step.changed for step in steps])
    axis.invert_yaxis()
    axis.set_xlabel("latency relative to the baseline")
    axis.legend(fontsize=6, frameon=False, loc="best")
    return figure


@styled()
def plans_figure(plans: pd.DataFrame) -> Figure:
    """Plot validation accuracy against sparsity of every evaluated plan."""
    figure, axis = plt.subplots(figsize=(4.8, 3.0))
    equal = (plans["share_0"] == plans["share_1"]) & (plans["share_1"] == plans["share_readout"])
    looks = ((~equal, BLUE, "shares by layer", 2), (equal, ORANGE, "equal shares", 4))
    for mask, colour, label, size in looks:
        part = plans[mask & plans["int8"]]
        look: dict[str, Any] = {"color": colour, "markersize": size, "alpha": 0.5, "markeredgewidth": 0}
        axis.plot(part["sparsity"], part["accuracy"], "o", label=label, **look)
    dense = plans[~plans["int8"] & (plans["sparsity"] == plans["sparsity"].min())]["accuracy"].iloc[0]
    axis.axhline(dense, color=GREEN, linestyle="--", linewidth=1, label="uncompressed")
    axis.set(xlabel="sparsity (share of zeros)", ylabel="validation accuracy")
    axis.legend(fontsize=6, frameon=False, loc="lower left")
    return figure


def draw_source(folder: Path, run: Run, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure about the source into `folder` and return their names."""
    names = dict(zip(run.actions["action"], run.actions["name"], strict=True))
    published_int8 = study.source.claimed("manual_quantization", "latency_ms")
    figures = {
        "counts": counts_figure(study.results["published"], study.labels),
        "accuracy_energy": accuracy_energy_figure(study),
        "discovery": discovery_figure(study.discovery, names),
        "conditions": conditions_figure(study.steps, published_int8),
        "plans": plans_figure(run.plans),
    }
    return save_figures(figures, folder, stamp)
