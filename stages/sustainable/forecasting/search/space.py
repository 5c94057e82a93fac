"""The whole table as judges see it: scale of the rewards, ties of the best point, and test rewards.

No searcher sees any of this. `Landscape` holds what they see.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable.forecasting.search.landscape import Landscape, Point
from sustainable.forecasting.search.objective import SEARCHED_FAMILIES, DeploymentReward

TIE_ERRORS = 2.0
"""Standard errors of a difference of rewards within which two candidates are tied."""
ERROR_OF_RANGE = 0.67 / 1.693
"""Standard error of the median of three values, as a share of their expected range.

Both are those of normal values: the median of three has a standard deviation of 0.67, the range has the mean
1.693. With more rounds the standard error is smaller, and more candidates count as tied than should.
"""


@dataclass(frozen=True)
class Space:
    """Rewards of the accepted candidates, in nats."""

    best: float  # highest reward on the grid
    median: float  # of the grid
    worst: float  # of the grid
    ties: frozenset[Point]
    """Candidates that the noise of timing cannot tell from the grid's best, itself included."""
    noise: str  # the column that holds this noise
    test_rewards: dict[Point, float] | None  # with test instead of validation accuracy; None: no such column

    @property
    def test_best(self) -> float | None:
        """The highest test reward of all candidates."""
        return max(self.test_rewards.values()) if self.test_rewards else None

    def judge(self, point: Point) -> dict[str, Any]:
        """Return whether `point` is tied with the best, and its test reward."""
        tested = self.test_rewards or {}
        return {"tie": int(point in self.ties), "test_reward": tested.get(point)}


def describe_space(table: pd.DataFrame, landscape: Landscape, reward: DeploymentReward) -> Space:
    """Describe the table of candidates of which `landscape` was made."""
    rows = _accepted_rows(table, landscape)
    rewards = {point: landscape.outcomes[point].reward for point in rows}
    grid = [rewards[point] for point in landscape.grid() if point in rows]
    noise, errors = _time_errors(rows, reward.batch_size)
    return Space(
        best=max(grid),
        median=float(np.median(grid)),
        worst=min(grid),
        ties=_ties(landscape, rewards, errors),
        noise=noise,
        test_rewards=_test_rewards(rows, landscape, reward),
    )


def _accepted_rows(table: pd.DataFrame, landscape: Landscape) -> dict[Point, Any]:
    searched = table[table["family"].isin(SEARCHED_FAMILIES)]
    rows = {
        Point(int(row["width_0"]), int(row["width_1"]), str(row["precision"]), str(row["runtime"])): row
        for row in searched.to_dict("records")
    }
    return {point: row for point, row in rows.items() if point not in landscape.refused}


def _time_errors(rows: dict[Point, Any], batch_size: int) -> tuple[str, dict[Point, float]]:
    """Return the column of the noise, and the standard error of ln of each candidate's CPU time.

    A table without standard errors has the range over the rounds as a share of their median; without either,
    timing counts as exact.
    """
    time = f"cpu_time_ms_batch_{batch_size}"
    error, spread = f"cpu_time_se_batch_{batch_size}", f"cpu_time_range_batch_{batch_size}"
    columns = next(iter(rows.values())).keys()
    if error in columns:
        return error, {point: row[error] / row[time] for point, row in rows.items()}
    if spread in columns:
        return spread, {point: ERROR_OF_RANGE * row[spread] for point, row in rows.items()}
    return "none", dict.fromkeys(rows, 0.0)


def _ties(landscape: Landscape, rewards: dict[Point, float], errors: dict[Point, float]) -> frozenset[Point]:
    """Return the candidates within `TIE_ERRORS` of the best point of the grid.

    The reward is ln of a ratio of CPU times minus an exact penalty, and the baseline's time cancels in a
    difference. So its standard error is that of the difference of two ln CPU times.
    """
    best = max((point for point in landscape.grid() if point in rewards), key=rewards.__getitem__)
    allowed = {point: TIE_ERRORS * float(np.hypot(errors[point], errors[best])) for point in rewards}
    return frozenset(
        point for point, value in rewards.items() if value >= rewards[best] - allowed[point] or point == best
    )


def _test_rewards(
    rows: dict[Point, Any], landscape: Landscape, reward: DeploymentReward
) -> dict[Point, float] | None:
    """Return the reward of every candidate with its loss of test accuracy; None if the table has none."""
    time, baseline = f"cpu_time_ms_batch_{reward.batch_size}", rows[landscape.baseline]
    if "test_accuracy" not in baseline:
        return None
    return {
        point: reward.of(baseline[time] / row[time], baseline["test_accuracy"] - row["test_accuracy"])
        for point, row in rows.items()
    }
