"""Claims B1 to B4: what the second source says, judged on whole episodes and fresh processes.

Modelled energy restates CPU time, so a claim about energy is then decided on CPU time, and its reason says
that energy itself cannot be tested. Policies that have not learned are named and left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.declaration import ROW_FILES, Analysis, Declaration, Judgement
from sustainable.reporting.formats import declared_percent, interval_text
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.reporting.parameters import PoliciesParameters, ReportParameters
from sustainable.reporting.policies.costs import MeasuredCell, MemoryLine, PolicyLine
from sustainable.reporting.policies.notebook import judge_notebook
from sustainable.reporting.policies.returns import PRUNERS, QUANTIZERS
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import Ratio, noise_floor, verdict_on_ratio, weakest

Pairs = Sequence[tuple[MeasuredCell, PolicyLine]]
PoliciesJudge = Callable[[Policies, ReportParameters], Judgement]
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
    rule="bytes: every compressed policy is smaller than the uncompressed one; cost: refuted if a "
    "compressed policy costs less per step than the uncompressed one under the same runtime (interval "
    "over training seeds below 1, effect above the A/A noise floor, the same without flagged windows; "
    "not corrected for the number of comparisons) and keeps {kept_percent:g} % of the return by its "
    "whole interval; confirmed if every interval excludes a saving of {equivalence_percent:g} %; "
    "otherwise inconclusive",
    needs=("CPU time", "exact counts", "energy counter"),
)
def step_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """Bytes are counted; the cost of a step is compared under one runtime."""
    outcome, pairs = decided_on(policies, "step"), policies.pairs
    name, decided, evidence = basis(policies, "bytes: exact count")
    whole = sorted({line.key for _, line in pairs if line.to_reference_size >= 1})
    saved = certain(pairs, outcome, "lower", parameters)
    keeping = [(cell, line) for cell, line in saved if keeps(line)]
    excluded = [pair for pair in pairs if excludes_saving(*pair, outcome, parameters)]
    size = INCONCLUSIVE if not pairs else (REFUTED if whole else CONFIRMED)
    cost = REFUTED if keeping else (CONFIRMED if pairs and len(excluded) == len(pairs) else INCONCLUSIVE)
    larger = f" (not smaller: {', '.join(policies.labels[key] for key in whole)})" if whole else ""
    return Judgement(
        weakest([size, cost]),
        f"{decided} Bytes: {size}{larger}. {name} of a step: {cost}; {len(saved)} of {len(pairs)} "
        f"comparisons show a saving, {len(keeping)} of them with the return kept"
        f"{_best(policies, keeping, outcome)}.{left_out(policies)}",
        _values(policies, outcome, {"bytes": size, "cost": cost}, keeping),
        evidence,
    )


@on_windows(
    "B2",
    rule="the cost of an episode falls if its ratio to the uncompressed policy under the same runtime "
    "lies below 1 (as in B1); refuted if it falls for a policy that keeps {kept_percent:g} % of the "
    "return by its whole interval; confirmed if every policy for which it falls has lost that return and "
    "ends its episodes sooner, each by its whole interval",
    needs=("CPU time", "exact counts", "energy counter"),
)
def episode_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """Whether an episode costs less for any reason other than its early end."""
    outcome, pairs = decided_on(policies, "episode"), policies.pairs
    name, decided, evidence = basis(policies, "returns and steps: exact count")
    fallen = certain(pairs, outcome, "lower", parameters)
    against = [(cell, line) for cell, line in fallen if keeps(line)]
    shorter = sum(collapsed(line) and ends_sooner(line) for _, line in fallen)
    unexplained = sum(not ends_sooner(line) and not keeps(line) for _, line in fallen)
    never = sum(not cell.ends_early for cell, _ in fallen)
    verdict = REFUTED if against else INCONCLUSIVE
    return Judgement(
        CONFIRMED if fallen and shorter == len(fallen) else verdict,
        f"{decided} {name} of an episode falls in {len(fallen)} of "
        f"{len(pairs)} comparisons: {shorter} with the return lost and shorter episodes, "
        f"{len(against)} with the return kept{_best(policies, against, outcome)}, "
        f"{unexplained} with the return lost or in doubt, but without shorter episodes; {never} in "
        f"environments whose episodes never end early.{left_out(policies)}",
        _values(policies, outcome, {"fallen": len(fallen), "shorter": shorter}, against),
        evidence,
    )


@declare(
    "B3",
    rule="resident memory of a fresh process divided by that of the uncompressed policy under the same "
    "runtime, intervals over processes; an interval wider than {memory_percent:g} % decides nothing; "
    "quantization: refuted if an interval lies below 1 beyond the A/A control, confirmed if all exclude "
    "a fall of {memory_percent:g} %; pruning: confirmed if all lie within a fall of "
    "{least_fall_percent:g} to {most_fall_percent:g} %, refuted if one lies outside",
    decided_by=(ROW_FILES["memory"],),
    needs=("resident memory of processes",),
    cut=MEMORY_ONLY,
)
def memory_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """Resident memory of fresh processes."""
    lines, declared = policies.memory, parameters.policies
    floor, change = _memory_floor(lines), declared_percent(declared.memory_change)
    quantized = [line for line in lines.values() if line.method in QUANTIZERS]
    pruned = [line for line in lines.values() if line.method in PRUNERS]
    first = _all_of([not_lowered(line, floor, declared) for line in quantized])
    second = _all_of([lowered_as_claimed(line, declared) for line in pruned])
    described = {key: asdict(line) for key, line in lines.items()}
    return Judgement(
        weakest([first, second]),
        f"Quantization does not lower it: {first} ({_memory_text(policies, quantized)}). "
        f"Pruning lowers it by about {change}: {second} ({_memory_text(policies, pruned)}).",
        {"quantization": first, "pruning": second, "lines": described},
        "resident memory: operating system's count",
    )


@declare(
    "B4",
    rule="time: the CPU time per call of PTDQ and PTSQ divided by that of the fp32 policy in eager "
    "torch, meter off, is above 1 for every learned policy (as in B1); memory: resident memory of a "
    "fresh process divided by the baseline's lies above 1 beyond the A/A control; refuted if one lies "
    "below",
    decided_by=(ROW_FILES["policies"], ROW_FILES["memory"]),
    also_reads=READ_FOR_RETURNS,
    needs=("CPU time", "exact counts", "resident memory of processes"),
)
def overhead_claim(policies: Policies, parameters: ReportParameters) -> Judgement:
    """What the library's own int8 modules cost per call, and per process."""
    pairs = [(cell, line) for cell, line in policies.pairs if line.key in LIBRARY]
    verdicts = [compared(*pair, "policy", "higher", parameters) for pair in pairs]
    lines = [policies.memory[key] for key in LIBRARY if key in policies.memory]
    floor = _memory_floor(policies.memory)
    time, memory = _all_of(verdicts), _all_of([raised(line, floor) for line in lines])
    calls = {f"{cell.name}: {line.key}": line.effects["policy"].same_runtime for cell, line in pairs}
    known = [ratio.estimate for ratio in calls.values() if ratio is not None]
    span = f", ratios {min(known):.2f} to {max(known):.2f}" if known else ""
    return Judgement(
        weakest([time, memory]),
        f"Time per call: {time}; higher in {verdicts.count(CONFIRMED)} of {len(pairs)} comparisons{span}. "
        f"Memory: {memory} ({_memory_text(policies, lines)}).{left_out(policies)}",
        {
            "time": time,
            "memory": memory,
            "calls": {name: ratio and asdict(ratio) for name, ratio in calls.items()},
        },
        "time: clock, meter off; resident memory: operating system's count",
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
    return Judgement(*judge_notebook(policies.notebook))


POLICY_CLAIMS = (step_claim, episode_claim, memory_claim, overhead_claim, notebook_claim)


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
    return "CPU time", decided, f"CPU time: clock; energy: {evidence}, {NOT_TESTABLE}; {also}"


def left_out(policies: Policies) -> str:
    """The policies that have not learned, by name."""
    names = policies.unlearned
    return f" Not learned and left out: {', '.join(names)}." if names else ""


def compared(
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
    """The pairs whose outcome is certainly "lower" or "higher", see `compared`."""
    return [pair for pair in pairs if compared(*pair, outcome, claimed, parameters) == CONFIRMED]


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


def _best(policies: Policies, savings: Pairs, outcome: str) -> str:
    """The largest of some savings, in brackets."""
    ratios = [(line.effects[outcome].same_runtime, cell, line) for cell, line in savings]
    known = [(ratio, cell, line) for ratio, cell, line in ratios if ratio is not None]
    if not known:
        return ""
    ratio, cell, line = min(known, key=lambda saving: saving[0].estimate)
    kept = f"{line.kept.estimate:.2f}" if line.kept is not None else "unknown"
    return (
        f" (the largest: {policies.labels[line.key]} in {cell.name}, ratio {interval_text(ratio)}, A/A "
        f"control {interval_text(cell.twin(outcome))}, normalised return {kept})"
    )


def _all_of(verdicts: Sequence[str]) -> str:
    """The verdict on all of some parts; inconclusive if there are none."""
    return weakest(verdicts) if verdicts else INCONCLUSIVE


def _values(policies: Policies, outcome: str, parts: Mapping[str, Any], deciding: Pairs) -> dict[str, Any]:
    return {
        **parts,
        "outcome": outcome,
        "baseline": BASELINE,
        "left_out": policies.unlearned,
        "deciding": [f"{cell.name}: {line.key}" for cell, line in deciding],
        "comparisons": {
            f"{cell.name}: {line.key}": _comparison(cell.twin(outcome), line, outcome)
            for cell, line in policies.pairs
        },
    }


def _comparison(twin: Ratio | None, line: PolicyLine, outcome: str) -> dict[str, Any]:
    ratio = line.effects[outcome].same_runtime
    return {
        "ratio": ratio and asdict(ratio),
        "control": twin and asdict(twin),
        "size_ratio": line.to_reference_size,
        "kept": line.kept and asdict(line.kept),
    }
