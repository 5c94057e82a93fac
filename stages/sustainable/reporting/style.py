"""The style sheet of all figures: sizes, colours, marks, intervals, and how figures are written.

Every figure is as wide as a column or the page of the paper, where it is printed unscaled, so that a font
size here is the size in print.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from sustainable.core.files import replacing
from sustainable.statistics import Ratio

COLUMN, PAGE = 85 / 25.4, 176 / 25.4
"""Widths in inches: a column and the text of the paper (paper.tex.j2 sets 85 mm and 176 mm)."""
SMALL = 7.0
"""Size of the smallest font, in points."""
# safe for colour-blind readers (Okabe and Ito)
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, GREY = "#000000", "#666666"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Series have a colour and a mark, so that they can be told apart in grey."""
STYLE: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # TrueType: text can be searched and copied
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
        # the style must hold while a figure is written, too: fonts and resolution are read only then
        with styled(), plt.rc_context({"figure.constrained_layout.use": False}):
            engine = figure.get_layout_engine()
            figure.set_layout_engine(None)  # `savefig` would draw a figure twice to lay it out
            for kind, metadata in NO_TRACES.items():
                if kind == "png":
                    figure.set_dpi(STYLE["savefig.dpi"])  # the width of text depends on it
                if engine:
                    engine.execute(figure)
                with replacing(folder / f"{name}.{kind}") as temporary:
                    figure.savefig(temporary, format=kind, metadata=metadata)
        plt.close(figure)
    return list(figures)


def ratios_figure(
    series: Mapping[str, Mapping[str, Ratio | None]], labels: Sequence[str], width: float
) -> Figure:
    """Plot the ratios of each series (its label: ratio by configuration) with their intervals.

    `labels` name the configurations, one row each.
    """
    figure, axis = plt.subplots(figsize=(width, 0.75 + 0.2 * len(labels)))
    offsets = spread(len(series), 0.3)
    handles = []
    for offset, colour, mark, (label, ratios) in zip(offsets, PALETTE, MARKS, series.items(), strict=False):
        for place, ratio in enumerate(ratios.values()):
            draw_interval(axis, ratio, place + offset, colour, mark=mark)
        handles.append(line_entry(colour, label, marker=mark))
    axis.axvline(1, color=BLACK, linewidth=0.6)
    name_rows(axis, labels)
    legend_above(figure, handles, len(handles))
    return figure


def spread(count: int, width: float) -> np.ndarray:
    """Places [count] beside each other, over `width` in all and centred on 0."""
    return np.linspace(-width / 2, width / 2, count) if count > 1 else np.zeros(count)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Label rows from the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)


def draw_interval(
    axis: Axes,
    ratio: Ratio | None,
    place: float,
    colour: str,
    width: float = 1.3,
    size: float = 3.5,
    filled: bool = True,
    mark: str = "o",
) -> None:
    """Draw a point and its interval as a horizontal line; nothing for a missing ratio."""
    if ratio is not None:
        face = colour if filled else "white"
        axis.plot([ratio.low, ratio.high], [place] * 2, color=colour, linewidth=width)
        axis.plot(ratio.estimate, place, mark, color=colour, markerfacecolor=face, markersize=size)


def line_entry(colour: str, label: str, **look: Any) -> Line2D:
    """An entry of a legend: a line, with a mark if `look` has one."""
    return Line2D([], [], color=colour, label=label, **look)


def mark_entry(mark: str, colour: str, label: str, **look: Any) -> Line2D:
    """An entry of a legend: a mark without a line."""
    return line_entry(colour, label, marker=mark, linestyle="", **look)


def legend_on_top(axis: Axes, handles: Sequence[Any] | None = None, **look: Any) -> None:
    """Put the legend of one panel above it; by default of what is labelled in it."""
    shown = axis.get_legend_handles_labels()[0] if handles is None else handles
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.1}
    axis.legend(handles=shown, ncols=len(shown), **place, **look)


def legend_above(figure: Figure, handles: Sequence[Any], columns: int) -> Legend:
    """Put a legend above all panels, so that it covers no data."""
    return figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)


def shade_noise(axis: Axes, twins: Sequence[Ratio | None], way: Literal["x", "y"] = "x") -> None:
    """Shade what two measurements of one model differ by: the hull of the A/A intervals."""
    known = [twin for twin in twins if twin is not None]
    if known:
        low, high = min(twin.low for twin in known), max(twin.high for twin in known)
        span = axis.axvspan if way == "x" else axis.axhspan
        span(low, high, color=GREY, alpha=0.3, linewidth=0)


def label_lines(axis: Axes, ends: Sequence[tuple[float, str, str]], gap: float = 0.09) -> None:
    """Name horizontal lines at the right of the axis: `ends` are height, text and colour.

    Names keep a distance of `gap` of the axis's height; a thin line leads to one that had to move.
    """
    low, high = axis.get_ylim()
    placed = -np.inf
    for height, text, colour in sorted(ends):
        share = (height - low) / (high - low)
        placed = max(share, placed + gap)
        look: Any = {"color": colour, "linewidth": 0.5, "transform": axis.transAxes, "clip_on": False}
        axis.plot([1.0, 1.04], [share, placed], **look)
        axis.text(1.05, placed, text, color=colour, fontsize=SMALL, va="center", transform=axis.transAxes)


def plain_ticks(axis: Axes, which: Literal["x", "y"]) -> None:
    """Label a logarithmic axis with plain numbers; half a decade has few powers of ten."""
    side = axis.yaxis if which == "y" else axis.xaxis
    low, high = axis.get_ylim() if which == "y" else axis.get_xlim()
    wanted = [t for t in (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30, 100) if low <= t <= high]
    if high / low < 4:
        step = 0.1 if high - low < 0.8 else 0.2
        wanted = [tick for tick in np.arange(0.2, 4, step).round(1) if low <= tick <= high]
    side.set_ticks(wanted, [f"{tick:g}" for tick in wanted])
    side.set_ticks([], minor=True)


def fraction_ticks(axis: Axes) -> None:
    """Label a logarithmic horizontal axis of shares with fractions: 1/100, 1/10, 1."""
    low, high = axis.get_xlim()
    decades = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    exponents = [power for power in decades if len(decades) <= 3 or power % 2 == 0]
    names = [f"1/{10**-power:,}" if power < 0 else f"{10**power:,}" for power in exponents]
    axis.set_xticks([10.0**power for power in exponents], names)
