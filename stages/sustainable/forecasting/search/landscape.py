"""The deployment space as a table of measured points, and a ledger that counts a searcher's evaluations."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sustainable.core.errors import UserError
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration
from sustainable.forecasting.search.objective import BASELINE, SEARCHED_FAMILIES
from sustainable.forecasting.search.objective import DeploymentReward, SearchTarget


class Point(NamedTuple):
    """One deployment: hidden units of both layers, precision, runtime."""

    width_0: int
    width_1: int
    precision: str
    runtime: str


class SearchOutcome(NamedTuple):
    """The result of an evaluation: the reward in nats, and its two objectives (lower is better)."""

    reward: float
    log_cpu_time: float
    accuracy_loss: float


@plain_dataclass(frozen=True)
class Landscape:
    """All measured points with their outcomes."""

    widths: tuple[int, ...]  # hidden units of a layer, ascending: the first two axes of the grid
    targets: tuple[SearchTarget, ...]  # the third axis of the grid
    outcomes: dict[Point, SearchOutcome]  # of all grid points and of the points of the published actions
    flops: dict[tuple[int, int], float]  # analytic operations of one forecast, by pair of widths
    refused: frozenset[Point] = frozenset()
    """Points that failed the checks of their runtime: no speed-up, and no window counts as correct."""

    @classmethod
    def of_table(cls, table: pd.DataFrame, reward: DeploymentReward) -> "Landscape":
        """Read the table of candidates, one per row; raises `UserError` if rows or values are missing."""
        time = f"cpu_time_ms_batch_{reward.batch_size}"
        rows = _searched_rows(table, time)
        grid = {point for point, row in rows.items() if row["family"] == "grid"}
        widths = tuple(sorted({point.width_0 for point in grid} | {point.width_1 for point in grid}))
        targets = tuple(sorted({SearchTarget(point.precision, point.runtime) for point in grid}))
        _check_grid(grid, widths, targets)
        reference = Point(widths[-1], widths[-1], *BASELINE)
        baseline = rows[reference]
        if baseline["refused"] is not None:
            raise UserError(
                f"candidates: the baseline ({_named(reference)}) was refused: {baseline['refused']}"
            )
        useless = SearchOutcome(reward.of(1.0, 1.0), math.log(baseline[time]), 1.0)
        refused = frozenset(point for point, row in rows.items() if row["refused"] is not None)
        outcomes = dict.fromkeys(rows, useless)
        for point in rows.keys() - refused:
            row = rows[point]
            loss = baseline["validation_accuracy"] - row["validation_accuracy"]
            value = reward.of(baseline[time] / row[time], loss)
            outcomes[point] = SearchOutcome(value, math.log(row[time]), loss)
        flops = {p[:2]: row["flops"] for p, row in rows.items() if SearchTarget(*p[2:]) == BASELINE}
        return cls(widths, targets, outcomes, flops, refused)

    @property
    def baseline(self) -> Point:
        """The uncompressed model: full widths, eager fp32."""
        return Point(self.widths[-1], self.widths[-1], *BASELINE)

    @property
    def oracle(self) -> Point:
        """The measured point with the highest reward; of equal rewards, the one with the lowest CPU time."""
        accepted = self.outcomes.keys() - self.refused
        return min(accepted, key=lambda p: (-self.outcomes[p].reward, self.outcomes[p].log_cpu_time, p))

    @property
    def best_uncompressed(self) -> Point:
        """The full network in fp32, in its fastest runtime."""
        full = [p for p in self.grid() if p[:3] == self.baseline[:3] and p not in self.refused]
        return min(full, key=lambda point: self.outcomes[point].log_cpu_time)

    def grid(self) -> Iterator[Point]:
        """Yield every point of the grid, the space of all searchers that are ranked."""
        for width_0, width_1, target in product(self.widths, self.widths, self.targets):
            yield Point(width_0, width_1, *target)

    def on_grid(self, point: Point) -> bool:
        """Return whether both widths of `point` are on the grid."""
        return point.width_0 in self.widths and point.width_1 in self.widths

    def flops_share(self, width_0: int, width_1: int) -> float:
        """Return the operations of a forecast with these widths, as a share of the baseline's."""
        full = self.widths[-1]
        return self.flops[width_0, width_1] / self.flops[full, full]

    @property
    def has_published_actions(self) -> bool:
        """Whether the table has a row for every published action; its networks need not have been made."""
        try:
            return all(self.published(action) for action in range(ACTION_COUNT))
        except UserError:
            return False

    def published(self, action: int) -> Point:
        """Return the point that a published action would deploy if its pruning removed units of both layers.

        It runs in eager PyTorch. Raises `UserError` if the table has no such row.
        """
        configuration = Configuration.of_action(action)
        width = round(self.widths[-1] * (1 - configuration.pruning))
        point = Point(width, width, "int8" if configuration.quantization else "fp32", "torch-eager")
        if point not in self.outcomes:
            raise UserError(f"candidates: no row for the published action {action} ({_named(point)})")
        return point


def _searched_rows(table: pd.DataFrame, time: str) -> dict[Point, Any]:
    """Return the checked rows of the search space by point; `refused` is None or the reason."""
    numbers = ["validation_accuracy", "flops", time]
    needed = ["family", *Point._fields, *numbers]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise UserError(f"candidates: column {missing[0]!r} is missing; run `dvc repro candidates`")
    rows: dict[Point, Any] = {}
    columns = [*needed, "refused"]  # a table without refused candidates may lack it
    searched = table[table["family"].isin(SEARCHED_FAMILIES)].reindex(columns=columns)
    for row in searched.to_dict("records"):
        point = Point(int(row["width_0"]), int(row["width_1"]), str(row["precision"]), str(row["runtime"]))
        if point in rows:
            raise UserError(f"candidates: {_named(point)} has two rows")
        row["refused"] = None if pd.isna(row["refused"]) else str(row["refused"])
        known = [row[name] for name in (["flops"] if row["refused"] else numbers)]
        positive = row["flops"] > 0 and (row["refused"] or row[time] > 0)
        if not (np.isfinite(known).all() and positive):
            raise UserError(
                f"candidates: {_named(point)}: accuracy, flops or {time} is missing or not positive"
            )
        rows[point] = row
    return rows


def _check_grid(grid: set[Point], widths: tuple[int, ...], targets: tuple[SearchTarget, ...]) -> None:
    if BASELINE not in targets or Point(widths[-1], widths[-1], *BASELINE) not in grid:
        raise UserError("candidates: the baseline's row is missing (grid, largest widths, fp32, torch-eager)")
    for width_0, width_1, target in product(widths, widths, targets):
        if (point := Point(width_0, width_1, *target)) not in grid:
            raise UserError(f"candidates: the grid has no row for {_named(point)}")


def _named(point: Point) -> str:
    return f"{point.width_0}x{point.width_1} {point.precision} on {point.runtime}"


class BudgetSpent(Exception):  # noqa: N818  (the end of a search, not an error)
    """A searcher requested a new point after its budget was spent: the search is over."""


class Improvement(NamedTuple):
    """A rise of the best reward: the distinct evaluation (from 1), the new best reward, and its point."""

    evaluation: int
    reward: float
    point: Point


class Ledger:
    """Evaluate points and count the distinct ones; evaluating a point again is free."""

    def __init__(self, landscape: Landscape, budget: int) -> None:
        self.landscape = landscape
        self.budget = budget
        self.requests = 0  # number of evaluations so far, repeated points included
        self._evaluated: dict[Point, SearchOutcome] = {}

    @property
    def distinct(self) -> int:
        """Number of distinct points evaluated so far."""
        return len(self._evaluated)

    def evaluate(self, point: Point) -> SearchOutcome:
        """Return the outcome of `point`; raises `BudgetSpent` for a new point beyond the budget."""
        if point not in self._evaluated:
            if self.distinct >= self.budget:
                raise BudgetSpent
            self._evaluated[point] = self.landscape.outcomes[point]
        self.requests += 1
        return self._evaluated[point]

    def evaluate_random(self, seed: int, count: int | None = None) -> int:
        """Evaluate `count` points of the grid in random order (None: all); return the number evaluated."""
        points = list(self.landscape.grid())
        with suppress(BudgetSpent):
            for index in np.random.default_rng(seed).permutation(len(points))[:count]:
                self.evaluate(points[index])
        return self.distinct

    def evaluated(self) -> list[tuple[Point, SearchOutcome]]:
        """Return the distinct points in the order of their first evaluation."""
        return list(self._evaluated.items())

    def improvements(self) -> list[Improvement]:
        """Return each rise of the best reward, in order; the first evaluation always counts as one."""
        rises: list[Improvement] = []
        for number, (point, outcome) in enumerate(self._evaluated.items(), start=1):
            if not rises or outcome.reward > rises[-1].reward:
                rises.append(Improvement(number, outcome.reward, point))
        return rises
