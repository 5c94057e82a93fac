"""SimulatedWorkload-v0: an environment with adjustable difficulty, episode length and CPU time per step.

The task is that of the source notebook's mock environment: the best action is the hyperbolic tangent of the
first components of the state, and the reward measures how near the action is. The source's "complexity" is
dummy arithmetic of unknown cost. Here it is a number of microseconds of CPU time, calibrated on this host.
"""

import time
from functools import cache
from statistics import median
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sustainable.core.errors import UserError

WORKLOAD_NAME = "SimulatedWorkload-v0"

Vector = NDArray[np.float32]


class Work:
    """Arithmetic that spends CPU time: repeated rotations of a vector, which keep its length."""

    SIZE = 16

    def __init__(self) -> None:
        gaussian = np.random.default_rng(0).normal(size=(self.SIZE, self.SIZE))
        self.rotation = np.linalg.qr(gaussian)[0]
        self.vector = np.ones(self.SIZE)

    def do(self, repetitions: int) -> None:
        """Multiply matrix and vector `repetitions` times; every product depends on the previous one."""
        vector, rotation = self.vector, self.rotation
        for _ in range(repetitions):
            vector = rotation.dot(vector)
        self.vector = vector


@cache
def repetitions_per_us(seconds: float = 0.2) -> float:
    """Measure how many repetitions of `Work` take a microsecond of CPU time, once per process."""
    work, rates = Work(), []
    repetitions = 100
    while _cpu_time_us(work, repetitions) < seconds * 1e6 / 20:
        repetitions *= 2
    for _ in range(9):
        rates.append(repetitions / _cpu_time_us(work, repetitions))
    return median(rates)


def _cpu_time_us(work: Work, repetitions: int) -> float:
    start = time.thread_time()
    work.do(repetitions)
    return (time.thread_time() - start) * 1e6


class SimulatedWorkload(gymnasium.Env[Vector, Vector]):
    """States [observations] float32, actions [actions] float32 within -1 and 1.

    The reward is quality = 1 / (1 + |action - tanh(state[:actions])|) + noise, clipped to 0..1. Then
    state = 0.9 state + 0.1 z + 0.05 [action, 0, ...], with z standard normal (the source's equations).
    An episode is truncated after `episode_limit` steps. It terminates if the quality has been below
    `minimum_quality` for `grace_steps` steps in a row, or with probability `random_termination` per step.

    `cost_us` is CPU time added to each step. It changes nothing else: the same seed and actions give the
    same episode at any cost.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (gymnasium declares it so)

    def __init__(
        self,
        observations: int = 64,
        actions: int = 8,
        episode_limit: int = 1000,
        minimum_quality: float = 0.5,
        grace_steps: int = 10,
        noise: float = 0.1,
        random_termination: float = 0.0,
        cost_us: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        limits = {
            "observations": (observations, actions, np.inf),
            "actions": (actions, 1, np.inf),
            "episode_limit": (episode_limit, 1, np.inf),
            "minimum_quality": (minimum_quality, 0.0, 1.0),
            "grace_steps": (grace_steps, 1, np.inf),
            "noise": (noise, 0.0, 10.0),
            "random_termination": (random_termination, 0.0, 1.0),
            "cost_us": (cost_us, 0.0, 1e6),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise UserError(f"{WORKLOAD_NAME}: {name} {value} is not within {low} and {high}")
        self.observation_space = spaces.Box(-np.inf, np.inf, (observations,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (actions,), np.float32)
        self.episode_limit, self.random_termination, self.noise = episode_limit, random_termination, noise
        self.minimum_quality, self.grace_steps = minimum_quality, grace_steps
        self.render_mode = render_mode
        self.work = Work()
        self.repetitions = round(cost_us * repetitions_per_us()) if cost_us else 0
        self.state = np.zeros(observations, np.float32)
        self.step_count = self.poor_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self._normal(len(self.state))
        self.step_count = self.poor_steps = 0
        return self.state.copy(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        self.work.do(self.repetitions)
        action = np.asarray(action, np.float32)
        quality = self.quality(action)
        self.state = np.float32(0.9) * self.state + np.float32(0.1) * self._normal(len(self.state))
        self.state[: len(action)] += np.float32(0.05) * action
        self.step_count += 1
        self.poor_steps = self.poor_steps + 1 if quality < self.minimum_quality else 0
        terminated = self.poor_steps >= self.grace_steps or (
            self.random_termination > 0.0 and self.np_random.random() < self.random_termination
        )
        truncated = self.step_count >= self.episode_limit
        return self.state.copy(), quality, terminated, truncated, {"action_quality": quality}

    def quality(self, action: Vector) -> float:
        """Return the quality 0..1 of an action [actions] in the current state; draws the noise."""
        distance = float(np.linalg.norm(action - np.tanh(self.state[: len(action)])))
        quality = 1.0 / (1.0 + distance) + self.noise * self.np_random.standard_normal()
        return float(min(1.0, max(0.0, quality))) if np.isfinite(quality) else float("nan")

    def _normal(self, count: int) -> Vector:
        return self.np_random.standard_normal(count, dtype=np.float32)
