"""Run one search by name, in a worker process, and describe its result."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sustainable.forecasting.search.landscape import Improvement, Landscape, Ledger, Point
from sustainable.forecasting.search.searchers import SEARCHERS


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
        choices[search.searcher] = _described(landscape, best.point) | {
            "evaluation": best.evaluation,
            "distinct": search.distinct,
        }
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
