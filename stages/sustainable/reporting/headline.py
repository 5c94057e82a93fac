"""The README's headline: one figure, a few sentences and six numbers, all of them from a run's rows.

The report stage draws the figure beside the others. `documents` puts figure and text into the project's own
files when the shipped run is renewed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sustainable.core.errors import UserError
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.forecasting.audited import AuditedLine
from sustainable.reporting.forecasting.audited_claims import CHOICE
from sustainable.reporting.forecasting.task import TITLES, Task
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.policies.costs import PolicyLine
from sustainable.reporting.policies.figures import environment_colours, plain_ticks
from sustainable.reporting.policies.summary import Policies, shown
from sustainable.reporting.style import BLUE, GREY, ORANGE, draw_interval, save_figures, styled
from sustainable.statistics import Ratio

PICTURE = Path("paper/headline.png")
FORECASTERS = (
    TWIN, "onnxruntime", "openvino", "numba", "manual_pruning", "manual_quantization", "published_choice",
    CHOICE,
)  # fmt: skip
DEPLOYED_POLICIES = (
    TWIN, "onnxruntime", "numpy", "unstructured_l1_50", "structured_l1_50", "ptdq", "ptsq",
    "ptdq_onnxruntime", "structured_l1_50_onnxruntime",
)  # fmt: skip
RUNTIME_NAMES = {
    "torch-eager": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "numpy": "NumPy",
    "numba": "Numba",
}
SEARCHER_NAMES = {
    "random": "random search",
    "local_search": "local search",
    "evolution": "evolution",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "nsga2": "NSGA-II",
}
ASSUMED_VERDICTS = {"C2": "confirmed"}
"""The sentences of `headline_markdown` hold for these verdicts only."""


def draw_headline(folder: Path, tasks: Mapping[str, Task], policies: Policies, stamp: str) -> list[str]:
    """Save the headline figure into `folder`; return its name."""
    return save_figures({"headline": headline_figure(tasks, policies)}, folder, stamp)


@styled()
def headline_figure(tasks: Mapping[str, Task], policies: Policies) -> Figure:
    """Plot CPU time relative to the eager baseline on logarithmic axes: the tasks of A, then B."""
    figure, axes = plt.subplots(1, len(tasks) + 1, figsize=(4.4 * (len(tasks) + 1), 4.0), dpi=160)
    for axis, task in zip(axes, tasks.values(), strict=False):
        _forecasters(axis, task)
    _policies(axes[-1], policies)
    for axis in axes:
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_xscale("log")
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=7.5)
    for axis in axes[:-1]:
        axis.set_xticks([0.01, 0.1, 1], ["1/100", "1/10", "1"])
    plain_ticks(axes[-1], "x")
    return figure


def _forecasters(axis: Axes, task: Task) -> None:
    """One row per deployment, one interval per batch size; the grey band is the A/A control."""
    audited = task.audited
    lines = [audited.lines[key] for key in FORECASTERS if key in audited.lines]
    sizes = audited.batch_sizes
    for index, (size, colour) in enumerate(zip(sizes, (ORANGE, BLUE), strict=False)):
        offset = 0.3 * (index - (len(sizes) - 1) / 2)
        for place, line in enumerate(lines):
            draw_interval(axis, line.timings[size].ratio, place + offset, colour, width=1.4)
        axis.plot([], [], "o-", color=colour, markersize=4, label=f"batch {size}")
    _noise_band(axis, [timing.ratio for timing in audited.lines[TWIN].timings.values()])
    axis.set_yticks(range(len(lines)), [_forecaster_label(line) for line in lines])
    axis.set_xlabel("CPU time of a forecast (PyTorch fp32 = 1)")
    axis.set_title(f"A. Forecaster, {task.title}", fontsize=9, loc="left")
    axis.legend(fontsize=7.5, frameon=False, loc="upper left")


def _forecaster_label(line: AuditedLine) -> str:
    """As in `32x16 units, bf16, OpenVINO`."""
    widths, precision, runtime = line.name.split(" ", 2)
    role = {TWIN: "\n(the baseline again: A/A)", CHOICE: "\n(the PPO searcher's choice)"}.get(line.key, "")
    return f"{widths} units, {precision}, {RUNTIME_NAMES.get(runtime, runtime)}{role}"


def _policies(axis: Axes, policies: Policies) -> None:
    """One row per deployment, one interval per environment; open: compressed, and the return may be lost."""
    cells, colours = shown(policies), environment_colours(policies)
    keys = [key for key in DEPLOYED_POLICIES if any(key in cell.lines for cell in cells)]
    for index, cell in enumerate(cells):
        offset = 0.16 * (index - (len(cells) - 1) / 2)
        for place, key in enumerate(keys):
            if key in cell.lines:
                line, colour = cell.lines[key], colours[cell.environment]
                kept = not line.compressed or (line.kept is not None and line.kept.low >= SURVIVES)
                ratio = line.effects["step"].to_baseline
                draw_interval(axis, ratio, place + offset, colour, width=1.4, filled=kept)
        axis.plot([], [], "o-", color=colours[cell.environment], markersize=4, label=cell.environment)
    axis.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=4, label="return may be lost")
    _noise_band(axis, [cell.twin("step") for cell in cells])
    lines = {key: line for cell in cells for key, line in cell.lines.items()}
    axis.set_yticks(range(len(keys)), [_policy_label(lines[key]) for key in keys])
    axis.set_xlabel("CPU time of a step (PyTorch fp32 = 1)")
    axis.set_title("B. Reinforcement-learning policies", fontsize=9, loc="left")
    corner = (1.0, 1.0)  # beside the rows, which have points from end to end
    axis.legend(
        fontsize=7, frameon=False, handlelength=1.2, borderaxespad=0, loc="upper left", bbox_to_anchor=corner
    )


def _policy_label(line: PolicyLine) -> str:
    """As in `50 % of units removed, NumPy`."""
    share = f"{100 * line.share:.0f} %"
    change = {
        "none": "fp32",
        "unstructured": f"{share} of weights zeroed",
        "structured": f"{share} of units removed",
    }.get(line.method, f"int8 ({line.method.upper()})")
    role = "\n(the baseline again: A/A)" if line.key == TWIN else ""
    return f"{change}, {RUNTIME_NAMES.get(line.runtime, line.runtime)}{role}"


def _noise_band(axis: Axes, twins: Sequence[Ratio | None]) -> None:
    """Shade what two measurements of one model differ by: the hull of the A/A intervals."""
    known = [twin for twin in twins if twin is not None]
    if known:
        low, high = min(twin.low for twin in known), max(twin.high for twin in known)
        axis.axvspan(low, high, color=GREY, alpha=0.3, linewidth=0)


def headline_markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """Render the README's headline from the content of claims.json.

    Raises `UserError` when a verdict has changed, because the sentences no longer hold then.
    """
    by_id = {claim["id"]: claim for claim in claims}
    for name, verdict in ASSUMED_VERDICTS.items():
        if by_id[name]["verdict"] != verdict:
            raise UserError(
                f"claims.json: {name} is {by_id[name]['verdict']!r}, but the headline says {verdict!r}; "
                "rewrite the sentences in stages/sustainable/reporting/headline.py"
            )
    return "\n\n".join([_sentences(by_id), _picture(by_id), _table(by_id), _limits(by_id)])


def _sentences(by_id: Mapping[str, Any]) -> str:
    calls, parts = _call_ratios(by_id), by_id["C1"]["parts"]
    accuracy = [f"*{parts[f'{title}, accuracy']}* on {title}" for _, title in _tasks(by_id)]
    return (
        "**Compression saves CPU time in a forecaster.** Of the eager baseline's CPU time, the chosen "
        f"forecaster takes {'; '.join(_saving(by_id, task, title) for task, title in _tasks(by_id))}. That "
        f"its accuracy is not inferior is {' and '.join(accuracy)}. "
        f"A call of an int8 DRL policy in PyTorch takes {calls[0]:.1f} to {calls[-1]:.1f} times the CPU time "
        "of fp32. "
        f"{_searchers_sentences(by_id)}"
    )


def _tasks(by_id: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The judged tasks: key and title."""
    judged = by_id["C1"]["values"]
    ordered = [*(task for task in TITLES if task in judged), *(task for task in judged if task not in TITLES)]
    return [(task, TITLES.get(task, task)) for task in ordered]


def _saving(by_id: Mapping[str, Any], task: str, title: str) -> str:
    """As in `1/25 at batch 1 and 1/85 at batch 64 on Weather (32x16 bf16 openvino)`."""
    choice = by_id["C1"]["values"][task]["choice"]
    sizes = choice["by_batch_size"]
    times = [
        f"1/{1 / sizes[size]['ratio']['estimate']:.0f} at batch {size}" for size in sorted(sizes, key=int)
    ]
    return f"{' and '.join(times)} on {title} (`{choice['name']}`)"


def _searchers_sentences(by_id: Mapping[str, Any]) -> str:
    """Say for each task which searchers the agent beats and loses to."""
    found = [f"{_compared(by_id, task)} on {title}" for task, title in _tasks(by_id)]
    return f"The reinforcement-learning searcher has {'; '.join(found)}; other differences are undecided."


def _compared(by_id: Mapping[str, Any], task: str) -> str:
    parts = []
    for direction, phrase in {"lower": "less regret than", "higher": "more regret than"}.items():
        others = _other_searchers(by_id, task).items()
        names = [name for name, line in others if line["ours_is"] == direction]
        if names:
            parts.append(f"{phrase} {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}")
    return " and ".join(parts) or "about the others' regret"


def _picture(by_id: Mapping[str, Any]) -> str:
    seeds = sorted({one["ratio"]["n"] for task, _ in _tasks(by_id) for one in _sizes(by_id, task).values()})
    policy_seeds = sorted({call["n"] for call in by_id["B4"]["values"]["calls"].values()})
    return (
        f"![CPU time relative to the eager baseline, by deployment]({PICTURE.as_posix()})\n\n"
        "*Each point is a geometric mean over training seeds "
        f"({_or(seeds)} in study A, {_or(policy_seeds)} in study B), each bar its 95 % interval. The grey "
        "band is the noise: the baseline measured against itself. Open points: compressed policies that may "
        f"have lost more than {100 * (1 - SURVIVES):.0f} % of the return. "
        "Evidence: CPU time, by the clock.*"
    )


def _or(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))


def _table(by_id: Mapping[str, Any]) -> str:
    """Six numbers with their intervals and verdicts: of each kind the least favourable."""
    calls, twin = _call_ratios(by_id), by_id["A2"]["values"]["remeasured"]["cpu_time_ms"]["control"]
    rows = [
        *(_saving_row(by_id, task, title) for task, title in _tasks(by_id)),
        _runtime_row(by_id),
        ("Noise: the published baseline / itself (A/A)", _text(twin), _verdict(by_id, "A2")),
        (
            "One call of an int8 policy / fp32, PyTorch",
            f"{calls[0]:.2f} to {calls[-1]:.2f}",
            _verdict(by_id, "F8"),
        ),
        _regret_row(by_id),
    ]
    lines = [f"| {what} | {value} | {verdict} |" for what, value, verdict in rows]
    return "\n".join(["| number | value [95 % interval] | claim |", "|---|---|---|", *lines])


def _saving_row(by_id: Mapping[str, Any], task: str, title: str) -> tuple[str, str, str]:
    size, timing = _worst(_sizes(by_id, task), "ratio")
    what = f"Chosen forecaster / eager baseline, CPU time, {title}, batch {size}"
    return what, _text(timing["ratio"]), f"C1: CPU time {by_id['C1']['parts'][f'{title}, CPU time']}"


def _runtime_row(by_id: Mapping[str, Any]) -> tuple[str, str, str]:
    """The choice relative to the best uncompressed runtime, where it gains least."""
    found = {one: _worst(_sizes(by_id, one[0]), "to_uncompressed") for one in _tasks(by_id)}
    (task, title), (size, timing) = max(
        found.items(), key=lambda item: float(item[1][1]["to_uncompressed"]["estimate"])
    )
    runtime = by_id["C2"]["values"][task]["uncompressed"][size]["name"].split()[-1]
    against = f"best uncompressed runtime ({RUNTIME_NAMES.get(runtime, runtime)}), {title}, batch {size}"
    return f"Chosen forecaster / {against}", _text(timing["to_uncompressed"]), _verdict(by_id, "C2")


def _regret_row(by_id: Mapping[str, Any]) -> tuple[str, str, str]:
    """Our agent's regret minus that of the searcher which it loses to by most."""
    rivals = {
        (name, title): line["against"]
        for task, title in _tasks(by_id)
        for name, line in _other_searchers(by_id, task).items()
    }
    (name, title), against = max(rivals.items(), key=lambda item: float(item[1]["estimate"]))
    what = f"Mean regret of PPO minus that of {name}, {title}, nats"
    return what, _text(against, "+.3f"), _verdict(by_id, "C3")


def _verdict(by_id: Mapping[str, Any], claim: str) -> str:
    """As in `C2: confirmed`."""
    return f"{claim}: {by_id[claim]['verdict']}"


def _limits(by_id: Mapping[str, Any]) -> str:
    differences = [
        f"{_text(by_id['C1']['values'][task]['choice']['over_seeds_and_windows'], '+.3f')} on {title}"
        for task, title in _tasks(by_id)
    ]
    return (
        "This does not show energy: without a hardware counter, claims about it are "
        f"*{by_id['A2']['verdict']}*. The chosen forecaster's accuracy differs by {', '.join(differences)}, "
        "over training seeds and test windows."
    )


def _sizes(by_id: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """The chosen deployment's timings on a task, by batch size."""
    sizes: Mapping[str, Any] = by_id["C1"]["values"][task]["choice"]["by_batch_size"]
    return sizes


def _worst(sizes: Mapping[str, Any], ratio: str) -> tuple[str, Any]:
    """The batch size at which `ratio` is the least favourable, and its timings."""
    return max(sizes.items(), key=lambda item: float(item[1][ratio]["estimate"]))


def _call_ratios(by_id: Mapping[str, Any]) -> list[float]:
    """Ratios of all int8 policies' calls to fp32, ascending."""
    return sorted(float(call["estimate"]) for call in by_id["B4"]["values"]["calls"].values())


def _other_searchers(by_id: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The searchers that learn no policy, by name in print, on the table of a task."""
    lines = by_id["C3"]["values"][task]
    return {printed: lines[key] for key, printed in SEARCHER_NAMES.items() if key in lines}


def _text(interval: Mapping[str, float], form: str = "#.3g") -> str:
    """As in `0.0400 [0.0390, 0.0411]`."""
    return "{:{form}} [{:{form}}, {:{form}}]".format(
        *(interval[name] for name in ("estimate", "low", "high")), form=form
    )
