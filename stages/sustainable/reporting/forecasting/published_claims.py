"""The claims of study A: a statement, a rule over rows, and the verdict that the rule gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.forecasting.results import PRIMARY, Comparison, Results
from sustainable.reporting.measured_rows import BASELINE
from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Ratio,
    verdict_on_ratio,
    weakest,
)

QUANTIZED, CHOICE = "manual_quantization", "published_choice"
Direction = Literal["lower", "higher"]


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


@dataclass(frozen=True)
class Measured:
    """The same models measured twice: in the published way, and in randomised blocks, which decide.

    `minimum_blocks`: with fewer there is no verdict on anything measured.
    """

    published: Results
    remeasured: Results
    minimum_blocks: int


def judge(
    measured: Measured, actions: pd.DataFrame, best: Mapping[str, Any], published: Mapping[str, Any]
) -> list[Claim]:
    """Claims A1 to A5 from the measured rows, the evaluated actions and the search's outcome."""
    said = published["claims"]
    return [
        accuracy_claim(said["A1"], measured.published),
        quantization_claim(said["A2"], measured),
        saving_claim(said["A3"], measured),
        proxy_claim(said["A4"], actions),
        discovery_claim(said["A5"], best, int(published["best_action"])),
    ]


def accuracy_claim(statement: str, results: Results) -> Claim:
    """A1: counted on the same test windows."""
    base = results.lines[BASELINE].correct
    correct = {key: line.correct for key, line in results.lines.items()}
    changed = {key: count for key, count in correct.items() if count != base}
    models = len({line.weights_sha256 for line in results.lines.values()})
    if changed:
        counts = ", ".join(f"{key}: {count}" for key, count in changed.items())
        reason = (
            f"Of {results.windows} windows the baseline gets {base} right, others not as many ({counts})."
        )
    else:
        reason = f"All {len(correct)} configurations get {base} of {results.windows} windows right; "
        reason += f"they are {models} different models."
    return Claim(
        id="A1",
        statement=statement,
        rule="every configuration classifies as many test windows correctly as the baseline",
        verdict=REFUTED if changed else CONFIRMED,
        reason=reason,
        evidence="exact count",
        values={"windows": results.windows, "correct": correct, "different_models": models},
    )


def quantization_claim(statement: str, measured: Measured) -> Claim:
    """A2: needs counted energy."""
    verdict, reason = energy_verdict(measured, QUANTIZED, "higher")
    return Claim(
        id="A2",
        statement=statement,
        rule="energy ratio to the baseline above 1 in randomised blocks, its interval without 1, the effect "
        "above the A/A noise floor, the same without flagged windows; only counted energy can tell",
        verdict=verdict,
        reason=reason,
        evidence=measured.remeasured.cpu_evidence,
        values=_values(measured, QUANTIZED),
    )


def saving_claim(statement: str, measured: Measured) -> Claim:
    """A3: an energy part and a latency part; both must hold."""
    lines = measured.remeasured.lines
    energy, why = energy_verdict(measured, CHOICE, "lower")
    latency, found = ratio_verdict(measured, CHOICE, "latency_ms", "lower")
    same = [key for key, line in lines.items() if line.weights_sha256 == lines[CHOICE].weights_sha256]
    reason = f"Latency: {latency} ({found}). Energy: {energy}. {why}"
    if QUANTIZED in same:
        reason += " By hash it is the very model of manual quantization: A2 and A3 cannot both hold."
    return Claim(
        id="A3",
        statement=statement,
        rule="energy and latency ratio to the baseline below 1 in randomised blocks, each interval "
        "without 1, each effect above the A/A noise floor, the same without flagged windows; only counted "
        "energy can tell for the first",
        verdict=weakest([energy, latency]),
        reason=reason,
        evidence=f"energy: {measured.remeasured.cpu_evidence}; latency: clock",
        values=_values(measured, CHOICE) | {"energy": energy, "latency": latency, "same_model": same},
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


def energy_verdict(measured: Measured, key: str, claimed: Direction) -> tuple[str, str]:
    """Verdict on a configuration's energy, and why; modelled energy never gets one."""
    evidence = measured.remeasured.cpu_evidence
    if not carries_energy_claims(evidence):
        _, found = ratio_verdict(measured, key, PRIMARY, claimed)
        meaning = EVIDENCE.get(evidence, "mixed classes")
        return NOT_TESTABLE, f"The energy here is {evidence} ({meaning}); CPU time: {found}."
    verdict, found = ratio_verdict(measured, key, "energy_mwh", claimed)
    return verdict, f"Energy: {found}."


def ratio_verdict(measured: Measured, key: str, outcome: str, claimed: Direction) -> tuple[str, str]:
    """Verdict on a ratio in randomised blocks, and its figures. Inconclusive when there are too few
    blocks, or when leaving out the flagged windows changes what is found."""
    own, twin = (measured.remeasured.lines[key].compared[outcome], measured.remeasured.twin[outcome])
    if own.ratio is None or twin.ratio is None:
        return INCONCLUSIVE, "too few readings"
    found = f"ratio {_text(own.ratio)}, A/A control {_text(twin.ratio)}"
    if own.detectable is not None:
        found += f", smallest detectable effect {100 * own.detectable:.1f} %"
    least = measured.minimum_blocks
    if min(own.ratio.n, twin.ratio.n) < least:
        return INCONCLUSIVE, f"{found}; {least} blocks are needed, there are {own.ratio.n}"
    verdict = verdict_on_ratio(own.ratio, twin.ratio, claimed)
    if own.clean is None or twin.clean is None or min(own.clean.n, twin.clean.n) < least:
        return INCONCLUSIVE, f"{found}; fewer than {least} blocks are free of flagged windows"
    if verdict_on_ratio(own.clean, twin.clean, claimed) != verdict:
        return INCONCLUSIVE, f"{found}; without flagged windows {_text(own.clean)}, which decides otherwise"
    return verdict, found


def _values(measured: Measured, key: str) -> dict[str, Any]:
    """The figures of a claim in both ways of measuring, by outcome."""
    ways = {"published": measured.published, "remeasured": measured.remeasured}
    return {way: _figures(results, key) for way, results in ways.items()}


def _figures(results: Results, key: str) -> dict[str, Any]:
    return {
        outcome: {
            "ratio": _numbers(comparison.ratio),
            "without_flagged": _numbers(comparison.clean),
            "control": _numbers(results.twin[outcome].ratio),
            **_tests(comparison),
        }
        for outcome, comparison in results.lines[key].compared.items()
    }


def _tests(comparison: Comparison) -> dict[str, float | None]:
    names = ("p", "p_holm", "p_equivalence", "detectable")
    return {name: getattr(comparison, name) for name in names}


def _text(ratio: Ratio) -> str:
    return f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _numbers(ratio: Ratio | None) -> dict[str, float] | None:
    return None if ratio is None else dict(vars(ratio))
