"""Figures of the published protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sustainable.energy.meter import COUNTER
from sustainable.reporting.forecasting.results import MICRO_IN_MILLI, PRIMARY, Results
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.formats import words
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.style import BLACK, BLUE, COLUMN, GREEN, GREY, ORANGE, SMALL
from sustainable.reporting.style import label_lines, legend_above, line_entry, mark_entry, ratios_figure
from sustainable.reporting.style import save_figures, styled
from sustainable.statistics import share_interval, student_interval


@styled()
def configurations_figure(rows: pd.DataFrame, results: Results, labels: Mapping[str, str]) -> Figure:
    """Plot accuracy, energy and latency by configuration: points are windows, bars are means."""
    nature = "" if results.cpu_evidence == COUNTER else f"\n({results.cpu_evidence})"
    panels = (
        ("energy_mwh", MICRO_IN_MILLI, f"energy of a forecast,\nµWh{nature}"),
        ("latency_ms", 1, "latency of a\nforecast, ms"),
    )
    keys = list(results.lines)
    figure, axes = plt.subplots(3, 1, figsize=(COLUMN, 5.4), sharex=True)
    _accuracies(axes[0], results)
    for axis, (column, unit, label) in zip(axes[1:], panels, strict=True):
        _dots(axis, unit * rows[column], rows["configuration"], keys)
        _band(axis, results, column, unit)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[2].set_xticks(range(len(keys)), [labels[key] for key in keys], rotation=30, ha="right")
    handles = [
        mark_entry("o", BLUE, "window", alpha=0.4),
        line_entry(ORANGE, "mean, with interval", marker="_", markersize=9),
        Patch(color=GREY, alpha=0.3, label="A/A control"),
    ]
    legend_above(figure, handles, len(handles))
    figure.align_ylabels(axes)
    return figure


def _accuracies(axis: Axes, results: Results) -> None:
    """Draw the accuracy of each configuration with Wilson's interval, and the frugal forecasters as lines."""
    for place, line in enumerate(results.lines.values()):
        low, high = share_interval(line.correct, len(line.hits))
        _mean(axis, place, line.accuracy, low, high)
    ends = []
    for name, hits in sorted(results.frugal.items()):
        height = float(hits.mean())
        axis.axhline(height, color=GREEN, linewidth=0.8)
        ends.append((height, words(name), GREEN))
    axis.set_ylabel("test accuracy")
    axis.set_ylim(*axis.get_ylim())
    label_lines(axis, ends, gap=0.12)


def _mean(axis: Axes, place: float, mean: float, low: float, high: float) -> None:
    axis.vlines(place, low, high, color=ORANGE, linewidth=1.2)
    axis.hlines(mean, place - 0.25, place + 0.25, color=ORANGE, linewidth=2)


def _dots(axis: Axes, values: pd.Series, configurations: pd.Series, keys: Sequence[str]) -> None:
    for place, key in enumerate(keys):
        own = values[configurations == key].dropna()
        axis.plot([place - 0.33] * len(own), own, "o", color=BLUE, alpha=0.4, markersize=3, markeredgewidth=0)
        interval = student_interval(own.tolist())
        if interval is not None:
            _mean(axis, place, interval.estimate, interval.low, interval.high)


def _band(axis: Axes, results: Results, column: str, unit: float) -> None:
    """Shade the noise floor: the baseline's mean times the interval of its A/A twin."""
    twin, mean = results.twin[column].ratio, results.lines[BASELINE].outcomes[column].mean
    if twin is not None and mean is not None:
        low, high = (unit * mean * end for end in (twin.low, twin.high))
        axis.axhspan(low, high, color=GREY, alpha=0.3, linewidth=0)


@styled()
def published_ratios_figure(results: Mapping[str, Results], labels: Mapping[str, str]) -> Figure:
    """Plot CPU time relative to the baseline with its interval, for each way of measuring."""
    keys = [key for key in labels if key != BASELINE]
    series = {
        _way_label(way, found.blocks): {key: found.lines[key].compared[PRIMARY].ratio for key in keys}
        for way, found in results.items()
    }
    figure = ratios_figure(series, [labels[key] for key in keys], COLUMN)
    figure.axes[0].set_xlabel("CPU time of a forecast\n(baseline = 1)")
    return figure


def _way_label(way: str, count: int) -> str:
    """As in `remeasured (n = 20 blocks)`. The published method has runs, in a fixed order."""
    return f"as published (n = {count} runs)" if way == "published" else f"{way} (n = {count} blocks)"


@styled()
def curve_figure(curve: pd.DataFrame, best_reward: float) -> Figure:
    """Plot PPO's mean reward over its steps, and the highest reward of any action."""
    figure, axis = plt.subplots(figsize=(COLUMN, 1.9))
    axis.plot(curve["step"], curve["mean_reward"], color=BLUE)
    axis.axhline(best_reward, color=GREY, linestyle="--")
    axis.set(xlabel="step", ylabel="mean reward")
    axis.annotate("best of all actions", (curve["step"].min(), best_reward), (2, 3), fontsize=SMALL,
                  textcoords="offset points")  # fmt: skip
    axis.margins(y=0.12)
    return figure


@styled()
def rewards_figure(actions: pd.DataFrame, ties: list[int]) -> Figure:
    """Plot the reward of every action; the actions that share the highest one are orange."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.1))
    colours = [ORANGE if action in ties else BLUE for action in actions["action"]]
    axis.bar(actions["action"], actions["reward"], color=colours)
    axis.axhline(0, color=BLACK, linewidth=0.6)
    name_actions(axis, actions["action"].tolist(), actions["name"].tolist())
    axis.set(ylabel="reward")
    axis.set_title(f"{len(ties)} of {len(actions)} actions share the best reward")
    return figure


def name_actions(axis: Axes, actions: Sequence[int], names: Sequence[str]) -> None:
    """Label the horizontal axis with the number and the name of every action."""
    labels = [f"{name} ({action})" for action, name in zip(actions, names, strict=True)]
    axis.set_xticks(actions, labels, rotation=90)


@styled()
def training_figure(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Plot training and validation loss by epoch, and mark the epoch whose weights are kept."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.0))
    for name, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
        axis.plot(history["epoch"], history[f"{name}_loss"], style, color=colour, label=words(name))
    axis.axvline(best_epoch, color=GREY, linestyle=":", label="weights kept")
    axis.set(xlabel="epoch", ylabel="binary cross-entropy")
    legend_above(figure, axis.get_legend_handles_labels()[0], 3)
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
