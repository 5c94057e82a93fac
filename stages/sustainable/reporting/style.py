"""What all figures share: colours, style, intervals, and how they are written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sustainable.core.files import replacing
from sustainable.statistics import Ratio

# safe for colour-blind readers (Okabe and Ito)
BLUE, ORANGE, GREY, GREEN, PURPLE = "#0072B2", "#D55E00", "#999999", "#009E73", "#CC79A7"
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


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the report's style; decorates the functions that draw."""
    with plt.rc_context(STYLE):
        yield


def save_figures(figures: dict[str, Figure], folder: Path, stamp: str) -> list[str]:
    """Write every figure as PDF and PNG and return the names; the same figure gives the same bytes.

    A `stamp` is written across each of them.
    """
    for name, figure in figures.items():
        if stamp:
            place: dict[str, Any] = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "rotation": 20}
            figure.text(s=stamp, color="red", alpha=0.4, fontsize=20, **place)
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        with plt.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # laid out once is enough: an engine draws again for each file
        for kind, metadata in NO_TRACES.items():
            with replacing(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
        plt.close(figure)
    return list(figures)


def ratios_figure(
    series: Mapping[str, Mapping[str, Ratio | None]], labels: Sequence[str], size: tuple[float, float]
) -> Figure:
    """Plot the ratios of each series (its label: ratio by configuration) with their intervals.

    `labels` name the configurations, one row each.
    """
    figure, axis = plt.subplots(figsize=size)
    offsets = np.linspace(-0.15, 0.15, len(series))
    for offset, colour, (label, ratios) in zip(offsets, (GREY, BLUE), series.items(), strict=False):
        for place, ratio in enumerate(ratios.values()):
            draw_interval(axis, ratio, place + offset, colour)
        axis.plot([], [], "o-", color=colour, label=label)
    axis.axvline(1, color="black", linewidth=0.6)
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    return figure


def draw_interval(
    axis: Axes,
    ratio: Ratio | None,
    place: float,
    colour: str,
    width: float = 2,
    size: float = 4,
    filled: bool = True,
) -> None:
    """Draw a point and its interval as a horizontal line; nothing for a missing ratio."""
    if ratio is not None:
        face = colour if filled else "white"
        axis.plot([ratio.low, ratio.high], [place] * 2, color=colour, linewidth=width)
        axis.plot(ratio.estimate, place, "o", color=colour, markerfacecolor=face, markersize=size)
