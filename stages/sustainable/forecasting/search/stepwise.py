"""The deployment search as a sequence of four decisions, with masks for the impossible ones."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.forecasting.search.landscape import Landscape, Ledger, Point, SearchTarget

DECISIONS = 4


class StepwiseEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Choose the width of layer 0, the width of layer 1, the precision and the runtime, then evaluate.

    Actions are indices into the axis of the current decision; the action space is as large as the longest
    axis. The observation [9] float32 in 0..1 holds a one-hot of the decision [4], the choices so far [4]
    (index as a share of the axis; 0 if not chosen yet), and the operations as a share of the baseline's, with
    open choices taken as uncompressed.

    With `shaped`, each step also gives the rise of the potential -ln(share of operations), which is 0 at the
    start and at the end of an episode (Ng, Harada and Russell 1999, with gamma 1). The rewards of an episode
    then sum to the reward of its point, so the optimal policy is unchanged. An action that is out of range or
    not offered ends the episode with the reward `error`; the masks prevent it.
    """

    def __init__(self, ledger: Ledger, shaped: bool = True, error: float = -10.0) -> None:
        self.axes = axes_of(ledger.landscape)
        self._actions = max(len(axis) for axis in self.axes)
        self.action_space = spaces.Discrete(self._actions)
        self.observation_space = spaces.Box(0.0, 1.0, (2 * DECISIONS + 1,), np.float32)
        self._ledger, self._shaped, self._error = ledger, shaped, error
        self._choices: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode with no choice made."""
        super().reset(seed=seed)
        self._choices = []
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Make one decision; raises `BudgetSpent` if the fourth leads to a new point beyond the budget."""
        before = self._potential()
        if not self.action_masks()[action]:
            return self._observation(), self._error - before, True, False, {}
        self._choices.append(int(action))
        if len(self._choices) < DECISIONS:
            return self._observation(), self._potential() - before, False, False, {}
        return self._observation(), self._ledger.evaluate(self._point()).reward - before, True, False, {}

    def action_masks(self) -> np.ndarray:
        """Return which actions are possible now, [actions] of bool. sb3-contrib requires this name."""
        decision = len(self._choices)
        allowed = np.zeros(self._actions, dtype=np.bool_)
        allowed[: len(self.axes[decision])] = True
        if decision == DECISIONS - 1:
            precision = self.axes[2][self._choices[2]]
            offered = [
                SearchTarget(precision, name) in self._ledger.landscape.targets for name in self.axes[3]
            ]
            allowed[: len(offered)] = offered
        return allowed

    def actions_of(self, point: Point) -> list[int]:
        """Return the four actions that lead to `point`."""
        return [axis.index(value) for axis, value in zip(self.axes, point, strict=True)]

    def _point(self) -> Point:
        chosen = [axis[index] for axis, index in zip(self.axes, self._choices, strict=True)]
        return Point(*chosen)

    def _flops_share(self) -> float:
        full = len(self.axes[0]) - 1
        first, second = [*self._choices[:2], full, full][:2]
        return self._ledger.landscape.flops_share(self.axes[0][first], self.axes[1][second])

    def _potential(self) -> float:
        return -math.log(self._flops_share()) if self._shaped else 0.0

    def _observation(self) -> np.ndarray:
        observation = np.zeros(2 * DECISIONS + 1, dtype=np.float32)
        if len(self._choices) < DECISIONS:
            observation[len(self._choices)] = 1.0
        for place, (axis, index) in enumerate(zip(self.axes, self._choices, strict=False), start=DECISIONS):
            observation[place] = index / max(1, len(axis) - 1)
        observation[-1] = self._flops_share()
        return observation


def axes_of(landscape: Landscape) -> tuple[tuple[Any, ...], ...]:
    """Return the values of the four decisions: widths, widths, precisions and runtimes."""
    precisions = tuple(sorted({target.precision for target in landscape.targets}))
    runtimes = tuple(sorted({target.runtime for target in landscape.targets}))
    return landscape.widths, landscape.widths, precisions, runtimes
