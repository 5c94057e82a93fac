"""Every searcher with every seed: what each search finds, and what it costs by itself."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sustainable.core.cells import run_cells
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.search.landscape import Improvement, Landscape, Ledger, Point
from sustainable.forecasting.search.searchers import GROUPS, SEARCHERS, SearchersParameters
from sustainable.forecasting.search.space import Space


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


def improvement_rows(searches: Sequence[Search], space: Space) -> list[dict[str, Any]]:
    """Return one row for each rise of a search's best reward, with the judges' columns of its point."""
    return [
        {"searcher": search.searcher, "seed": search.seed}
        | {"evaluation": rise.evaluation, "reward": rise.reward, **rise.point._asdict()}
        | {"distinct": search.distinct}
        | space.judge(rise.point)
        for search in searches
        for rise in search.improvements
    ]


@dataclass(frozen=True)
class Task:
    """A table of candidates that is searched, by the name of its forecasting task."""

    name: str
    landscape: Landscape  # what searchers see
    space: Space  # what judges see
    tuned_on: str  # the task on whose table the settings were tuned


def describe_choices(task: Task, parameters: SearchersParameters, first: Sequence[Search]) -> dict[str, Any]:
    """Describe the searched space, and the deployments to measure: references and the choices of searches.

    `first` holds one search per searcher, of the same seed. A choice comes with the evaluation at which it
    was made.
    """
    landscape, budgets = task.landscape, parameters.evaluations(task.landscape)
    return {
        "task": task.name,
        "tuned_on": task.tuned_on,
        "budgets": {f"{share:g}": count for share, count in budgets.items()},
        "main_budget": budgets[parameters.main_budget],
        "seed": first[0].seed,
        "groups": GROUPS,
        "points": len(landscape.outcomes),
        "grid_points": len(list(landscape.grid())),
        "oracle_on_grid": landscape.on_grid(landscape.oracle),
        "space": _described_space(task.space),
        "choices": _described_choices(task, first),
    }


def _described_space(space: Space) -> dict[str, Any]:
    return {
        "best_reward": space.best,
        "median_reward": space.median,
        "worst_reward": space.worst,
        "best_test_reward": space.test_best,
        "noise": space.noise,
        "ties": [point._asdict() for point in sorted(space.ties)],
    }


def _described_choices(task: Task, first: Sequence[Search]) -> dict[str, Any]:
    """Return the references and the choice of each search of `first`, by name."""
    landscape = task.landscape

    def described(point: Point) -> dict[str, Any]:
        return point._asdict() | landscape.outcomes[point]._asdict() | task.space.judge(point)

    choices = {
        "baseline": described(landscape.baseline),
        "best_uncompressed": described(landscape.best_uncompressed),
        "oracle": described(landscape.oracle),
    }
    for search in first:
        best = search.improvements[-1]
        made = {"evaluation": best.evaluation, "distinct": search.distinct}
        choices[search.searcher] = described(best.point) | made
    return choices


def searchers_for(landscape: Landscape, parameters: SearchersParameters) -> dict[str, Any]:
    """Return the parameters of every searcher by name, without the one whose points the table lacks."""
    every = parameters.searchers.by_name()
    if not landscape.has_published_actions:
        del every["ppo_published"]
    return every


def search_all(
    landscape: Landscape, parameters: SearchersParameters, workers: int | None = None
) -> list[Search]:
    """Run every searcher with every seed and the largest budget, side by side."""
    budget = max(parameters.evaluations(landscape).values())
    tasks = [
        (landscape, budget, name, seed, own)
        for name, own in searchers_for(landscape, parameters).items()
        for seed in parameters.seeds_of(name)
    ]
    return list(run_cells(run_search, tasks, "searching", workers=workers))


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
    budget = max(parameters.evaluations(landscape).values())
    pairs = list(zip(searches, searchers_for(landscape, parameters).items(), strict=True))
    for search, (name, own) in progress(pairs, "metering", len(pairs)):
        meter = choose_meter(metering).make()
        meter.start()
        again = run_search(landscape, budget, name, search.seed, own)
        cost = total_cost([asdict(meter.stop())])
        if again != search:
            raise RuntimeError(f"{name}: the same seed searched differently in another process")
        costs[name] = cost | {"evaluations": search.distinct, "steps": search.steps}
    return costs
