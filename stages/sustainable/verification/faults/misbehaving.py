"""CartPole that fails as the variable `MISBEHAVIOUR` says; without it, it is CartPole."""

import os
import signal
import time
from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from sustainable.verification.faults.tasks import MISBEHAVIOUR

WELL = 100
"""Steps of one copy before it fails: the other tasks are then being worked on."""


class Misbehaving(CartPoleEnv):
    """An environment of the user, with a fault."""

    taken = 0

    def step(self, action: Any) -> Any:
        self.taken += 1
        if self.taken > WELL and MISBEHAVIOUR in os.environ:
            MISBEHAVIOURS[os.environ[MISBEHAVIOUR]]()
        return super().step(action)


def raises() -> None:
    raise ValueError("out of order")


def hangs() -> None:
    while True:
        time.sleep(1.0)


def eats() -> None:
    """Take memory until there is none."""
    eaten = []
    while True:
        eaten.append(bytes(2**26))


def dies() -> None:
    """End as a process does that the kernel chooses when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


MISBEHAVIOURS = {action.__name__: action for action in (raises, hangs, eats, dies)}

if "Misbehaving-v0" not in gymnasium.registry:
    gymnasium.register("Misbehaving-v0", entry_point=f"{__name__}:Misbehaving")
