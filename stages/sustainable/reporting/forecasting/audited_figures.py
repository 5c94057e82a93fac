"""Figures of the audited protocol: the deployment space, proxies against measurement, regret, and ratios."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sustainable.reporting.forecasting.audited import PROXIES, Audited
from sustainable.reporting.forecasting.searching import Searching
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.formats import words
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, STYLE, draw_interval, save_figures

RUNTIME_COLOURS = {"torch-eager": BLUE, "onnxruntime": ORANGE, "openvino": GREEN}
PRECISION_MARKS = {"fp32": "o", "int8": "s", "bf16": "^"}
PROXY_LABELS = {
    "flops": "operations",
    "parameters": "parameters",
    "size_bytes": "stored bytes",
    "sparsity": "sparsity",
    "proxy_flops": "ptflops",
    "proxy_parameters": "parameters()",
}


def draw_audited(folder: Path, candidates: pd.DataFrame, study: Forecasting, stamp: str) -> list[str]:
    """Write every figure of the audited protocol into `folder` and return their names."""
    sizes = study.audited.batch_sizes
    figures = {
        "audited": audited_figure(study.audited, study.labels),
        "candidates": candidates_figure(candidates, sizes),
        "proxies": proxies_figure(candidates, max(sizes)),
        "regret": regret_figure(study.searching),
    }
    return save_figures(figures, folder, stamp)


def audited_figure(audited: Audited, labels: Mapping[str, str]) -> Figure:
    """Plot CPU time relative to the eager baseline with its interval over seeds, on a logarithmic axis."""
    keys = [key for key in audited.lines if key != BASELINE]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 3.2))
        offsets = np.linspace(-0.15, 0.15, len(audited.batch_sizes))
        for offset, colour, size in zip(offsets, (GREY, BLUE), audited.batch_sizes, strict=False):
            for place, key in enumerate(keys):
                draw_interval(axis, audited.lines[key].timings[size].ratio, place + offset, colour)
            axis.plot([], [], "o-", color=colour, label=f"batch {size}")
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_xscale("log")
        axis.set_yticks(range(len(keys)), [labels[key] for key in keys])
        axis.invert_yaxis()
        axis.set_xlabel("CPU time of a forecast relative to the eager baseline")
        axis.legend(fontsize=7, frameon=False)
    return figure


def candidates_figure(candidates: pd.DataFrame, sizes: Sequence[int]) -> Figure:
    """Plot validation accuracy against measured CPU time, one point per candidate."""
    space = candidates[candidates["family"] != "masked"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(sizes), figsize=(6.4, 2.8), sharey=True, squeeze=False)
        for axis, size in zip(axes[0], sizes, strict=True):
            for (runtime, precision), own in space.groupby(["runtime", "precision"]):
                axis.plot(
                    own[f"cpu_time_ms_batch_{size}"],
                    own["validation_accuracy"],
                    PRECISION_MARKS[str(precision)],
                    color=RUNTIME_COLOURS[str(runtime)],
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
    """Plot measured CPU time against each proxy, one point per candidate."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(6.4, 3.8), sharey=True)
        for axis, proxy in zip(axes.flat, PROXIES, strict=True):
            for runtime, own in candidates.groupby("runtime"):
                look: dict[str, Any] = {
                    "color": RUNTIME_COLOURS[str(runtime)],
                    "markersize": 2.5,
                    "alpha": 0.6,
                }
                axis.plot(own[proxy], own[f"cpu_time_ms_batch_{size}"], "o", markeredgewidth=0, **look)
            axis.set_xscale(
                "linear" if proxy == "sparsity" else "symlog", **_symlog(candidates[proxy], proxy)
            )
            axis.set_yscale("log")
            axis.set_xlabel(PROXY_LABELS[proxy])
        for axis in axes[:, 0]:
            axis.set_ylabel("CPU time, ms")
        for runtime, colour in RUNTIME_COLOURS.items():
            axes[0, 0].plot([], [], "o", color=colour, markersize=3, label=runtime)
        axes[0, 0].legend(fontsize=6, frameon=False)
    return figure


def _symlog(values: pd.Series, proxy: str) -> dict[str, float]:
    """Choose a logarithmic axis that still shows 0, which the proxies report for quantized models."""
    return {} if proxy == "sparsity" else {"linthresh": float(values[values > 0].min())}


def regret_figure(searching: Searching) -> Figure:
    """Plot mean simple regret against distinct evaluations, with its interval over seeds."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6.0, 3.4))
        colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
        steps = np.arange(1, searching.budget + 1)
        for index, (name, line) in enumerate(searching.lines.items()):
            style = "-" if line.is_rl else "--"
            colour = colours[index % len(colours)]
            axis.plot(steps, line.curve.mean, style, color=colour, linewidth=1.3, label=words(name))
            axis.fill_between(steps, line.curve.low, line.curve.high, color=colour, alpha=0.12, linewidth=0)
        axis.set_xlabel("distinct evaluations")
        axis.set_ylabel("regret, nats")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6, frameon=False, ncols=2)
    return figure
