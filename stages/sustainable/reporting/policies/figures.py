"""Figures of study B: the second source's panels, the split of a change, doses, survival, learning."""

from collections.abc import Sequence
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
from sustainable.reporting.policies.costs import STEP_PARTS, Dose, PolicyLine
from sustainable.reporting.policies.run import CELL, PoliciesRun
from sustainable.reporting.policies.summary import Policies, of_each_environment, shown, split_cells
from sustainable.reporting.style import BLUE, GREEN, GREY, ORANGE, STYLE, draw_interval, save_figures
from sustainable.statistics import Estimate

PART_COLOURS = {"policy": ORANGE, "environment": BLUE, "remainder": GREY, "length": GREEN}
PART_LABELS = {
    "policy": "policy",
    "environment": "environment",
    "remainder": "remainder (loop, resets)",
    "length": "episode length",
}
SKY, PINK, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#E69F00", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, GREY, BLACK)
METHOD_MARKS = {
    "none": "o",
    "ptdq": "s",
    "ptsq": "D",
    "qat": "^",
    "unstructured": "v",
    "structured": "P",
    "mixed": "X",
}
METHOD_LABELS = {
    "none": "uncompressed",
    "ptdq": "PTDQ",
    "ptsq": "PTSQ",
    "qat": "QAT",
    "unstructured": "weights pruned",
    "structured": "units removed",
    "mixed": "units removed + PTDQ",
}


def draw_policies(
    folder: Path, run: PoliciesRun, policies: Policies, published: Sequence[Any], stamp: str
) -> list[str]:
    """Write every figure of study B into `folder` and return their names.

    `published` is the source's `pruning_survival`.
    """
    figures = {
        "policies_panels": panels_figure(run, policies),
        "policies_ratios": policies_ratios_figure(policies),
        "policies_parts": parts_figure(policies),
        "policies_split": split_figure(policies),
        "policies_doses": doses_figure(policies),
        "policies_survival": survival_figure(policies, published),
        "policies_learning": learning_figure(run),
    }
    return save_figures(figures, folder, stamp)


def panels_figure(run: PoliciesRun, policies: Policies) -> Figure:
    """Plot the source's panels: size, return and length against cost, cost by component, power over the run,
    and size beside cost."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(6.8, 8.2))
        _scatter(axes[0, 0], policies, "size", "step")
        axes[0, 0].set_xlabel("weights' bytes relative to the baseline")
        axes[0, 0].set_ylabel("CPU time of a step\nrelative to the baseline")
        _scatter(axes[0, 1], policies, "kept", "episode")
        axes[0, 1].set_xlabel("return kept (0: random policy, 1: baseline)")
        _scatter(axes[1, 0], policies, "steps", "episode")
        axes[1, 0].set_xlabel("steps of an episode relative to the baseline")
        axes[1, 0].set_ylabel("CPU time of an episode\nrelative to the baseline")
        axes[0, 1].set_ylabel("CPU time of an episode\nrelative to the baseline")
        _components(axes[1, 1], policies)
        _power(axes[2, 0], run, policies)
        _side_by_side(axes[2, 1], policies)
        _scatter_legend(figure, policies)
    return figure


def _scatter(axis: Axes, policies: Policies, across: str, outcome: str) -> None:
    """Plot one point per cell and configuration: colour is the environment, shape the compression."""
    colours = environment_colours(policies)
    for cell in shown(policies):
        for line in cell.lines.values():
            effect = line.effects[outcome].to_baseline
            x = _across(line, across)
            if effect is not None and x is not None and line.key != TWIN:
                look: dict[str, Any] = {"color": colours[cell.environment], "markersize": 4, "alpha": 0.65}
                axis.plot(x, effect.estimate, METHOD_MARKS[line.method], markeredgewidth=0, **look)
    for line_at in (axis.axhline, axis.axvline):
        line_at(1, color="black", linewidth=0.5, linestyle=":")
    axis.set_yscale("log")
    plain_ticks(axis, "y")


def _across(line: PolicyLine, name: str) -> float | None:
    if name == "size":
        return line.size_ratio
    if name == "kept":
        return None if line.kept is None else max(line.kept.estimate, -0.5)
    steps = line.effects["steps"].to_baseline
    return None if steps is None else steps.estimate


def environment_colours(policies: Policies) -> dict[str, str]:
    names = dict.fromkeys(cell.environment for cell in policies.cells)
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def _scatter_legend(figure: Figure, policies: Policies) -> None:
    colours = environment_colours(policies)
    names = dict.fromkeys(cell.environment for cell in shown(policies))
    methods = dict.fromkeys(line.method for cell in shown(policies) for line in cell.lines.values())
    marks = [Line2D([], [], marker="o", linestyle="", color=colours[name], label=name) for name in names]
    marks += [
        Line2D(
            [],
            [],
            marker=METHOD_MARKS[name],
            linestyle="",
            color=BLACK,
            markersize=4,
            label=METHOD_LABELS[name],
        )
        for name in METHOD_MARKS
        if name in methods
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=5, fontsize=6.5, frameon=False)


def _components(axis: Axes, policies: Policies) -> None:
    """Plot CPU time per step by part, uncompressed in eager torch, one bar per environment."""
    cells = of_each_environment(policies)
    for place, cell in enumerate(cells):
        _stack(axis, place, cell.lines[BASELINE])
    axis.set_yticks(range(len(cells)), [cell.environment for cell in cells], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("CPU time of a step, uncompressed, µs")
    for part in STEP_PARTS:
        axis.plot([], [], "s", color=PART_COLOURS[part], label=PART_LABELS[part])
    axis.legend(fontsize=6, frameon=False)


def _stack(axis: Axes, place: float, line: PolicyLine) -> None:
    """Draw one bar of stacked parts.

    A negative part (timed separately, the others took longer than in the step) extends to the left.
    """
    right = left = 0.0
    for part in STEP_PARTS:
        value = line.costs[part]
        start = right if value >= 0 else left
        axis.barh(place, value, left=start, color=PART_COLOURS[part], height=0.7)
        if value >= 0:
            right += value
        else:
            left += value


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
    axis.set_ylabel(f"CPU power, W{nature}")
    axis.set_xlabel(f"minutes of measured windows, {cell.name}")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6, frameon=False, loc="lower right")


def _side_by_side(axis: Axes, policies: Policies) -> None:
    """Plot size and cost per step relative to the baseline: geometric means over the environments shown."""
    cells = shown(policies)
    keys = [key for key, line in cells[0].lines.items() if line.compressed]
    for place, key in enumerate(keys):
        lines = [cell.lines[key] for cell in cells if key in cell.lines]
        ratios = [one.estimate for line in lines for one in [line.effects["step"].to_baseline] if one]
        axis.barh(place - 0.2, geometric_mean([line.size_ratio for line in lines]), 0.38, color=GREY)
        axis.barh(place + 0.2, geometric_mean(ratios), 0.38, color=ORANGE)
    axis.axvline(1, color="black", linewidth=0.6)
    axis.set_yticks(range(len(keys)), [policies.labels[key] for key in keys], fontsize=6)
    axis.invert_yaxis()
    axis.set_xlabel("relative to the baseline")
    axis.plot([], [], "s", color=GREY, label="bytes")
    axis.plot([], [], "s", color=ORANGE, label="CPU time of a step")
    axis.legend(fontsize=6, edgecolor="none", framealpha=0.8)


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
    with plt.rc_context(STYLE):
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
        axis.set_yticks(range(len(keys)), [policies.labels[key] for key in keys])
        axis.invert_yaxis()
        axis.set_xlabel("CPU time of a step relative to the uncompressed policy under the same runtime")
        figure.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    return figure


def parts_figure(policies: Policies) -> Figure:
    """Plot CPU time per step by part and configuration, one panel per environment."""
    cells = of_each_environment(policies)
    columns = min(2, len(cells))
    rows = -(-len(cells) // columns)
    most = max(len(cell.lines) for cell in cells)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(6.8, rows * (0.6 + 0.17 * most)), sharey=True, squeeze=False
        )
        for axis, cell in zip(axes.flat, cells, strict=False):
            for place, line in enumerate(cell.lines.values()):
                _stack(axis, place, line)
            names = [policies.labels[key] for key in cell.lines]
            axis.set_yticks(range(len(names)), names, fontsize=6)
            axis.set_title(cell.name, fontsize=8)
        for axis in axes.flat[len(cells) :]:
            axis.set_visible(False)
        axes[0, 0].invert_yaxis()
        for axis in axes[-1]:
            axis.set_xlabel("CPU time of a step, µs")
        handles = [
            Line2D([], [], marker="s", linestyle="", color=PART_COLOURS[p], label=PART_LABELS[p])
            for p in STEP_PARTS
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7, frameon=False)
    return figure


def split_figure(policies: Policies) -> Figure:
    """Plot the change of an episode's cost by cause: bars add up to the total, the black point."""
    cells = split_cells(policies)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(cells), figsize=(6.8, 3.6), sharey=True, squeeze=False)
        for axis, cell in zip(axes[0], cells, strict=True):
            lines = [line for key, line in cell.lines.items() if key != BASELINE]
            for place, line in enumerate(lines):
                _causes(axis, place, line)
            axis.axvline(0, color="black", linewidth=0.6)
            axis.set_yticks(range(len(lines)), [policies.labels[line.key] for line in lines], fontsize=6.5)
            axis.set_title(cell.name, fontsize=8)
            axis.set_xlabel("change of ln(CPU time of an episode)")
        axes[0, 0].invert_yaxis()
        for part in ("length", *STEP_PARTS):
            axes[0, 0].plot([], [], "s", color=PART_COLOURS[part], label=PART_LABELS[part])
        axes[0, 0].plot([], [], "o", color=BLACK, markersize=3, label="total, with interval")
        figure.legend(loc="outside upper center", ncols=5, fontsize=6.5, frameon=False)
    return figure


def _causes(axis: Axes, place: int, line: PolicyLine) -> None:
    ends = {True: 0.0, False: 0.0}
    for part in ("length", *STEP_PARTS):
        value = _value(line.split[part])
        axis.barh(place, value, left=ends[value >= 0], color=PART_COLOURS[part], height=0.7)
        ends[value >= 0] += value
    total = line.split["total"]
    if total is not None:
        axis.plot([total.low, total.high], [place, place], color=BLACK, linewidth=1)
        axis.plot(total.estimate, place, "o", color=BLACK, markersize=2.5)


def _value(found: Estimate | None) -> float:
    return 0.0 if found is None else found.estimate


def doses_figure(policies: Policies) -> Figure:
    """Plot each step's cost relative to the baseline against the cost of the environment's step: measured
    points, and lines predicted by Amdahl's law."""
    by_key: dict[str, list[Dose]] = {}
    for dose in policies.doses:
        by_key.setdefault(dose.key, []).append(dose)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6.6, 3.4))
        for colour, (key, doses) in zip(PALETTE, by_key.items(), strict=False):
            own = sorted(doses, key=lambda dose: dose.dose_us)
            x = np.arange(len(own))
            axis.plot(x, [dose.predicted for dose in own], "-", color=colour, linewidth=1)
            for at, dose in zip(x, own, strict=True):
                if dose.measured is not None:
                    axis.plot(
                        [at, at],
                        [dose.measured.low, dose.measured.high],
                        color=colour,
                        linewidth=2.5,
                        alpha=0.5,
                    )
                    axis.plot(at, dose.measured.estimate, "o", color=colour, markersize=3.5)
            axis.plot([], [], "o", color=colour, label=policies.labels[key])
        axis.plot([], [], "-", color=BLACK, linewidth=1, label="Amdahl's law")
        names = sorted({dose.dose_us for dose in policies.doses})
        axis.set_xticks(range(len(names)), [f"{name:g}" for name in names])
        axis.axhline(1, color="black", linewidth=0.5, linestyle=":")
        axis.set_yscale("log")
        plain_ticks(axis, "y")
        axis.set_xlabel("added cost of the environment's step, µs")
        axis.set_ylabel("CPU time of a step\nrelative to the baseline")
        figure.legend(loc="outside right center", fontsize=6.5, frameon=False)
    return figure


def survival_figure(policies: Policies, published: Sequence[Any]) -> Figure:
    """Plot the share of models that keep their return by pruned share; published figures are crosses."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 3.0))
        for colour, curve in zip((BLACK, *PALETTE), policies.survival, strict=False):
            x = [100 * share for share in curve.shares]
            alone = curve is policies.survival[0]
            axis.plot(
                x, [100 * one.estimate for one in curve.survive], "o-", color=colour, markersize=2.5,
                linewidth=1.8 if alone else 1, label=f"{curve.label} (n = {curve.survive[0].n})",
            )  # fmt: skip
            if alone:
                low, high = ([100 * getattr(one, end) for one in curve.survive] for end in ("low", "high"))
                axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        if not policies.survival:
            axis.text(0.5, 0.5, "no policy has learned", ha="center", transform=axis.transAxes)
        for place, said in enumerate(published):
            label = "published" if place == 0 else None
            axis.plot(
                100 * said["share"],
                100 * (1 - said["lost"]),
                "x",
                color=ORANGE,
                markersize=8,
                label=label,
                mew=2,
            )
        axis.set_xlabel("pruned share, %")
        axis.set_ylabel(f"models that keep {declared_percent(SURVIVES)}\nof their return, %")
        axis.set_ylim(-3, 103)
        axis.legend(fontsize=6.5, frameon=False)
    return figure


def learning_figure(run: PoliciesRun) -> Figure:
    """Plot return during training, one line per seed and one panel per environment.

    Dashed lines are returns reported elsewhere.
    """
    names = list(dict.fromkeys(run.learning["environment"]))
    algorithms = list(dict.fromkeys(run.learning["algorithm"]))
    colours = dict(zip(algorithms, PALETTE, strict=False))
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(6.6, 0.4 + 1.9 * rows), squeeze=False)
        for axis, name in zip(axes.flat, names, strict=False):
            _curves(axis, run.learning[run.learning["environment"] == name], colours)
            for entry in run.table:
                if entry["environment"] == name and entry["reference_return"] is not None:
                    colour = colours.get(entry["algorithm"], GREY)
                    axis.axhline(entry["reference_return"], color=colour, linestyle="--", linewidth=0.8)
            axis.set_title(name, fontsize=8)
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("return")
        for axis in axes[-1]:
            axis.set_xlabel("thousand steps")
        handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
        handles.append(Line2D([], [], color=BLACK, linestyle="--", linewidth=0.8, label="reported elsewhere"))
        figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=7, frameon=False)
    return figure


def _curves(axis: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
    for (algorithm, _), curve in own.groupby(["algorithm", "seed"]):
        curve = curve.sort_values("step")
        axis.plot(
            curve["step"] / 1000,
            curve["episode_return"],
            color=colours[str(algorithm)],
            linewidth=0.9,
            alpha=0.8,
        )
