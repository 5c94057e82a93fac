"""The memory of a policy, and of a network large enough for compression to show, in fresh processes.

Every deployment is saved first; the processes load it and do not compress.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import STRICT
from sustainable.policies.benchmark.deployments import PolicyConfiguration, PolicyFolders
from sustainable.policies.benchmark.memory import read_memory
from sustainable.policies.compression.accounting import memory_bytes
from sustainable.policies.compression.saved import save_deployed
from sustainable.policies.compression.static_int8 import load_prepared
from sustainable.policies.learning.recipes import Algorithm, TrainingRun
from sustainable.policies.policy import Actor, load_policy

POLICY, LARGE = "policy", "large"  # the networks whose memory is read
Request = tuple[str, int, str]  # arguments of `read_memory`


@dataclass(frozen=True, config=STRICT)
class LargeNetwork:
    """An untrained network of the policy's shape, so wide that its weights are a visible share of a process:
    the control that must show what compression saves. It is not deployed with ranges (PTSQ, QAT)."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class MemoryParameters:
    """The memory measurement of one policy, and of a large network."""

    environment: str
    algorithm: Algorithm
    repeats: Annotated[int, Field(ge=2, le=1000)]
    """Fresh processes per configuration."""
    configurations: Annotated[list[str], Field(min_length=2)]
    large: LargeNetwork


def memory_rows(
    run: TrainingRun,
    folders: PolicyFolders,
    parameters: MemoryParameters,
    configurations: Mapping[str, PolicyConfiguration],
    seed: int,
) -> list[dict[str, Any]]:
    """Return one row per network, configuration and repeat; processes run in an order drawn by `seed`."""
    policy = load_policy(folders.policies / run.file)
    prepared = load_prepared(folders.prepared / run.file)
    networks = {
        POLICY: (policy.actor, prepared, parameters.configurations),
        LARGE: (untrained(policy.actor, parameters.large.hidden), None, parameters.large.configurations),
    }
    rows: list[dict[str, Any]] = []
    requests: list[Request] = []
    with tempfile.TemporaryDirectory() as folder:
        for network, (actor, ranges, names) in networks.items():
            for name in names:
                saved = Path(folder, f"{network}-{name}")
                deployed = folders.deployed(actor, ranges, name, configurations[name])
                save_deployed(saved, deployed)
                row = {"network": network, "configuration": name, **asdict(configurations[name])}
                row["weights_bytes_disk"] = deployed.size_bytes
                row["weights_bytes_memory"] = memory_bytes(deployed.module)
                rows += [row | {"repeat": repeat} for repeat in range(parameters.repeats)]
                request = (str(saved), policy.actor.architecture.observations, f"{name} ({network})")
                requests += [request] * parameters.repeats
        readings = in_random_order(requests, seed)
    return [row | reading for row, reading in zip(rows, readings, strict=True)]


def untrained(actor: Actor, hidden: tuple[int, ...]) -> Actor:
    """Return a network of random weights, the same in every run, with other hidden layers than `actor`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Actor(replace(actor.architecture, hidden=hidden)).eval()


def in_random_order(requests: Sequence[Request], seed: int) -> list[dict[str, int]]:
    """Return the readings of `read_memory` in the order of `requests`; they are taken in a random one."""
    order = np.random.default_rng(seed).permutation(len(requests))
    readings = in_parallel(read_memory, [requests[index] for index in order], "memory")
    taken = dict(zip(order.tolist(), readings, strict=True))
    return [taken[index] for index in range(len(requests))]
