"""Study A as it is printed: every summary of its rows, and the values that the paper's sentences need."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sustainable.reporting.forecasting import audited as audited_rows
from sustainable.reporting.forecasting import results as published_rows
from sustainable.reporting.forecasting.conditions import Step, summarise_steps
from sustainable.reporting.forecasting.decomposition import Waterfall, decompose
from sustainable.reporting.forecasting.discovery import Discovery, summarise_discovery
from sustainable.reporting.forecasting.layerwise import Layerwise, summarise_layerwise
from sustainable.reporting.forecasting.run import WAYS, Run
from sustainable.reporting.forecasting.searching import OURS, Searching, summarise_searches
from sustainable.reporting.forecasting.source import Gap, PublishedNumbers, gaps, source_of
from sustainable.reporting.formats import words
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.statistics import BreakEven

ADDED_LABELS = {
    "published_choice": "Published choice",
    "baseline_twin": "Baseline again (A/A twin)",
    "onnxruntime": "ONNX Runtime, uncompressed",
    "openvino": "OpenVINO, uncompressed",
    "ppo_stepwise": "Step-by-step PPO's choice",
    "oracle": "Best of all candidates",
    "logistic_last_day": "Logistic regression",
    "logistic_window": "Logistic regression, all days",
    "broken_random_weights": "Broken: random weights",
    "broken_masked": "Broken: 90 % masked",
    "broken_width": "Broken: one unit per layer",
    "zeros": "Zeros alone (the agent's plan, fp32)",
    "published_tpe": "Plan of TPE and CMA-ES",
    "published_ppo": "Plan of the layer-wise agent",
}
"""Names of the configurations that the published study does not have."""
SECONDS_PER_DAY = 86_400


class PayBack(NamedTuple):
    """The forecasts after which the searched deployment has repaid its search, against one reference."""

    reference: str
    batch_size: int
    even: BreakEven


@dataclass(frozen=True)
class Forecasting:
    """Everything that study A's rows say."""

    results: Mapping[str, published_rows.Results]  # by way of measuring: `WAYS`
    audited: audited_rows.Audited
    searching: Searching
    ranking: audited_rows.Ranking
    decomposition: list[Waterfall]
    accuracy: Mapping[str, Mapping[str, published_rows.AccuracyDifference]]  # by forecaster and reference
    hits: Mapping[str, tuple[int, int]]  # test windows that a forecaster gets right, of how many
    break_even: Mapping[str, Mapping[str, BreakEven]]  # published search, by configuration and quantity
    invested: Mapping[str, float]  # CPU seconds spent to find the audited deployment, by purpose
    pay_back: list[PayBack]
    repairs: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    labels: Mapping[str, str]  # configurations in plain words
    source: PublishedNumbers
    gaps: Mapping[str, Gap]  # ours to the source's, by configuration
    steps: list[Step]  # from the published benchmark to the randomised blocks
    discovery: Discovery
    layerwise: Layerwise


def summarise_forecasting(
    run: Run, published: Mapping[str, Any], parameters: ReportParameters
) -> Forecasting:
    """Compute every summary of study A from its rows."""
    results = {way: published_rows.summarise_rows(run.rows[way], run.hits[way], parameters) for way in WAYS}
    peaks = audited_rows.peak_rates(run.conditions["audited"]["frozen"]["roofline"])
    audited = audited_rows.summarise_audited(run.rows["audited"], run.hits["audited"], peaks, parameters)
    costs = run.metrics["audited"]["searchers_cost"]
    remeasured = results["remeasured"]
    hits = {key: line.hits for key, line in remeasured.lines.items()} | dict(remeasured.frugal)
    references = {name: hits[name] for name in (BASELINE, "persistence")}
    invested, chosen = _invested(run), run.choices["choices"]
    source, tied = source_of(published), run.best["actions_sharing_best_reward"]
    zeros = published_rows.summarise_rows(run.rows["layerwise"], run.hits["layerwise"], parameters, ())
    margin = parameters.layerwise.accuracy_margin
    return Forecasting(
        results=results,
        audited=audited,
        searching=summarise_searches(run.improvements, run.choices, costs, parameters),
        ranking=audited_rows.summarise_ranking(run.candidates, audited.batch_sizes, parameters),
        decomposition=decompose(run.candidates, chosen["baseline"], chosen[OURS], audited.batch_sizes),
        accuracy={
            key: {
                name: published_rows.accuracy_difference(own, reference, parameters)
                for name, reference in references.items()
            }
            for key, own in hits.items()
        },
        hits={key: (int(own.sum()), len(own)) for key, own in hits.items()},
        break_even=_break_even(run, parameters),
        invested=invested,
        pay_back=_pay_back(run, audited, sum(invested.values()), parameters),
        repairs=audited_rows.repair_lines(run.repairs, audited.batch_sizes, parameters.confidence),
        controls=audited_rows.control_lines(run.narrow, parameters.confidence),
        labels=_labels([*results["published"].lines, *audited.lines, *zeros.lines], published),
        source=source,
        gaps=gaps(source, results["published"]),
        steps=summarise_steps(run.rows, parameters),
        discovery=summarise_discovery(run.discovery, tied, len(run.actions), source.best_action),
        layerwise=summarise_layerwise(run.searches, run.plans, zeros, margin, parameters.confidence),
    )


def _labels(keys: list[str], published: Mapping[str, Any]) -> dict[str, str]:
    known = {key: entry["label"] for key, entry in published["configurations"].items()} | ADDED_LABELS
    return {key: known.get(key, words(key)) for key in keys}


def _published_costs(run: Run) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return run.metrics["published"]["search_cost"], run.metrics["published"]["training_cost"]


def _break_even(run: Run, parameters: ReportParameters) -> dict[str, dict[str, BreakEven]]:
    """When the published search and training have been repaid, in CPU time and in energy."""
    rows, costs = run.rows["remeasured"], _published_costs(run)

    def even(key: str, outcome: str) -> BreakEven:
        return published_rows.pay_back(rows, key, costs, outcome, parameters)

    return {
        key: {"CPU time": even(key, "cpu_time_ms"), "energy": even(key, "energy_mwh")}
        for key in parameters.comparisons
    }


def _invested(run: Run) -> dict[str, float]:
    metrics = run.metrics["audited"]
    return {
        "training": metrics["training_cost"]["cpu_time_s"],
        "pruning and fine-tuning": metrics["shrinking_cost"]["cpu_time_s"],
        "evaluating candidates": metrics["candidates_cost"]["cpu_time_s"],
        "the searcher itself": metrics["searchers_cost"][OURS]["cpu_time_s"],
    }


def _pay_back(
    run: Run, audited: audited_rows.Audited, cpu_s: float, parameters: ReportParameters
) -> list[PayBack]:
    """Against the eager baseline and the fastest uncompressed runtime, at every batch size."""

    def even(reference: str, size: int) -> BreakEven:
        return audited_rows.pay_back_audited(run.rows["audited"], OURS, reference, size, cpu_s, parameters)

    return [
        PayBack(reference, size, even(reference, size))
        for size in audited.batch_sizes
        for reference in dict.fromkeys((BASELINE, audited.quickest[size]))
    ]


def forecasting_values(
    run: Run, study: Forecasting, published: Mapping[str, Any], parameters: ReportParameters
) -> dict[str, Any]:
    """Collect what the sentences of the paper and of the HTML report print of study A."""
    metrics = run.metrics["published"]
    frozen = run.conditions["audited"]["frozen"]
    return {
        "study": study,
        "results": study.results["published"],
        "remeasured": study.results["remeasured"],
        "audited": study.audited,
        "searching": study.searching,
        "labels": study.labels,
        "published_correct": round(published["test_accuracy"] * published["test_windows"]),
        "search": {"best": run.best, "cost": metrics["search_cost"]},
        "training": {"cost": metrics["training_cost"]},
        "invested_cpu_s": sum(cost["cpu_time_s"] for cost in _published_costs(run)),
        "agent_pays_back": [
            {"quantity": quantity, "even": even, "days": days_at_one_per_second(even)}
            for quantity, even in study.break_even["agent_optimized"].items()
        ],
        "parameters": parameters,
        "power": POWER,
        "rows_of_data": metrics["preprocess"]["rows"],
        "leaks": metrics["preprocess"]["shared_rows"],
        "conditions": run.conditions["remeasured"],
        "audited_conditions": run.conditions["audited"],
        "published_host": run.conditions["published"]["host"],
        "split": run.metrics["audited"]["preprocess"],
        "seeds": len(run.metrics["audited"]["baseline"]["seeds"]),
        "candidates": len(run.candidates),
        "refused": run.refused,
        "core_gflop_per_s": frozen["roofline"]["flops_per_s"] / 1e9,
        "core_gb_per_s": frozen["roofline"]["bytes_per_s"] / 1e9,
        "ceilings": _printed_ceilings(frozen["roofline"]),
    }


def _printed_ceilings(roofline: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return the ceilings by precision; None if there is none to compare with (see `peak_rates`)."""
    ceilings: dict[str, dict[str, Any] | None] = dict.fromkeys(("fp32", "bf16"))
    for precision, flops_per_s in audited_rows.peak_rates(roofline).items():
        ceilings[precision] = {
            "gflop_per_s": flops_per_s / 1e9,
            "library": roofline[precision]["library"],
            "product": " x ".join(map(str, roofline[precision]["shape"])),
        }
    return ceilings


def days_at_one_per_second(even: BreakEven) -> float | None:
    """Days until break-even at one forecast per second; None if there is no break-even."""
    return even.inferences / SECONDS_PER_DAY if even.inferences else None


def forecasting_metrics(study: Forecasting) -> dict[str, Any]:
    """The main numbers by configuration, for `dvc metrics`."""
    audited = {
        key: {
            "accuracy": line.accuracy,
            **{f"cpu_time_ratio_batch_{size}": _estimate(timing) for size, timing in line.timings.items()},
        }
        for key, line in study.audited.lines.items()
    }
    return {**{way: _metrics(results) for way, results in study.results.items()}, "audited": audited}


def _estimate(compared: published_rows.Comparison | audited_rows.Timing) -> float | None:
    return compared.ratio.estimate if compared.ratio else None


def _metrics(results: published_rows.Results) -> dict[str, Any]:
    return {
        key: {
            "accuracy": line.accuracy,
            **{name: summary.mean for name, summary in line.outcomes.items()},
            **{f"{name}_ratio": _estimate(compared) for name, compared in line.compared.items()},
        }
        for key, line in results.lines.items()
    }
