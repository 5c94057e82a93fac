"""Faults of single tasks: one that fails, and checkpoints that are damaged."""

import resource
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.files import write_text
from sustainable.verification.faults.comparison import Difference, difference
from sustainable.verification.faults.interruptions import saved
from sustainable.verification.faults.workshop import (
    CHECKPOINTS, Skip, Workshop, run, surroundings, tail,
)  # fmt: skip
from sustainable.verification.lock import read_yaml

Damage = Callable[[bytes], bytes]
PARAMETERS = "faults.yaml"
NAME = "sustainable.verification.faults.misbehaving:Misbehaving-v0"
"""The environment that fails; Gymnasium imports its module."""
MISBEHAVIOUR, TASK_LIMIT = "MISBEHAVIOUR", "TASK_LIMIT_S"
"""Variables: how it fails, and how long a task may take."""
GOOD = "SimulatedWorkload-v0"
"""The environment beside the misbehaving one; its policy must be that of the undisturbed run."""
LIMIT_S = 60
"""For a task that hangs; the other one takes a few seconds on an idle machine."""
EXPECTED = {
    "raises": "ValueError: out of order",
    "hangs": f"stopped after {LIMIT_S} s",
    "eats": "MemoryError",
    "dies": "a worker process was killed",
}
"""What the one line says of each misbehaviour."""
ADDRESS_SPACE = 6 * 2**30
DAMAGES: dict[str, Damage] = {
    "is empty": lambda content: b"",
    "is cut in half": lambda content: content[: len(content) // 2],
    "has a wrong byte in the middle": lambda content: flipped(content, len(content) // 2),
    "has a wrong byte at the end": lambda content: flipped(content, len(content) - 2),
}


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def misbehaving_task(workshop: Workshop, what: str) -> Difference:
    """Train two policies, of which one misbehaves; then both, when it behaves."""
    workshop.restore("train_policies")
    command = two_policies(workshop)
    environment = surroundings(workshop.folder)
    if what == "hangs":
        environment[TASK_LIMIT] = str(LIMIT_S)
    options: dict[str, Any] = {"preexec_fn": limit_memory} if what == "eats" else {}
    ended = run(command, workshop.folder, environment | {MISBEHAVIOUR: what}, **options)
    if what == "dies" and ended.status == -signal.SIGKILL:
        raise Skip("with one core there are no workers")
    problem = ended.refusal(EXPECTED[what])
    before = saved(workshop.folder)
    if what != "dies" and problem is None and not any(GOOD in path for path in before.records):
        problem = "the other task was not kept"
    again = run(command, workshop.folder, surroundings(workshop.folder))
    if again.status != 0:
        problem = problem or f"failed when repeated: {tail(again.errors)}"
    policy = [f"data/models/policies/{GOOD}/PPO/seed_1{suffix}" for suffix in (".safetensors", ".json")]
    found = difference(workshop.undisturbed, workshop.folder, policy, [])
    workshop.repair("train_policies")
    return Difference(found.lost, found.doubled, problem or found.problem)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def two_policies(workshop: Workshop, *environments: str) -> list[str]:
    """Return the command that trains one policy of each environment."""
    parameters = read_yaml(workshop.folder / "params.yaml")
    training = parameters["train_policies"]
    training |= {"seeds": [1], "cells": {"PPO": list(environments or (GOOD, NAME))}}
    recipes = training["recipes"]
    recipes[NAME] = {"PPO": recipes["CartPole-v1"]["PPO"] | {"steps": 2048}}
    write_text(workshop.folder / PARAMETERS, yaml.safe_dump(parameters, sort_keys=False))
    return [word.replace("params.yaml", PARAMETERS) for word in workshop.command("train_policies")]


def damaged_forecaster(workshop: Workshop, damage: Damage) -> Difference:
    """Damage the checkpoint of a forecaster's training."""
    stage = "train_baseline@published"
    return damaged_checkpoint(workshop, stage, workshop.command(stage), "published/training/seed_*", damage)


def damaged_policy(workshop: Workshop, damage: Damage) -> Difference:
    """Damage the checkpoint of a policy's training, which then starts from the beginning."""
    command = two_policies(workshop, "CartPole-v1")
    found = damaged_checkpoint(
        workshop, "train_policies", command, "policies/training/**/checkpoint.safetensors", damage,
        ["data/models/policies/CartPole-v1/PPO/seed_1.safetensors"],
    )  # fmt: skip
    workshop.repair("train_policies")
    return found


def damaged_task(workshop: Workshop, damage: Damage) -> Difference:
    """Damage the weights of a finished task while the others are still worked on."""
    stage = "shrink@mnist1d"
    weights = "mnist1d/shrink/**/*.safetensors"
    return damaged_checkpoint(workshop, stage, workshop.command(stage), weights, damage, record=True)


def damaged_checkpoint(
    workshop: Workshop, stage: str, command: list[str], pattern: str, damage: Damage,
    outputs: list[str] | None = None, record: bool = False,
) -> Difference:  # fmt: skip
    """Kill a stage as soon as a checkpoint is there, damage it, and run the stage again.

    With `record`, the checkpoint must be that of a finished task.
    """
    workshop.restore(stage)
    folder = workshop.folder / CHECKPOINTS
    process = subprocess.Popen(
        command, cwd=workshop.folder, env=surroundings(workshop.folder), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found: list[Path] = []
    while not found and process.poll() is None:
        files = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
        found = [path for path in files if path.with_suffix(".json").is_file() or not record]
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(2.0)  # its workers end
    if not found or not found[0].is_file():
        raise Skip("the stage was done before its checkpoint was seen")
    found[0].write_bytes(damage(found[0].read_bytes()))
    ended = run(command, workshop.folder)
    problem = None if ended.status == 0 else f"failed when repeated: {tail(ended.errors)}"
    if problem is None and "from scratch" not in ended.printed and "from the beginning" not in ended.printed:
        problem = "no message says that the checkpoint is damaged"
    names = list(workshop.stages[stage].outputs) if outputs is None else outputs
    one = difference(workshop.undisturbed, workshop.folder, names, [])
    return Difference(one.lost, one.doubled, problem or one.problem)


def faults() -> dict[str, Callable[[Workshop], Difference]]:
    """Return the faults of tasks by name."""
    named: dict[str, Callable[[Workshop], Difference]] = {
        f"a task {what}": partial(misbehaving_task, what=what) for what in EXPECTED
    }
    for how, damage in DAMAGES.items():
        named[f"the checkpoint of a forecaster {how}"] = partial(damaged_forecaster, damage=damage)
        named[f"the checkpoint of a policy {how}"] = partial(damaged_policy, damage=damage)
    how, damage = "has a wrong byte at the end", DAMAGES["has a wrong byte at the end"]
    named[f"the network of a finished task {how}"] = partial(damaged_task, damage=damage)
    return named
