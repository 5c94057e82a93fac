"""Claims A6 to A8: what the source's later version says of its search for zeros per layer."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from scipy import stats

from sustainable.reporting.declaration import CPU_CLOCK, EXACT_COUNT, Analysis, Declaration, Judgement
from sustainable.reporting.declaration import HIT_TABLES, ROW_FILES
from sustainable.reporting.forecasting.layerwise import AGENT, RIVALS
from sustainable.reporting.forecasting.published_claims import judge_ratio
from sustainable.reporting.forecasting.results import PRIMARY
from sustainable.reporting.formats import difference_text, interval_text, percent, share_text
from sustainable.reporting.judging import above, verdict_if
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.names import searcher_name
from sustainable.reporting.sizes import ratio_of_means, verdict_on_effect
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, weakest

SEARCH_FILES = ("data/search/layerwise/searches.csv", "data/search/layerwise/plans.csv")
PUBLISHED_PLAN = f"published_{AGENT}"
ZEROS = "zeros"
"""The agent's published plan in floating point: it differs from the baseline only by its zeros."""


def judge_sparsity(analysis: Analysis) -> Judgement:
    """A6: the agent against its rivals, over the seeds of both."""
    found, later = analysis.layerwise.answers, analysis.source.later
    confidence, margin = analysis.parameters.confidence, analysis.parameters.layerwise.accuracy_margin
    own = found[AGENT]
    claimed = later[AGENT]["sparsity"] / later[RIVALS[0]]["sparsity"]
    more, accuracy = (
        {name: welch(getattr(own, which), getattr(found[name], which), confidence) for name in RIVALS}
        for which in ("sparsities", "accuracies")
    )
    times = {name: ratio_of_means(own.sparsities, found[name].sparsities, confidence) for name in RIVALS}
    error = analysis.parameters.published.size_error
    parts = {
        "more sparsity": weakest(above(more[name], 0.0) for name in RIVALS),
        f"{claimed:.1f} times as much": weakest(
            verdict_on_effect(times[name], None, claimed, error) for name in RIVALS
        ),
        f"accuracy within {percent(margin)}": weakest(above(accuracy[name], -margin) for name in RIVALS),
    }
    reason = f"Sparsity of {searcher_name(AGENT)}: {share_text(own.mean_sparsity)}; " + "; ".join(
        f"{searcher_name(name)}: {share_text(found[name].mean_sparsity)}, ratio "
        f"{interval_text(times[name])}, accuracy difference {difference_text(accuracy[name])}"
        for name in RIVALS
    )
    reason += (
        ". The reward of an int8 model does not depend on its sparsity. On our network, the agent's "
        f"published plan changes test accuracy by {found[PUBLISHED_PLAN].accuracies[0]:+.3f}."
    )
    values = {"claimed": claimed, **{name: one and asdict(one) for name, one in times.items()}}
    return Judgement(weakest(parts.values()), reason, values, evidence=EXACT_COUNT, parts=parts)


def judge_stagnation(analysis: Analysis) -> Judgement:
    """A7: where the rivals end, and whether deeper pruning must cost accuracy."""
    found, later, margins = analysis.layerwise, analysis.source.later, analysis.parameters.layerwise
    claimed = later[RIVALS[0]]["sparsity"]
    low, high = claimed - margins.sparsity_margin, claimed + margins.sparsity_margin
    means = {name: found.answers[name].mean_sparsity for name in RIVALS}
    collapses = found.deepest_kept <= high
    deeper = found.kept_beyond(high, analysis.parameters.confidence)
    parts = {
        f"about {percent(claimed)}": weakest(lies_between(means[name], low, high) for name in RIVALS),
        "deeper pruning collapses accuracy": CONFIRMED if collapses else REFUTED,
    }
    reason = (
        "; ".join(f"{searcher_name(name)} ends at {share_text(means[name])}" for name in RIVALS)
        + f". Of {found.plans} evaluated plans, the sparsest int8 plan that loses at most "
        f"{percent(margins.accuracy_margin)} of validation accuracy has {percent(found.deepest_kept)} zeros "
        f"({percent(found.deepest_equal)} with equal shares). "
    )
    reason += _among_deeper(deeper, high)
    values = {
        "deepest_kept": found.deepest_kept,
        "deepest_equal": found.deepest_equal,
        "kept_beyond": deeper and asdict(deeper),
        "claimed": claimed,
    }
    return Judgement(weakest(parts.values()), reason, values, evidence=EXACT_COUNT, parts=parts)


def _among_deeper(kept: Estimate | None, bound: float) -> str:
    """Say how many of the plans beyond the bound keep the accuracy: one of thousands may be luck."""
    if kept is None:
        return f"No int8 plan has more than {percent(bound)} zeros."
    return (
        f"Of the {kept.n} int8 plans with more than {percent(bound)} zeros, {round(kept.n * kept.estimate)} "
        f"keep it: a share of {share_text(kept)}, of plans that searchers asked for."
    )


def judge_operations(analysis: Analysis) -> Judgement:
    """A8: the time that the zeros save; counted operations are printed, but cannot decide."""
    measured, later = analysis.layerwise.measured, analysis.source.later
    claimed = later[AGENT]["flops_m"] / later[BASELINE]["flops_m"]
    flops = {key: measured.lines[key].counts["flops"] for key in (BASELINE, ZEROS)}
    timed, figures = judge_ratio(measured, ZEROS, PRIMARY, "lower", claimed, analysis.parameters)
    parts = {f"CPU time, {name}": verdict for name, verdict in timed.items()}
    reason = (
        f"By construction, a dense kernel multiplies by zeros: a forecast of the plan with zeros executes "
        f"{flops[ZEROS]} operations, that of the baseline {flops[BASELINE]}. CPU time: {figures} (published "
        f"FLOPs: {claimed:.3f})."
    )
    values = {"flops": flops, "claimed": claimed}
    return Judgement(weakest(parts.values()), reason, values, evidence=CPU_CLOCK, parts=parts)


def welch(own: Sequence[float], other: Sequence[float], confidence: float) -> Estimate:
    """Return the difference of two means with Welch's interval."""
    result = stats.ttest_ind(own, other, equal_var=False)
    estimate = sum(own) / len(own) - sum(other) / len(other)
    interval = result.confidence_interval(confidence)
    return Estimate(estimate, float(interval.low), float(interval.high), len(own) + len(other))


def lies_between(found: Estimate | None, low: float, high: float) -> str:
    """Does the mean lie between `low` and `high`?"""
    if found is None:
        return INCONCLUSIVE
    return verdict_if(low <= found.low and found.high <= high, found.high < low or found.low > high)


_declared = partial(Declaration, source="study_a")
LAYERWISE_CLAIMS = (
    _declared(
        id="A6",
        rule="over seeds, against TPE and against CMA-ES on the agent's own space: the agent's mean "
        "sparsity is higher (Welch's {confidence_percent:g} % interval lies above 0, refuted if below); "
        "size: in logarithms, Fieller's interval of the ratio of mean sparsities lies within the published "
        "effect plus or minus {size_error:g} of it, refuted if it lies wholly outside; the mean loss of test "
        "accuracy is below {kept_accuracy:g} (Welch's interval, refuted if above)",
        judge=judge_sparsity,
        decided_by=SEARCH_FILES[:1],
        needs=("exact counts",),
    ),
    _declared(
        id="A7",
        rule="the mean sparsity of TPE and CMA-ES lies within {sparsity_margin:g} of the published one "
        "(Student's {confidence_percent:g} % interval over seeds, refuted if it lies wholly outside), and no "
        "evaluated int8 plan that is sparser by more than that keeps the validation accuracy within "
        "{kept_accuracy:g}, refuted by a single one; the share of such plans that keep it is printed with "
        "Wilson's interval",
        judge=judge_stagnation,
        decided_by=SEARCH_FILES,
        needs=("exact counts",),
    ),
    _declared(
        id="A8",
        rule="the zeros of the published plan alone save as much CPU time in randomised blocks as the "
        "published cut of FLOPs (direction and size as in A3); counted operations are printed and decide "
        "nothing: by construction a dense kernel multiplies by zeros, so a count with these products cannot "
        "fall, and a count without them falls by definition",
        judge=judge_operations,
        decided_by=(ROW_FILES["layerwise"], HIT_TABLES["layerwise"]),
        needs=("CPU time",),
    ),
)
