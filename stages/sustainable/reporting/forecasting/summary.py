"""Study A as it is printed: every summary of its rows, and the values that the paper's sentences need."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sustainable.reporting.forecasting import results as published_rows
from sustainable.reporting.forecasting.conditions import Step, summarise_steps
from sustainable.reporting.forecasting.discovery import Discovery, summarise_discovery
from sustainable.reporting.forecasting.layerwise import Layerwise, summarise_layerwise
from sustainable.reporting.forecasting.audited import Timing, repair_lines
from sustainable.reporting.forecasting.run import WAYS, Run
from sustainable.reporting.forecasting.source import Gap, PublishedNumbers, gaps, published_numbers
from sustainable.reporting.forecasting.source import refuse_other_data
from sustainable.reporting.forecasting.task import AuditedTask, summarise_task
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.names import forecaster_name
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.statistics import BreakEven

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Forecasting:
    """Everything that study A's rows say."""

    results: Mapping[str, published_rows.Results]  # by way of measuring: `WAYS`
    tasks: Mapping[str, AuditedTask]  # the audited ones
    accuracy: Mapping[str, Mapping[str, published_rows.AccuracyDifference]]  # by forecaster and reference
    hits: Mapping[str, tuple[int, int]]  # test windows that a forecaster gets right, of how many
    break_even: Mapping[str, Mapping[str, BreakEven]]  # published search, by configuration and quantity
    repairs: list[dict[str, Any]]
    labels: Mapping[str, str]  # configurations in plain words
    source: PublishedNumbers
    gaps: Mapping[str, Gap]  # ours to the source's, by configuration
    steps: list[Step]  # from the published benchmark to the randomised blocks
    discovery: Discovery
    layerwise: Layerwise


def summarise_forecasting(
    run: Run, published: Mapping[str, Any], parameters: ReportParameters
) -> Forecasting:
    """Compute every summary of study A from its rows.

    Raises `UserError` if the published protocol ran on another table than the source's.
    """
    refuse_other_data(run.metrics["preprocess"], published["data"])
    results = {way: published_rows.summarise_rows(run.rows[way], run.hits[way], parameters) for way in WAYS}
    tasks = {name: summarise_task(name, own, parameters) for name, own in run.tasks.items()}
    remeasured = results["remeasured"]
    hits = {key: line.hits for key, line in remeasured.lines.items()} | dict(remeasured.frugal)
    references = {name: hits[name] for name in (BASELINE, "persistence")}
    source, tied = published_numbers(published), run.best["actions_sharing_best_reward"]
    zeros = published_rows.summarise_rows(run.rows["layerwise"], run.hits["layerwise"], parameters, ())
    margin = parameters.layerwise.accuracy_margin
    configurations = [
        key for task in tasks.values() for key in (*task.audited.lines, *task.audited.gate.lines)
    ]
    named = *results["published"].lines, *zeros.lines, *configurations
    return Forecasting(
        results=results,
        tasks=tasks,
        accuracy={
            key: {
                name: published_rows.accuracy_difference(own, reference, parameters)
                for name, reference in references.items()
            }
            for key, own in hits.items()
        },
        hits={key: (int(own.sum()), len(own)) for key, own in hits.items()},
        break_even=_break_even(run, parameters),
        repairs=repair_lines(run.repairs, tasks["weather"].audited.batch_sizes, parameters.confidence),
        labels={key: forecaster_name(key) for key in named},
        source=source,
        gaps=gaps(source, results["published"]),
        steps=summarise_steps(run.rows, parameters),
        discovery=summarise_discovery(run.discovery, tied, len(run.actions), source.best_action),
        layerwise=summarise_layerwise(run.searches, run.plans, zeros, margin, parameters.confidence),
    )


def _published_costs(run: Run) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return run.metrics["search_cost"], run.metrics["training_cost"]


def _break_even(run: Run, parameters: ReportParameters) -> dict[str, dict[str, BreakEven]]:
    """When the published search and training have been repaid, in CPU time and in energy."""
    rows, costs = run.rows["remeasured"], _published_costs(run)

    def even(key: str, outcome: str) -> BreakEven:
        return published_rows.pay_back(rows, key, costs, outcome, parameters)

    return {
        key: {"CPU time": even(key, "cpu_time_ms"), "energy": even(key, "energy_mwh")}
        for key in parameters.comparisons
    }


def forecasting_values(
    run: Run, study: Forecasting, published: Mapping[str, Any], parameters: ReportParameters
) -> dict[str, Any]:
    """Collect what the sentences of the paper and of the HTML report print of study A."""
    metrics, first = run.metrics, next(iter(run.tasks.values()))
    return {
        "study": study,
        "results": study.results["published"],
        "remeasured": study.results["remeasured"],
        "tasks": study.tasks,
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
        "rows_of_data": published["data"]["days"],
        "leaks": metrics["preprocess"]["shared_rows"],
        "conditions": run.conditions["remeasured"],
        "audited_conditions": first.conditions,
        "published_host": run.conditions["published"]["host"],
        "split": first.metrics["preprocess"],
        "seeds": len(first.metrics["baseline"]["seeds"]),
        "refused": first.refused,
    }


def days_at_one_per_second(even: BreakEven) -> float | None:
    """Days until break-even at one forecast per second; None if there is no break-even."""
    return even.inferences / SECONDS_PER_DAY if even.inferences else None


def forecasting_metrics(study: Forecasting) -> dict[str, Any]:
    """The main numbers by configuration, for `dvc metrics`."""
    ways = {way: _metrics(results) for way, results in study.results.items()}
    return ways | {name: _task_metrics(task) for name, task in study.tasks.items()}


def _task_metrics(task: AuditedTask) -> dict[str, Any]:
    return {
        key: {
            "accuracy": line.accuracy,
            **{f"cpu_time_ratio_batch_{size}": _estimate(timing) for size, timing in line.timings.items()},
        }
        for key, line in task.audited.lines.items()
    }


def _estimate(compared: published_rows.Comparison | Timing) -> float | None:
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
