"""Guarded environments: every fault raises one line that says where it happened."""

import pickle
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from sustainable.core.errors import UserError
from sustainable.policies.environments.guarded import EnvironmentFault, Guard, make_environment


class Scripted(gymnasium.Env):
    """Return the observations and rewards of a script in order; raise its exceptions."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, script):
        self.script = list(script)

    def reset(self, *, seed=None, options=None):
        return self._next()[0], {}

    def step(self, action):
        observation, reward = self._next()
        return observation, reward, False, False, {}

    def _next(self):
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return np.float32(item[0]), item[1]


FINE = ([0.0, 0.0], 1.0)


def guarded(*script):
    return Guard(Scripted(script), "Scripted-v0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Hoper-v5", "'Hoper-v5' is unknown to Gymnasium; did you mean Hopper-v5"),
        ("Cart Pole", "is unknown to Gymnasium"),
        ("nowhere_at_all:Nope-v0", "nowhere_at_all:Nope-v0 needs a package that is missing: No module named"),
        ("FrozenLake-v1", r"FrozenLake-v1: observations of Discrete\(16\) are not a vector of numbers"),
    ],
)
def test_an_environment_that_cannot_be_used_raises_one_line(name, message):
    with pytest.raises(UserError, match=message) as raised:
        make_environment(name)
    assert "\n" not in str(raised.value)


def test_a_missing_package_is_named_with_its_installation(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"Hopper-v5 needs a package that is missing: .*gymnasium\[mujoco\]"):
        make_environment("Hopper-v5")


def test_action_spaces_that_no_actor_supports_are_refused():
    gymnasium.register("Odd-v0", entry_point=lambda: OddActions([]))
    try:
        with pytest.raises(UserError, match=r"environment Odd-v0: actions of MultiBinary\(3\)"):
            make_environment("Odd-v0")
    finally:
        del gymnasium.registry["Odd-v0"]


class OddActions(Scripted):
    action_space = spaces.MultiBinary(3)


def test_options_reach_the_environment_and_unknown_ones_are_named():
    workload = make_environment("SimulatedWorkload-v0", observations=5, actions=2)
    assert workload.observation_space.shape == (5,)
    with pytest.raises(UserError, match=r"cannot be made with {'colour': 1}: .*'colour'$"):
        make_environment("CartPole-v1", colour=1)


def test_the_guard_changes_nothing_in_a_sound_environment():
    environment = make_environment("CartPole-v1")
    bare = gymnasium.make("CartPole-v1")
    assert environment.spec.id == "CartPole-v1"
    np.testing.assert_array_equal(environment.reset(seed=4)[0], bare.reset(seed=4)[0])
    for _ in range(5):
        guarded_step, bare_step = environment.step(1), bare.step(1)
        np.testing.assert_array_equal(guarded_step[0], bare_step[0])
        assert guarded_step[1:4] == bare_step[1:4]


def test_gymnasiums_checker_is_disabled():
    wrapper = make_environment("CartPole-v1")
    while isinstance(wrapper, gymnasium.Wrapper):
        assert not isinstance(wrapper, gymnasium.wrappers.PassiveEnvChecker)
        wrapper = wrapper.env


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (([0.0, np.nan], 1.0), "step gave an observation with NaN or infinity"),
        (([np.inf, -np.inf], 1.0), "step gave an observation with NaN or infinity"),
        (([0.0, 0.0], np.nan), "step gave the reward nan"),
        (([0.0, 0.0], -np.inf), "step gave the reward -inf"),
        (RuntimeError("joint\n  broke"), "step: RuntimeError: joint broke"),
    ],
)
def test_a_fault_says_what_and_where(bad, message):
    environment = guarded(FINE, FINE, FINE, FINE, bad)
    environment.reset(seed=9)
    environment.step(0)
    environment.reset()  # a second episode
    environment.step(0)
    with pytest.raises(EnvironmentFault) as raised:
        environment.step(0)
    assert str(raised.value) == f"Scripted-v0: {message} (step 2 of episode 2 after seed 9)"


def test_faults_of_reset():
    with pytest.raises(EnvironmentFault, match=r"reset: KeyError: 'x' \(step 0 of episode 1 after seed 3\)"):
        guarded(KeyError("x")).reset(seed=3)
    with pytest.raises(EnvironmentFault, match="reset gave an observation with NaN"):
        guarded(([np.nan, 0.0], 0.0)).reset(seed=3)


def test_a_fault_can_be_pickled():
    fault = pickle.loads(pickle.dumps(EnvironmentFault("a line")))
    assert str(fault) == "a line"


def test_an_unstable_simulation_is_a_fault_and_leaves_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = make_environment("HalfCheetah-v5")
    environment.reset(seed=1)
    environment.step(np.zeros(6, np.float32))
    with pytest.raises(EnvironmentFault, match=r"HalfCheetah-v5: step: .*unstable.* \(step 2 of"):
        environment.step(np.full(6, np.nan, np.float32))
    environment.reset(seed=1)
    environment.step(np.zeros(6, np.float32))  # as before
    assert not list(tmp_path.iterdir())
