"""Figures of the published protocol."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sustainable.energy.meter import COUNTER
from sustainable.reporting.forecasting.results import PRIMARY, Results
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.formats import words
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, ratios_figure, save_figures, styled


@styled()
def configurations_figure(rows: pd.DataFrame, results: Results, labels: Mapping[str, str]) -> Figure:
    """Plot accuracy, energy and latency by configuration: points are windows, bars are means."""
    nature = "" if results.cpu_evidence == COUNTER else f"\n({results.cpu_evidence}: an estimate)"
    panels = (("energy_mwh", f"energy, mWh per forecast{nature}"), ("latency_ms", "latency, ms per forecast"))
    keys = list(results.lines)
    figure, axes = plt.subplots(3, 1, figsize=(5.2, 6.6), sharex=True)
    _accuracies(axes[0], results)
    for axis, (column, label) in zip(axes[1:], panels, strict=True):
        _dots(axis, rows, keys, column)
        _band(axis, results, column)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[2].set_xticks(range(len(keys)), [labels[key] for key in keys], rotation=25, ha="right")
    return figure


def _accuracies(axis: Axes, results: Results) -> None:
    """Draw one bar per configuration, and the frugal forecasters as lines."""
    for place, line in enumerate(results.lines.values()):
        axis.hlines(line.accuracy, place - 0.25, place + 0.25, color=ORANGE, linewidth=2)
    for (name, hits), style in zip(sorted(results.frugal.items()), cycle((":", "--", "-.")), strict=False):
        axis.axhline(float(hits.mean()), color=GREEN, linestyle=style, linewidth=1, label=words(name))
    axis.set_ylabel("test accuracy")
    axis.margins(y=0.25)
    axis.legend(fontsize=6, frameon=False, ncols=3, loc="upper center")


def _dots(axis: Axes, rows: pd.DataFrame, keys: list[str], column: str) -> None:
    for place, key in enumerate(keys):
        values = rows.loc[rows["configuration"] == key, column].dropna()
        axis.plot([place] * len(values), values, "o", color=BLUE, alpha=0.4, markersize=3, markeredgewidth=0)
        if len(values):
            axis.hlines(values.mean(), place - 0.25, place + 0.25, color=ORANGE, linewidth=2)


def _band(axis: Axes, results: Results, column: str) -> None:
    """Shade the noise floor: the baseline's mean times the interval of its A/A twin."""
    twin, mean = results.twin[column].ratio, results.lines[BASELINE].outcomes[column].mean
    if twin is not None and mean is not None:
        look: dict[str, Any] = {"color": GREY, "alpha": 0.35, "linewidth": 0, "label": "A/A control"}
        axis.axhspan(mean * twin.low, mean * twin.high, **look)
        axis.legend(fontsize=6, frameon=False, loc="lower left")


@styled()
def published_ratios_figure(results: Mapping[str, Results], labels: Mapping[str, str]) -> Figure:
    """Plot CPU time relative to the baseline with its interval, for each way of measuring."""
    keys = [key for key in labels if key != BASELINE]
    series = {
        f"{way}: {found.blocks} blocks": {key: found.lines[key].compared[PRIMARY].ratio for key in keys}
        for way, found in results.items()
    }
    figure = ratios_figure(series, [labels[key] for key in keys], (5.2, 2.8))
    figure.axes[0].set_xlabel("CPU time relative to the baseline")
    figure.axes[0].legend(fontsize=7, frameon=False, loc="best")
    return figure


@styled()
def curve_figure(curve: pd.DataFrame, best_reward: float) -> Figure:
    """Plot PPO's mean reward over its steps, and the highest reward of any action."""
    figure, axis = plt.subplots(figsize=(4.5, 2.6))
    axis.plot(curve["step"], curve["mean_reward"], color=BLUE, linewidth=1.2, label="PPO, mean reward")
    axis.axhline(best_reward, color=GREY, linestyle="--", linewidth=1, label="best of the actions")
    axis.set(xlabel="step", ylabel="reward")
    axis.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


@styled()
def rewards_figure(actions: pd.DataFrame, ties: list[int]) -> Figure:
    """Plot the reward of every action; the actions that share the highest one are orange."""
    figure, axis = plt.subplots(figsize=(4.8, 2.6))
    colours = [ORANGE if action in ties else BLUE for action in actions["action"]]
    axis.bar(actions["action"], actions["reward"], color=colours)
    axis.axhline(0, color="black", linewidth=0.6)
    names = [f"{a}\n{n}" for a, n in zip(actions["action"], actions["name"], strict=True)]
    axis.set_xticks(actions["action"], names, fontsize=5)
    axis.set(xlabel="action", ylabel="reward")
    axis.set_title(f"{len(ties)} of {len(actions)} actions share the best reward", fontsize=8)
    return figure


@styled()
def training_figure(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Plot training and validation loss by epoch, and mark the epoch whose weights are kept."""
    figure, axis = plt.subplots(figsize=(4.5, 2.6))
    axis.plot(history["epoch"], history["train_loss"], color=BLUE, linewidth=1, label="training")
    axis.plot(history["epoch"], history["validation_loss"], color=ORANGE, linewidth=1, label="validation")
    axis.axvline(best_epoch, color=GREY, linestyle="--", linewidth=1, label="weights kept")
    axis.set(xlabel="epoch", ylabel="binary cross-entropy")
    axis.legend(fontsize=7, frameon=False)
    return figure


def draw_published(folder: Path, run: Run, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure of the published protocol into `folder` and return their names."""
    seed, model = next(iter(run.metrics["baseline"]["seeds"].items()))
    history = run.history[run.history["seed"] == int(seed)]
    results = study.results
    labels = {key: study.labels[key] for key in results["published"].lines}
    figures = {
        f"configurations_{way}": configurations_figure(run.rows[way], results[way], labels) for way in results
    }
    figures |= {
        "ratios": published_ratios_figure(results, labels),
        "learning_curve": curve_figure(run.curve, run.best["best_reward"]),
        "action_rewards": rewards_figure(run.actions, run.best["actions_sharing_best_reward"]),
        "training": training_figure(history, model["best_epoch"]),
    }
    return save_figures(figures, folder, stamp)
