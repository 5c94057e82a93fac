"""The deployment search as environments: a single decision, or four with masks for the impossible ones."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.forecasting.compression.actions import ACTION_COUNT
from sustainable.forecasting.search.landscape import BudgetSpent, Landscape, Ledger, Point
from sustainable.forecasting.search.objective import SearchTarget

DECISIONS = 4
EAGER_PRECISIONS = ("fp32", "int8")
"""The precisions of a continuous action's point."""
OBSERVATION = np.ones(1, dtype=np.float32)
"""The constant input of the networks: there is nothing to observe before the only decision."""


class SingleStepEnv(gymnasium.Env[np.ndarray, Any]):
    """An environment whose episodes have one step: `decode` maps the action to the point to evaluate.

    The observation [1] float32 is constant. The search ends when all `reachable` points are known, because
    then there is nothing left to find.
    """

    def __init__(
        self,
        ledger: Ledger,
        action_space: spaces.Space[Any],
        decode: Callable[[Any], Point],
        reachable: int,
    ) -> None:
        self.action_space = action_space
        self.observation_space = spaces.Box(0.0, 1.0, OBSERVATION.shape, np.float32)
        self._ledger, self._decode, self._reachable = ledger, decode, reachable

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return OBSERVATION.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Evaluate the action's point; raises `BudgetSpent` at the end of the search."""
        if self._ledger.distinct >= self._reachable:
            raise BudgetSpent
        outcome = self._ledger.evaluate(self._decode(action))
        return OBSERVATION.copy(), outcome.reward, True, False, {}


def published_env(ledger: Ledger) -> SingleStepEnv:
    """Make the environment of the 16 published actions (see `Landscape.published`)."""
    points = [ledger.landscape.published(action) for action in range(ACTION_COUNT)]
    actions = spaces.Discrete(ACTION_COUNT)
    return SingleStepEnv(ledger, actions, lambda action: points[int(action)], len(set(points)))


def continuous_env(ledger: Ledger) -> SingleStepEnv:
    """Make the environment whose action is a vector of shares and a switch (see `continuous_point`)."""
    landscape, space = ledger.landscape, spaces.Box(0.0, 1.0, (4,), np.float32)
    reachable = len(landscape.widths) ** 2 * len(EAGER_PRECISIONS)
    return SingleStepEnv(ledger, space, lambda action: continuous_point(landscape, action), reachable)


def continuous_point(landscape: Landscape, action: np.ndarray) -> Point:
    """Return the point of an action [4] in 0..1, in eager PyTorch.

    The action holds the shares to prune of layer 0, of layer 1 and of the readout's inputs, and a switch that
    means int8 above 0.5. The readout's inputs are the units of layer 1, so the larger of both shares counts.
    Widths are rounded to the nearest width of the grid, and down in a tie.
    """
    layer_0, layer_1, readout, quantize = (float(value) for value in action)

    def nearest(pruned: float) -> int:
        wanted = landscape.widths[-1] * (1 - pruned)
        return min(landscape.widths, key=lambda width: (abs(width - wanted), width))

    precision = EAGER_PRECISIONS[int(quantize > 0.5)]
    return Point(nearest(layer_0), nearest(max(layer_1, readout)), precision, "torch-eager")


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
        widths, targets = ledger.landscape.widths, ledger.landscape.targets
        precisions, runtimes = (tuple(sorted(set(names))) for names in zip(*targets, strict=True))
        # the values of the four decisions
        self.axes: tuple[tuple[Any, ...], ...] = (widths, widths, precisions, runtimes)
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
        point = Point(*(axis[index] for axis, index in zip(self.axes, self._choices, strict=True)))
        return self._observation(), self._ledger.evaluate(point).reward - before, True, False, {}

    def action_masks(self) -> np.ndarray:
        """Return which actions are possible now, [actions] of bool. sb3-contrib requires this name."""
        decision = len(self._choices)
        allowed = np.zeros(self._actions, dtype=np.bool_)
        allowed[: len(self.axes[decision])] = True
        if decision == DECISIONS - 1:
            precision = self.axes[2][self._choices[2]]
            targets = self._ledger.landscape.targets
            allowed[: len(self.axes[3])] = [SearchTarget(precision, name) in targets for name in self.axes[3]]
        return allowed

    def actions_of(self, point: Point) -> list[int]:
        """Return the four actions that lead to `point`."""
        return [axis.index(value) for axis, value in zip(self.axes, point, strict=True)]

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
