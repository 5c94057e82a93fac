"""Claims B1 to B4: what the second source says, judged on whole episodes and fresh processes.

Modelled energy restates CPU time, so a claim about energy is then decided on CPU time, and its reason says
that energy itself cannot be tested. Policies that have not learned are named and left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.declaration import ROW_FILES, Analysis, Declaration, Judgement
from sustainable.reporting.formats import declared_percent, interval_text
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.reporting.parameters import PoliciesParameters, ReportParameters
from sustainable.reporting.policies.costs import MeasuredCell, MemoryLine, PolicyLine
from sustainable.reporting.policies.returns import PRUNERS, QUANTIZERS
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Estimate,
    Ratio,
    noise_floor,
    verdict_on_ratio,
    weakest,
)

LIBRARY = ("ptdq", "ptsq")
READ_FOR_RETURNS = ("data/policies/table.json", "data/policies/returns.csv")
NO_WINDOWS: Mapping[str, Any] = {"cells": {"PPO": [], "TRPO": []}}
TWO_POLICIES = {"cells": {"PPO": ["SimulatedWorkload-v0"], "TRPO": ["Hopper-v5"]}}
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
    "benchmark_policies": {**NO_WINDOWS, "memory": {"repeats": 2, "configurations": FEWEST}},
}


def judge_step(analysis: Analysis) -> Judgement:
    """B1: bytes are counted; the cost of a step is compared under one runtime."""
    policies, parameters = analysis.policies, analysis.parameters
    outcome, pairs = decided_on(policies, "step"), policies.pairs
    whole = sorted({line.key for _, line in pairs if line.to_reference_size >= 1})
    saved = [(cell, line) for cell, line in pairs if certainly(cell, line, outcome, "lower", parameters)]
    keeping = [(cell, line) for cell, line in saved if keeps(line)]
    excluded = [(cell, line) for cell, line in pairs if excludes_saving(cell, line, outcome, parameters)]
    size = INCONCLUSIVE if not pairs else (REFUTED if whole else CONFIRMED)
    cost = REFUTED if keeping else (CONFIRMED if pairs and len(excluded) == len(pairs) else INCONCLUSIVE)
    return Judgement(
        verdict=weakest([size, cost]),
        reason=f"{basis(policies)} Bytes: {size}"
        + (f" (not smaller: {_named(policies, whole)})" if whole else "")
        + f". {cost_name(policies)} of a step: {cost}; {len(saved)} of {len(pairs)} comparisons show a "
        f"saving, {len(keeping)} of them with the return kept{_best(policies, keeping, outcome)}."
        f"{left_out(policies)}",
        evidence=evidence_class(policies, "bytes: exact count"),
        values=_values(policies, outcome, {"bytes": size, "cost": cost}, keeping),
    )


def judge_episode(analysis: Analysis) -> Judgement:
    """B2: whether an episode costs less for any reason other than its early end."""
    policies, parameters = analysis.policies, analysis.parameters
    outcome, pairs = decided_on(policies, "episode"), policies.pairs
    fallen = [(cell, line) for cell, line in pairs if certainly(cell, line, outcome, "lower", parameters)]
    against = [(cell, line) for cell, line in fallen if keeps(line)]
    shorter = [(cell, line) for cell, line in fallen if collapsed(line) and ends_sooner(line)]
    unexplained = [(cell, line) for cell, line in fallen if not ends_sooner(line) and not keeps(line)]
    verdict = REFUTED if against else INCONCLUSIVE
    if fallen and len(shorter) == len(fallen):
        verdict = CONFIRMED
    never = sum(not cell.ends_early for cell, _ in fallen)
    return Judgement(
        verdict=verdict,
        reason=f"{basis(policies)} {cost_name(policies)} of an episode falls in {len(fallen)} of "
        f"{len(pairs)} comparisons: {len(shorter)} with the return lost and shorter episodes, "
        f"{len(against)} with the return kept{_best(policies, against, outcome)}, "
        f"{len(unexplained)} with the return lost or in doubt, but without shorter episodes; {never} in "
        f"environments whose episodes never end early.{left_out(policies)}",
        evidence=evidence_class(policies, "returns and steps: exact count"),
        values=_values(policies, outcome, {"fallen": len(fallen), "shorter": len(shorter)}, against),
    )


def judge_memory(analysis: Analysis) -> Judgement:
    """B3: resident memory of fresh processes."""
    policies, declared = analysis.policies, analysis.parameters.policies
    lines = policies.memory
    floor, change = _memory_floor(lines), declared_percent(declared.memory_change)
    quantized = [line for line in lines.values() if line.method in QUANTIZERS]
    pruned = [line for line in lines.values() if line.method in PRUNERS]
    kept = [not_lowered(line, floor, declared) for line in quantized]
    fallen = [lowered_as_claimed(line, declared) for line in pruned]
    first, second = (weakest(verdicts) if verdicts else INCONCLUSIVE for verdicts in (kept, fallen))
    return Judgement(
        verdict=weakest([first, second]),
        reason=f"Quantization does not lower it: {first} ({_memory_text(policies, quantized)}). "
        f"Pruning lowers it by about {change}: {second} ({_memory_text(policies, pruned)}).",
        evidence="resident memory: operating system's count",
        values={
            "quantization": first,
            "pruning": second,
            "lines": {key: asdict(line) for key, line in lines.items()},
        },
    )


def judge_library_overhead(analysis: Analysis) -> Judgement:
    """B4: what the library's own int8 modules cost per call, and per process."""
    policies = analysis.policies
    pairs = [(cell, line) for cell, line in policies.pairs if line.key in LIBRARY]
    verdicts = [overhead(cell, line, analysis.parameters) for cell, line in pairs]
    time = weakest(verdicts) if verdicts else INCONCLUSIVE
    floor = _memory_floor(policies.memory)
    lines = [policies.memory[key] for key in LIBRARY if key in policies.memory]
    memory = weakest([raised(line, floor) for line in lines]) if lines else INCONCLUSIVE
    calls = {f"{cell.name}: {line.key}": line.effects["policy"].same_runtime for cell, line in pairs}
    costlier = sum(verdict == CONFIRMED for verdict in verdicts)
    return Judgement(
        verdict=weakest([time, memory]),
        reason=f"Time per call: {time}; higher in {costlier} of {len(pairs)} comparisons"
        f"{_range(list(calls.values()))}. Memory: {memory} ({_memory_text(policies, lines)})."
        f"{left_out(policies)}",
        evidence="time: clock, meter off; resident memory: operating system's count",
        values={
            "time": time,
            "memory": memory,
            "calls": {name: _numbers(ratio) for name, ratio in calls.items()},
        },
    )


POLICY_CLAIMS = (
    Declaration(
        id="B1",
        source="study_b",
        rule="bytes: every compressed policy is smaller than the uncompressed one; cost: refuted if a "
        "compressed policy costs less per step than the uncompressed one under the same runtime (interval "
        "over training seeds below 1, effect above the A/A noise floor, the same without flagged windows; "
        "not corrected for the number of comparisons) and keeps {kept_percent:g} % of the return by its "
        "whole interval; confirmed if every interval excludes a saving of {equivalence_percent:g} %; "
        "otherwise inconclusive",
        judge=judge_step,
        decided_by=(ROW_FILES["policies"],),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts", "energy counter"),
    ),
    Declaration(
        id="B2",
        source="study_b",
        rule="the cost of an episode falls if its ratio to the uncompressed policy under the same runtime "
        "lies below 1 (as in B1); refuted if it falls for a policy that keeps {kept_percent:g} % of the "
        "return by its whole interval; confirmed if every policy for which it falls has lost that return and "
        "ends its episodes sooner, each by its whole interval",
        judge=judge_episode,
        decided_by=(ROW_FILES["policies"],),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts", "energy counter"),
    ),
    Declaration(
        id="B3",
        source="study_b",
        rule="resident memory of a fresh process divided by that of the uncompressed policy under the same "
        "runtime, intervals over processes; an interval wider than {memory_percent:g} % decides nothing; "
        "quantization: refuted if an interval lies below 1 beyond the A/A control, confirmed if all exclude "
        "a fall of {memory_percent:g} %; pruning: confirmed if all lie within a fall of "
        "{least_fall_percent:g} to {most_fall_percent:g} %, refuted if one lies outside",
        judge=judge_memory,
        decided_by=(ROW_FILES["memory"],),
        needs=("resident memory of processes",),
        cut=MEMORY_ONLY,
    ),
    Declaration(
        id="B4",
        source="study_b",
        rule="time: the CPU time per call of PTDQ and PTSQ divided by that of the fp32 policy in eager "
        "torch, meter off, is above 1 for every learned policy (as in B1); memory: resident memory of a "
        "fresh process divided by the baseline's lies above 1 beyond the A/A control; refuted if one lies "
        "below",
        judge=judge_library_overhead,
        decided_by=(ROW_FILES["policies"], ROW_FILES["memory"]),
        also_reads=READ_FOR_RETURNS,
        needs=("CPU time", "exact counts", "resident memory of processes"),
    ),
)


def decided_on(policies: Policies, outcome: str) -> str:
    """The outcome that decides: counted energy if there is any, otherwise CPU time."""
    return f"energy_{outcome}" if carries_energy_claims(policies.cpu_evidence) else outcome


def cost_name(policies: Policies) -> str:
    """What the cost is called in a sentence."""
    return "Energy" if carries_energy_claims(policies.cpu_evidence) else "CPU time"


def basis(policies: Policies) -> str:
    """What the claim is decided on, in one sentence; empty if energy itself was counted."""
    if carries_energy_claims(policies.cpu_evidence):
        return ""
    meaning = EVIDENCE.get(policies.cpu_evidence, "mixed classes")
    return f"Decided on CPU time; energy itself: {NOT_TESTABLE} ({policies.cpu_evidence}: {meaning})."


def evidence_class(policies: Policies, also: str) -> str:
    """The class of evidence of a cost, and of what else is counted."""
    if carries_energy_claims(policies.cpu_evidence):
        return f"energy: {policies.cpu_evidence}; {also}"
    return f"CPU time: clock; energy: {policies.cpu_evidence}, {NOT_TESTABLE}; {also}"


def left_out(policies: Policies) -> str:
    """The policies that have not learned, by name."""
    names = policies.unlearned
    return f" Not learned and left out: {', '.join(names)}." if names else ""


def certainly(
    cell: MeasuredCell, line: PolicyLine, outcome: str, claimed: str, parameters: ReportParameters
) -> bool:
    """Whether an outcome is certainly "lower" or "higher" than uncompressed under the same runtime."""
    effect, twin = line.effects[outcome], cell.twin(outcome)
    if effect.same_runtime is None or effect.clean is None or twin is None:
        return False
    if cell.blocks < parameters.minimum_blocks:
        return False
    direction: Any = claimed
    return all(
        verdict_on_ratio(ratio, twin, direction) == CONFIRMED for ratio in (effect.same_runtime, effect.clean)
    )


def excludes_saving(cell: MeasuredCell, line: PolicyLine, outcome: str, parameters: ReportParameters) -> bool:
    """Whether the whole interval excludes a saving of the equivalence margin."""
    ratio = line.effects[outcome].same_runtime
    enough = cell.blocks >= parameters.minimum_blocks
    return enough and ratio is not None and ratio.low > 1 / (1 + parameters.equivalence_margin)


def keeps(line: PolicyLine) -> bool:
    """Whether the return is kept, by its whole interval."""
    return line.kept is not None and line.kept.low >= SURVIVES


def collapsed(line: PolicyLine) -> bool:
    """Whether the return is lost, by its whole interval."""
    return line.kept is not None and line.kept.high < SURVIVES


def ends_sooner(line: PolicyLine) -> bool:
    """Whether episodes are shorter, by the whole interval."""
    steps = line.effects["steps"].same_runtime
    return steps is not None and steps.high < 1


def overhead(cell: MeasuredCell, line: PolicyLine, parameters: ReportParameters) -> str:
    """Verdict on whether one call costs more than the uncompressed one."""
    if certainly(cell, line, "policy", "higher", parameters):
        return CONFIRMED
    return REFUTED if certainly(cell, line, "policy", "lower", parameters) else INCONCLUSIVE


def not_lowered(line: MemoryLine, floor: float, declared: PoliciesParameters) -> str:
    """Verdict on whether memory has not fallen, from an interval narrow enough to show the claimed change."""
    found, change = line.same_runtime, declared.memory_change
    if found is None or not line.precise(change):
        return INCONCLUSIVE
    if found.high < 1 and abs(math.log(found.estimate)) > floor:
        return REFUTED
    return CONFIRMED if found.low > 1 - change else INCONCLUSIVE


def lowered_as_claimed(line: MemoryLine, declared: PoliciesParameters) -> str:
    """Verdict on whether memory has fallen by about what is claimed, from an interval narrow enough."""
    found, (least, most) = line.same_runtime, declared.memory_fall
    if found is None or not line.precise(declared.memory_change):
        return INCONCLUSIVE
    if found.high < 1 - most or found.low > 1 - least:
        return REFUTED
    return CONFIRMED if 1 - most <= found.low and found.high <= 1 - least else INCONCLUSIVE


def raised(line: MemoryLine, floor: float) -> str:
    """Verdict on whether memory has risen above the baseline's."""
    found = line.process
    if found is None or (found.low <= 1 <= found.high) or abs(math.log(found.estimate)) <= floor:
        return INCONCLUSIVE
    return CONFIRMED if found.low > 1 else REFUTED


def _memory_floor(lines: Mapping[str, MemoryLine]) -> float:
    """How much the baseline's memory differs from its twin's; 0 if no twin was measured."""
    twin = lines[TWIN].process if TWIN in lines else None
    return noise_floor(twin) if twin is not None else 0.0


def _memory_text(policies: Policies, lines: Sequence[MemoryLine]) -> str:
    return (
        "; ".join(f"{policies.labels[line.key]} {interval_text(line.same_runtime)}" for line in lines)
        or "not measured"
    )


def _named(policies: Policies, keys: Sequence[str]) -> str:
    return ", ".join(policies.labels[key] for key in keys)


def _best(policies: Policies, savings: Sequence[tuple[MeasuredCell, PolicyLine]], outcome: str) -> str:
    """The largest of some savings, in brackets."""
    known = [
        (ratio.estimate, cell, line, ratio)
        for cell, line in savings
        for ratio in [line.effects[outcome].same_runtime]
        if ratio is not None
    ]
    if not known:
        return ""
    _, cell, line, ratio = min(known, key=lambda one: one[0])
    kept = f"{line.kept.estimate:.2f}" if isinstance(line.kept, Estimate) else "unknown"
    return (
        f" (the largest: {policies.labels[line.key]} in {cell.name}, ratio {interval_text(ratio)}, A/A "
        f"control {interval_text(cell.twin(outcome))}, normalised return {kept})"
    )


def _range(ratios: Sequence[Ratio | None]) -> str:
    known = [ratio.estimate for ratio in ratios if ratio is not None]
    return f", ratios {min(known):.2f} to {max(known):.2f}" if known else ""


def _values(
    policies: Policies,
    outcome: str,
    parts: Mapping[str, Any],
    deciding: Sequence[tuple[MeasuredCell, PolicyLine]],
) -> dict[str, Any]:
    return {
        **parts,
        "outcome": outcome,
        "baseline": BASELINE,
        "left_out": policies.unlearned,
        "deciding": [f"{cell.name}: {line.key}" for cell, line in deciding],
        "comparisons": {
            f"{cell.name}: {line.key}": {
                "ratio": _numbers(line.effects[outcome].same_runtime),
                "control": _numbers(cell.twin(outcome)),
                "size_ratio": line.to_reference_size,
                "kept": line.kept and asdict(line.kept),
            }
            for cell, line in policies.pairs
        },
    }


def _numbers(ratio: Ratio | None) -> dict[str, float] | None:
    return None if ratio is None else dict(vars(ratio))
