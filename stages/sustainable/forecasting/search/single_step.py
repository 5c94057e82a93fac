"""The deployment search as a single decision: in the published form and in a continuous one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.forecasting.compression.actions import ACTION_COUNT
from sustainable.forecasting.search.landscape import Landscape, Ledger, Point

OBSERVATION = np.ones(1, dtype=np.float32)
"""The constant input of the networks: there is nothing to observe before the only decision."""


class SingleStepEnv(gymnasium.Env[np.ndarray, Any]):
    """An environment whose episodes have one step: `decode` maps the action to the point to evaluate.

    The observation [1] float32 is constant.
    """

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
        """Evaluate the action's point; raises `BudgetSpent` for a new point beyond the budget."""
        outcome = self._ledger.evaluate(self._decode(action))
        return OBSERVATION.copy(), outcome.reward, True, False, {}


def published_env(ledger: Ledger) -> SingleStepEnv:
    """Make the environment of the 16 published actions (see `Landscape.published`)."""
    points = [ledger.landscape.published(action) for action in range(ACTION_COUNT)]
    return SingleStepEnv(ledger, spaces.Discrete(ACTION_COUNT), lambda action: points[int(action)])


def continuous_env(ledger: Ledger) -> SingleStepEnv:
    """Make the environment whose action is a vector of shares and a switch (see `continuous_point`)."""
    space = spaces.Box(0.0, 1.0, (4,), np.float32)
    return SingleStepEnv(ledger, space, lambda action: continuous_point(ledger.landscape, action))


def continuous_point(landscape: Landscape, action: np.ndarray) -> Point:
    """Return the point of an action [4] in 0..1, in eager PyTorch.

    The action holds the shares to prune of layer 0, of layer 1 and of the readout's inputs, and a switch that
    means int8 above 0.5. The readout's inputs are the units of layer 1, so the larger of both shares counts.
    Widths are rounded to the nearest width of the grid, and down in a tie.
    """
    layer_0, layer_1, readout, quantize = (float(value) for value in action)
    widths = [_nearest_width(landscape, share) for share in (layer_0, max(layer_1, readout))]
    return Point(widths[0], widths[1], "int8" if quantize > 0.5 else "fp32", "torch-eager")


def _nearest_width(landscape: Landscape, pruned: float) -> int:
    wanted = landscape.widths[-1] * (1 - pruned)
    return min(landscape.widths, key=lambda width: (abs(width - wanted), width))
