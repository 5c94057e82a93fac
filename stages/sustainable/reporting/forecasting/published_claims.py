"""Claims A1 to A5: what the first source says, judged on its own benchmark and on randomised blocks."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from sustainable import statistics
from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.declaration import EXACT_COUNT, Analysis, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.results import PRIMARY, Results
from sustainable.reporting.formats import interval_text
from sustainable.reporting.measured_rows import BASELINE

QUANTIZED, PUBLISHED_CHOICE = "manual_quantization", "published_choice"
TESTS = ("p", "p_holm", "p_equivalence", "detectable")
Direction = Literal["lower", "higher"]
ACCURACY_FILES = (ROW_FILES["published"], HIT_TABLES["published"])
COST_FILES = (*ACCURACY_FILES, ROW_FILES["remeasured"], HIT_TABLES["remeasured"])


def judge_accuracy(analysis: Analysis) -> Judgement:
    """A1: hits are counted on the same test windows."""
    results = analysis.results["published"]
    base = results.lines[BASELINE].correct
    correct = {key: line.correct for key, line in results.lines.items()}
    changed = {key: count for key, count in correct.items() if count != base}
    models = len({line.weights_sha256 for line in results.lines.values()})
    right, counts = (
        f"{base} of {results.windows} windows right",
        ", ".join(f"{key}: {n}" for key, n in changed.items()),
    )
    reason = f"All {len(correct)} configurations get {right}; they are {models} different models."
    if changed:
        reason = f"The baseline gets {right}; these differ: {counts}."
    return Judgement(
        verdict=statistics.REFUTED if changed else statistics.CONFIRMED,
        reason=reason,
        evidence=EXACT_COUNT,
        values={"windows": results.windows, "correct": correct, "different_models": models},
    )


def judge_quantization(analysis: Analysis) -> Judgement:
    """A2: needs counted energy."""
    verdict, reason = energy_verdict(analysis, QUANTIZED, "higher")
    return Judgement(
        verdict, reason, _both_ways(analysis, QUANTIZED), analysis.results["remeasured"].cpu_evidence
    )


def judge_published_saving(analysis: Analysis) -> Judgement:
    """A3: an energy half and a latency half; both must hold."""
    remeasured = analysis.results["remeasured"]
    lines = remeasured.lines
    energy, why = energy_verdict(analysis, PUBLISHED_CHOICE, "lower")
    latency, figures = ratio_verdict(analysis, PUBLISHED_CHOICE, "latency_ms", "lower")
    weights = lines[PUBLISHED_CHOICE].weights_sha256
    same = [key for key, line in lines.items() if line.weights_sha256 == weights]
    reason = f"Latency: {latency} ({figures}). Energy: {energy}. {why}"
    if QUANTIZED in same:
        reason += " By hash it is the same model as manual quantization: A2 and A3 cannot both hold."
    return Judgement(
        verdict=statistics.weakest([energy, latency]),
        reason=reason,
        evidence=f"energy: {remeasured.cpu_evidence}; latency: clock",
        values=_both_ways(analysis, PUBLISHED_CHOICE)
        | {"energy": energy, "latency": latency, "same_model": same},
    )


def judge_published_proxies(analysis: Analysis) -> Judgement:
    """A4: what ptflops and parameters() report, compared with the models themselves."""
    actions = analysis.actions
    quantized, dense = actions[actions["quantization"]], actions[actions["action"] == 0].iloc[0]
    pruned = actions[~actions["quantization"] & (actions["pruning"] > 0)]
    proxies = ["proxy_parameters", "proxy_flops"]
    zero = bool((quantized[proxies] == 0).to_numpy().all())
    unchanged = bool((pruned[proxies] == dense[proxies].to_numpy()).to_numpy().all())
    same_weights = int((pruned["weights_sha256"] == dense["weights_sha256"]).sum())
    reported = "0" if zero else f"up to {int(quantized[proxies].to_numpy().max())}"
    reason = (
        f"The proxies report {reported} for quantized models that hold "
        f"{int(quantized['parameters'].iloc[0])} parameters; {same_weights} of {len(pruned)} pruned models "
        "have the same weights as the baseline."
    )
    return Judgement(
        verdict=statistics.CONFIRMED if zero and unchanged else statistics.REFUTED,
        reason=reason,
        evidence=EXACT_COUNT,
        values={
            "quantized_all_zero": zero,
            "pruned_all_dense": unchanged,
            "pruned_with_baseline_weights": same_weights,
            "dense_parameters": int(dense["proxy_parameters"]),
            "dense_flops": int(dense["proxy_flops"]),
        },
    )


def judge_discovery(analysis: Analysis) -> Judgement:
    """A5: an action is discovered only if no other action has the same reward."""
    best, published = analysis.best_action, analysis.published_action
    ties = list(best["actions_sharing_best_reward"])
    seen, policy = best["best_seen"]["action"], best["policy"]["action"]
    discovered = ties == [published] and seen == published
    reason = f"The search first saw its best reward at action {seen}; the trained policy picks {policy}. "
    shared = f"{len(ties)} of {best['actions']} actions share that reward: the choice among them is chance."
    reason += shared if len(ties) > 1 else f"Only action {ties[0]} has the best reward."
    return Judgement(
        verdict=statistics.CONFIRMED if discovered else statistics.REFUTED,
        reason=reason,
        evidence=EXACT_COUNT,
        values={"best_seen": seen, "policy": policy, "ties": ties, "actions": best["actions"]},
    )


_declared = partial(Declaration, source="study_a")
PUBLISHED_CLAIMS = (
    _declared(
        id="A1",
        rule="every configuration classifies as many test windows correctly as the baseline",
        judge=judge_accuracy,
        decided_by=ACCURACY_FILES,
        needs=("exact counts",),
    ),
    _declared(
        id="A2",
        rule="in randomised blocks, the energy ratio to the baseline is above 1: its interval excludes 1, "
        "the effect exceeds the A/A noise floor, and both hold without flagged windows; decided only on "
        "counted energy",
        judge=judge_quantization,
        decided_by=COST_FILES,
        needs=("energy counter",),
    ),
    _declared(
        id="A3",
        rule="in randomised blocks, the energy ratio and the latency ratio to the baseline are below 1: each "
        "interval excludes 1, each effect exceeds the A/A noise floor, and both hold without flagged "
        "windows; the energy half is decided only on counted energy",
        judge=judge_published_saving,
        decided_by=COST_FILES,
        needs=("latency", "energy counter"),
    ),
    _declared(
        id="A4",
        rule="both proxies are 0 for every quantized action, and the dense model's figures for every pruned "
        "one",
        judge=judge_published_proxies,
        decided_by=("data/search/published/actions.csv",),
        needs=("exact counts",),
    ),
    _declared(
        id="A5",
        rule="only action {published_action:g} has the best reward, and the search found it",
        judge=judge_discovery,
        decided_by=("data/search/published/best_action.json",),
        needs=("exact counts",),
    ),
)


def energy_verdict(analysis: Analysis, key: str, claimed: Direction) -> tuple[str, str]:
    """Verdict on a configuration's energy, and the reason. Modelled energy never gets a verdict."""
    evidence = analysis.results["remeasured"].cpu_evidence
    if not carries_energy_claims(evidence):
        _, figures = ratio_verdict(analysis, key, PRIMARY, claimed)
        meaning = EVIDENCE.get(evidence, "mixed classes")
        return statistics.NOT_TESTABLE, f"The energy here is {evidence} ({meaning}); CPU time: {figures}."
    verdict, figures = ratio_verdict(analysis, key, "energy_mwh", claimed)
    return verdict, f"Energy: {figures}."


def ratio_verdict(analysis: Analysis, key: str, outcome: str, claimed: Direction) -> tuple[str, str]:
    """Verdict on a ratio in randomised blocks, and its figures.

    Inconclusive if there are too few blocks, or if the verdict changes without the flagged windows.
    """
    remeasured, least = analysis.results["remeasured"], analysis.parameters.minimum_blocks
    undecided = statistics.INCONCLUSIVE
    compared, twin = remeasured.lines[key].compared[outcome], remeasured.twin[outcome]
    if compared.ratio is None or twin.ratio is None:
        return undecided, "too few readings"
    figures = f"ratio {interval_text(compared.ratio)}, A/A control {interval_text(twin.ratio)}"
    if compared.detectable is not None:
        figures += f", smallest detectable effect {100 * compared.detectable:.1f} %"
    if min(compared.ratio.n, twin.ratio.n) < least:
        return undecided, f"{figures}; {compared.ratio.n} blocks were measured, {least} are needed"
    verdict = statistics.verdict_on_ratio(compared.ratio, twin.ratio, claimed)
    if compared.clean is None or twin.clean is None or min(compared.clean.n, twin.clean.n) < least:
        return undecided, f"{figures}; fewer than {least} blocks are free of flagged windows"
    if statistics.verdict_on_ratio(compared.clean, twin.clean, claimed) != verdict:
        clean = interval_text(compared.clean)
        return undecided, f"{figures}; without flagged windows {clean}, another verdict"
    return verdict, figures


def _both_ways(analysis: Analysis, key: str) -> dict[str, Any]:
    """The figures of a configuration as published and remeasured, by outcome."""
    return {way: _figures(analysis.results[way], key) for way in ("published", "remeasured")}


def _figures(results: Results, key: str) -> dict[str, Any]:
    return {
        outcome: {
            "ratio": _asdict(comparison.ratio),
            "without_flagged": _asdict(comparison.clean),
            "control": _asdict(results.twin[outcome].ratio),
            **{name: getattr(comparison, name) for name in TESTS},
        }
        for outcome, comparison in results.lines[key].compared.items()
    }


def _asdict(ratio: statistics.Ratio | None) -> Mapping[str, float] | None:
    return None if ratio is None else asdict(ratio)
