"""The claims of study A: a statement, a rule over rows, and the verdict that the rule gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sustainable.energy.meter import COUNTER, EVIDENCE
from sustainable.reporting.results import BASELINE, Results
from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Ratio,
    verdict_on_ratio,
    weakest,
)

AGENT, PRUNED, QUANTIZED, CHOICE = (
    "agent_optimized", "manual_pruning", "manual_quantization", "published_choice",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One claim as it is written to claims.json. `evidence` is the class of what it rests on."""

    id: str
    statement: str
    rule: str
    verdict: str
    reason: str
    evidence: str
    values: Mapping[str, Any] = field(default_factory=dict)


def judge(
    results: Results, actions: pd.DataFrame, best: Mapping[str, Any], published: Mapping[str, Any]
) -> list[Claim]:
    """Claims A1 to A5 from the measured rows, the evaluated actions and the search's outcome."""
    said = published["claims"]
    return [
        accuracy_claim(said["A1"], results),
        quantization_claim(said["A2"], results),
        saving_claim(said["A3"], results),
        proxy_claim(said["A4"], actions),
        discovery_claim(said["A5"], best, int(published["best_action"])),
    ]


def accuracy_claim(statement: str, results: Results) -> Claim:
    """A1: counted on the same test windows."""
    base = results.lines[BASELINE].correct
    changed = [line.key for line in results.lines.values() if line.correct != base]
    models = {line.weights_sha256 for line in results.lines.values()}
    windows = results.lines[BASELINE].windows
    if changed:
        counts = ", ".join(f"{key}: {results.lines[key].correct[0]}" for key in changed)
        reason = f"Of {windows} windows the baseline gets {base[0]} right, others not as many ({counts})."
    else:
        reason = f"All {len(results.lines)} configurations get {base[0]} of {windows} windows right"
        reason += f"; they are {len(models)} different models."
    return Claim(
        id="A1",
        statement=statement,
        rule="every configuration classifies as many test windows correctly as the baseline, in every run",
        verdict=REFUTED if changed else CONFIRMED,
        reason=reason,
        evidence="exact count",
        values={
            "windows": windows,
            "correct": {key: line.correct[0] for key, line in results.lines.items()},
            "different_models": len(models),
        },
    )


def quantization_claim(statement: str, results: Results) -> Claim:
    """A2: needs counted energy."""
    verdict, reason = _energy_verdict(results, QUANTIZED, "higher")
    return Claim(
        id="A2",
        statement=statement,
        rule="energy ratio to the baseline above 1, its interval without 1, the effect above the A/A noise "
        "floor; only counted energy can tell",
        verdict=verdict,
        reason=reason,
        evidence=results.cpu_evidence,
        values=_ratio_values(results, QUANTIZED),
    )


def saving_claim(statement: str, results: Results) -> Claim:
    """A3: an energy part and a latency part; both must hold."""
    line = results.lines[CHOICE]
    energy, reason = _energy_verdict(results, CHOICE, "lower")
    latency, found = _ratio_verdict(results, CHOICE, "latency_ms", "lower")
    reason = f"Latency: {latency} ({found}). Energy: {energy}. {reason}"
    twin_of = [other.key for other in results.lines.values() if other.weights_sha256 == line.weights_sha256]
    if QUANTIZED in twin_of:
        reason += " By hash it is the very model of manual quantization: A2 and A3 cannot both hold."
    return Claim(
        id="A3",
        statement=statement,
        rule="energy and latency ratio to the baseline below 1, each interval without 1, each effect above "
        "the A/A noise floor; only counted energy can tell for the first",
        verdict=weakest([energy, latency]),
        reason=reason,
        evidence=f"energy: {results.cpu_evidence}; latency: clock",
        values=_ratio_values(results, CHOICE) | {"energy": energy, "latency": latency, "same_model": twin_of},
    )


def proxy_claim(statement: str, actions: pd.DataFrame) -> Claim:
    """A4: what ptflops and parameters() report, beside what is there."""
    quantized, dense = actions[actions["quantization"]], actions[actions["action"] == 0].iloc[0]
    pruned = actions[~actions["quantization"] & (actions["pruning"] > 0)]
    proxies = ["proxy_parameters", "proxy_flops"]
    zero = bool((quantized[proxies] == 0).to_numpy().all())
    unchanged = bool((pruned[proxies] == dense[proxies].to_numpy()).to_numpy().all())
    same_weights = int((pruned["weights_sha256"] == dense["weights_sha256"]).sum())
    found = "0" if zero else f"up to {int(quantized[proxies].to_numpy().max())}"
    reason = (
        f"The proxies report {found} for quantized models that hold {int(quantized['parameters'].iloc[0])} "
        f"parameters; of {len(pruned)} pruned models {same_weights} have the baseline's very weights."
    )
    return Claim(
        id="A4",
        statement=statement,
        rule="both proxies are 0 for every quantized action and the dense figures for every pruned one",
        verdict=CONFIRMED if zero and unchanged else REFUTED,
        reason=reason,
        evidence="exact count",
        values={
            "quantized_all_zero": zero,
            "pruned_all_dense": unchanged,
            "pruned_with_baseline_weights": same_weights,
            "dense_parameters": int(dense["proxy_parameters"]),
            "dense_flops": int(dense["proxy_flops"]),
        },
    )


def discovery_claim(statement: str, best: Mapping[str, Any], published_action: int) -> Claim:
    """A5: a discovery is a best action that is the only best one."""
    ties = list(best["actions_sharing_best_reward"])
    seen, policy = best["best_seen"]["action"], best["policy"]["action"]
    discovered = ties == [published_action] and seen == published_action
    reason = f"The search saw its best reward first at action {seen}; the trained policy picks {policy}. "
    if len(ties) > 1:
        reason += (
            f"{len(ties)} of {best['actions']} actions share that reward: choosing among them is chance."
        )
    else:
        reason += f"Action {ties[0]} alone has the best reward."
    return Claim(
        id="A5",
        statement=statement,
        rule=f"action {published_action} alone has the best reward, and the search found it",
        verdict=CONFIRMED if discovered else REFUTED,
        reason=reason,
        evidence="exact count",
        values={"best_seen": seen, "policy": policy, "ties": ties, "actions": best["actions"]},
    )


def _energy_verdict(results: Results, key: str, claimed: Any) -> tuple[str, str]:
    if results.cpu_evidence != COUNTER:
        _, time = _ratio_verdict(results, key, "cpu_time_ms", claimed)
        meaning = EVIDENCE.get(results.cpu_evidence, "mixed classes")
        return NOT_TESTABLE, f"The energy here is {results.cpu_evidence} ({meaning}); CPU time: {time}."
    verdict, found = _ratio_verdict(results, key, "energy_mwh", claimed)
    return verdict, f"Energy: {found}."


def _ratio_verdict(results: Results, key: str, outcome: str, claimed: Any) -> tuple[str, str]:
    ratio, twin = results.lines[key].ratios[outcome], results.twin[outcome]
    if ratio is None or twin is None:
        return INCONCLUSIVE, "too few readings"
    return verdict_on_ratio(ratio, twin, claimed), f"ratio {_text(ratio)}, A/A control {_text(twin)}"


def _text(ratio: Ratio) -> str:
    return f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _ratio_values(results: Results, key: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for outcome, ratio in results.lines[key].ratios.items():
        twin = results.twin[outcome]
        values[outcome] = {"ratio": _numbers(ratio), "control": _numbers(twin)}
    return values


def _numbers(ratio: Ratio | None) -> dict[str, float] | None:
    if ratio is None:
        return None
    return {"estimate": ratio.estimate, "low": ratio.low, "high": ratio.high, "n": ratio.n}
