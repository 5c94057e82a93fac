"""The simulated workload: the source's equations, the ends of episodes, and the cost of a step."""

import math
import time
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_as_gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_as_sb3

from sustainable.core.errors import UserError
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.workload import (
    WORKLOAD_NAME,
    SimulatedWorkload,
    Work,
    repetitions_per_us,
)

BEST_REWARD = 1.0 - 0.1 / math.sqrt(2.0 * math.pi)
"""Mean reward of the best action under the default noise z of 0.1: E[min(1, 1 + z)]."""


def episode(workload, seed, act):
    """Rewards, and how the episode ended."""
    state, _ = workload.reset(seed=seed)
    rewards = []
    while True:
        state, reward, terminated, truncated, _ = workload.step(act(state))
        rewards.append(reward)
        if terminated or truncated:
            return rewards, terminated, truncated


def best(state):
    return np.tanh(state[:8])


def worst(state):
    return -np.sign(state[:8])


def test_gymnasiums_and_sb3s_checkers_pass():
    make_environment(WORKLOAD_NAME)  # registers
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is (-)?infinity")  # as MuJoCo's have it
        check_as_gymnasium(gymnasium.make(WORKLOAD_NAME).unwrapped)
        check_as_sb3(make_environment(WORKLOAD_NAME))


def test_quality_is_one_over_one_plus_the_distance_to_the_best_action():
    workload = SimulatedWorkload(observations=3, actions=2, noise=0.0)
    workload.reset(seed=1)
    workload.state = np.zeros(3, np.float32)
    assert workload.quality(np.float32([0.0, 0.0])) == 1.0
    assert workload.quality(np.float32([0.6, 0.8])) == pytest.approx(0.5)
    workload.state = np.float32([0.5, -0.5, 9.0])
    assert workload.quality(np.tanh(workload.state[:2])) == 1.0


def test_a_step_moves_the_state_as_the_source_does():
    workload = SimulatedWorkload(observations=3, actions=2, noise=0.0)
    before, _ = workload.reset(seed=1)
    drawn = np.random.default_rng(1)
    np.testing.assert_array_equal(before, drawn.standard_normal(3, dtype=np.float32))
    drawn.standard_normal()  # the quality's noise, though it has no weight here
    expected = (
        0.9 * before + 0.1 * drawn.standard_normal(3, dtype=np.float32) + np.float32([0.05, -0.025, 0.0])
    )
    after = workload.step(np.float32([1.0, -0.5]))[0]
    np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_the_best_action_earns_the_expected_reward():
    rewards, terminated, truncated = episode(SimulatedWorkload(episode_limit=20_000), 1, best)
    assert (len(rewards), terminated, truncated) == (20_000, False, True)
    standard_error = np.std(rewards) / np.sqrt(len(rewards))
    assert abs(np.mean(rewards) - BEST_REWARD) < 4 * standard_error


def test_poor_actions_end_an_episode_after_the_grace_period():
    workload = SimulatedWorkload(noise=0.0, minimum_quality=0.5, grace_steps=7)
    rewards, terminated, truncated = episode(workload, 1, worst)
    assert (len(rewards), terminated, truncated) == (7, True, False)
    assert max(rewards) < 0.5


def test_one_good_step_restarts_the_grace_period():
    workload = SimulatedWorkload(noise=0.0, grace_steps=2)
    state, _ = workload.reset(seed=1)
    ended = []
    for good in (False, True, False, False):
        state, _, terminated, _, _ = workload.step((best if good else worst)(state))
        ended.append(terminated)
    assert ended == [False, False, False, True]


def test_random_termination_is_off_by_default():
    lengths = [len(episode(SimulatedWorkload(random_termination=0.2), seed, best)[0]) for seed in range(50)]
    assert 2 < np.mean(lengths) < 12  # 5 expected
    assert len(episode(SimulatedWorkload(), 1, best)[0]) == 1000


@given(seed=st.integers(0, 2**31), cost=st.sampled_from([1.0, 20.0]))
@settings(max_examples=10, deadline=None)
def test_the_cost_does_not_change_the_episode(seed, cost):
    free = episode(SimulatedWorkload(episode_limit=30), seed, worst)
    assert episode(SimulatedWorkload(episode_limit=30, cost_us=cost), seed, worst) == free


def test_the_cost_is_calibrated_work():
    assert SimulatedWorkload(cost_us=0.0).repetitions == 0
    dear = SimulatedWorkload(cost_us=1000.0)
    assert dear.repetitions == round(1000.0 * repetitions_per_us())
    dear.reset(seed=1)
    before = dear.work.vector
    start = time.thread_time()
    dear.step(np.zeros(8, np.float32))
    assert time.thread_time() > start
    assert not np.array_equal(dear.work.vector, before)


def test_work_is_bounded_and_every_repetition_counts():
    work, again = Work(), Work()
    work.do(1000)
    again.do(999)
    assert np.linalg.norm(work.vector) == pytest.approx(4.0)  # of 16 ones
    assert not np.allclose(work.vector, again.vector)
    again.do(1)
    np.testing.assert_array_equal(work.vector, again.vector)


def test_calibration_happens_once():
    assert repetitions_per_us() is repetitions_per_us()
    assert repetitions_per_us() > 0.0


@pytest.mark.parametrize(
    "option", [{"actions": 65}, {"episode_limit": 0}, {"minimum_quality": 1.5}, {"cost_us": -1.0}]
)
def test_options_out_of_range_are_named(option):
    (name,) = option
    reported = "observations" if name == "actions" else name
    with pytest.raises(UserError, match=rf"{WORKLOAD_NAME}: .*{reported}"):
        SimulatedWorkload(**option)
