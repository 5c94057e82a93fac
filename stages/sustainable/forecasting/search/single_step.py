"""The deployment search as one decision that ends the episode: the published form and a continuous one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.forecasting.compression.actions import ACTIONS
from sustainable.forecasting.search.landscape import Landscape, Ledger, Point

OBSERVATION = np.ones(1, dtype=np.float32)
"""There is nothing to observe before the only decision; the constant is the networks' input."""


class SingleStepEnv(gymnasium.Env[np.ndarray, Any]):
    """One action names one point (by `decode`), whose reward ends the episode; the observation [1]
    float32 is constant."""

    def __init__(
        self, ledger: Ledger, action_space: spaces.Space[Any], decode: Callable[[Any], Point]
    ) -> None:
        self.action_space = action_space
        self.observation_space = spaces.Box(0.0, 1.0, OBSERVATION.shape, np.float32)
        self._ledger, self._decode = ledger, decode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return OBSERVATION.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Evaluate the action's point; raises `BudgetSpent` when it is one too many."""
        outcome = self._ledger.evaluate(self._decode(action))
        return OBSERVATION.copy(), outcome.reward, True, False, {}


def published_env(ledger: Ledger) -> SingleStepEnv:
    """The published 16 actions (see `Landscape.published`)."""
    points = [ledger.landscape.published(action) for action in range(ACTIONS)]
    return SingleStepEnv(ledger, spaces.Discrete(ACTIONS), lambda action: points[int(action)])


def continuous_env(ledger: Ledger) -> SingleStepEnv:
    """Shares to prune and a switch, as one vector (see `continuous_point`)."""
    space = spaces.Box(0.0, 1.0, (4,), np.float32)
    return SingleStepEnv(ledger, space, lambda action: continuous_point(ledger.landscape, action))


def continuous_point(landscape: Landscape, action: np.ndarray) -> Point:
    """The point of an action [4] in 0..1: pruned shares of layer 0, of layer 1 and of the readout's
    inputs, and int8 above one half; eager.

    The readout's inputs are layer 1's units: one that either share prunes is gone, so the larger share
    counts. Widths are the grid's nearest (the narrower of two that are equally near).
    """
    layer_0, layer_1, readout, quantize = (float(value) for value in action)
    widths = [_nearest_width(landscape, share) for share in (layer_0, max(layer_1, readout))]
    return Point(widths[0], widths[1], "int8" if quantize > 0.5 else "fp32", "torch-eager")


def _nearest_width(landscape: Landscape, pruned: float) -> int:
    wanted = landscape.widths[-1] * (1 - pruned)
    return min(landscape.widths, key=lambda width: (abs(width - wanted), width))
