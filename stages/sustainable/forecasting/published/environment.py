"""The compression search as a Gymnasium environment."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.forecasting.published.reward import Metrics

OBSERVED = ("accuracy", "accuracy_change", "parameter_reduction", "flops_reduction")


class SustainableAIAgentEnv(gymnasium.Env[np.ndarray, np.int64]):
    """An environment whose episodes have one step: the action compresses the baseline.

    There are `actions` discrete actions. The observation [4] float32 holds `OBSERVED`: the baseline's after
    `reset`, the compressed model's after `step`. Each action is evaluated once and its result is stored, so
    the same action always gives the same reward.
    """

    def __init__(
        self,
        actions: int,
        baseline: Metrics,
        evaluate: Callable[[int], Metrics],
        reward: Callable[[Metrics], float],
    ) -> None:
        self.action_space = spaces.Discrete(actions)
        low = np.array([0.0, -1.0, -1.0, -1.0], dtype=np.float32)
        self.observation_space = spaces.Box(low, np.ones(4, dtype=np.float32))
        self._evaluate, self._reward = evaluate, reward
        self._known: dict[int, tuple[np.ndarray, float]] = {}
        self._start = _observation(baseline)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; the observation is the baseline's."""
        super().reset(seed=seed)
        return self._start, {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Compress by `action`; this ends the episode."""
        observation, reward = self.evaluate(int(action))
        return observation, reward, True, False, {}

    def evaluate(self, action: int) -> tuple[np.ndarray, float]:
        """Return the observation and the reward of an action; evaluate it only the first time."""
        if action not in self._known:
            metrics = self._evaluate(action)
            self._known[action] = (_observation(metrics), float(self._reward(metrics)))
        return self._known[action]


class IdleEnv(SustainableAIAgentEnv):
    """An environment that does nothing, which shows the cost of PPO itself."""

    def __init__(self, actions: int) -> None:
        nothing = Metrics(0.0, 0.0, 0.0, 0.0)
        super().__init__(actions, nothing, lambda action: nothing, lambda metrics: 0.0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self._start, {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self._start, 0.0, True, False, {}


def _observation(metrics: Metrics) -> np.ndarray:
    return np.array([getattr(metrics, name) for name in OBSERVED], dtype=np.float32)
