"""Rollouts: returns and steps counted by hand, and recordings that can be replayed."""

from itertools import count
from typing import Any

import gymnasium
import numpy as np
import pytest

from sustainable.policies.environments.rollout import collect_states, record, run_episode


class Countdown(gymnasium.Env):
    """Observe the number of steps left; the reward is the action, and a negative one ends the episode."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.left = 3 + (seed or 0) % 2
        return np.array([self.left], np.float32), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return np.array([self.left], np.float32), float(action[0]), bool(action[0] < 0), self.left == 0, {}


def constant(value: float) -> Any:
    return lambda observation: np.array([value], np.float32)


def test_an_episode_sums_rewards_until_its_limit():
    assert run_episode(Countdown(), constant(2.0), seed=0) == (6.0, 3, False)
    assert run_episode(Countdown(), constant(2.0), seed=1) == (8.0, 4, False)


def test_a_bad_action_ends_it_early():
    assert run_episode(Countdown(), constant(-1.0), seed=0) == (-1.0, 1, True)


def test_a_recording_has_whole_episodes_and_the_observation_before_each_action():
    recording = record(Countdown(), constant(1.0), count(0), steps=5)
    assert recording.seeds == [0, 1]
    assert [len(actions) for actions in recording.actions] == [3, 4]
    assert recording.observations.tolist() == [[3], [2], [1], [4], [3], [2], [1]]


def test_a_recording_replays_the_same_episodes():
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    recording = record(environment, lambda observation: int(observation[2] > 0), count(7), steps=60)
    again = []
    for seed, actions in zip(recording.seeds, recording.actions, strict=True):
        observation, _ = environment.reset(seed=seed)
        for action in actions:
            again.append(observation)
            observation = environment.step(action)[0]
    assert np.array_equal(np.array(again, np.float32), recording.observations)


@pytest.mark.parametrize("number", [1, 4, 7])
def test_collected_states_are_spread_evenly_over_the_episodes(number):
    states = collect_states(Countdown(), constant(1.0), count(0), number)
    assert states.shape == (number, 1)
    assert states.dtype == np.float32
    if number == 4:  # of the 7 states 3 2 1 4 3 2 1, at 0, 2, 4 and 6
        assert states.ravel().tolist() == [3, 1, 3, 1]
