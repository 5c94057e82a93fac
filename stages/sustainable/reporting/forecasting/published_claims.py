"""Claims A1 to A5: what the first source says, judged on its own benchmark and on randomised blocks."""

from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np

from sustainable.energy.meter import EVIDENCE, carries_energy_claims
from sustainable.reporting.declaration import EXACT_COUNT, Analysis, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.results import PRIMARY, Results, accuracy_difference
from sustainable.reporting.formats import declared_percent, fixed, interval_text, p_value, percent, share_text
from sustainable.reporting.judging import same_both_ways, verdict_if
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.names import forecaster_name
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.sizes import verdict_on_effect
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.statistics import verdict_on_ratio, weakest

QUANTIZED, PUBLISHED_CHOICE, AGENT = "manual_quantization", "published_choice", "agent_optimized"
DIRECTION = (
    "direction: it is {0} 1, which Student's interval excludes, the effect exceeds the A/A noise floor, and "
    "both hold without flagged windows"
)
SIZE = (
    "size: in logarithms, the whole interval, widened by the noise floor, lies within the published effect "
    "plus or minus {size_error:g} of it; refuted if the whole lies outside; a verdict that changes without "
    "flagged windows is inconclusive"
)
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
    kept = weakest(verdict_if(one.low > -margin, one.high < -margin) for one in differences.values())
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
        f"no loss above {declared_percent(margin)}": kept,
        "identical": REFUTED if differences else CONFIRMED,
    }
    values = {"windows": results.windows, "correct": correct, "different_models": models, "flipped": places}
    values["mcnemar_p"] = {key: difference.p for key, difference in differences.items()}
    return Judgement(weakest(parts.values()), reason, values, evidence=EXACT_COUNT, parts=parts)


def judge_quantization(analysis: Analysis) -> Judgement:
    """A2: needs counted energy."""
    parts, reason = energy_parts(analysis, QUANTIZED, "higher", QUANTIZED)
    evidence = analysis.results["remeasured"].cpu_evidence
    return Judgement(
        weakest(parts.values()), reason, _both_ways(analysis, QUANTIZED), evidence=evidence, parts=parts
    )


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
    parameters, by_chance = analysis.parameters, 1 / len(found.tied)
    share, bound = found.published_share(parameters.confidence), parameters.published.discovery_factor
    oftener = verdict_if(alone or share.low > by_chance, share.high < bound * by_chance)
    learned = 2 * found.before_updates < found.searches
    reason = (
        f"{len(found.tied)} of {best['actions']} actions share the best reward. Of {found.searches} "
        f"searches, {found.published_wins} report action {analysis.published_action}: {share_text(share)}, "
        f"by chance among the tied {percent(by_chance)} (p {p_value(found.published_p)}); all actions "
        f"against the uniform distribution: p {p_value(found.uniform_p)}. {found.before_updates} searches "
        f"sampled their action before the first update of the policy, the latest at step {found.last_step}. "
        f"The search with the published seed reports action {seen['action']}, sampled at step "
        f"{seen['first_sampled_at_step']}; its trained policy picks {policy}."
    )
    parts = {
        "more often than chance": oftener,
        "after learning": CONFIRMED if learned else REFUTED,
    }
    values = asdict(found) | {"best_seen": seen["action"], "policy": policy, "actions": best["actions"]}
    values["share"] = asdict(share)
    return Judgement(weakest(parts.values()), reason, values, evidence=EXACT_COUNT, parts=parts)


_declared = partial(Declaration, source="study_a")
PUBLISHED_CLAIMS = (
    _declared(
        id="A1",
        rule="identical: every configuration gets the same test windows right as the baseline; no loss: the "
        "{confidence_percent:g} % interval of every difference lies above -{accuracy_margin:g}, refuted if "
        "one lies wholly below; McNemar's exact test is printed beside them",
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
        rule="more often than chance: over repeated searches, Wilson's {confidence_percent:g} % interval of "
        "the share that report action {published_action:g} lies above its chance among the actions that "
        "share the best reward, or no other action has that reward; otherwise refuted if the interval lies "
        "wholly below {discovery_factor:g} times that chance; the exact binomial test is printed beside it; "
        "after learning: more than half of the searches sampled their action after an update of the policy, "
        "otherwise refuted",
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
    judged, figures = judge_ratio(results, key, outcome, claimed, size, parameters)
    return judged, f"{figures} (published {fixed(size, 3)})"


def judge_ratio(
    results: Results, key: str, outcome: str, claimed: Direction, size: float, parameters: ReportParameters
) -> tuple[dict[str, str], str]:
    """Judge direction and size of a ratio to the baseline, and give its figures.

    Inconclusive if there are too few blocks, or if a verdict changes without the flagged windows.
    """
    compared, twin = results.lines[key].compared[outcome], results.twin[outcome]
    least, error = parameters.minimum_blocks, parameters.published.size_error
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
        {"direction": verdict_on_ratio(*pair, claimed), "size": verdict_on_effect(*pair, size, error)}
        for pair in ((compared.ratio, twin.ratio), (compared.clean, twin.clean))
    )
    judged = {name: same_both_ways(found[name], clean[name]) for name in found}
    if judged != found:
        figures += f"; without flagged windows {interval_text(compared.clean)}, another verdict"
    return judged, figures


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
