"""Every searcher with every seed, and what a search costs by itself."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sustainable.core.parallel import in_parallel
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.search.comparison import Search, run_search
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters


def search_all(
    landscape: Landscape, parameters: SearchersParameters, workers: int | None = None
) -> list[Search]:
    """Run every searcher with every seed, side by side over the cores."""
    seeds = range(parameters.first_seed, parameters.first_seed + parameters.seeds)
    tasks = [
        (landscape, parameters.budget, name, seed, own)
        for name, own in parameters.searchers.by_name().items()
        for seed in seeds
    ]
    return list(in_parallel(run_search, tasks, "searching", workers))


def search_costs(
    landscape: Landscape,
    parameters: SearchersParameters,
    metering: MeterParameters,
    searches: Sequence[Search],
) -> dict[str, Any]:
    """Meter one search of each searcher again, by itself; the measurements that it looks up cost nothing.

    `searches` holds one search per searcher, in their order. Raises `RuntimeError` if one is not repeated
    exactly.
    """
    costs = {}
    pairs = list(zip(searches, parameters.searchers.by_name().items(), strict=True))
    for search, (name, own) in progress(pairs, "metering", len(pairs)):
        meter = choose_meter(metering).make()
        meter.start()
        again = run_search(landscape, parameters.budget, name, search.seed, own)
        cost = total_cost([asdict(meter.stop())])
        if again != search:
            raise RuntimeError(f"{name}: the same seed searched differently in another process")
        costs[name] = cost | {"evaluations": search.distinct, "steps": search.steps}
    return costs
