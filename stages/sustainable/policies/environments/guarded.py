"""Environments by name, guarded: what goes wrong in one is a single clear line.

The guard checks every observation and reward (about 1 us a step). Gymnasium's own checker is left out: a
measured step would pay for it.
"""

import math
import re
from difflib import get_close_matches
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.core.errors import UserError
from sustainable.policies.policy import action_bounds
from sustainable.policies.environments.workload import NAME

_unstable: list[str] = []
"""What MuJoCo has warned of since the last look: it resets an unstable simulation without telling."""


class EnvironmentFault(Exception):  # noqa: N818  (the name says that it is not our error)
    """An environment crashed, or gave what is no number. The message is one line: which environment, what,
    in which step of which episode, after which seed."""


def register_workload() -> None:
    """Make SimulatedWorkload-v0 known to Gymnasium."""
    if NAME not in gymnasium.registry:
        gymnasium.register(NAME, entry_point="sustainable.policies.environments.workload:SimulatedWorkload")


register_workload()


def make_environment(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """A guarded environment. Raises `UserError` when `name` is unknown or its package is missing, when it
    does not take `options`, and when its observations or actions are nothing that an actor can serve."""
    _check_known(name)
    _listen_to_mujoco(name)
    try:
        environment = gymnasium.make(name, disable_env_checker=True, **options)
    except UserError:
        raise
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise UserError(f"environment {name} needs a package that is missing: {_one_line(error)}") from None
    except Exception as error:
        given = f" with {options}" if options else ""
        cause = _one_line(error).split(" was raised from the environment creator")[0]
        raise UserError(f"environment {name} cannot be made{given}: {cause}") from None
    _check_observations(name, environment.observation_space)
    try:
        action_bounds(environment.action_space)
    except UserError as error:
        raise UserError(f"environment {name}: {error}") from None
    return Guard(environment, name)


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Turns exceptions, NaN and infinity, and a simulation that became unstable, into `EnvironmentFault`.

    `episode` counts from 1 since the last seed: only the first episode after it begins with that seed, the
    later ones follow from it.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(environment)
        self.name = name
        self.seed: int | None = None
        self.episode = self.step_number = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.episode, self.step_number = (1 if seed is not None else self.episode + 1), 0
        self.seed = self.seed if seed is None else seed
        _unstable.clear()
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._fault(f"reset: {type(error).__name__}: {error}") from error
        if not np.isfinite(observation).all():
            raise self._fault("reset gave an observation with NaN or infinity")
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            raise self._fault(f"step: {type(error).__name__}: {error}") from error
        if _unstable:
            raise self._fault(f"step: {_unstable.pop()}")
        if not np.isfinite(observation).all():
            raise self._fault("step gave an observation with NaN or infinity")
        if not math.isfinite(reward):
            raise self._fault(f"step gave the reward {reward}")
        return observation, float(reward), terminated, truncated, info

    def _fault(self, what: str) -> EnvironmentFault:
        where = f"step {self.step_number} of episode {self.episode} after seed {self.seed}"
        return EnvironmentFault(f"{self.name}: {_one_line(what)} ({where})")


def _check_known(name: str) -> None:
    if name in gymnasium.registry or ":" in name:  # `package:Name-v0` makes Gymnasium import the package
        return
    near = get_close_matches(name, gymnasium.registry, n=3, cutoff=0.5)
    known = [spec for spec in near if not spec.startswith(("phys2d", "tabular"))]  # these need jax
    advice = f"did you mean {' or '.join(known)}?" if known else "is the package that registers it imported?"
    raise UserError(f"environment {name!r} is unknown to Gymnasium; {advice}")


def _check_observations(name: str, space: spaces.Space[Any]) -> None:
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
        raise UserError(f"environment {name}: observations of {_one_line(space)} are no vector of numbers")


def _listen_to_mujoco(name: str) -> None:
    """Hear MuJoCo's warnings, which would else go to a file MUJOCO_LOG.TXT in the working folder."""
    specification = gymnasium.registry.get(name)
    if specification is None or "mujoco" not in str(specification.entry_point):
        return
    try:
        import mujoco  # type: ignore[import-untyped]  # only here: other environments must work without it
    except ImportError:
        return  # Gymnasium will say so
    mujoco.set_mju_user_warning(_heard)


def _heard(message: str) -> None:
    if "unstable" in message:
        _unstable.append(message)


def _one_line(what: Any) -> str:
    return re.sub(r"\s+", " ", str(what)).strip()[:300]
