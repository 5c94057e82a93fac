"""Figures of the audited protocol: the deployment space, proxies against measurement, regret, and ratios."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sustainable.reporting.forecasting.audited import PROXIES, Audited
from sustainable.reporting.forecasting.figures import BLUE, GREEN, GREY, ORANGE, STYLE, save_figure
from sustainable.reporting.forecasting.results import BASELINE
from sustainable.reporting.forecasting.searching import Searching

COLOURS = {"torch-eager": BLUE, "onnxruntime": ORANGE, "openvino": GREEN}
MARKS = {"fp32": "o", "int8": "s", "bf16": "^"}
PROXY_LABELS = {
    "flops": "operations",
    "parameters": "parameters",
    "size_bytes": "stored bytes",
    "sparsity": "sparsity",
    "proxy_flops": "ptflops",
    "proxy_parameters": "parameters()",
}


def draw_audited(
    folder: Path,
    audited: Audited,
    searching: Searching,
    candidates: pd.DataFrame,
    labels: Mapping[str, str],
    stamp: str,
) -> list[str]:
    """Every figure of the audited protocol into `folder`; gives their names."""
    figures = {
        "audited": audited_figure(audited, labels),
        "candidates": candidates_figure(candidates, audited.batch_sizes),
        "proxies": proxies_figure(candidates, max(audited.batch_sizes)),
        "regret": regret_figure(searching),
    }
    for name, figure in figures.items():
        save_figure(figure, folder, name, stamp)
    return list(figures)


def audited_figure(audited: Audited, labels: Mapping[str, str]) -> Figure:
    """CPU time relative to the eager baseline with its interval over seeds, on a logarithmic axis."""
    keys = [key for key in audited.lines if key != BASELINE]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 3.2))
        offsets = np.linspace(-0.15, 0.15, len(audited.batch_sizes))
        for offset, colour, size in zip(offsets, (GREY, BLUE), audited.batch_sizes, strict=False):
            for place, key in enumerate(keys):
                ratio = audited.lines[key].timings[size].ratio
                if ratio is not None:
                    axis.plot([ratio.low, ratio.high], [place + offset] * 2, color=colour, linewidth=2)
                    axis.plot(ratio.estimate, place + offset, "o", color=colour, markersize=4)
            axis.plot([], [], "o-", color=colour, label=f"batch {size}")
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_xscale("log")
        axis.set_yticks(range(len(keys)), [labels[key] for key in keys])
        axis.invert_yaxis()
        axis.set_xlabel("CPU time of a forecast relative to the eager baseline")
        axis.legend(fontsize=7, frameon=False)
    return figure


def candidates_figure(candidates: pd.DataFrame, sizes: Sequence[int]) -> Figure:
    """Validation accuracy against measured CPU time: a mark a candidate."""
    space = candidates[candidates["family"] != "masked"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(sizes), figsize=(6.4, 2.8), sharey=True, squeeze=False)
        for axis, size in zip(axes[0], sizes, strict=True):
            for (runtime, precision), own in space.groupby(["runtime", "precision"]):
                axis.plot(
                    own[f"cpu_time_ms_batch_{size}"],
                    own["validation_accuracy"],
                    MARKS[str(precision)],
                    color=COLOURS[str(runtime)],
                    markersize=3,
                    alpha=0.6,
                    markeredgewidth=0,
                    label=f"{runtime} {precision}",
                )
            axis.set_xscale("log")
            axis.set_xlabel(f"CPU time, ms per forecast, batch {size}")
        axes[0][0].set_ylabel("validation accuracy")
        axes[0][-1].legend(fontsize=6, frameon=False)
    return figure


def proxies_figure(candidates: pd.DataFrame, size: int) -> Figure:
    """What each proxy says of every candidate, and what was measured."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(6.4, 3.8), sharey=True)
        for axis, proxy in zip(axes.flat, PROXIES, strict=True):
            for runtime, own in candidates.groupby("runtime"):
                look: dict[str, Any] = {"color": COLOURS[str(runtime)], "markersize": 2.5, "alpha": 0.6}
                axis.plot(own[proxy], own[f"cpu_time_ms_batch_{size}"], "o", markeredgewidth=0, **look)
            axis.set_xscale(
                "linear" if proxy == "sparsity" else "symlog", **_symlog(candidates[proxy], proxy)
            )
            axis.set_yscale("log")
            axis.set_xlabel(PROXY_LABELS[proxy])
        for axis in axes[:, 0]:
            axis.set_ylabel("CPU time, ms")
        for runtime, colour in COLOURS.items():
            axes[0, 0].plot([], [], "o", color=colour, markersize=3, label=runtime)
        axes[0, 0].legend(fontsize=6, frameon=False)
    return figure


def _symlog(values: pd.Series, proxy: str) -> dict[str, float]:
    """A logarithmic axis that still shows 0, which is what proxies say of quantized models."""
    return {} if proxy == "sparsity" else {"linthresh": float(values[values > 0].min())}


def regret_figure(searching: Searching) -> Figure:
    """Mean simple regret against distinct evaluations, with its interval over seeds."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6.0, 3.4))
        colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
        steps = np.arange(1, searching.budget + 1)
        for index, (name, line) in enumerate(searching.lines.items()):
            style = "-" if line.is_rl else "--"
            colour = colours[index % len(colours)]
            axis.plot(
                steps, line.curve.mean, style, color=colour, linewidth=1.3, label=name.replace("_", " ")
            )
            axis.fill_between(steps, line.curve.low, line.curve.high, color=colour, alpha=0.12, linewidth=0)
        axis.set_xlabel("distinct evaluations")
        axis.set_ylabel("regret, nats")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6, frameon=False, ncols=2)
    return figure
