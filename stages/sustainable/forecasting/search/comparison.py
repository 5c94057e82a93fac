"""Every searcher with every seed: what each search finds, and what it costs by itself."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sustainable.core.parallel import in_parallel
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.search.landscape import Improvement, Landscape, Ledger, Point
from sustainable.forecasting.search.searchers import SEARCHERS, SearchersParameters


@dataclass(frozen=True)
class Search:
    """The result of a searcher with one seed."""

    searcher: str
    seed: int
    improvements: list[Improvement]
    distinct: int  # number of distinct evaluations
    steps: int  # evaluations, trials or environment steps, depending on the searcher


def run_search(landscape: Landscape, budget: int, searcher: str, seed: int, parameters: Any) -> Search:
    """Search `landscape` with at most `budget` distinct evaluations; the result is equal in every process."""
    use_deterministic_torch()
    ledger = Ledger(landscape, budget)
    steps = SEARCHERS[searcher](ledger, seed, parameters)
    return Search(searcher, seed, ledger.improvements(), ledger.distinct, steps)


def improvement_rows(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """Return one row for each rise of a search's best reward."""
    return [
        {"searcher": search.searcher, "seed": search.seed}
        | {"evaluation": rise.evaluation, "reward": rise.reward, **rise.point._asdict()}
        | {"distinct": search.distinct}
        for search in searches
        for rise in search.improvements
    ]


def describe_choices(landscape: Landscape, budget: int, first: Sequence[Search]) -> dict[str, Any]:
    """Describe the deployments to measure: the references, and the choice of each search of `first`.

    The searches of `first` have the same seed. A choice comes with the evaluation at which it was made.
    """
    references = {
        "baseline": landscape.baseline,
        "best_uncompressed": landscape.best_uncompressed,
        "oracle": landscape.oracle,
    }
    choices = {name: _described(landscape, point) for name, point in references.items()}
    for search in first:
        best = search.improvements[-1]
        made = {"evaluation": best.evaluation, "distinct": search.distinct}
        choices[search.searcher] = _described(landscape, best.point) | made
    return {
        "budget": budget,
        "seed": first[0].seed,
        "points": len(landscape.outcomes),
        "grid_points": len(list(landscape.grid())),
        "oracle_on_grid": landscape.on_grid(landscape.oracle),
        "choices": choices,
    }


def _described(landscape: Landscape, point: Point) -> dict[str, Any]:
    return point._asdict() | landscape.outcomes[point]._asdict()


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
