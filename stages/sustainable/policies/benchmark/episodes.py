"""Measure policies while they act in their environments, in windows of whole episodes.

Every block contains each configuration once, including the A/A twin, and one idle window, in an order drawn
from the seed. A block uses the policies of one training seed; the seeds take turns. All windows of a block
run the same episodes (the same seeds of the environment), so that returns and lengths are paired. Their
number is calibrated once with the first configuration and then frozen. A configuration whose episodes end
early continues with further episodes.

A call of the policy and a step of the environment are also timed separately beside every window, without a
meter: the policy on recorded observations, the environment by replaying recorded actions.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from functools import partial
from itertools import count
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.measuring.blocks import (
    IDLE,
    WindowParameters,
    design,
    flags_of,
    meter_overhead,
    throw_away,
    warm_up,
)
from sustainable.energy.meter import Meter, Reading
from sustainable.measuring.process import neighbours_load, now
from sustainable.policies.environments.rollout import Environment, Episode, Recording, record, run_episode
from sustainable.policies.policy import Act

SEEDS_PER_BLOCK = 100_000
SHORTEST_SHARE = 0.25
"""A window shorter than this share of `window_s` continues with further episodes."""
RECORDING_OFFSET = 99 * SEEDS_PER_BLOCK
CALIBRATION_OFFSET = 98 * SEEDS_PER_BLOCK
"""First seeds of the recorded and of the calibration episodes, far from those that are measured."""


@dataclass(frozen=True, config=STRICT)
class EpisodesParameters(WindowParameters):
    """Parameters of windows of whole episodes."""

    timed_steps: Annotated[int, Field(ge=10, le=1_000_000)]
    """Calls of the policy, and steps of the environment, that are timed separately beside every window."""


@plain_dataclass(frozen=True)
class LabelledPolicy:
    """A deployed policy and the columns that describe it."""

    act: Act
    labels: Mapping[str, Any]


class Treatment(NamedTuple):
    """What a window measures: one configuration in one environment."""

    environment: str
    """Key among the measured environments: a name, or a dose of the workload; empty for an idle window."""
    configuration: str


Environments = Mapping[str, Environment]
Replicas = Mapping[int, Mapping[str, LabelledPolicy]]
"""Training seed -> configuration -> deployed policy."""
Recordings = Mapping[tuple[int, Treatment], Recording]


def measure_episodes(
    environments: Environments,
    replicas: Replicas,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
    journal: RowJournal,
) -> dict[str, Any]:
    """Measure the whole design and append one row per window to `journal`.

    Every configuration is measured in each of `environments`. A journal that already has rows is continued
    at the next window. Return the frozen settings: the meter's overhead and the number of episodes per
    window for each environment.
    """
    seeds, names = list(replicas), list(next(iter(replicas.values())))
    treatments = [Treatment(key, name) for key in environments for name in names]
    recordings = _recordings(environments, replicas, treatments, parameters)
    throw_away(make_meter)
    _warm_up(environments, replicas, recordings, parameters)
    if not journal.rows:
        journal.append(_freeze(environments, replicas[seeds[0]][names[0]].act, parameters, make_meter))
    frozen = journal.rows[0]
    windows = design([*treatments, Treatment("", IDLE)], parameters.blocks, parameters.seed)
    done = len(journal.rows) - 1
    for window in progress(windows[done:], "windows", len(windows), done, "windows"):
        seed, treatment = seeds[window.block % len(seeds)], window.item
        tqdm.write(f"block {window.block + 1} of {parameters.blocks}: {' '.join(treatment).strip()}")
        policy = replicas[seed].get(treatment.configuration)  # None for the idle window
        environment = environments.get(treatment.environment)
        minimum = frozen["episodes"].get(treatment.environment, 0)
        row, episodes = _measure_window(policy, environment, minimum, window.block, parameters, make_meter)
        separate = {}
        if policy is not None and environment is not None:
            separate = time_separately(policy.act, environment, recordings[seed, treatment])
        labels = dict(policy.labels) if policy else {}
        journal.append(_design_columns(window, seed) | labels | row | per_step(row, episodes, separate))
    return dict(frozen)


def _design_columns(window: Any, seed: int) -> dict[str, Any]:
    """Return the columns that place a window in the design."""
    return {
        "place": window.item.environment,
        "configuration": window.item.configuration,
        "training_seed": seed,
        "block": window.block,
        "position": window.position,
        "threads": torch.get_num_threads(),
    }


def _recordings(
    environments: Environments,
    replicas: Replicas,
    treatments: Sequence[Treatment],
    parameters: EpisodesParameters,
) -> Recordings:
    """Record the episodes that are timed separately, of every policy in every treatment."""
    return {
        (seed, treatment): record(
            environments[treatment.environment],
            policies[treatment.configuration].act,
            count(parameters.seed + RECORDING_OFFSET),
            parameters.timed_steps,
        )
        for seed, policies in replicas.items()
        for treatment in treatments
    }


def _warm_up(
    environments: Environments,
    replicas: Replicas,
    recordings: Recordings,
    parameters: EpisodesParameters,
) -> None:
    """Run the policies of the first seed until their time is steady, and those of other seeds once.

    The other seeds run the same code with other weights.
    """
    print("warming up", flush=True)
    passes: dict[tuple[int, Treatment], Callable[[], Any]] = {}
    for (seed, treatment), recording in recordings.items():
        act, environment = replicas[seed][treatment.configuration].act, environments[treatment.environment]
        passes[seed, treatment] = partial(time_separately, act, environment, recording)
    first = next(iter(replicas))
    warm_up({treatment: run for (seed, treatment), run in passes.items() if seed == first}, parameters)
    for run in passes.values():
        run()


def _freeze(
    environments: Environments,
    act: Act,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
) -> dict[str, Any]:
    """Measure the meter's overhead, and how many episodes fill a window with `act` in each environment."""
    overhead = meter_overhead(parameters, make_meter, "benchmark_policies.windows")
    first_seed = parameters.seed + CALIBRATION_OFFSET
    episodes = {
        name: len(episodes_for(1, parameters.window_s, environment, act, count(first_seed)))
        for name, environment in environments.items()
    }
    return {"meter_overhead_p95": overhead, "episodes": episodes}


def _measure_window(
    policy: LabelledPolicy | None,
    environment: Environment | None,
    minimum: int,
    block: int,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
) -> tuple[dict[str, Any], list[Episode]]:
    """Meter one window of at least `minimum` episodes; sleep if there is no policy (the idle window)."""
    meter, before, episodes = make_meter(), now(), []
    meter.start()
    if policy is None or environment is None:
        time.sleep(parameters.window_s)
    else:
        shortest_s = SHORTEST_SHARE * parameters.window_s
        seeds = episode_seeds(parameters.seed, block)
        episodes = episodes_for(minimum, shortest_s, environment, policy.act, seeds)
    reading: Reading = meter.stop()
    others = neighbours_load(before, now())
    name = IDLE if policy is None else ""
    flags = flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters)
    return asdict(reading) | {"neighbours_load": others, "flags": flags}, episodes


def episode_seeds(seed: int, block: int) -> Iterator[int]:
    """Return the environment's seeds for a block's episodes; all windows of the block use the same."""
    return count(seed + block * SEEDS_PER_BLOCK)


def episodes_for(
    minimum: int, shortest_s: float, environment: Environment, act: Act, seeds: Iterator[int]
) -> list[Episode]:
    """Run whole episodes, one per seed: at least `minimum`, and at least `shortest_s` of CPU time."""
    episodes: list[Episode] = []
    start = time.process_time()
    while len(episodes) < minimum or time.process_time() - start < shortest_s:
        episodes.append(run_episode(environment, act, next(seeds)))
    return episodes


def time_separately(act: Act, environment: Environment, recording: Recording) -> dict[str, float]:
    """Return the CPU microseconds of one call of the policy and of one step of the environment."""
    start = time.process_time()
    for observation in recording.observations:
        act(observation)
    policy_s = time.process_time() - start
    environment_s = 0.0
    for seed, actions in zip(recording.seeds, recording.actions, strict=True):
        environment.reset(seed=seed)
        start = time.process_time()
        for action in actions:
            environment.step(action)
        environment_s += time.process_time() - start
    steps = len(recording.observations)
    return {"policy_us": 1e6 * policy_s / steps, "environment_us": 1e6 * environment_s / steps}


def per_step(
    row: Mapping[str, Any], episodes: Sequence[Episode], separate: Mapping[str, float]
) -> dict[str, Any]:
    """Summarise a window's episodes, and split its CPU time per step into policy, environment and remainder.

    `separate` is the result of `time_separately`. The remainder is the loop around policy and environment,
    the resets, and effects that separate timing does not see, such as cold caches. All costs are None for an
    idle window.
    """
    names = ("cpu_time_per_step_us", "policy_us", "environment_us", "remainder_us")
    steps = sum(episode.steps for episode in episodes)
    counted = {"episodes": len(episodes), "steps": steps}
    if not steps:
        return counted | {"return_mean": None, "terminated_share": None} | dict.fromkeys(names)
    whole = 1e6 * row["cpu_time_s"] / steps
    return {
        **counted,
        "return_mean": sum(episode.episode_return for episode in episodes) / len(episodes),
        "terminated_share": sum(episode.terminated for episode in episodes) / len(episodes),
        "cpu_time_per_step_us": whole,
        **separate,
        "remainder_us": whole - separate["policy_us"] - separate["environment_us"],
    }
