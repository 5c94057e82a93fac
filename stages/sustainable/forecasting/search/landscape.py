"""The deployment space as a table: what each point costs and loses, and who has asked for how many."""

import math
from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.forecasting.compression.actions import Configuration

SEARCHED = ("grid", "diagonal")
"""The families of rows that are searched; masked weights save nothing and are left out."""


@dataclass(frozen=True, config=STRICT)
class DeploymentReward:
    """What a deployment is paid for: less CPU time at this batch size, at little loss of accuracy.

    `accuracy_margin` is the share of validation windows that may be lost for nothing, against the
    baseline; every percentage point beyond it costs `penalty_per_point` nats.
    """

    batch_size: Annotated[int, Field(ge=1)]
    accuracy_margin: Annotated[float, Field(ge=0.0, le=1.0)]
    penalty_per_point: Annotated[float, Field(ge=0.0, le=1000.0)]

    def of(self, speedup: float, loss: float) -> float:
        """Reward in nats: ln of the speed-up over the baseline, less the penalty of `loss` (a share)."""
        return math.log(speedup) - self.penalty_per_point * 100 * max(0.0, loss - self.accuracy_margin)


class Target(NamedTuple):
    """Where and in what numbers a model runs."""

    precision: str
    runtime: str


class Point(NamedTuple):
    """One deployment: units of both recurrent layers, precision, runtime."""

    width_0: int
    width_1: int
    precision: str
    runtime: str


class Outcome(NamedTuple):
    """What an evaluation tells: the reward in nats, and the two objectives apart (less is better)."""

    reward: float
    log_cpu_time: float
    accuracy_loss: float


BASELINE = Target("fp32", "torch-eager")


@plain_dataclass(frozen=True)
class Landscape:
    """All points that were measured, with their outcomes.

    `widths` (ascending) and `targets` span the grid, `outcomes` holds it whole and the published
    actions' points besides; `flops` is the analytic count a forecast by pair of widths. `refused` are the
    points that no runtime here could answer from: they save nothing and hit nothing.
    """

    widths: tuple[int, ...]
    targets: tuple[Target, ...]
    outcomes: dict[Point, Outcome]
    flops: dict[tuple[int, int], float]
    refused: frozenset[Point] = frozenset()

    @classmethod
    def of_table(cls, table: pd.DataFrame, reward: DeploymentReward) -> "Landscape":
        """From the measured candidates, one a row. Raises `UserError` for a table that is not whole."""
        time = f"cpu_time_ms_batch_{reward.batch_size}"
        rows = _searched_rows(table, time)
        grid = [point for point, row in rows.items() if row["family"] == "grid"]
        widths = tuple(sorted({point.width_0 for point in grid} | {point.width_1 for point in grid}))
        targets = tuple(sorted({Target(point.precision, point.runtime) for point in grid}))
        _insist_on_product(grid, widths, targets)
        baseline = _accepted_baseline(rows, Point(widths[-1], widths[-1], *BASELINE))
        useless = Outcome(reward.of(1.0, 1.0), math.log(baseline[time]), 1.0)
        refused = frozenset(point for point, row in rows.items() if row["refused"] is not None)
        outcomes = dict.fromkeys(rows, useless)
        for point in rows.keys() - refused:
            row = rows[point]
            loss = baseline["validation_accuracy"] - row["validation_accuracy"]
            value = reward.of(baseline[time] / row[time], loss)
            outcomes[point] = Outcome(value, math.log(row[time]), loss)
        flops = {p[:2]: row["flops"] for p, row in rows.items() if Target(*p[2:]) == BASELINE}
        return cls(widths, targets, outcomes, flops, refused)

    @property
    def baseline(self) -> Point:
        """The uncompressed model as it was trained: full widths, eager fp32."""
        return Point(self.widths[-1], self.widths[-1], *BASELINE)

    @property
    def oracle(self) -> Point:
        """The best point of all that were measured; of equal rewards the one with least CPU time."""
        possible = self.outcomes.keys() - self.refused
        return min(possible, key=lambda p: (-self.outcomes[p].reward, self.outcomes[p].log_cpu_time, p))

    @property
    def best_uncompressed(self) -> Point:
        """The full network in fp32, in the runtime that is quickest."""
        full = [p for p in self.grid() if p[:3] == self.baseline[:3] and p not in self.refused]
        return min(full, key=lambda point: self.outcomes[point].log_cpu_time)

    def grid(self) -> Iterator[Point]:
        """Every point of the product of the axes: the space of all searchers but the published one."""
        for width_0, width_1, target in product(self.widths, self.widths, self.targets):
            yield Point(width_0, width_1, *target)

    def on_grid(self, point: Point) -> bool:
        return point.width_0 in self.widths and point.width_1 in self.widths

    def flops_share(self, width_0: int, width_1: int) -> float:
        """FLOPs of a forecast with these widths of the grid, as a share of the baseline's."""
        full = self.widths[-1]
        return self.flops[width_0, width_1] / self.flops[full, full]

    def published(self, action: int) -> Point:
        """What a published action would deploy if its pruning removed units: both layers alike,
        eager. Raises `UserError` where the table has no such row."""
        configuration = Configuration.of_action(action)
        width = round(self.widths[-1] * (1 - configuration.pruning))
        point = Point(width, width, "int8" if configuration.quantization else "fp32", "torch-eager")
        if point not in self.outcomes:
            raise UserError(f"candidates: no row for the published action {action} ({_named(point)})")
        return point


def _searched_rows(table: pd.DataFrame, time: str) -> dict[Point, dict[str, Any]]:
    """The rows of the search space by point, checked; `refused` is None or the reason."""
    numbers = ["validation_accuracy", "flops", time]
    needed = ["family", *Point._fields, *numbers]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise UserError(f"candidates: column {missing[0]!r} is missing; run the stage that measures them")
    rows: dict[Point, dict[str, Any]] = {}
    columns = [*needed, "refused"]  # which a table in which nothing was refused may lack
    for values in table[table["family"].isin(SEARCHED)].reindex(columns=columns).itertuples(index=False):
        row = dict(zip(columns, values, strict=True))
        point = Point(int(row["width_0"]), int(row["width_1"]), str(row["precision"]), str(row["runtime"]))
        if point in rows:
            raise UserError(f"candidates: {_named(point)} has two rows")
        row["refused"] = None if pd.isna(row["refused"]) else str(row["refused"])
        told = ["flops"] if row["refused"] else numbers
        positive = [row[name] > 0 for name in told if name != "validation_accuracy"]
        if not (np.isfinite([row[name] for name in told]).all() and all(positive)):
            raise UserError(
                f"candidates: {_named(point)}: accuracy, flops or {time} is missing or not positive"
            )
        rows[point] = row
    return rows


def _accepted_baseline(rows: dict[Point, dict[str, Any]], baseline: Point) -> dict[str, Any]:
    refused = rows[baseline]["refused"]
    if refused is not None:
        raise UserError(f"candidates: the baseline ({_named(baseline)}) was refused: {refused}")
    return rows[baseline]


def _insist_on_product(grid: list[Point], widths: tuple[int, ...], targets: tuple[Target, ...]) -> None:
    if BASELINE not in targets or Point(widths[-1], widths[-1], *BASELINE) not in grid:
        raise UserError("candidates: the baseline's row is missing (grid, largest widths, fp32, torch-eager)")
    known = set(grid)
    for width_0, width_1, target in product(widths, widths, targets):
        point = Point(width_0, width_1, *target)
        if point not in known:
            raise UserError(f"candidates: the grid has no row for {_named(point)}")


def _named(point: Point) -> str:
    return f"{point.width_0}x{point.width_1} {point.precision} on {point.runtime}"


class BudgetSpent(Exception):  # noqa: N818  (the end of a search, not an error)
    """A new point was asked for after the budget was used up: the search is over."""


class Improvement(NamedTuple):
    """The best reward rose: at which distinct evaluation (from 1), to what, by which point."""

    evaluation: int
    reward: float
    point: Point


class Ledger:
    """Hands out outcomes and counts the distinct points asked for; a repeated point is free."""

    def __init__(self, landscape: Landscape, budget: int) -> None:
        self.landscape = landscape
        self.budget = budget
        self._asked: dict[Point, Outcome] = {}

    @property
    def distinct(self) -> int:
        """How many points have been asked for."""
        return len(self._asked)

    def evaluate(self, point: Point) -> Outcome:
        """The outcome of `point`. Raises `BudgetSpent` for a new one beyond the budget."""
        if point not in self._asked:
            if self.distinct >= self.budget:
                raise BudgetSpent
            self._asked[point] = self.landscape.outcomes[point]
        return self._asked[point]

    def asked(self) -> list[tuple[Point, Outcome]]:
        """The distinct points in the order in which they were first asked for."""
        return list(self._asked.items())

    def improvements(self) -> list[Improvement]:
        """Each time that the best reward rose, in order; the first evaluation is always one."""
        found: list[Improvement] = []
        for number, (point, outcome) in enumerate(self._asked.items(), start=1):
            if not found or outcome.reward > found[-1].reward:
                found.append(Improvement(number, outcome.reward, point))
        return found
