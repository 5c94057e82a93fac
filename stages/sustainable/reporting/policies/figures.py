"""Figures of study B: the second source's panels, the split of a change, doses, survival, learning."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sustainable.energy.meter import COUNTER
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN
from sustainable.reporting.policies import notebook_figures
from sustainable.reporting.policies.costs import STEP_PARTS, PolicyLine
from sustainable.reporting.policies.run import CELL, PoliciesRun
from sustainable.reporting.policies.summary import Policies, of_each_environment, shown, split_cells
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, STYLE, draw_interval, save_figures

PART_COLOURS = {"policy": ORANGE, "environment": BLUE, "remainder": GREY, "length": GREEN}
PART_LABELS = {"remainder": "remainder (loop, resets)", "length": "episode length"}
CAUSES = ("length", *STEP_PARTS)
SKY, PINK, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#E69F00", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, GREY, BLACK)
METHODS = {  # mark and label
    "none": ("o", "uncompressed"),
    "ptdq": ("s", "PTDQ"),
    "ptsq": ("D", "PTSQ"),
    "qat": ("^", "QAT"),
    "unstructured": ("v", "weights pruned"),
    "structured": ("P", "units removed"),
    "mixed": ("X", "units removed + PTDQ"),
}
EPISODE_COST = "CPU time of an episode\nrelative to the baseline"
STEP_COST = "CPU time of a step\nrelative to the baseline"


def draw_policies(
    folder: Path, run: PoliciesRun, policies: Policies, published: Sequence[Any], stamp: str
) -> list[str]:
    """Write every figure of study B into `folder` and return their names.

    `published` is the source's `pruning_survival`.
    """
    with plt.rc_context(STYLE):
        figures = {
            "policies_panels": panels_figure(run, policies),
            "policies_ratios": policies_ratios_figure(policies),
            "policies_parts": parts_figure(policies),
            "policies_split": split_figure(policies),
            "policies_doses": doses_figure(policies),
            "policies_survival": survival_figure(policies, published),
            "policies_learning": learning_figure(run),
            "notebook_panels": notebook_figures.panels_figure(policies.notebook),
            "notebook_power": notebook_figures.power_figure(policies.notebook),
        }
    return save_figures(figures, folder, stamp)


def panels_figure(run: PoliciesRun, policies: Policies) -> Figure:
    """Plot the source's panels: size, return and length against cost, cost by component, power over the run,
    and size beside cost."""
    figure, axes = plt.subplots(3, 2, figsize=(6.8, 8.2))
    _scatter(axes[0, 0], policies, lambda line: line.size_ratio, "step")
    axes[0, 0].set(xlabel="weights' bytes relative to the baseline", ylabel=STEP_COST)
    _scatter(axes[0, 1], policies, _shown_return, "episode")
    axes[0, 1].set(xlabel="return kept (0: random policy, 1: baseline)", ylabel=EPISODE_COST)
    _scatter(axes[1, 0], policies, _relative_steps, "episode")
    axes[1, 0].set(xlabel="steps of an episode relative to the baseline", ylabel=EPISODE_COST)
    _components(axes[1, 1], policies)
    _power(axes[2, 0], run, policies)
    _side_by_side(axes[2, 1], policies)
    _scatter_legend(figure, policies)
    return figure


def _scatter(
    axis: Axes, policies: Policies, across: Callable[[PolicyLine], float | None], outcome: str
) -> None:
    """Plot one point per cell and configuration: colour is the environment, shape the compression."""
    colours = environment_colours(policies)
    look: dict[str, Any] = {"markersize": 4, "alpha": 0.65, "markeredgewidth": 0}
    for cell in shown(policies):
        for line in cell.lines.values():
            effect, x = line.effects[outcome].to_baseline, across(line)
            if effect is not None and x is not None and line.key != TWIN:
                mark, _ = METHODS[line.method]
                axis.plot(x, effect.estimate, mark, color=colours[cell.environment], **look)
    for line_at in (axis.axhline, axis.axvline):
        line_at(1, color="black", linewidth=0.5, linestyle=":")
    axis.set_yscale("log")
    plain_ticks(axis, "y")


def _relative_steps(line: PolicyLine) -> float | None:
    steps = line.effects["steps"].to_baseline
    return steps.estimate if steps else None


def _shown_return(line: PolicyLine) -> float | None:
    return max(line.kept.estimate, -0.5) if line.kept else None


def environment_colours(policies: Policies) -> dict[str, str]:
    names = dict.fromkeys(cell.environment for cell in policies.cells)
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def _scatter_legend(figure: Figure, policies: Policies) -> None:
    colours = environment_colours(policies)
    names = dict.fromkeys(cell.environment for cell in shown(policies))
    methods = {line.method for cell in shown(policies) for line in cell.lines.values()}
    handles = [_mark("o", colours[name], name) for name in names]
    handles += [
        _mark(mark, BLACK, label, markersize=4) for name, (mark, label) in METHODS.items() if name in methods
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=6.5, frameon=False)


def _mark(mark: str, colour: str, label: str, **look: Any) -> Line2D:
    """Return an entry of a legend."""
    return Line2D([], [], marker=mark, linestyle="", color=colour, label=label, **look)


def _part_marks(parts: Sequence[str]) -> list[Line2D]:
    return [_mark("s", PART_COLOURS[part], PART_LABELS.get(part, part)) for part in parts]


def _components(axis: Axes, policies: Policies) -> None:
    """Plot CPU time per step by part, uncompressed in eager torch, one bar per environment."""
    cells = of_each_environment(policies)
    for place, cell in enumerate(cells):
        _stack(axis, place, cell.lines[BASELINE].costs, STEP_PARTS)
    _name_rows(axis, [cell.environment for cell in cells], fontsize=7)
    axis.set_xlabel("CPU time of a step, uncompressed, µs")
    axis.legend(handles=_part_marks(STEP_PARTS), fontsize=6, frameon=False)


def _stack(axis: Axes, place: float, values: Mapping[str, float], parts: Sequence[str]) -> None:
    """Draw one bar of stacked parts.

    A negative part (timed separately, the others took longer than in the step) extends to the left.
    """
    ends = {True: 0.0, False: 0.0}
    for part in parts:
        value = values[part]
        axis.barh(place, value, left=ends[value >= 0], color=PART_COLOURS[part], height=0.7)
        ends[value >= 0] += value


def _name_rows(axis: Axes, names: Sequence[str], **look: Any) -> None:
    """Label rows from the top."""
    axis.set_yticks(range(len(names)), names, **look)
    axis.invert_yaxis()


def _power(axis: Axes, run: PoliciesRun, policies: Policies) -> None:
    """Plot mean CPU power of successive windows of one cell, idle windows included."""
    cell = shown(policies)[0]
    rows = run.rows[(run.rows[CELL] == [cell.environment, cell.algorithm]).all(axis=1)]
    rows = rows.sort_values(["block", "position"])
    minutes = (rows["wall_time_s"].cumsum() - rows["wall_time_s"] / 2) / 60
    watts = rows["cpu_j"].astype(float) / rows["wall_time_s"]
    idle = rows["configuration"] == IDLE
    for chosen, colour, label in ((~idle, BLUE, "window"), (idle, ORANGE, "idle window")):
        if chosen.any():
            axis.plot(minutes[chosen], watts[chosen], "o", color=colour, markersize=2, alpha=0.6, label=label)
    nature = "" if policies.cpu_evidence == COUNTER else f"\n({policies.cpu_evidence}: an estimate)"
    axis.set(xlabel=f"minutes of measured windows, {cell.name}", ylabel=f"CPU power, W{nature}")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6, frameon=False, loc="lower right")


def _side_by_side(axis: Axes, policies: Policies) -> None:
    """Plot size and cost per step relative to the baseline: geometric means over the environments shown."""
    cells = shown(policies)
    keys = [key for key, line in cells[0].lines.items() if line.compressed]
    for place, key in enumerate(keys):
        lines = [cell.lines[key] for cell in cells if key in cell.lines]
        ratios = [line.effects["step"].to_baseline for line in lines]
        costs = [ratio.estimate for ratio in ratios if ratio]
        axis.barh(place - 0.2, geometric_mean([line.size_ratio for line in lines]), 0.38, color=GREY)
        axis.barh(place + 0.2, geometric_mean(costs), 0.38, color=ORANGE)
    axis.axvline(1, color="black", linewidth=0.6)
    _name_rows(axis, [policies.labels[key] for key in keys], fontsize=6)
    axis.set_xlabel("relative to the baseline")
    handles = [_mark("s", GREY, "bytes"), _mark("s", ORANGE, "CPU time of a step")]
    axis.legend(handles=handles, fontsize=6, edgecolor="none", framealpha=0.8)


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def plain_ticks(axis: Axes, which: str) -> None:
    """Label a logarithmic axis with plain numbers; half a decade has few powers of ten."""
    side = axis.yaxis if which == "y" else axis.xaxis
    low, high = axis.get_ylim() if which == "y" else axis.get_xlim()
    wanted = [t for t in (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30, 100) if low <= t <= high]
    if high / low < 4:
        step = 0.1 if high - low < 0.8 else 0.2
        wanted = [tick for tick in np.arange(0.2, 4, step).round(1) if low <= tick <= high]
    side.set_ticks(wanted, [f"{tick:g}" for tick in wanted])
    side.set_ticks([], minor=True)


def policies_ratios_figure(policies: Policies) -> Figure:
    """Plot CPU time per step relative to the uncompressed policy under the same runtime."""
    cells, colours = shown(policies), environment_colours(policies)
    keys = list(dict.fromkeys(line.key for cell in cells for line in cell.compressed))
    figure, axis = plt.subplots(figsize=(6.2, 0.9 + 0.34 * len(keys)))
    offsets = np.linspace(-0.3, 0.3, len(cells)) if len(cells) > 1 else [0.0]
    for offset, cell in zip(offsets, cells, strict=True):
        for place, key in enumerate(keys):
            ratio = cell.lines[key].effects["step"].same_runtime if key in cell.lines else None
            draw_interval(axis, ratio, place + offset, colours[cell.environment], 1.2, 2.5)
    for name in dict.fromkeys(cell.environment for cell in cells):
        axis.plot([], [], "o-", color=colours[name], markersize=3, label=name)
    axis.axvline(1, color="black", linewidth=0.6)
    axis.set_xscale("log")
    plain_ticks(axis, "x")
    _name_rows(axis, [policies.labels[key] for key in keys])
    axis.set_xlabel("CPU time of a step relative to the uncompressed policy under the same runtime")
    figure.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    return figure


def _panels(count: int, width: float, heights: Callable[[int], float], **options: Any) -> tuple[Figure, Any]:
    """Make `count` panels in at most two columns; `heights`: of a figure with so many rows."""
    columns = min(2, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, heights(rows)), squeeze=False, **options)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes


def parts_figure(policies: Policies) -> Figure:
    """Plot CPU time per step by part and configuration, one panel per environment."""
    cells = of_each_environment(policies)
    most = max(len(cell.lines) for cell in cells)
    figure, axes = _panels(len(cells), 6.8, lambda rows: rows * (0.6 + 0.17 * most), sharey=True)
    for axis, cell in zip(axes.flat, cells, strict=False):
        for place, line in enumerate(cell.lines.values()):
            _stack(axis, place, line.costs, STEP_PARTS)
        axis.set_yticks(range(len(cell.lines)), [policies.labels[key] for key in cell.lines], fontsize=6)
        axis.set_title(cell.name, fontsize=8)
    axes[0, 0].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("CPU time of a step, µs")
    handles = _part_marks(STEP_PARTS)
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7, frameon=False)
    return figure


def split_figure(policies: Policies) -> Figure:
    """Plot the change of an episode's cost by cause: bars add up to the total, the black point."""
    cells = split_cells(policies)
    figure, axes = plt.subplots(1, len(cells), figsize=(6.8, 3.6), sharey=True, squeeze=False)
    for axis, cell in zip(axes[0], cells, strict=True):
        lines = [line for key, line in cell.lines.items() if key != BASELINE]
        for place, line in enumerate(lines):
            found = {name: cause.estimate if cause else 0.0 for name, cause in line.split.items()}
            _stack(axis, place, found, CAUSES)
            total: Any = line.split["total"]
            draw_interval(axis, total, place, BLACK, 1, 2.5)
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_yticks(range(len(lines)), [policies.labels[line.key] for line in lines], fontsize=6.5)
        axis.set_title(cell.name, fontsize=8)
        axis.set_xlabel("change of ln(CPU time of an episode)")
    axes[0, 0].invert_yaxis()
    handles = [*_part_marks(CAUSES), _mark("o", BLACK, "total, with interval", markersize=3)]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=6.5, frameon=False)
    return figure


def doses_figure(policies: Policies) -> Figure:
    """Plot each step's cost relative to the baseline against the cost of the environment's step: measured
    points, and lines predicted by Amdahl's law."""
    names = sorted({dose.dose_us for dose in policies.doses})
    keys = dict.fromkeys(dose.key for dose in policies.doses)
    figure, axis = plt.subplots(figsize=(6.6, 3.4))
    for colour, key in zip(PALETTE, keys, strict=False):
        own = sorted((dose for dose in policies.doses if dose.key == key), key=lambda dose: dose.dose_us)
        axis.plot([dose.predicted for dose in own], "-", color=colour, linewidth=1)
        for at, dose in enumerate(own):
            if dose.measured is not None:
                ends = [dose.measured.low, dose.measured.high]
                axis.plot([at, at], ends, color=colour, linewidth=2.5, alpha=0.5)
                axis.plot(at, dose.measured.estimate, "o", color=colour, markersize=3.5)
        axis.plot([], [], "o", color=colour, label=policies.labels[key])
    axis.plot([], [], "-", color=BLACK, linewidth=1, label="Amdahl's law")
    axis.set_xticks(range(len(names)), [f"{name:g}" for name in names])
    axis.axhline(1, color="black", linewidth=0.5, linestyle=":")
    axis.set_yscale("log")
    plain_ticks(axis, "y")
    axis.set(xlabel="added cost of the environment's step, µs", ylabel=STEP_COST)
    figure.legend(loc="outside right center", fontsize=6.5, frameon=False)
    return figure


def survival_figure(policies: Policies, published: Sequence[Any]) -> Figure:
    """Plot the share of models that keep their return by pruned share; published figures are crosses."""
    figure, axis = plt.subplots(figsize=(5.2, 3.0))
    for colour, curve in zip((BLACK, *PALETTE), policies.survival, strict=False):
        x = [100 * share for share in curve.shares]
        estimates, low, high = (
            [100 * getattr(share, name) for share in curve.survive] for name in ("estimate", "low", "high")
        )
        first = curve is policies.survival[0]
        look: dict[str, Any] = {"color": colour, "markersize": 2.5, "linewidth": 1.8 if first else 1}
        axis.plot(x, estimates, "o-", label=f"{curve.label} (n = {curve.survive[0].n})", **look)
        if first:
            axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    if not policies.survival:
        axis.text(0.5, 0.5, "no policy has learned", ha="center", transform=axis.transAxes)
    for place, said in enumerate(published):
        x, y, label = 100 * said["share"], 100 * (1 - said["lost"]), None if place else "published"
        axis.plot(x, y, "x", color=ORANGE, markersize=8, label=label, mew=2)
    axis.set(
        xlabel="pruned share, %", ylabel=f"models that keep {declared_percent(SURVIVES)}\nof their return, %"
    )
    axis.set_ylim(-3, 103)
    axis.legend(fontsize=6.5, frameon=False)
    return figure


def learning_figure(run: PoliciesRun) -> Figure:
    """Plot return during training, one line per seed and one panel per environment.

    Dashed lines are returns reported elsewhere.
    """
    names = list(dict.fromkeys(run.learning["environment"]))
    colours = dict(zip(dict.fromkeys(run.learning["algorithm"]), PALETTE, strict=False))
    figure, axes = _panels(len(names), 6.6, lambda rows: 0.4 + 1.9 * rows)
    for axis, name in zip(axes.flat, names, strict=False):
        _curves(axis, run.learning[run.learning["environment"] == name], colours)
        for entry in run.table:
            if entry["environment"] == name and entry["reference_return"] is not None:
                colour = colours.get(entry["algorithm"], GREY)
                axis.axhline(entry["reference_return"], color=colour, linestyle="--", linewidth=0.8)
        axis.set_title(name, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("return")
    for axis in axes[-1]:
        axis.set_xlabel("thousand steps")
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    handles.append(Line2D([], [], color=BLACK, linestyle="--", linewidth=0.8, label="reported elsewhere"))
    figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=7, frameon=False)
    return figure


def _curves(axis: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
    look: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.8}
    for (algorithm, _), curve in own.sort_values("step").groupby(["algorithm", "seed"]):
        axis.plot(curve["step"] / 1000, curve["episode_return"], color=colours[str(algorithm)], **look)
