"""Episodes: returns and steps that can be counted by hand, and recordings that replay themselves."""

from itertools import count
from typing import Any

import gymnasium
import numpy as np
import pytest

from sustainable.policies.environments.rollout import collect_states, record, run_episode


class Countdown(gymnasium.Env):
    """Shows how many steps are left, pays the action, and ends early for a negative one."""

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


def test_a_recording_holds_whole_episodes_and_what_was_seen_before_each_action():
    found = record(Countdown(), constant(1.0), count(0), steps=5)
    assert found.seeds == [0, 1]
    assert [len(actions) for actions in found.actions] == [3, 4]
    assert found.observations.tolist() == [[3], [2], [1], [4], [3], [2], [1]]


def test_a_recording_steps_through_the_same_episodes_again():
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    found = record(environment, lambda observation: int(observation[2] > 0), count(7), steps=60)
    again = []
    for seed, actions in zip(found.seeds, found.actions, strict=True):
        observation, _ = environment.reset(seed=seed)
        for action in actions:
            again.append(observation)
            observation = environment.step(action)[0]
    assert np.array_equal(np.array(again, np.float32), found.observations)


@pytest.mark.parametrize("wanted", [1, 4, 7])
def test_states_are_as_many_as_asked_for_and_spread_over_the_episodes(wanted):
    states = collect_states(Countdown(), constant(1.0), count(0), wanted)
    assert states.shape == (wanted, 1)
    assert states.dtype == np.float32
    if wanted == 4:  # of the 7 states 3 2 1 4 3 2 1, at 0, 2, 4 and 6
        assert states.ravel().tolist() == [3, 1, 3, 1]
