"""The notebook's experiment: five tests, as published and with its flaws repaired one at a time."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.energy.meter import Meter
from sustainable.policies.compression.accounting import size_bytes
from sustainable.policies.environments.rollout import Environment
from sustainable.policies.learning.recipes import Algorithm, PolicyTrainingParameters, TrainingRun, plan
from sustainable.policies.policy import Actor
from sustainable.policies.published.environments import (
    MockEnvironment,
    MockParameters,
    RealEnvironment,
    NotebookTask,
)
from sustainable.policies.published.models import NotebookMethod, compressed, notebook_agent, trained_agent
from sustainable.policies.published.monitors import (
    COMPONENTS,
    AssumedPowerMonitor,
    MeteredMonitor,
    Monitor,
    Monitored,
    MonitorParameters,
)

Deviation = Literal[
    "real compression", "real size", "cleared history", "real environment", "real meter", "nothing compressed"
]
REPAIRS: tuple[Deviation, ...] = (
    "real compression", "real size", "cleared history", "real environment", "real meter"
)  # fmt: skip
ARMS: Mapping[str, tuple[Deviation, ...]] = {
    "published": (),
    "nothing compressed": ("nothing compressed",),
    **{name: (name,) for name in REPAIRS},
    "all repaired": REPAIRS,
}
"""What differs from the notebook in each arm. `nothing compressed`: each test runs a copy of the baseline."""


@dataclass(frozen=True, config=STRICT)
class NotebookTest:
    """One of the notebook's tests."""

    method: NotebookMethod
    intensity: Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=STRICT)
class RealParameters:
    """The trained policy and the environment that replace the notebook's; its first training seed is used."""

    environment: str
    algorithm: Algorithm

    def run(self, training: PolicyTrainingParameters) -> TrainingRun:
        """Return the training run of the policy; raises `UserError` if there is none."""
        known = [run for run in plan(training) if asdict(self).items() <= asdict(run).items()]
        if not known:
            raise UserError(
                f"params.yaml: notebook.real: {self.environment} {self.algorithm} is not among "
                "train_policies.cells; train it, or name another"
            )
        return known[0]


@dataclass(frozen=True, config=STRICT)
class NotebookParameters:
    """Section `notebook` of params.yaml."""

    seeds: PositiveInt  # experiments as published, and with nothing compressed
    repaired_seeds: Annotated[int, Field(ge=0)]  # experiments of each other arm
    episodes: PositiveInt  # per test
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    tests: Annotated[dict[str, NotebookTest], Field(min_length=2)]
    """The first is the baseline of all others."""
    mock: MockParameters
    monitor: MonitorParameters
    metered_interval_s: Annotated[float, Field(ge=0.1)]  # between two samples of a real meter
    real: RealParameters


@plain_dataclass(frozen=True)
class RealParts:
    """What the repaired arms use in place of the notebook's simulations."""

    actor: Actor
    make_environment: Callable[[], Environment]
    make_meter: Callable[[], Meter]


def run_arms(parameters: NotebookParameters, real: RealParts, journal: RowJournal) -> None:
    """Run every arm with all its seeds; the rows of a whole experiment are appended to `journal` at once.

    A row is a test: what the notebook computes of it, its power, and the trace of the power.
    """
    done = {(row["arm"], row["seed"]) for row in journal.rows}
    planned = [pair for pair in experiments(parameters) if pair not in done]
    for number, (arm, seed) in enumerate(planned, start=1):
        print(f"notebook: {arm}, seed {seed} ({number} of {len(planned)})", flush=True)
        tests = run_experiment(arm, seed, parameters, real)
        journal.append({"arm": arm, "seed": seed, "tests": tests})


def experiments(parameters: NotebookParameters) -> Iterator[tuple[str, int]]:
    """Yield arms and seeds, seed by seed, so that the arms share whatever changes with time."""
    for seed in range(max(parameters.seeds, parameters.repaired_seeds)):
        for arm in ARMS:
            often = arm in ("published", "nothing compressed")
            if seed < (parameters.seeds if often else parameters.repaired_seeds):
                yield arm, seed


def experiment_rows(
    journalled: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return one row per test, with `common` first and without the traces."""
    return [
        {**common, "arm": done["arm"], "seed": done["seed"], **_without_trace(test)}
        for done in journalled
        for test in done["tests"]
    ]


def power_rows(journalled: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the traces of every arm's first seed, one row per sample, with the idle power of the host."""
    return [
        {"arm": done["arm"], "test": test["test"], "idle_w": test["total_idle_w"], **sample}
        for done in journalled
        if done["seed"] == 0
        for test in done["tests"]
        for sample in test["trace"]
    ]


def _without_trace(test: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in test.items() if name != "trace"}


def run_experiment(
    arm: str, seed: int, parameters: NotebookParameters, real: RealParts
) -> list[dict[str, Any]]:
    """Run the tests of one experiment; return one row per test."""
    changes = ARMS[arm]
    torch.manual_seed(seed)
    task: NotebookTask = MockEnvironment(parameters.mock)
    base = notebook_agent(parameters.mock.observations, parameters.hidden, parameters.mock.actions)
    if "real environment" in changes:
        base = trained_agent(real.actor)
        task = RealEnvironment(real.make_environment(), 1000 * seed)
    monitor = make_monitor(changes, parameters, real)
    kind = "simulated"
    if "nothing compressed" in changes:
        kind = "none"
    elif "real compression" in changes:
        kind = "real"
    rows = []
    for name, test in parameters.tests.items():
        model = compressed(base, test.method, test.intensity, kind)  # type: ignore[arg-type]
        if "cleared history" in changes:
            task.history.clear()
        row = act_in_task(model, task, parameters.episodes, monitor)
        rows.append({"test": name, **asdict(test), **described(model, base, changes), **row})
    return rows


def make_monitor(changes: tuple[Deviation, ...], parameters: NotebookParameters, real: RealParts) -> Monitor:
    """Return the monitor of an arm, with the idle power measured."""
    if "real meter" in changes:
        return MeteredMonitor(real.make_meter, parameters.monitor.idle_s, parameters.metered_interval_s)
    return AssumedPowerMonitor(parameters.monitor)


def act_in_task(model: nn.Module, task: NotebookTask, episodes: int, monitor: Monitor) -> dict[str, Any]:
    """Run whole episodes; return their mean return and length over the task's history, times, and energies.

    The history also holds the episodes of the tests before, unless it was cleared.
    """
    policy_s = environment_s = 0.0
    monitor.start()
    begun = time.perf_counter()
    for _ in range(episodes):
        observation, done = task.reset(), False
        while not done:
            before = time.perf_counter()
            with torch.no_grad():
                action = model(observation.unsqueeze(0)).squeeze(0)
            between = time.perf_counter()
            if not math.isfinite(float(action[0])):
                raise UserError(f"notebook: a policy returned the action {action.tolist()}; train it again")
            observation, _, done = task.step(action)
            policy_s += between - before
            environment_s += time.perf_counter() - between
    total_s = time.perf_counter() - begun
    power = monitor.stop()
    own = task.history[-episodes:]
    return {
        "episodes_counted": len(task.history),
        "episodes": episodes,
        "steps_counted": sum(one.steps for one in task.history),
        "steps": sum(one.steps for one in own),
        "return_counted": sum(one.episode_return for one in task.history) / len(task.history),
        "return_mean": sum(one.episode_return for one in own) / episodes,
        "total_s": total_s,
        "policy_s": policy_s,
        "environment_s": environment_s,
        **power_columns(power),
        "trace": power.trace,
    }


def described(model: nn.Module, base: nn.Module, changes: tuple[Deviation, ...]) -> dict[str, Any]:
    """Return the size as the notebook counts it (4 bytes per parameter), or as stored; and the sparsity."""
    parameters = list(model.parameters())
    count = sum(value.numel() for value in parameters)
    zeros = sum(int((value == 0).sum()) for value in parameters)
    stored = "real size" in changes
    return {
        "parameters": count,
        "base_parameters": sum(value.numel() for value in base.parameters()),
        "size_bytes": size_bytes(model) if stored else 4 * count,
        "sparsity": zeros / count if count else 0.0,
    }


def power_columns(power: Monitored) -> dict[str, Any]:
    """Return energies and powers by component as columns of a row; missing components are None."""
    columns: dict[str, Any] = {"duration_s": power.duration_s, "evidence": power.evidence}
    for quantity in ("idle_w", "gross_j", "net_j", "average_w", "peak_w"):
        values: Mapping[str, float] = getattr(power, quantity)
        name, unit = quantity.rsplit("_", 1)
        columns |= {f"{component}_{name}_{unit}": values.get(component) for component in COMPONENTS}
    return columns
