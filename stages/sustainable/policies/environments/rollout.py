"""Rollouts: a policy acts in an environment for whole episodes, which can be recorded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from sustainable.policies.policy import Act

Environment = gymnasium.Env[Any, Any]


class Episode(NamedTuple):
    """The result of one episode."""

    episode_return: float
    steps: int
    terminated: bool  # whether the environment ended the episode before its time limit


@dataclass(frozen=True)
class Recording:
    """Episodes that can be replayed."""

    seeds: list[int]  # the environment's seed of each episode
    actions: list[list[Any]]  # the actions of each episode
    observations: np.ndarray  # observations [steps, observations] float32 of all episodes in order


def run_episode(environment: Environment, act: Act, seed: int) -> Episode:
    """Run one whole episode; `seed` sets the environment's initial state."""
    observation, _ = environment.reset(seed=seed)
    total, steps = 0.0, 0
    while True:
        observation, reward, terminated, truncated, _ = environment.step(act(observation))
        total += float(reward)
        steps += 1
        if terminated or truncated:
            return Episode(total, steps, bool(terminated))


def record(environment: Environment, act: Act, seeds: Iterator[int], steps: int) -> Recording:
    """Record whole episodes, one per seed, until they have at least `steps` steps."""
    used_seeds: list[int] = []
    actions: list[list[Any]] = []
    observations: list[np.ndarray] = []

    def recorded(observation: np.ndarray) -> Any:
        action = act(observation)
        observations.append(np.array(observation))
        actions[-1].append(np.array(action) if isinstance(action, np.ndarray) else action)
        return action

    while len(observations) < steps:
        used_seeds.append(next(seeds))
        actions.append([])
        run_episode(environment, recorded, used_seeds[-1])
    return Recording(used_seeds, actions, np.array(observations, dtype=np.float32))


def collect_states(environment: Environment, act: Act, seeds: Iterator[int], count: int) -> np.ndarray:
    """Return `count` observations [count, observations] float32, evenly spaced over whole episodes."""
    observations = record(environment, act, seeds, count).observations
    chosen: np.ndarray = observations[np.linspace(0, len(observations) - 1, count).round().astype(int)]
    return chosen
