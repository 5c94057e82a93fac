"""Figures of study B: the second source's panels, the split of a change, doses, survival, learning."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sustainable.energy.meter import COUNTER
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN
from sustainable.reporting.policies import notebook_figures
from sustainable.reporting.policies.costs import SPLIT_PARTS, STEP_PARTS, MeasuredCell, PolicyLine
from sustainable.reporting.policies.pooling import pooled_steps
from sustainable.reporting.policies.run import CELL, PoliciesRun
from sustainable.reporting.policies.summary import Policies, of_each_environment, shown, split_cells
from sustainable.reporting.style import BLACK, BLUE, COLUMN, GREEN, GREY, MARKS, ORANGE, PAGE, PALETTE, PINK
from sustainable.reporting.style import STYLE, draw_interval, legend_above, legend_on_top, line_entry
from sustainable.reporting.style import mark_entry
from sustainable.reporting.style import name_rows, plain_ticks, save_figures, shade_noise, spread

PART_COLOURS = {"policy": ORANGE, "environment": BLUE, "remainder": GREY, "length": GREEN}
PART_LABELS = {"length": "episode length"}
METHODS = {  # mark and label
    "none": ("o", "uncompressed"),
    "ptdq": ("s", "PTDQ"),
    "ptsq": ("D", "PTSQ"),
    "qat": ("^", "QAT"),
    "unstructured": ("v", "weights pruned"),
    "structured": ("P", "units removed"),
    "mixed": ("X", "units removed + PTDQ"),
}
CLOSE: dict[str, Any] = {"handletextpad": 0.2, "columnspacing": 0.7}
"""The look of a panel's legend."""
MOST_POINTS = 5000
"""Windows that a panel can show; of more, every second, third or so is drawn."""
EPISODE_COST = "CPU time of an episode\n(baseline = 1)"
STEP_COST = "CPU time of a step\n(baseline = 1)"


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
            "notebook_panels": notebook_figures.notebook_panels_figure(policies.notebook),
            "notebook_power": notebook_figures.power_figure(policies.notebook),
        }
    return save_figures(figures, folder, stamp)


def panels_figure(run: PoliciesRun, policies: Policies) -> Figure:
    """Plot the source's panels: size, return and length against cost, cost by component, power over the run,
    and size beside cost."""
    figure, axes = plt.subplots(3, 2, figsize=(PAGE, 7.4))
    _scatter(axes[0, 0], policies, lambda line: line.size_ratio, "step")
    axes[0, 0].set(xlabel="weights' bytes (baseline = 1)", ylabel=STEP_COST)
    _scatter(axes[0, 1], policies, _shown_return, "episode")
    axes[0, 1].set(xlabel="return kept (0: random policy, 1: baseline)", ylabel=EPISODE_COST)
    _scatter(axes[1, 0], policies, _relative_steps, "episode", only=lambda cell: cell.ends_early)
    axes[1, 0].set(xlabel="steps of an episode (baseline = 1)", ylabel=EPISODE_COST)
    _components(axes[1, 1], policies)
    _power(axes[2, 0], run, policies)
    _side_by_side(axes[2, 1], policies)
    _scatter_legend(figure, policies)
    return figure


def _scatter(
    axis: Axes,
    policies: Policies,
    across: Callable[[PolicyLine], float | None],
    outcome: str,
    only: Callable[[MeasuredCell], bool] = lambda cell: True,
) -> None:
    """Plot one point per cell and compressed configuration: colour is the cell, shape the compression.

    Points of different cells stand a little apart, because many lie at 1 exactly.
    """
    colours, cells = cell_colours(policies), shown(policies)
    look: dict[str, Any] = {"markersize": 3.6, "alpha": 0.75, "markeredgewidth": 0}
    found = []
    for shift, cell in zip(spread(len(cells), 0.03), cells, strict=True):
        for line in cell.compressed if only(cell) else ():
            effect, x = line.effects[outcome].to_baseline, across(line)
            if effect is not None and x is not None:
                found.append((x, shift, effect, METHODS[line.method][0], colours[cell.name]))
    width = max((x for x, *_ in found), default=1) - min((x for x, *_ in found), default=0)
    for x, shift, effect, mark, colour in found:
        place = x + shift * width
        axis.plot([place] * 2, [effect.low, effect.high], color=colour, linewidth=0.5, alpha=0.5)
        axis.plot(place, effect.estimate, mark, color=colour, **look)
    for line_at in (axis.axhline, axis.axvline):
        line_at(1, color=BLACK, linewidth=0.5, linestyle=":")
    axis.set_yscale("log")
    plain_ticks(axis, "y")


def _relative_steps(line: PolicyLine) -> float | None:
    steps = line.effects["steps"].to_baseline
    return steps.estimate if steps else None


def _shown_return(line: PolicyLine) -> float | None:
    return max(line.kept.estimate, -0.5) if line.kept else None


def cell_colours(policies: Policies) -> dict[str, str]:
    """A colour for each environment and algorithm."""
    return {cell.name: PALETTE[place % len(PALETTE)] for place, cell in enumerate(policies.cells)}


def cell_marks(policies: Policies) -> dict[str, str]:
    """A mark for each environment and algorithm."""
    return {cell.name: MARKS[place % len(MARKS)] for place, cell in enumerate(policies.cells)}


def _scatter_legend(figure: Figure, policies: Policies) -> None:
    colours = cell_colours(policies)
    methods = {line.method for cell in shown(policies) for line in cell.compressed}
    handles = [mark_entry("o", colours[cell.name], cell.name) for cell in shown(policies)]
    handles += [
        mark_entry(mark, BLACK, label, markersize=4)
        for name, (mark, label) in METHODS.items()
        if name in methods
    ]
    legend_above(figure, handles, 5)


def _part_marks(parts: Sequence[str]) -> list[Any]:
    return [mark_entry("s", PART_COLOURS[part], PART_LABELS.get(part, part)) for part in parts]


def _components(axis: Axes, policies: Policies) -> None:
    """Plot CPU time per step by part, uncompressed in eager torch, one bar per environment."""
    cells = of_each_environment(policies)
    for place, cell in enumerate(cells):
        _stack(axis, place, cell.lines[BASELINE].costs, STEP_PARTS)
    name_rows(axis, [cell.environment for cell in cells])
    axis.set_xlabel("CPU time of a step, uncompressed, µs")
    legend_on_top(axis, _part_marks(STEP_PARTS), **CLOSE)


def _stack(axis: Axes, place: float, values: Mapping[str, float], parts: Sequence[str]) -> None:
    """Draw one bar of stacked parts.

    A negative part (timed separately, the others took longer than in the step) extends to the left.
    """
    ends = {True: 0.0, False: 0.0}
    for part in parts:
        value = values[part]
        axis.barh(place, value, left=ends[value >= 0], color=PART_COLOURS[part], height=0.7)
        ends[value >= 0] += value


def _power(axis: Axes, run: PoliciesRun, policies: Policies) -> None:
    """Plot mean CPU power of successive windows of one cell, idle windows included."""
    cell = shown(policies)[0]
    own = (run.rows[CELL] == [cell.environment, cell.algorithm]).all(axis=1)
    rows = run.rows.loc[own, ["block", "position", "configuration", "wall_time_s", "cpu_j"]]
    rows = rows.sort_values(["block", "position"])
    step = -(-len(rows) // MOST_POINTS)
    minutes = (rows["wall_time_s"].cumsum() - rows["wall_time_s"] / 2) / 60
    watts = rows["cpu_j"].astype(float) / rows["wall_time_s"]
    idle = rows["configuration"] == IDLE
    for chosen, colour, label in ((~idle, BLUE, "window"), (idle, ORANGE, "idle window")):
        if chosen.any():
            drawn = minutes[chosen][::step], watts[chosen][::step]
            axis.plot(*drawn, "o", color=colour, markersize=2, alpha=0.6, label=label)
    some = f", one of {step} drawn" if step > 1 else ""
    nature = "" if policies.cpu_evidence == COUNTER else f"\n({policies.cpu_evidence})"
    axis.set(xlabel=f"minutes of measured windows{some}, {cell.name}", ylabel=f"CPU power, W{nature}")
    axis.set_ylim(bottom=0)
    legend_on_top(axis, **CLOSE)


def _side_by_side(axis: Axes, policies: Policies) -> None:
    """Plot size and cost per step relative to the baseline: geometric means over the cells shown.

    The lines are the range of the cost over the cells.
    """
    cells = shown(policies)
    keys = [key for key, line in cells[0].lines.items() if line.compressed]
    for place, key in enumerate(keys):
        lines = [cell.lines[key] for cell in cells if key in cell.lines]
        ratios = [line.effects["step"].to_baseline for line in lines]
        costs = [ratio.estimate for ratio in ratios if ratio]
        size = geometric_mean([line.size_ratio for line in lines])
        axis.plot(size, place, "s", color=BLUE, markersize=3.5)
        if costs:
            axis.hlines(place, min(costs), max(costs), color=ORANGE, linewidth=1)
            axis.plot(geometric_mean(costs), place, "o", color=ORANGE, markersize=3.5)
    axis.axvline(1, color=BLACK, linewidth=0.6)
    axis.set_xlim(left=0)
    name_rows(axis, [policies.labels[key] for key in keys])
    axis.set_xlabel("baseline = 1")
    handles = [mark_entry("s", BLUE, "bytes"), mark_entry("o", ORANGE, "CPU time of a step")]
    legend_on_top(axis, handles, **CLOSE)


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def policies_ratios_figure(policies: Policies) -> Figure:
    """Plot CPU time per step relative to the uncompressed policy under the same runtime: a small point for
    every environment and algorithm, and an interval that pools them."""
    cells, colours, marks = shown(policies), cell_colours(policies), cell_marks(policies)
    keys = [*dict.fromkeys(line.key for cell in cells for line in cell.compressed), TWIN]
    figure, axis = plt.subplots(figsize=(PAGE, 0.9 + 0.21 * len(keys)))
    for place, key in enumerate(keys):
        draw_interval(axis, pooled_steps(cells, key), place - 0.22, BLACK)
        for cell in cells:
            ratio = cell.lines[key].effects["step"].same_runtime if key in cell.lines else None
            if ratio is not None:
                look: dict[str, Any] = {"color": colours[cell.name], "markersize": 3}
                axis.plot(ratio.estimate, place + 0.18, marks[cell.name], **look)
    axis.axvline(1, color=BLACK, linewidth=0.6)
    shade_noise(axis, [pooled_steps(cells, TWIN)])
    axis.set_xscale("log")
    plain_ticks(axis, "x")
    name_rows(axis, [policies.labels[key] for key in keys])
    axis.set_xlabel("CPU time of a step (uncompressed, same runtime = 1)")
    handles = [mark_entry(marks[cell.name], colours[cell.name], cell.name) for cell in cells]
    legend_above(figure, [*handles, line_entry(BLACK, "all together", marker="o", markersize=3.5)], 5)
    return figure


def _panels(
    count: int, width: float, heights: Callable[[int], float], columns: int = 2, **options: Any
) -> tuple[Figure, Any]:
    """Make `count` panels in at most `columns`; `heights`: of a figure with so many rows."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, heights(rows)), squeeze=False, **options)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes


def parts_figure(policies: Policies) -> Figure:
    """Plot CPU time per step by part and configuration, one panel per environment."""
    cells = of_each_environment(policies)
    most = max(len(cell.lines) for cell in cells)
    figure, axes = _panels(len(cells), PAGE, lambda rows: 0.3 + rows * (0.5 + 0.145 * most), sharey=True)
    for axis, cell in zip(axes.flat, cells, strict=False):
        for place, line in enumerate(cell.lines.values()):
            _stack(axis, place, line.costs, STEP_PARTS)
        name_rows(axis, [policies.labels[key] for key in cell.lines])
        axis.set_title(cell.name)
    for axis in axes[-1]:
        axis.set_xlabel("CPU time of a step, µs")
    handles = _part_marks(STEP_PARTS)
    legend_above(figure, handles, 3)
    return figure


def split_figure(policies: Policies) -> Figure:
    """Plot the change of an episode's cost by cause: bars add up to the total, the black point."""
    cells = split_cells(policies)
    figure, axes = plt.subplots(1, len(cells), figsize=(PAGE, 2.75), sharey=True, squeeze=False)
    for axis, cell in zip(axes[0], cells, strict=True):
        lines = [line for key, line in cell.lines.items() if key != BASELINE]
        for place, line in enumerate(lines):
            found = {name: cause.estimate if cause else 0.0 for name, cause in line.split.items()}
            _stack(axis, place, found, SPLIT_PARTS)
            total: Any = line.split["total"]
            draw_interval(axis, total, place, BLACK, 1, 2.5)
        axis.axvline(0, color=BLACK, linewidth=0.6)
        name_rows(axis, [policies.labels[line.key] for line in lines])
        axis.set_title(cell.name)
        axis.set_xlabel("change of ln(CPU time of an episode)")
    handles = [*_part_marks(SPLIT_PARTS), mark_entry("o", BLACK, "total, with interval", markersize=3)]
    legend_above(figure, handles, 5)
    return figure


def doses_figure(policies: Policies) -> Figure:
    """Plot each step's cost relative to the baseline against the cost of the environment's step: measured
    points, and lines predicted by Amdahl's law."""
    names = sorted({dose.dose_us for dose in policies.doses})
    keys = list(dict.fromkeys(dose.key for dose in policies.doses))
    figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
    handles = []
    for offset, colour, mark, key in zip(spread(len(keys), 0.5), PALETTE, MARKS, keys, strict=False):
        own = sorted((dose for dose in policies.doses if dose.key == key), key=lambda dose: dose.dose_us)
        places = np.arange(len(own)) + offset
        axis.plot(places, [dose.predicted for dose in own], "-", color=colour, linewidth=0.8)
        for place, dose in zip(places, own, strict=True):
            if dose.measured is not None:
                axis.plot([place] * 2, [dose.measured.low, dose.measured.high], color=colour, linewidth=1.3)
                axis.plot(place, dose.measured.estimate, mark, color=colour, markersize=3.5)
        handles.append(mark_entry(mark, colour, policies.labels[key]))
    handles.append(line_entry(BLACK, "Amdahl's law", linewidth=0.8))
    axis.set_xticks(range(len(names)), [f"{name:g}" for name in names])
    axis.axhline(1, color=BLACK, linewidth=0.5, linestyle=":")
    axis.set_yscale("log")
    plain_ticks(axis, "y")
    axis.set(xlabel="added cost of the environment's step, µs", ylabel=STEP_COST)
    legend_above(figure, handles, 2)
    return figure


def survival_figure(policies: Policies, published: Sequence[Any]) -> Figure:
    """Plot the share of models that keep their return by pruned share; published figures are crosses."""
    figure, axis = plt.subplots(figsize=(COLUMN, 2.7))
    looks = zip((BLACK, BLUE, ORANGE, GREEN, *PALETTE[3:]), MARKS, strict=False)
    for (colour, mark), curve in zip(looks, policies.survival, strict=False):
        x = [100 * share for share in curve.shares]
        estimates, low, high = (
            [100 * getattr(share, name) for share in curve.survive] for name in ("estimate", "low", "high")
        )
        first = curve is policies.survival[0]
        look: dict[str, Any] = {"color": colour, "markersize": 3, "linewidth": 1.6 if first else 0.8}
        axis.plot(x, estimates, f"{mark}-", label=f"{curve.label} (n = {curve.survive[0].n})", **look)
        if first:
            axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    if not policies.survival:
        axis.text(0.5, 0.5, "no policy has learned", ha="center", transform=axis.transAxes)
    for place, said in enumerate(published):
        x, y, label = 100 * said["share"], 100 * (1 - said["lost"]), None if place else "published"
        axis.plot(x, y, "x", color=PINK, markersize=8, label=label, mew=2, linestyle="")
    axis.set(
        xlabel="pruned share, %", ylabel=f"models that keep {declared_percent(SURVIVES)}\nof their return, %"
    )
    axis.set_ylim(-3, 103)
    legend_above(figure, axis.get_legend_handles_labels()[0], 2)
    return figure


def learning_figure(run: PoliciesRun) -> Figure:
    """Plot return during training, one line per seed and one panel per environment.

    Dashed lines are returns reported elsewhere.
    """
    names = list(dict.fromkeys(run.learning["environment"]))
    colours = dict(zip(dict.fromkeys(run.learning["algorithm"]), PALETTE, strict=False))
    figure, axes = _panels(len(names), PAGE, lambda rows: 0.3 + 1.55 * rows, columns=3)
    for axis, name in zip(axes.flat, names, strict=False):
        _curves(axis, run.learning[run.learning["environment"] == name], colours)
        for entry in run.table:
            if entry["environment"] == name and entry["reference_return"] is not None:
                colour = colours.get(entry["algorithm"], GREY)
                axis.axhline(entry["reference_return"], color=colour, linestyle="--", linewidth=0.8)
        axis.set_title(name)
        axis.set_xlabel("thousand steps")
    for axis in axes[:, 0]:
        axis.set_ylabel("return")
    handles = [line_entry(colour, name) for name, colour in colours.items()]
    handles.append(line_entry(BLACK, "reported elsewhere", linestyle="--", linewidth=0.8))
    free = axes.flat[len(names) :]
    if len(free):  # a place without a panel holds the legend
        free[0].set_visible(True)
        free[0].axis("off")
        free[0].legend(handles=handles, loc="center")
    else:
        legend_above(figure, handles, len(handles))
    return figure


def _curves(axis: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
    look: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.8}
    for (algorithm, _), curve in own.sort_values("step").groupby(["algorithm", "seed"]):
        axis.plot(curve["step"] / 1000, curve["episode_return"], color=colours[str(algorithm)], **look)
