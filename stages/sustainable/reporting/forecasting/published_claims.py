"""Claims A1 to A5: what the first source says, judged on its own benchmark and on randomised blocks."""

from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.declaration import EXACT_COUNT, Analysis, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.discovery import CHANCE
from sustainable.reporting.forecasting.results import PRIMARY, Results, accuracy_difference
from sustainable.reporting.formats import declared_percent, fixed, interval_text, p_value, percent
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.names import forecaster_name
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import verdict_on_ratio, verdict_on_size, weakest

QUANTIZED, PUBLISHED_CHOICE, AGENT = "manual_quantization", "published_choice", "agent_optimized"
DIRECTION = (
    "direction: it is {0} 1, which Student's interval excludes, the effect exceeds the A/A noise floor, and "
    "both hold without flagged windows"
)
SIZE = "size: the published ratio lies within the interval widened by the noise floor, and 1 outside"
INT8_KERNELS = "what int8 saves depends on the CPU's instructions for it"
TESTS = ("p", "p_holm", "p_equivalence", "detectable")
Direction = Literal["lower", "higher"]
ACCURACY_FILES = (ROW_FILES["published"], HIT_TABLES["published"])
COST_FILES = (*ACCURACY_FILES, ROW_FILES["remeasured"], HIT_TABLES["remeasured"])


def judge_accuracy(analysis: Analysis) -> Judgement:
    """A1: hits are counted on the same test windows; a test of the difference is printed beside the count."""
    results = analysis.results["published"]
    base, margin = results.lines[BASELINE], analysis.parameters.audited.accuracy_margin
    correct = {key: line.correct for key, line in results.lines.items()}
    differences = {
        key: accuracy_difference(line.hits, base.hits, analysis.parameters)
        for key, line in results.lines.items()
        if (line.hits != base.hits).any()
    }
    flipped = [line.hits != base.hits for line in results.lines.values()]
    places = results.first_days[np.logical_or.reduce(flipped)].tolist()
    kept = all(difference.low > -margin for difference in differences.values())
    counts = ", ".join(
        f"{forecaster_name(key)}: {correct[key]} (McNemar p {p_value(differences[key].p)})"
        for key in differences
    )
    models = len({line.weights_sha256 for line in results.lines.values()})
    reason = f"The baseline gets {base.correct} of {results.windows} windows right. "
    reason += f"These differ: {counts}. " if counts else "No configuration differs. "
    reason += f"{len(places)} of {results.windows} windows flip: those that begin at rows "
    reason += (
        f"{', '.join(map(str, places))} of the data." if places else f"There are {models} different models."
    )
    parts = {
        f"no loss above {declared_percent(margin)}": CONFIRMED if kept else INCONCLUSIVE,
        "identical": REFUTED if differences else CONFIRMED,
    }
    values = {"windows": results.windows, "correct": correct, "different_models": models, "flipped": places}
    values["mcnemar_p"] = {key: difference.p for key, difference in differences.items()}
    return Judgement(weakest(parts.values()), reason, values, EXACT_COUNT, parts)


def judge_quantization(analysis: Analysis) -> Judgement:
    """A2: needs counted energy."""
    parts, reason = energy_parts(analysis, QUANTIZED, "higher", QUANTIZED)
    evidence = analysis.results["remeasured"].cpu_evidence
    return Judgement(weakest(parts.values()), reason, _both_ways(analysis, QUANTIZED), evidence, parts)


def judge_published_saving(analysis: Analysis) -> Judgement:
    """A3: an energy half and a latency half, each with its direction and its size; all must hold."""
    remeasured = analysis.results["remeasured"]
    lines = remeasured.lines
    energy, why = energy_parts(analysis, PUBLISHED_CHOICE, "lower", AGENT)
    claimed = analysis.source.claimed(AGENT, "latency_ms")
    latency, figures = ratio_parts(analysis, PUBLISHED_CHOICE, "latency_ms", "lower", claimed)
    weights = lines[PUBLISHED_CHOICE].weights_sha256
    same = [key for key, line in lines.items() if line.weights_sha256 == weights]
    reason = f"Latency: {figures}. {why}"
    if QUANTIZED in same:
        reason += " By hash it is the same model as manual quantization: A2 and A3 cannot both hold."
    parts = {f"latency, {name}": verdict for name, verdict in latency.items()}
    parts |= {f"energy, {name}": verdict for name, verdict in energy.items()}
    return Judgement(
        verdict=weakest(parts.values()),
        reason=reason,
        evidence=f"energy: {remeasured.cpu_evidence}; latency: clock",
        values=_both_ways(analysis, PUBLISHED_CHOICE) | {"same_model": same, "claimed_latency": claimed},
        parts=parts,
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
        verdict=CONFIRMED if zero and unchanged else REFUTED,
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
    """A5: over many seeds, is the published action reported more often than chance, and after learning?"""
    found, best = analysis.discovery, analysis.best_action
    seen, policy = best["best_seen"], best["policy"]["action"]
    alone = list(found.tied) == [analysis.published_action]
    oftener = found.published_p < CHANCE or alone
    learned = 2 * found.before_updates < found.searches
    reason = (
        f"{len(found.tied)} of {best['actions']} actions share the best reward. Of {found.searches} "
        f"searches, {found.published_wins} report action {analysis.published_action} (chance among the "
        f"tied: {found.by_chance:.1f}; p {p_value(found.published_p)}); all actions against the uniform "
        f"distribution: p {p_value(found.uniform_p)}. {found.before_updates} searches sampled their action "
        f"before the first update of the policy, the latest at step {found.last_step}. The search with the "
        f"published seed reports action {seen['action']}, sampled at step "
        f"{seen['first_sampled_at_step']}; its trained policy picks {policy}."
    )
    parts = {
        "more often than chance": CONFIRMED if oftener else REFUTED,
        "after learning": CONFIRMED if learned else REFUTED,
    }
    values = asdict(found) | {"best_seen": seen["action"], "policy": policy, "actions": best["actions"]}
    return Judgement(weakest(parts.values()), reason, values, EXACT_COUNT, parts)


_declared = partial(Declaration, source="study_a")
PUBLISHED_CLAIMS = (
    _declared(
        id="A1",
        rule="identical: every configuration classifies as many test windows correctly as the baseline; no "
        "loss: the {confidence_percent:g} % interval of every difference lies above -{accuracy_margin:g}; "
        "McNemar's exact test is printed beside them",
        judge=judge_accuracy,
        decided_by=ACCURACY_FILES,
        needs=("exact counts",),
    ),
    _declared(
        id="A2",
        rule=f"in randomised blocks, of the energy ratio to the baseline: {DIRECTION.format('above')}; {SIZE}"
        "; both are decided only on counted energy",
        judge=judge_quantization,
        decided_by=COST_FILES,
        needs=("energy counter",),
        host_dependent=INT8_KERNELS,
    ),
    _declared(
        id="A3",
        rule="in randomised blocks, of the energy ratio and the latency ratio to the baseline: "
        f"{DIRECTION.format('below')}; {SIZE}; energy is decided only if it is counted",
        judge=judge_published_saving,
        decided_by=COST_FILES,
        needs=("latency", "energy counter"),
        host_dependent=INT8_KERNELS,
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
        rule="more often than chance: over repeated searches, action {published_action:g} is the first "
        "maximum more often than by chance among the actions that share the best reward (exact binomial "
        "test, one-sided, p below {chance:g}), or no other action has that reward; after learning: more "
        "than half of the searches sampled their action after an update of the policy",
        judge=judge_discovery,
        decided_by=("data/search/published/best_action.json", "data/search/published/discovery.csv"),
        needs=("exact counts",),
    ),
)


def energy_parts(
    analysis: Analysis, key: str, claimed: Direction, published: str
) -> tuple[dict[str, str], str]:
    """Verdicts on a configuration's energy, and the reason. Modelled energy never gets a verdict.

    `published` is the source's configuration that the claim is about.
    """
    evidence = analysis.results["remeasured"].cpu_evidence
    size = analysis.source.claimed(published, "energy_uwh")
    if not carries_energy_claims(evidence):
        _, figures = ratio_parts(analysis, key, PRIMARY, claimed, size)
        meaning = EVIDENCE.get(evidence, "mixed classes")
        reason = f"The energy here is {evidence} ({meaning}); CPU time: {figures}."
        return dict.fromkeys(("direction", "size"), NOT_TESTABLE), reason
    parts, figures = ratio_parts(analysis, key, "energy_mwh", claimed, size)
    return parts, f"Energy: {figures}."


def ratio_parts(
    analysis: Analysis, key: str, outcome: str, claimed: Direction, size: float
) -> tuple[dict[str, str], str]:
    """Verdicts on the direction and the size of a ratio in randomised blocks, and its figures."""
    results, parameters = analysis.results["remeasured"], analysis.parameters
    judged, figures = judge_ratio(results, key, outcome, claimed, size, parameters.minimum_blocks)
    return judged, f"{figures} (published {fixed(size, 3)})"


def judge_ratio(
    results: Results, key: str, outcome: str, claimed: Direction, size: float, least: int
) -> tuple[dict[str, str], str]:
    """Judge direction and size of a ratio to the baseline, with at least so many blocks; give its figures.

    Inconclusive if there are too few blocks, or if a verdict changes without the flagged windows.
    """
    compared, twin = results.lines[key].compared[outcome], results.twin[outcome]
    undecided = dict.fromkeys(("direction", "size"), INCONCLUSIVE)
    if compared.ratio is None or twin.ratio is None:
        return undecided, "too few readings"
    figures = f"ratio {interval_text(compared.ratio)}, A/A control {interval_text(twin.ratio)}"
    if compared.detectable is not None:
        figures += f", smallest detectable effect {percent(compared.detectable)}"
    if min(compared.ratio.n, twin.ratio.n) < least:
        return undecided, f"{figures}; {compared.ratio.n} blocks were measured, {least} are needed"
    if compared.clean is None or twin.clean is None or min(compared.clean.n, twin.clean.n) < least:
        return undecided, f"{figures}; fewer than {least} blocks are free of flagged windows"
    found, clean = (
        {"direction": verdict_on_ratio(*pair, claimed), "size": verdict_on_size(*pair, size)}
        for pair in ((compared.ratio, twin.ratio), (compared.clean, twin.clean))
    )
    turned = [name for name in found if found[name] != clean[name]]
    if turned:
        figures += f"; without flagged windows {interval_text(compared.clean)}, another verdict"
    return found | dict.fromkeys(turned, INCONCLUSIVE), figures


def _both_ways(analysis: Analysis, key: str) -> dict[str, Any]:
    """The figures of a configuration as published and remeasured, by outcome."""
    return {way: _figures(analysis.results[way], key) for way in ("published", "remeasured")}


def _figures(results: Results, key: str) -> dict[str, Any]:
    twin = {outcome: comparison.ratio for outcome, comparison in results.twin.items()}
    return {
        outcome: {
            "ratio": comparison.ratio and asdict(comparison.ratio),
            "bootstrap": comparison.bootstrap and asdict(comparison.bootstrap),
            "without_flagged": comparison.clean and asdict(comparison.clean),
            "control": (control := twin[outcome]) and asdict(control),
            **{name: getattr(comparison, name) for name in TESTS},
        }
        for outcome, comparison in results.lines[key].compared.items()
    }
