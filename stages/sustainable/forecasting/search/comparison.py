"""One search by name, as a worker process runs it, and what is written of it."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sustainable.forecasting.search.landscape import Improvement, Landscape, Ledger, Point
from sustainable.forecasting.search.searchers import SEARCHERS


@dataclass(frozen=True)
class Search:
    """What a searcher did with one seed; `steps` are evaluations, trials or environment steps."""

    searcher: str
    seed: int
    improvements: list[Improvement]
    distinct: int
    steps: int


def run_search(landscape: Landscape, budget: int, searcher: str, seed: int, parameters: Any) -> Search:
    """Search `landscape` with at most `budget` distinct evaluations. The same in every process."""
    use_deterministic_torch()
    ledger = Ledger(landscape, budget)
    steps = SEARCHERS[searcher](ledger, seed, parameters)
    return Search(searcher, seed, ledger.improvements(), ledger.distinct, steps)


def improvement_rows(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """A row each time that a search's best reward rose."""
    return [
        {"searcher": search.searcher, "seed": search.seed}
        | {"evaluation": found.evaluation, "reward": found.reward, **found.point._asdict()}
        | {"distinct": search.distinct}
        for search in searches
        for found in search.improvements
    ]


def describe_choices(landscape: Landscape, budget: int, first: Sequence[Search]) -> dict[str, Any]:
    """The deployments worth measuring: the references, and what each searcher of `first` (all of one
    seed) has chosen, with the evaluation at which it did."""
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
