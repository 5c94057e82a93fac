"""Local search: the baseline that is hard to beat on tables of measured architectures.

White, Nolen and Savani (2021), "Exploring the Loss Landscape in Neural Architecture Search", whose first
title was "Local Search is State of the Art for NAS Benchmarks".
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Landscape, Ledger, Point
from sustainable.forecasting.search.objective import SearchTarget

Reach = Literal["any", "adjacent"]


@dataclass(frozen=True, config=STRICT)
class LocalParameters:
    """Settings of local search."""

    starts: Annotated[int, Field(ge=1)]  # at most; it ends a search that only repeats points
    samples: Annotated[int, Field(ge=1)]  # random points of which the best is the start
    neighbours: Reach  # widths of a neighbour: any other width, or only the next narrower and wider one
    move: Literal["best", "first"]  # move to the best neighbour of all, or to the first that is better


def search_local(ledger: Ledger, seed: int, parameters: LocalParameters) -> int:
    """Search by climbing from random starts (White et al. 2021); return the evaluations with repeated ones.

    Each climb moves to a better neighbour until there is none. The next climb then starts at random. The
    search ends early when the whole grid is known.
    """
    rng = np.random.default_rng(seed)
    grid = list(ledger.landscape.grid())
    samples = min(parameters.samples, len(grid))
    with suppress(BudgetSpent):
        for _ in range(parameters.starts):
            drawn = [grid[index] for index in rng.choice(len(grid), samples, replace=False)]
            start = max(drawn, key=lambda point: ledger.evaluate(point).reward)
            _climb(start, ledger, rng, parameters)
            if ledger.distinct == len(grid):
                break
    return ledger.requests


def _climb(point: Point, ledger: Ledger, rng: np.random.Generator, parameters: LocalParameters) -> None:
    """Move from `point` to better neighbours until none is better."""

    def reward_of(place: Point) -> float:
        return ledger.evaluate(place).reward

    while True:
        around = list(neighbours(ledger.landscape, point, parameters.neighbours))
        # a random order, because the budget may end within a neighbourhood
        shuffled = [around[index] for index in rng.permutation(len(around))]
        better = _best(shuffled, reward_of(point), reward_of, first=parameters.move == "first")
        if better is None:
            return
        point = better


def _best(
    points: list[Point], threshold: float, reward_of: Callable[[Point], float], first: bool
) -> Point | None:
    """Return the point with the highest reward above `threshold`, or with `first` the first above it."""
    best = None
    for point in points:
        if reward_of(point) > threshold:
            best, threshold = point, reward_of(point)
            if first:
                break
    return best


def neighbours(landscape: Landscape, point: Point, reach: Reach) -> Iterator[Point]:
    """Yield the grid points that differ from `point` in one decision: a width, or the target.

    With `adjacent`, a width changes by one step of the axis. Targets have no order: each is a neighbour.
    """
    widths, targets = landscape.widths, landscape.targets
    axes: tuple[tuple[Any, ...], ...] = (widths, widths, targets)
    target = targets.index(SearchTarget(*point[2:]))
    place = [widths.index(point.width_0), widths.index(point.width_1), target]
    for axis, values in enumerate(axes):
        for index in range(len(values)):
            distance = abs(index - place[axis])
            if distance == 1 or (distance and (reach == "any" or values is targets)):
                moved = [*place[:axis], index, *place[axis + 1 :]]
                yield Point(widths[moved[0]], widths[moved[1]], *targets[moved[2]])
