"""The README's headline: one figure, a few sentences and six numbers, all of them from a run's rows.

The report stage draws the figure beside the others. `documents` puts figure and text into the project's own
files when the shipped run is renewed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sustainable.policies.returns import SURVIVES
from sustainable.reporting.forecasting.audited import AuditedLine
from sustainable.reporting.forecasting.audited_claims import CHOICE
from sustainable.reporting.forecasting.decomposition import WIDTHS_ALONE, WITHOUT_PRECISION
from sustainable.reporting.forecasting.searching import LEARNS_A_POLICY
from sustainable.reporting.forecasting.task import TITLES, AuditedTask
from sustainable.reporting.measured_rows import TWIN
from sustainable.reporting.names import SEARCHER_NAMES, runtime_name
from sustainable.reporting.policies.costs import PolicyLine
from sustainable.reporting.policies.pooling import pooled_steps
from sustainable.reporting.policies.summary import Policies, shown
from sustainable.reporting.style import BLACK, BLUE, GREEN, GREY, MARKS, ORANGE, PAGE, SMALL, draw_interval
from sustainable.reporting.style import fraction_ticks, legend_above, line_entry, mark_entry, name_rows
from sustainable.reporting.style import plain_ticks, save_figures, shade_noise, spread, styled
from sustainable.reporting.wording import by_direction, fraction
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED

PICTURE = Path("paper/headline.png")
VERDICTS = (CONFIRMED, REFUTED, INCONCLUSIVE, NOT_TESTABLE)
FORECASTERS = {
    TWIN: "baseline again (A/A)",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "numba": "Numba",
    WIDTHS_ALONE: "fewer units",
    WITHOUT_PRECISION: "fewer units, runtime",
    CHOICE: "the PPO's choice",
    "oracle": "best of all",
}
"""The rows of study A and their labels; those are drawn that every task has."""
DEPLOYED_POLICIES = (
    TWIN, "onnxruntime", "numpy", "unstructured_l1_50", "structured_l1_50", "ptdq", "ptsq",
    "ptdq_onnxruntime", "structured_l1_50_onnxruntime",
)  # fmt: skip
INT8_CALL = "One call of a post-training int8 policy / fp32, PyTorch (estimates)"


def draw_headline(
    folder: Path, tasks: Mapping[str, AuditedTask], policies: Policies, stamp: str
) -> list[str]:
    """Save the headline figure into `folder`; return its name."""
    return save_figures({"headline": headline_figure(tasks, policies)}, folder, stamp)


@styled()
def headline_figure(tasks: Mapping[str, AuditedTask], policies: Policies) -> Figure:
    """Plot CPU time relative to the eager baseline on logarithmic axes: the tasks of A, then B."""
    count = len(tasks) + 1
    figure, axes = plt.subplots(1, count, figsize=(PAGE, 2.9), dpi=300)
    for place, (axis, task) in enumerate(zip(axes, tasks.values(), strict=False)):
        _forecasters(axis, task, _common_rows(tasks), named=place == 0)
    _policies(axes[-1], policies)
    for axis in axes:
        axis.axvline(1, color=BLACK, linewidth=0.6)
        axis.set_xscale("log")
    for axis in axes[:-1]:
        fraction_ticks(axis)
    plain_ticks(axes[-1], "x")
    legend_above(figure, _handles(tasks), 4)
    return figure


def _common_rows(tasks: Mapping[str, AuditedTask]) -> list[str]:
    """The rows of `FORECASTERS` that were measured on every task."""
    return [key for key in FORECASTERS if all(key in task.audited.lines for task in tasks.values())]


def _handles(tasks: Mapping[str, AuditedTask]) -> list[Line2D]:
    sizes = sorted({size for task in tasks.values() for size in task.audited.batch_sizes})
    looks = zip(sizes, SIZE_COLOURS, MARKS, strict=False)
    handles = [line_entry(colour, f"batch {size}", marker=mark) for size, colour, mark in looks]
    handles.append(mark_entry("|", BLACK, "the core's ceiling"))
    handles.append(line_entry(GREY, "noise (A/A)", alpha=0.3, linewidth=6))
    handles.append(line_entry(GREEN, "all policies", marker="D"))
    looks_of = {"one environment and algorithm": ONE_POLICY, "its return may be lost": LOST}
    return [
        *handles,
        *(Line2D([], [], marker="o", linestyle="", label=label, **look) for label, look in looks_of.items()),
    ]


SIZE_COLOURS = (ORANGE, BLUE)
ONE_POLICY: dict[str, Any] = {"color": GREEN, "markersize": 2.5, "markeredgewidth": 0.6}
LOST = ONE_POLICY | {"markerfacecolor": "white"}


def _forecasters(axis: Axes, task: AuditedTask, keys: Sequence[str], named: bool) -> None:
    """One row per deployment, one interval per batch size; the grey band is the A/A control.

    A black tick is the time that the deployment's operations would take at the core's peak rate.
    """
    audited = task.audited
    looks = zip(
        spread(len(audited.batch_sizes), 0.36), audited.batch_sizes, SIZE_COLOURS, MARKS, strict=False
    )
    for offset, size, colour, mark in looks:
        for place, key in enumerate(keys):
            timing = audited.lines[key].timings[size]
            draw_interval(axis, timing.ratio, place + offset, colour, mark=mark)
            if timing.ratio is not None and timing.attained is not None:
                ceiling = timing.ratio.estimate * timing.attained
                axis.plot(ceiling, place + offset, "|", color=BLACK, markersize=5, markeredgewidth=0.8)
    shade_noise(axis, [timing.ratio for timing in audited.lines[TWIN].timings.values()])
    name_rows(axis, [FORECASTERS[key] if named else "" for key in keys])
    axis.set_xlabel("CPU time of a forecast\n(eager PyTorch = 1)")
    axis.set_title(f"A. {task.title}\n({_forecaster_label(audited.lines[CHOICE])})", fontsize=SMALL)


def _forecaster_label(line: AuditedLine) -> str:
    """As in `32x16 bf16 OpenVINO`."""
    widths, precision, runtime = line.name.split(" ", 2)
    return f"{widths} {precision} {runtime_name(runtime)}"


def _policies(axis: Axes, policies: Policies) -> None:
    """One row per deployment: small points for environments with an algorithm, and the interval of all.

    An open point is a compressed policy whose return may be lost.
    """
    cells = shown(policies)
    keys = [key for key in DEPLOYED_POLICIES if any(key in cell.lines for cell in cells)]
    lines = {key: [cell.lines[key] for cell in cells if key in cell.lines] for key in keys}
    for place, key in enumerate(keys):
        draw_interval(axis, pooled_steps(cells, key, to_baseline=True), place - 0.18, GREEN, mark="D")
        for line in lines[key]:
            kept = not line.compressed or line.keeps
            if (ratio := line.effects["step"].to_baseline) is not None:
                axis.plot(ratio.estimate, place + 0.2, "o", **(ONE_POLICY if kept else LOST))
    shade_noise(axis, [pooled_steps(cells, TWIN, to_baseline=True)])
    name_rows(axis, [_policy_label(lines[key][0]) for key in keys])
    axis.set_xlabel("CPU time of a step\n(eager PyTorch = 1)")
    axis.set_title("B. Policies", fontsize=SMALL)


def _policy_label(line: PolicyLine) -> str:
    """As in `50 % of units removed, NumPy`."""
    if line.key == TWIN:
        return "baseline again (A/A)"
    share = f"{100 * line.share:.0f} %"
    change = {
        "none": "fp32",
        "unstructured": f"{share} of weights zero",
        "structured": f"{share} of units out",
    }.get(line.method, f"int8 {line.method.upper()}")
    return f"{change}, {runtime_name(line.runtime)}"


def headline_markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """Render the README's headline from the content of claims.json."""
    by_id = {claim["id"]: claim for claim in claims}
    return "\n\n".join([_sentences(by_id), _picture(by_id), _table(by_id), _limits(by_id)])


def headline_metrics(claims: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers that `dvc metrics` shows: those of the README's table, and counts of verdicts.

    `claims`: the content of claims.json. Of a range it is the least favourable number, as in the table. What
    a run lacks is left out: a smoke run has too few seeds for some numbers.
    """
    by_id, verdicts = {claim["id"]: claim for claim in claims}, Counter(claim["verdict"] for claim in claims)
    tasks = [task for task, _ in _tasks(by_id)]
    sizes = {task: _sizes(by_id, task).values() for task in tasks}
    changes = {task: by_id["C1"]["values"][task]["choice"]["over_seeds_and_windows"] for task in tasks}
    numbers: dict[str, Any] = {
        task: _largest(cpu_time=[one["ratio"] for one in sizes[task]], accuracy_change=[changes[task]])
        for task in tasks
    }
    numbers["claims"] = {_key(verdict): verdicts[verdict] for verdict in VERDICTS}
    rivals = [line["against"] for task in tasks for line in _other_searchers(by_id, task).values()]
    return numbers | _largest(
        to_fastest_runtime=[one["to_uncompressed"] for task in tasks for one in sizes[task]],
        noise=[ratio for _, ratio in _noisiest(by_id)],
        int8_call=list(by_id["B4"]["values"]["calls"].values()),
        regret=rivals,
    )


def _key(verdict: str) -> str:
    """`not_testable` of `not testable on this host`."""
    return verdict.split(" on ")[0].replace(" ", "_")


def _largest(**intervals: Sequence[Mapping[str, float] | None]) -> dict[str, float]:
    """The largest estimate under each name that has one."""
    estimates = {name: [one["estimate"] for one in some if one] for name, some in intervals.items()}
    return {name: max(some) for name, some in estimates.items() if some}


def _sentences(by_id: Mapping[str, Any]) -> str:
    calls, parts, tasks = _call_ratios(by_id), by_id["C1"]["parts"], _tasks(by_id)
    accuracy = [f"*{parts[f'{title}, accuracy']}* on {title}" for _, title in tasks]
    against_eager = [f"{_saving(by_id, task, 'ratio')} on {title}" for task, title in tasks]
    better = [f"*{by_id['C5']['parts'][title]}* on {title}" for _, title in tasks]
    against_best = [_saving(by_id, task, "to_uncompressed") for task, _ in tasks]
    chosen = [f"on {title} (`{by_id['C1']['values'][task]['choice']['name']}`)" for task, title in tasks]
    forecaster = (
        f"**{_saves(by_id['C2']['verdict'])}** Of the CPU time of the fastest uncompressed runtime, the "
        "chosen forecaster takes "
        f"{'; '.join(map(' '.join, zip(against_best, chosen, strict=True)))}. Of that of eager PyTorch, it "
        f"takes {'; '.join(against_eager)}. "
        f"The claim that its accuracy is not inferior is {' and '.join(accuracy)}; the claim that the "
        f"uncompressed network beats trivial forecasters (C5) is {' and '.join(better)}."
    )
    call = f"takes {calls[0]:.1f} to {calls[-1]:.1f} times the CPU time of fp32"
    policy = f"A call of a **post-training int8 policy** in PyTorch {call}."
    return "\n".join(f"- {sentences}" for sentences in (forecaster, policy, _searchers_sentences(by_id)))


def _saves(verdict: str) -> str:
    said = {
        CONFIRMED: "Compression saves CPU time in a forecaster.",
        REFUTED: "Compression saves no CPU time in a forecaster.",
    }
    return said.get(verdict, f"The claim that compression saves CPU time in a forecaster is {verdict}.")


def _tasks(by_id: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The judged tasks: key and title."""
    judged = by_id["C1"]["values"]
    ordered = [*(task for task in TITLES if task in judged), *(task for task in judged if task not in TITLES)]
    return [(task, TITLES.get(task, task)) for task in ordered]


def _saving(by_id: Mapping[str, Any], task: str, ratio: str) -> str:
    """As in `1/25 at batch 1 and 1/85 at batch 64`."""
    sizes = _sizes(by_id, task)
    return " and ".join(
        f"{fraction(sizes[size][ratio]['estimate'])} at batch {size}" for size in sorted(sizes, key=int)
    )


def _searchers_sentences(by_id: Mapping[str, Any]) -> str:
    """Say for each task which searchers the agent beats and loses to."""
    found = [f"{_compared(by_id, task)} on {title}" for task, title in _tasks(by_id)]
    return f"The **reinforcement-learning searcher** has {'; '.join(found)}; other differences are undecided."


def _compared(by_id: Mapping[str, Any], task: str) -> str:
    named = {name: line["ours_is"] for name, line in _other_searchers(by_id, task).items()}
    phrases = {"lower": "less regret than {}", "higher": "more regret than {}"}
    return " and ".join(by_direction(named, phrases)) or "about the others' regret"


def _picture(by_id: Mapping[str, Any]) -> str:
    seeds = sorted({one["ratio"]["n"] for task, _ in _tasks(by_id) for one in _sizes(by_id, task).values()})
    return (
        f"![CPU time relative to the eager baseline, by deployment]({PICTURE.as_posix()})\n\n"
        f"*Points are geometric means over {_or(seeds)} training seeds in study A, over all learned policies "
        "in B (small: by environment and algorithm); bars are 95 % intervals. Grey band: the baseline "
        f"against itself. Ticks: the core's ceiling. Open points: more than {100 * (1 - SURVIVES):.0f} % of "
        "the return may be lost. Evidence: CPU time, by the clock.*"
    )


def _or(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))


def _table(by_id: Mapping[str, Any]) -> str:
    """Six numbers with their intervals and verdicts: of each kind the least favourable."""
    calls = _call_ratios(by_id)
    rows = [
        *(_saving_row(by_id, task, title) for task, title in _tasks(by_id)),
        _runtime_row(by_id),
        *_noise_rows(by_id),
        (INT8_CALL, f"{calls[0]:.2f} to {calls[-1]:.2f}", _verdict(by_id, "F8")),
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
    against = f"best uncompressed runtime ({runtime_name(runtime)}), {title}, batch {size}"
    return f"Chosen forecaster / {against}", _text(timing["to_uncompressed"]), _verdict(by_id, "C2")


def _noise_rows(by_id: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (f"Noise: eager baseline / itself (A/A), {where}", _text(ratio), "control")
        for where, ratio in _noisiest(by_id)
    ]


def _noisiest(by_id: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """The eager baseline relative to itself, where the interval is widest; nothing if none has one."""
    twins = [
        (f"{title}, batch {size}", timing["ratio"])
        for task, title in _tasks(by_id)
        for size, timing in _sizes(by_id, task, "twin").items()
        if timing["ratio"]
    ]
    return sorted(twins, key=lambda twin: float(twin[1]["low"]) / float(twin[1]["high"]))[:1]


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
    uncounted = by_id["A2"]["verdict"] == NOT_TESTABLE
    energy = f"This does not show energy: without a hardware counter, claims about it are *{NOT_TESTABLE}*. "
    return (
        f"{energy if uncounted else ''}The chosen forecaster's accuracy differs by {', '.join(differences)}."
    )


def _sizes(by_id: Mapping[str, Any], task: str, of: str = "choice") -> Mapping[str, Any]:
    """A deployment's timings on a task, by batch size: of the chosen one, or of the `twin`."""
    sizes: Mapping[str, Any] = by_id["C1"]["values"][task][of]["by_batch_size"]
    return sizes


def _worst(sizes: Mapping[str, Any], ratio: str) -> tuple[str, Any]:
    """The batch size at which `ratio` is the least favourable, and its timings."""
    return max(sizes.items(), key=lambda item: float(item[1][ratio]["estimate"]))


def _call_ratios(by_id: Mapping[str, Any]) -> list[float]:
    """Ratios of the calls of all policies that were quantized after training to fp32, ascending."""
    return sorted(float(call["estimate"]) for call in by_id["B4"]["values"]["calls"].values())


def _other_searchers(by_id: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The searchers that learn no policy, by name in print, on the table of a task."""
    lines = by_id["C3"]["values"][task]
    return {
        printed: lines[key]
        for key, printed in SEARCHER_NAMES.items()
        if key in lines and not key.startswith(LEARNS_A_POLICY)
    }


def _text(interval: Mapping[str, float], form: str = "#.3g") -> str:
    """As in `0.0400 [0.0390, 0.0411]`."""
    return "{:{form}} [{:{form}}, {:{form}}]".format(
        *(interval[name] for name in ("estimate", "low", "high")), form=form
    )
