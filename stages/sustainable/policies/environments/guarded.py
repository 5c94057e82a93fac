"""Make environments by name, with a guard that turns every fault into a one-line error, and isolate faults.

The guard checks every observation and reward, which costs about 1 us per step. Gymnasium's own checker is
disabled, because measured steps would include its cost. A task that fails becomes a record, and the error is
raised after all tasks have run.
"""

import math
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sustainable.core.errors import UserError
from sustainable.policies.policy import action_bounds
from sustainable.policies.environments.workload import WORKLOAD_NAME

FAULT = "fault"
LIMIT_VARIABLE, LIMIT_S = "TASK_LIMIT_S", 7 * 24 * 3600.0
"""How long a task (a policy to train, to compress or to measure) may take, in seconds, unless the environment
variable says otherwise. The longest one of the full profile takes hours."""
Record = dict[str, Any]
_unstable: list[str] = []
"""MuJoCo's warnings since the last check: it resets an unstable simulation without an error."""


class EnvironmentFault(Exception):  # noqa: N818  (a fault of the environment, not of this code)
    """An environment crashed, or returned NaN or infinity.

    The message is one line: the environment, the fault, the step, the episode and the seed.
    """


if WORKLOAD_NAME not in gymnasium.registry:
    gymnasium.register(
        WORKLOAD_NAME, entry_point="sustainable.policies.environments.workload:SimulatedWorkload"
    )


def make_environment(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Make a guarded environment.

    Raises `UserError` if `name` is unknown, its package is missing, it does not accept `options`, or no
    actor can serve its observations or actions.
    """
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
    space = environment.observation_space
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
        raise UserError(f"environment {name}: observations of {_one_line(space)} are not a vector of numbers")
    try:
        action_bounds(environment.action_space)
    except UserError as error:
        raise UserError(f"environment {name}: {error}") from None
    return Guard(environment, name)


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Turn exceptions, NaN, infinity and unstable simulations into `EnvironmentFault`."""

    def __init__(self, environment: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(environment)
        self.name = name
        self.seed: int | None = None
        # Episodes since the last seed, from 1: only the first starts from it, the later ones follow from it.
        self.episode = 0
        self.step_number = 0

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

    def _fault(self, problem: str) -> EnvironmentFault:
        where = f"step {self.step_number} of episode {self.episode} after seed {self.seed}"
        return EnvironmentFault(f"{self.name}: {_one_line(problem)} ({where})")


def _check_known(name: str) -> None:
    if name in gymnasium.registry or ":" in name:  # `package:Name-v0` makes Gymnasium import the package
        return
    near = get_close_matches(name, gymnasium.registry, n=3, cutoff=0.5)
    known = [spec for spec in near if not spec.startswith(("phys2d", "tabular"))]  # these need jax
    advice = f"did you mean {' or '.join(known)}?" if known else "is the package that registers it imported?"
    raise UserError(f"environment {name!r} is unknown to Gymnasium; {advice}")


def _listen_to_mujoco(name: str) -> None:
    """Collect MuJoCo's warnings, which would otherwise go to MUJOCO_LOG.TXT in the working folder."""
    specification = gymnasium.registry.get(name)
    if specification is None or "mujoco" not in str(specification.entry_point):
        return
    try:
        import mujoco  # type: ignore[import-untyped]  # here: other environments must work without it
    except ImportError:
        return  # Gymnasium reports the missing package
    mujoco.set_mju_user_warning(lambda message: _unstable.append(message) if "unstable" in message else None)


def _one_line(value: Any) -> str:
    return re.sub(r"\s+", " ", str(value)).strip()[:300]


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `EnvironmentFault` in what takes longer, as an environment that waits for something does.

    Code that does not return to the interpreter is not stopped, nor is work outside the main thread.
    """

    def stop(*_: Any) -> None:
        raise EnvironmentFault(f"stopped after {seconds:g} s, the limit of a task ({LIMIT_VARIABLE})")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def limit_s() -> float:
    """Return how many seconds a task may take."""
    given = os.environ.get(LIMIT_VARIABLE, str(LIMIT_S))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < math.inf:
        raise UserError(f"{LIMIT_VARIABLE}={given}: seconds are needed, a number above 0")
    return seconds


def caught(work: Callable[..., Record], *arguments: Any) -> Record:
    """Return the result of `work`; any exception becomes a record with a one-line `fault`."""
    try:
        with limited(limit_s()):
            return work(*arguments)
    except (EnvironmentFault, UserError) as error:
        return {FAULT: str(error)}
    except Exception as error:  # of any kind: the other tasks must go on
        return {FAULT: " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def refuse_faults(records: Mapping[str, Record], noun: str) -> None:
    """Raise `UserError` if a record holds a fault.

    The message is one line that names every failed record and gives each reason once. `noun` says what the
    records are, as in `policies`.
    """
    faults = {name: record[FAULT] for name, record in records.items() if FAULT in record}
    if not faults:
        return
    reasons = dict.fromkeys(faults.values())
    lines = [f"{', '.join(name for name in faults if faults[name] == why)}: {why}" for why in reasons]
    raise UserError(
        f"{len(faults)} of {len(records)} {noun} failed; the others are done and kept, run again to do only "
        f"what failed. {'; '.join(lines)}"
    )
