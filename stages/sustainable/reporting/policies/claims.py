"""The claims of study B: a statement, a rule over rows, and the verdict that the rule gives.

Where energy is modelled it restates CPU time, so a claim about energy is decided as one about CPU time, and
says that energy itself cannot be tested. Policies that have not learned are named and left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.forecasting.published_claims import Claim
from sustainable.reporting.policies.summary import Policies
from sustainable.reporting.policies.costs import MeasuredCell, MemoryLine, PolicyLine
from sustainable.reporting.policies.returns import PRUNERS, QUANTIZERS
from sustainable.reporting.formats import declared_percent, interval_text, percent
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.reporting.parameters import PoliciesParameters, ReportParameters
from sustainable.policies.returns import SURVIVES
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


def judge_policies(
    policies: Policies, published: Mapping[str, Any], parameters: ReportParameters
) -> list[Claim]:
    """Claims B1 to B4."""
    said = published["claims"]
    return [
        step_claim(said["B1"], policies, parameters),
        episode_claim(said["B2"], policies, parameters),
        memory_claim(said["B3"], policies, parameters),
        overhead_claim(said["B4"], policies, parameters),
    ]


def step_claim(statement: str, policies: Policies, parameters: ReportParameters) -> Claim:
    """B1: bytes are counted; a step's cost is compared under one runtime."""
    outcome = decided_on(policies, "step")
    pairs = policies.pairs
    whole = sorted({line.key for _, line in pairs if line.to_reference_size >= 1})
    saved = [(cell, line) for cell, line in pairs if certainly(cell, line, outcome, "lower", parameters)]
    keeping = [(cell, line) for cell, line in saved if keeps(line)]
    excluded = [(cell, line) for cell, line in pairs if excludes_saving(cell, line, outcome, parameters)]
    size = INCONCLUSIVE if not pairs else (REFUTED if whole else CONFIRMED)
    cost = REFUTED if keeping else (CONFIRMED if pairs and len(excluded) == len(pairs) else INCONCLUSIVE)
    return Claim(
        id="B1",
        statement=statement,
        rule="bytes: every compressed policy is smaller than the uncompressed one; cost: refuted if some "
        "compressed policy costs less a step than the uncompressed one under the same runtime (interval over "
        "training seeds below 1, effect above the A/A noise floor, the same without flagged windows; not "
        "corrected for the number of comparisons) and "
        f"keeps {100 * SURVIVES:.0f} % of the return by its whole interval; confirmed if every interval "
        f"excludes a saving of {percent(parameters.equivalence_margin)}; else inconclusive",
        verdict=weakest([size, cost]),
        reason=f"{basis(policies)} Bytes: {size}"
        + (f" (not smaller: {_named(policies, whole)})" if whole else "")
        + f". {cost_name(policies)} of a step: {cost}; {len(saved)} of {len(pairs)} comparisons show a "
        f"saving, {len(keeping)} of them keep the return{_best(policies, keeping, outcome)}."
        f"{left_out(policies)}",
        evidence=evidence(policies, "bytes: exact count"),
        values=_values(policies, pairs, outcome, {"bytes": size, "cost": cost}, keeping),
    )


def episode_claim(statement: str, policies: Policies, parameters: ReportParameters) -> Claim:
    """B2: does an episode cost less for any other reason than that it ends early?"""
    outcome = decided_on(policies, "episode")
    pairs = policies.pairs
    fallen = [(cell, line) for cell, line in pairs if certainly(cell, line, outcome, "lower", parameters)]
    against = [(cell, line) for cell, line in fallen if keeps(line)]
    shorter = [(cell, line) for cell, line in fallen if collapsed(line) and ends_sooner(line)]
    unexplained = [(cell, line) for cell, line in fallen if not ends_sooner(line) and not keeps(line)]
    verdict = REFUTED if against else INCONCLUSIVE
    if fallen and len(shorter) == len(fallen):
        verdict = CONFIRMED
    never = sum(not cell.ends_early for cell, _ in fallen)
    return Claim(
        id="B2",
        statement=statement,
        rule="an episode's cost has fallen where its ratio to the uncompressed policy under the same runtime "
        "lies below 1 (as in B1); refuted if it has fallen for a policy that keeps "
        f"{100 * SURVIVES:.0f} % of the return by its whole interval; confirmed if every policy for which "
        "it has fallen has lost that return and ends its episodes sooner, each by its whole interval",
        verdict=verdict,
        reason=f"{basis(policies)} {cost_name(policies)} of an episode falls in {len(fallen)} of "
        f"{len(pairs)} comparisons: {len(shorter)} with the return lost and shorter episodes, "
        f"{len(against)} with the return kept{_best(policies, against, outcome)}, "
        f"{len(unexplained)} without shorter episodes and with the "
        f"return lost or in doubt; {never} in environments whose episodes never end early."
        f"{left_out(policies)}",
        evidence=evidence(policies, "returns and steps: exact count"),
        values=_values(policies, pairs, outcome, {"fallen": len(fallen), "shorter": len(shorter)}, against),
    )


def memory_claim(statement: str, policies: Policies, parameters: ReportParameters) -> Claim:
    """B3: resident memory of fresh processes."""
    lines = policies.memory
    floor = _memory_floor(lines)
    quantized = [line for line in lines.values() if line.method in QUANTIZERS]
    pruned = [line for line in lines.values() if line.method in PRUNERS]
    declared = parameters.policies
    change, (least, most) = declared_percent(declared.memory_change), declared.memory_fall
    kept = [not_lowered(line, floor, declared) for line in quantized]
    fallen = [lowered_as_claimed(line, declared) for line in pruned]
    first, second = (weakest(verdicts) if verdicts else INCONCLUSIVE for verdicts in (kept, fallen))
    return Claim(
        id="B3",
        statement=statement,
        rule="resident memory of a fresh process over that of the uncompressed policy under the same "
        f"runtime, intervals over processes; none wider than {change} carries the claim; "
        "quantization: refuted if one lies below 1 beyond the A/A control, confirmed if all exclude a fall "
        f"of {change}; pruning: confirmed if all lie within a fall of {100 * least:g} to "
        f"{declared_percent(most)}, refuted if one lies outside",
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


def overhead_claim(statement: str, policies: Policies, parameters: ReportParameters) -> Claim:
    """B4: what the library's own int8 modules cost a call, and a process."""
    pairs = [(cell, line) for cell, line in policies.pairs if line.key in LIBRARY]
    verdicts = [overhead(cell, line, parameters) for cell, line in pairs]
    time = weakest(verdicts) if verdicts else INCONCLUSIVE
    floor = _memory_floor(policies.memory)
    lines = [policies.memory[key] for key in LIBRARY if key in policies.memory]
    memory = weakest([raised(line, floor) for line in lines]) if lines else INCONCLUSIVE
    dearer = sum(verdict == CONFIRMED for verdict in verdicts)
    return Claim(
        id="B4",
        statement=statement,
        rule="time: CPU time of one call of PTDQ and PTSQ over the fp32 policy's in eager torch, meter off, "
        "is above 1 in every learned policy (as in B1); memory: resident memory of a fresh process over the "
        "baseline's lies above 1 beyond the A/A control; refuted if one lies below",
        verdict=weakest([time, memory]),
        reason=f"Time of a call: {time}; dearer in {dearer} of {len(pairs)} comparisons"
        f"{_range([line.effects['policy'].same_runtime for _, line in pairs])}. "
        f"Memory: {memory} ({_memory_text(policies, lines)}).{left_out(policies)}",
        evidence="time: clock, meter off; resident memory: operating system's count",
        values={
            "time": time,
            "memory": memory,
            "calls": {
                f"{cell.name}: {line.key}": _numbers(line.effects["policy"].same_runtime)
                for cell, line in pairs
            },
        },
    )


def decided_on(policies: Policies, outcome: str) -> str:
    """The energy where a counter has read it, else CPU time."""
    return f"energy_{outcome}" if carries_energy_claims(policies.cpu_evidence) else outcome


def cost_name(policies: Policies) -> str:
    return "Energy" if carries_energy_claims(policies.cpu_evidence) else "CPU time"


def basis(policies: Policies) -> str:
    """What decides, in one sentence; empty where energy itself was counted."""
    if carries_energy_claims(policies.cpu_evidence):
        return ""
    meaning = EVIDENCE.get(policies.cpu_evidence, "mixed classes")
    return f"Decided on CPU time; energy itself: {NOT_TESTABLE} ({policies.cpu_evidence}: {meaning})."


def evidence(policies: Policies, also: str) -> str:
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
    """Whether the whole interval leaves no room for a saving of the equivalence margin."""
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
    """Whether one call costs more than uncompressed."""
    if certainly(cell, line, "policy", "higher", parameters):
        return CONFIRMED
    return REFUTED if certainly(cell, line, "policy", "lower", parameters) else INCONCLUSIVE


def not_lowered(line: MemoryLine, floor: float, declared: PoliciesParameters) -> str:
    """Whether memory has not fallen, by an interval that could show the change that is spoken of."""
    found, change = line.same_runtime, declared.memory_change
    if found is None or not line.precise(change):
        return INCONCLUSIVE
    if found.high < 1 and abs(math.log(found.estimate)) > floor:
        return REFUTED
    return CONFIRMED if found.low > 1 - change else INCONCLUSIVE


def lowered_as_claimed(line: MemoryLine, declared: PoliciesParameters) -> str:
    """Whether memory has fallen by about what is claimed, by an interval that could show it."""
    found, (least, most) = line.same_runtime, declared.memory_fall
    if found is None or not line.precise(declared.memory_change):
        return INCONCLUSIVE
    if found.high < 1 - most or found.low > 1 - least:
        return REFUTED
    return CONFIRMED if 1 - most <= found.low and found.high <= 1 - least else INCONCLUSIVE


def raised(line: MemoryLine, floor: float) -> str:
    """Whether memory has risen above the baseline's."""
    found = line.process
    if found is None or (found.low <= 1 <= found.high) or abs(math.log(found.estimate)) <= floor:
        return INCONCLUSIVE
    return CONFIRMED if found.low > 1 else REFUTED


def _memory_floor(lines: Mapping[str, MemoryLine]) -> float:
    """What the baseline's memory differs from itself; nothing where no twin was measured."""
    twin = lines[TWIN].process if TWIN in lines else None
    return noise_floor(twin) if twin is not None else 0.0


def _memory_text(policies: Policies, lines: Sequence[MemoryLine]) -> str:
    return (
        "; ".join(f"{policies.labels[line.key]} {interval_text(line.same_runtime)}" for line in lines)
        or "not measured"
    )


def _named(policies: Policies, keys: Sequence[str]) -> str:
    return ", ".join(policies.labels[key] for key in keys)


def _best(policies: Policies, found: Sequence[tuple[MeasuredCell, PolicyLine]], outcome: str) -> str:
    """The largest saving among those found, in brackets."""
    known = [
        (ratio.estimate, cell, line, ratio)
        for cell, line in found
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
    pairs: Sequence[tuple[MeasuredCell, PolicyLine]],
    outcome: str,
    parts: Mapping[str, Any],
    found: Sequence[tuple[MeasuredCell, PolicyLine]],
) -> dict[str, Any]:
    return {
        **parts,
        "outcome": outcome,
        "baseline": BASELINE,
        "left_out": policies.unlearned,
        "deciding": [f"{cell.name}: {line.key}" for cell, line in found],
        "comparisons": {
            f"{cell.name}: {line.key}": {
                "ratio": _numbers(line.effects[outcome].same_runtime),
                "control": _numbers(cell.twin(outcome)),
                "size_ratio": line.to_reference_size,
                "kept": line.kept and asdict(line.kept),
            }
            for cell, line in pairs
        },
    }


def _numbers(ratio: Ratio | None) -> dict[str, float] | None:
    return None if ratio is None else dict(vars(ratio))
