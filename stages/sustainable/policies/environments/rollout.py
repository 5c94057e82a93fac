"""Episodes: a policy acts in an environment until it ends; what it has seen and done can be kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

Environment = gymnasium.Env[Any, Any]
Act = Callable[[np.ndarray], Any]
"""One observation [observations] to the environment's action."""


class Episode(NamedTuple):
    """What one episode came to. `terminated`: the environment ended it before its limit of time."""

    episode_return: float
    steps: int
    terminated: bool


@dataclass(frozen=True)
class Recording:
    """Episodes that can be stepped through again: seeds, and the actions of each; observations [n, ...]."""

    seeds: list[int]
    actions: list[list[Any]]
    observations: np.ndarray


def run_episode(environment: Environment, act: Act, seed: int) -> Episode:
    """One whole episode from the state that `seed` gives."""
    observation, _ = environment.reset(seed=seed)
    total, steps = 0.0, 0
    while True:
        observation, reward, terminated, truncated, _ = environment.step(act(observation))
        total += float(reward)
        steps += 1
        if terminated or truncated:
            return Episode(total, steps, bool(terminated))


def record(environment: Environment, act: Act, seeds: Iterator[int], steps: int) -> Recording:
    """Whole episodes, one a seed, until there are at least so many steps."""
    used: list[int] = []
    actions: list[list[Any]] = []
    observations: list[np.ndarray] = []
    while len(observations) < steps:
        used.append(next(seeds))
        actions.append([])
        run_episode(environment, _noting(act, observations, actions[-1]), used[-1])
    return Recording(used, actions, np.array(observations, dtype=np.float32))


def _noting(act: Act, observations: list[np.ndarray], actions: list[Any]) -> Act:
    def noted(observation: np.ndarray) -> Any:
        action = act(observation)
        observations.append(np.array(observation))
        actions.append(np.array(action) if isinstance(action, np.ndarray) else action)
        return action

    return noted


def collect_states(environment: Environment, act: Act, seeds: Iterator[int], count: int) -> np.ndarray:
    """Observations [count, observations] float32 that a policy meets in whole episodes, thinned evenly."""
    found = record(environment, act, seeds, count).observations
    chosen: np.ndarray = found[np.linspace(0, len(found) - 1, count).round().astype(int)]
    return chosen
