"""Claims of the second source, B1 to B5, and of its course notebook, B6.

Modelled energy restates CPU time, so a claim about energy is then decided on CPU time, and its reason says
that energy itself cannot be tested. Policies that have not learned are named and left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.declaration import CPU_CLOCK, EXACT_COUNT, ROW_FILES, Analysis, Declaration
from sustainable.reporting.declaration import Judgement
from sustainable.reporting.formats import interval_text, share_text
from sustainable.reporting.judging import above, verdict_if
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.reporting.parameters import PoliciesParameters, ReportParameters
from sustainable.reporting.policies.costs import MeasuredCell, MemoryLine, PolicyLine
from sustainable.reporting.policies.notebook import judge_notebook
from sustainable.reporting.policies.pooling import Pairs, costs_as_much, too_few
from sustainable.reporting.policies.returns import OFF_POLICY, ON_POLICY, QUANTIZERS, LengthShare
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import noise_floor, verdict_on_ratio, weakest

PoliciesJudge = Callable[[Policies, ReportParameters], Judgement]
LIBRARY, IN_ONNX = ("ptdq", "ptsq"), ("ptdq_onnxruntime", "ptsq_onnxruntime")
MASKS = "unstructured"
UNITS = ("structured",)
QUANTIZATION, PRUNING = "quantization", "pruning, negligible"
READ_FOR_RETURNS = ("data/policies/table.json", "data/policies/returns.csv")
NO_WINDOWS: Mapping[str, Any] = {"cells": {"PPO": [], "TRPO": []}}
TWO_POLICIES = {
    "cells": {"PPO": ["SimulatedWorkload-v0"], "TRPO": ["Hopper-v5"]},
    "pinned": {algorithm: [] for algorithm in OFF_POLICY},
}
"""The policy that is measured at several doses, and the one whose memory is read."""
FEWEST = ["baseline", "baseline_twin"]
MEMORY_ONLY = {
    "train_policies": TWO_POLICIES,
    "benchmark_policies": {
        **NO_WINDOWS,
        "workload": {"doses_us": [0.0, 500.0], "configurations": FEWEST, "window_s": 0.05, "timed_steps": 10},
    },
}
DOSES_ONLY = {
    "train_policies": TWO_POLICIES,
    "benchmark_policies": {
        **NO_WINDOWS,
        "memory": {"repeats": 2, "configurations": FEWEST, "large": {"configurations": FEWEST}},
    },
}


def declare(id: str, **declared: Any) -> Callable[[PoliciesJudge], Declaration]:
    """Turn a judge of study B's policies into the declaration of a claim or takeaway of study B's source."""

    def from_judge(judge: PoliciesJudge) -> Declaration:
        def judge_analysis(analysis: Analysis) -> Judgement:
            return judge(analysis.policies, analysis.parameters)

        return Declaration(id=id, source="study_b", judge=judge_analysis, **declared)

    return from_judge


on_windows = partial(declare, decided_by=(ROW_FILES["policies"],), also_reads=READ_FOR_RETURNS)


@on_windows(
    "B1",
    rule="bytes: every policy with int8 weights or without some of its units is smaller than the "
    "uncompressed one (masked weights, which the source rejects, are not counted); cost of a step relative "
    "to the uncompressed policy under the same runtime, over the cells with at least {minimum_blocks} "
    "blocks (others are named and left out), each configuration with at least {minimum_models} policies of "
    "two environments pooled over them: confirmed if every interval excludes a saving of {saving_percent:g} "
    "%; refuted if one lies wholly beyond it, or that of a single policy by a one-sided t test with Holm's "
    "correction over all, and keeps {kept_percent:g} % of the return by its whole interval; otherwise "
    "inconclusive, also with fewer policies in total, if the pooled A/A control may differ by "
    "{saving_percent:g} %, or if the verdict differs without flagged windows; the reason names which of "
    "these decided",
    needs=("CPU time", "exact counts", "energy counter"),
)
def step_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """A tendency: bytes are counted; the cost of a step is pooled over policies, under one runtime."""
    outcome = decided_on(policies, "step")
    name, decided, evidence = basis(policies, "bytes: exact count")
    counted = [line for _, line in policies.pairs if line.method != MASKS]
    whole = sorted({line.key for line in counted if line.to_reference_size >= 1})
    size = INCONCLUSIVE if not counted else (REFUTED if whole else CONFIRMED)
    larger = f" (not smaller: {', '.join(policies.labels[key] for key in whole)})" if whole else ""
    cost = costs_as_much(policies, policies.measured_pairs, outcome, parameters)
    return Judgement(
        weakest([size, cost.verdict]),
        f"{decided} Bytes: {size}{larger}. {name} of a step: {cost.verdict}; {cost.reason}"
        f"{left_out(policies)}",
        {"bytes": size, "cost": cost.verdict, **cost.values},
        evidence=evidence,
        parts={"bytes": size, "cost of a step": cost.verdict},
    )


@on_windows(
    "B2",
    rule="over learned policies whose episodes can end early, without environments in which the return is "
    "the number of steps (there a lost return is a shorter episode by definition): for most policies, most "
    "variants that do not keep {kept_percent:g} % of the return have episodes over {saving_percent:g} % "
    "shorter, and for most policies, most variants that keep it do not (the policy is the unit; Wilson's "
    "intervals of the shares against one half, with at least {minimum_models} policies of two environments); "
    "and the cost of an episode with the return kept does not fall (pooled as in B1). Confirmed if all three "
    "hold, refuted if one fails",
    needs=("CPU time", "exact counts", "energy counter"),
)
def episode_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """A tendency: shorter episodes where the return is lost, and no cheaper ones where it is kept."""
    outcome = decided_on(policies, "episode")
    name, decided, evidence = basis(policies, "returns and steps: exact count")
    lengths = policies.lengths
    keeping = [(cell, line) for cell, line in policies.measured_pairs if line.keeps]
    cost = costs_as_much(policies, keeping, outcome, parameters)
    parts = {
        "return lost, episodes shorter": _of_lengths(lengths.lost, parameters),
        "return kept, episodes as long": _of_lengths(lengths.kept, parameters),
        "return kept, cost of an episode": cost.verdict,
    }
    by_definition = ", ".join(policies.paid_per_step) or "none"
    return Judgement(
        weakest(list(parts.values())),
        f"{decided} Most variants that lost the return have shorter episodes in "
        f"{_lengths_text(lengths.lost, parameters)}; most that kept it have episodes as long in "
        f"{_lengths_text(lengths.kept, parameters)}. Left out because the return is the number of "
        f"steps: {by_definition}. {name} of an episode with the return kept: {cost.reason}"
        f"{left_out(policies)}",
        {"lengths": asdict(lengths), **cost.values},
        evidence=evidence,
        parts=parts,
    )


def _of_lengths(found: LengthShare, parameters: ReportParameters) -> str:
    """Judge whether the share lies above one half; inconclusive with too few policies."""
    return INCONCLUSIVE if _few_lengths(found, parameters) else above(found.share, 0.5)


def _few_lengths(found: LengthShare, parameters: ReportParameters) -> str:
    return too_few(found.share.n if found.share else 0, len(found.environments), parameters)


def _lengths_text(found: LengthShare, parameters: ReportParameters) -> str:
    """Print the share of policies with its interval, and why it decides nothing if it does not."""
    if found.share is None or found.by_variant is None:
        return "none of 0 policies"
    few = _few_lengths(found, parameters)
    gate = f"; {few}" if few else ""
    return f"{share_text(found.share)} of {found.share.n} policies ({found.by_variant.n} variants{gate})"


@declare(
    "B3",
    rule="only about processes whose network is small: resident memory of a fresh process that loads the "
    "saved model, divided by that of the uncompressed policy under the same runtime, intervals over "
    "processes; an interval wider than {memory_percent:g} % decides nothing; quantization: refuted if an "
    "interval lies below 1 beyond the A/A control, confirmed if all exclude a fall of {memory_percent:g} %; "
    "pruning of units (masked weights, which the source rejects, are not counted), negligible: refuted if a "
    "fall is certainly larger than {negligible_percent:g} %, confirmed if none can be (the statement calls "
    "its {memory_percent:g} % negligible, so a smaller fall does not refute it); and nothing is confirmed "
    "unless the control, a network whose weights are a visible share of the process, certainly shows a fall "
    "of over {memory_percent:g} %: a measurement that could not see one proves nothing",
    decided_by=(ROW_FILES["memory"],),
    needs=("resident memory of processes",),
    cut=MEMORY_ONLY,
)
def memory_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """Resident memory of fresh processes, and of the control that must show what compression saves."""
    lines, declared = policies.memory, parameters.policies
    floor, parts, texts, seen = _memory_floor(lines), {}, [_process_text(policies)], {}
    for name, methods in ((QUANTIZATION, QUANTIZERS), (PRUNING, UNITS)):
        own, control = (_of_methods(found, methods) for found in (lines, policies.large))
        verdict = _all_of(
            [
                not_lowered(line, floor, declared)
                if methods is QUANTIZERS
                else hardly_lowered(line, declared)
                for line in own
            ]
        )
        seen[name] = any(line.falls_beyond(declared.memory_change) for line in control)
        parts[name] = INCONCLUSIVE if verdict == CONFIRMED and not seen[name] else verdict
        texts.append(
            f"{name.capitalize()}: {parts[name]} ({_memory_text(policies, own)}); in the large network, the "
            f"control: {_memory_text(policies, control)}."
        )
    described = {key: asdict(line) for key, line in lines.items()}
    large = {key: asdict(line) for key, line in policies.large.items()}
    return Judgement(
        weakest(list(parts.values())),
        " ".join(texts),
        {**parts, "control_shows_a_fall": seen, "lines": described, "large": large},
        evidence="resident memory: operating system's count",
        parts=parts,
    )


def _process_text(policies: Policies) -> str:
    """Say how large the weights are in the processes that the claim is about, and in the control's."""
    sizes = [
        f"{line.weights_bytes_memory / 1024:.0f} KiB of {line.rss_mib:.0f} MiB"
        for lines in (policies.memory, policies.large)
        for line in [lines.get(BASELINE)]
        if line is not None
    ]
    small, *control = sizes or ["not measured"]
    beside = f"; in the control's {control[0]}" if control else ""
    return f"About processes whose network is small: the weights are {small}{beside}."


@declare(
    "B4",
    rule="memory: resident memory of a fresh process that loads PTDQ or PTSQ, divided by that of the "
    "uncompressed policy under the same runtime, lies above 1 beyond the A/A control; refuted if one lies "
    "below. Runtimes: torch.ao, and ONNX Runtime, which is the source's. The time of a call is ours, and is "
    "printed beside",
    decided_by=(ROW_FILES["policies"], ROW_FILES["memory"]),
    also_reads=READ_FOR_RETURNS,
    needs=("CPU time", "exact counts", "resident memory of processes"),
)
def overhead_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """What the libraries' own int8 modules cost per process, and per call."""
    pairs = [(cell, line) for cell, line in policies.pairs if line.key in LIBRARY]
    lines = [policies.memory[key] for key in (*LIBRARY, *IN_ONNX) if key in policies.memory]
    floor = _memory_floor(policies.memory)
    calls = {f"{cell.name}: {line.key}": line.effects["policy"].same_runtime for cell, line in pairs}
    known = [ratio.estimate for ratio in calls.values() if ratio is not None]
    span = f"{min(known):.2f} to {max(known):.2f} times" if known else "not measured"
    return Judgement(
        _all_of([raised(line, floor) for line in lines]),
        f"Memory: {_memory_text(policies, lines)}. A call with torch.ao takes {span} the CPU time.",
        {"calls": {name: asdict(ratio) for name, ratio in calls.items() if ratio}},
        evidence="resident memory: operating system's count; time: clock, meter off",
    )


@declare(
    "B5",
    rule="all policies, learned or not, of the environments in which both kinds of algorithms were trained; "
    "a policy keeps its return if its mean raw return under PTDQ is at least {kept_percent:g} % of the "
    "uncompressed one; three parts, all of which must hold. PPO and TRPO: the share of policies that keep it "
    "lies above one half (Wilson's interval), refuted if below. SAC and TD3: it lies below one half, refuted "
    "if above. Difference of these shares, with Newcombe's interval: refuted if it lies wholly below "
    "{split_percent:g} points, half of the source's difference; otherwise confirmed if it lies wholly above "
    "0. All inconclusive with fewer than {minimum_models} policies of a kind, or with policies of one "
    "environment",
    decided_by=READ_FOR_RETURNS[1:],
    also_reads=READ_FOR_RETURNS[:1],
    needs=("exact counts",),
    cut={
        "train_policies": {"cells": {algorithm: ["Hopper-v5", "HalfCheetah-v5"] for algorithm in ON_POLICY}},
        "compress_policies": {"others": [{"method": "ptdq"}], "shares": [0.5]},
    },
)
def split_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """Whether dynamic quantization costs the return of off-policy policies rather than of on-policy ones."""
    split, declared = policies.split, parameters.policies
    if split is None:
        return Judgement(INCONCLUSIVE, "No environment has policies of both kinds.", evidence=EXACT_COUNT)
    shares, difference = (split.on_policy, split.off_policy), split.difference
    verdict = CONFIRMED if difference.low > 0 else INCONCLUSIVE
    verdict = REFUTED if difference.high < declared.split_of_interest else verdict
    parts = {
        "PPO and TRPO": above(split.on_policy, 0.5),
        "SAC and TD3": verdict_if(split.off_policy.high < 0.5, split.off_policy.low > 0.5),
        "difference": verdict,
    }
    few = too_few(min(share.n for share in shares), len(split.environments), parameters)
    parts = dict.fromkeys(parts, INCONCLUSIVE) if few else parts
    kept = [f"{round(share.estimate * share.n)} of {share.n} ({share_text(share)})" for share in shares]
    return Judgement(
        weakest(parts.values()),
        f"{' and '.join(split.environments)}: PTDQ keeps the return of {kept[0]} policies of PPO and TRPO, "
        f"and of {kept[1]} of SAC and TD3; difference of the shares {interval_text(difference)}"
        f"{'; ' + few if few else ''}.",
        asdict(split),
        evidence=EXACT_COUNT,
        parts=parts,
    )


@declare(
    "B6",
    rule="the notebook's own rule is applied to each seed's experiment; refuted if it also prints CONFIRMED "
    "for most seeds when nothing is compressed (Wilson's interval of the share above one half), because a "
    "rule that cannot fail validates nothing; confirmed if it prints CONFIRMED for most seeds as published, "
    "and not for most when nothing is compressed",
    decided_by=(ROW_FILES["notebook"],),
    needs=("CPU time",),
    cut={"notebook": {"repaired_seeds": 0}},
)
def notebook_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """The notebook's rule, with and without compression."""
    evidence = ", ".join(sorted(set(policies.notebook.evidence.values())))
    return Judgement(*judge_notebook(policies.notebook), evidence=f"energy: {evidence}")


POLICY_CLAIMS = (step_claim, episode_claim, memory_claim, overhead_claim, split_claim, notebook_claim)


def decided_on(policies: Policies, outcome: str) -> str:
    """The outcome that decides: counted energy if there is any, otherwise CPU time."""
    return f"energy_{outcome}" if carries_energy_claims(policies.cpu_evidence) else outcome


def basis(policies: Policies, also: str) -> tuple[str, str, str]:
    """What a cost is called, what a claim about it is decided on (in one sentence; empty if energy itself was
    counted), and the class of evidence of the cost and of what else is counted."""
    evidence = policies.cpu_evidence
    if carries_energy_claims(evidence):
        return "Energy", "", f"energy: {evidence}; {also}"
    meaning = EVIDENCE.get(evidence, "mixed classes")
    decided = f"Decided on CPU time; energy itself: {NOT_TESTABLE} ({evidence}: {meaning})."
    return "CPU time", decided, f"{CPU_CLOCK}; energy: {evidence}, {NOT_TESTABLE}; {also}"


def left_out(policies: Policies) -> str:
    """Name the policies that have not learned, and the cells with too few blocks."""
    names = policies.unlearned
    text = f" Not learned and left out: {', '.join(names)}." if names else ""
    return text + thin_text(policies)


def thin_text(policies: Policies) -> str:
    """Name the cells that are left out because they have too few blocks."""
    names, least = policies.thin, policies.minimum_blocks
    return f" Left out because of fewer than {least} blocks: {', '.join(names)}." if names else ""


def verdict_on_line(
    cell: MeasuredCell, line: PolicyLine, outcome: str, claimed: Any, parameters: ReportParameters
) -> str:
    """Verdict on whether an outcome is "lower" or "higher" than uncompressed under the same runtime, with and
    without flagged windows."""
    effect, twin = line.effects[outcome], cell.twin(outcome)
    if twin is None or cell.blocks < parameters.minimum_blocks:
        return INCONCLUSIVE
    verdicts = {
        verdict_on_ratio(ratio, twin, claimed) if ratio else INCONCLUSIVE
        for ratio in (effect.same_runtime, effect.clean)
    }
    return verdicts.pop() if len(verdicts) == 1 else INCONCLUSIVE


def certain(pairs: Pairs, outcome: str, claimed: str, parameters: ReportParameters) -> Pairs:
    """The pairs whose outcome is certainly "lower" or "higher", see `verdict_on_line`."""
    return [pair for pair in pairs if verdict_on_line(*pair, outcome, claimed, parameters) == CONFIRMED]


def not_lowered(line: MemoryLine, floor: float, declared: PoliciesParameters) -> str:
    """Verdict on whether memory has not fallen, from an interval narrow enough to show the claimed change."""
    found, change = line.same_runtime, declared.memory_change
    if found is None or not line.precise(change):
        return INCONCLUSIVE
    fallen = found.high < 1 and abs(math.log(found.estimate)) > floor
    return verdict_if(found.low > 1 - change and not fallen, fallen)


def hardly_lowered(line: MemoryLine, declared: PoliciesParameters) -> str:
    """Verdict on whether memory has fallen by a negligible share at most, from a narrow enough interval."""
    found, most = line.same_runtime, declared.negligible_fall
    if found is None or not line.precise(declared.memory_change):
        return INCONCLUSIVE
    return verdict_if(found.low > 1 - most, line.falls_beyond(most))


def raised(line: MemoryLine, floor: float) -> str:
    """Verdict on whether memory has risen above that of the uncompressed policy under the same runtime."""
    found = line.same_runtime
    return INCONCLUSIVE if found is None or abs(math.log(found.estimate)) <= floor else above(found, 1)


def _memory_floor(lines: Mapping[str, MemoryLine]) -> float:
    """How much the baseline's memory differs from its twin's; 0 if no twin was measured."""
    twin = lines[TWIN].process if TWIN in lines else None
    return noise_floor(twin) if twin is not None else 0.0


def _of_methods(lines: Mapping[str, MemoryLine], methods: Sequence[str]) -> list[MemoryLine]:
    return [line for line in lines.values() if line.method in methods]


def _memory_text(policies: Policies, lines: Sequence[MemoryLine]) -> str:
    return (
        "; ".join(f"{policies.labels[line.key]} {interval_text(line.same_runtime)}" for line in lines)
        or "not measured"
    )


def _all_of(verdicts: Sequence[str]) -> str:
    """The verdict on all of some parts; inconclusive if there are none."""
    return weakest(verdicts) if verdicts else INCONCLUSIVE
