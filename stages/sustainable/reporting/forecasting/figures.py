"""Figures as PDF for the paper and PNG for people; the same rows give the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sustainable.core.files import replacing
from sustainable.energy.meter import COUNTER
from sustainable.reporting.forecasting.results import BASELINE, PRIMARY, Results
from sustainable.reporting.forecasting.run import Run

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#999999", "#009E73"  # safe for colour-blind readers
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
}
NO_TRACES: dict[str, dict[str, Any]] = {  # neither dates nor versions
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def save_figure(figure: Figure, folder: Path, name: str, stamp: str) -> None:
    """Write `name`.pdf and `name`.png, the same bytes for the same figure; `stamp` goes across it."""
    if stamp:
        place: dict[str, Any] = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "rotation": 20}
        figure.text(s=stamp, color="red", alpha=0.4, fontsize=20, **place)
    for kind, metadata in NO_TRACES.items():
        with replacing(folder / f"{name}.{kind}") as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata)
    plt.close(figure)


def configurations_figure(rows: pd.DataFrame, results: Results, labels: Mapping[str, str]) -> Figure:
    """Accuracy, energy and latency by configuration: a dot a window, the mean as a bar, the A/A band."""
    nature = "" if results.cpu_evidence == COUNTER else f"\n({results.cpu_evidence}: an estimate)"
    panels = (("energy_mwh", f"energy, mWh per forecast{nature}"), ("latency_ms", "latency, ms per forecast"))
    keys = list(results.lines)
    with plt.rc_context(STYLE):
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
    """A bar a configuration, the frugal forecasters as lines."""
    for place, line in enumerate(results.lines.values()):
        axis.hlines(line.accuracy, place - 0.25, place + 0.25, color=ORANGE, linewidth=2)
    for (name, hits), style in zip(sorted(results.frugal.items()), (":", "--", "-."), strict=False):
        label = name.replace("_", " ")
        axis.axhline(float(hits.mean()), color=GREEN, linestyle=style, linewidth=1, label=label)
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
    """What the baseline could as well have measured: its mean times the A/A twin's interval."""
    twin, mean = results.twin[column].ratio, results.lines[BASELINE].outcomes[column].mean
    if twin is not None and mean is not None:
        look: dict[str, Any] = {"color": GREY, "alpha": 0.35, "linewidth": 0, "label": "A/A control"}
        axis.axhspan(mean * twin.low, mean * twin.high, **look)
        axis.legend(fontsize=6, frameon=False, loc="lower left")


def ratios_figure(results: Mapping[str, Results], labels: Mapping[str, str]) -> Figure:
    """CPU time relative to the baseline with its interval, in each way of measuring."""
    keys = [key for key in labels if key != BASELINE]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 2.8))
        for offset, colour, (way, found) in zip((-0.15, 0.15), (GREY, BLUE), results.items(), strict=True):
            for place, key in enumerate(keys):
                ratio = found.lines[key].compared[PRIMARY].ratio
                if ratio is not None:
                    axis.plot([ratio.low, ratio.high], [place + offset] * 2, color=colour, linewidth=2)
                    axis.plot(ratio.estimate, place + offset, "o", color=colour, markersize=4)
            axis.plot([], [], "o-", color=colour, label=f"{way}: {found.blocks} blocks")
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_yticks(range(len(keys)), [labels[key] for key in keys])
        axis.invert_yaxis()
        axis.set_xlabel("CPU time relative to the baseline")
        axis.legend(fontsize=7, frameon=False, loc="best")
    return figure


def curve_figure(curve: pd.DataFrame, best_reward: float) -> Figure:
    """PPO's mean reward over its steps, and the best reward that there is."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.5, 2.6))
        axis.plot(curve["step"], curve["mean_reward"], color=BLUE, linewidth=1.2, label="PPO, mean reward")
        axis.axhline(best_reward, color=GREY, linestyle="--", linewidth=1, label="best of the actions")
        axis.set_xlabel("step")
        axis.set_ylabel("reward")
        axis.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def rewards_figure(actions: pd.DataFrame, ties: list[int]) -> Figure:
    """The reward of every action; those that share the best one stand out."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.8, 2.6))
        colours = [ORANGE if action in ties else BLUE for action in actions["action"]]
        axis.bar(actions["action"], actions["reward"], color=colours)
        axis.axhline(0, color="black", linewidth=0.6)
        names = [f"{a}\n{n}" for a, n in zip(actions["action"], actions["name"], strict=True)]
        axis.set_xticks(actions["action"], names, fontsize=5)
        axis.set_xlabel("action")
        axis.set_ylabel("reward")
        axis.set_title(f"{len(ties)} of {len(actions)} actions share the best reward", fontsize=8)
    return figure


def training_figure(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Training and validation loss by epoch; the epoch whose weights are kept."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.5, 2.6))
        axis.plot(history["epoch"], history["train_loss"], color=BLUE, linewidth=1, label="training")
        axis.plot(history["epoch"], history["validation_loss"], color=ORANGE, linewidth=1, label="validation")
        axis.axvline(best_epoch, color=GREY, linestyle="--", linewidth=1, label="weights kept")
        axis.set_xlabel("epoch")
        axis.set_ylabel("binary cross-entropy")
        axis.legend(fontsize=7, frameon=False)
    return figure


def draw_published(
    folder: Path, run: Run, results: Mapping[str, Results], labels: Mapping[str, str], stamp: str
) -> list[str]:
    """Every figure of the published protocol into `folder`; gives their names."""
    seed, model = next(iter(run.metrics["published"]["baseline"]["seeds"].items()))
    history = run.history[run.history["seed"] == int(seed)]
    own = {key: labels[key] for key in results["published"].lines}
    figures = {
        f"configurations_{way}": configurations_figure(run.rows[way], results[way], own) for way in results
    }
    figures |= {
        "ratios": ratios_figure(results, own),
        "learning_curve": curve_figure(run.curve, run.best["best_reward"]),
        "action_rewards": rewards_figure(run.actions, run.best["actions_sharing_best_reward"]),
        "training": training_figure(history, model["best_epoch"]),
    }
    for name, figure in figures.items():
        save_figure(figure, folder, name, stamp)
    return list(figures)
