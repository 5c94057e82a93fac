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
from sustainable.measuring import blocks
from sustainable.measuring.blocks import IDLE, WindowParameters
from sustainable.energy.meter import Meter, Reading
from sustainable.measuring.process import neighbours_load, now
from sustainable.policies.environments.rollout import Environment, Episode, Recording, record, run_episode
from sustainable.policies.policy import Act

SEEDS_PER_BLOCK = 100_000
SHORTEST_SHARE = 0.25  # a window shorter than this share of `window_s` continues with further episodes
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


@plain_dataclass(frozen=True)
class Measurement:
    """What is measured: every configuration in each of the environments, in windows."""

    environments: Mapping[str, Environment]
    replicas: Mapping[int, Mapping[str, LabelledPolicy]]  # training seed -> configuration -> deployed policy
    parameters: EpisodesParameters
    make_meter: Callable[[], Meter]

    @property
    def treatments(self) -> list[Treatment]:
        names = next(iter(self.replicas.values()))
        return [Treatment(key, name) for key in self.environments for name in names]

    def passes(self) -> dict[tuple[int, Treatment], Callable[[], dict[str, float]]]:
        """Record episodes of every policy in every treatment, and return what times them separately."""
        passes: dict[tuple[int, Treatment], Callable[[], dict[str, float]]] = {}
        for seed, policies in self.replicas.items():
            for treatment in self.treatments:
                act, environment = (
                    policies[treatment.configuration].act,
                    self.environments[treatment.environment],
                )
                seeds = count(self.parameters.seed + RECORDING_OFFSET)
                recording = record(environment, act, seeds, self.parameters.timed_steps)
                passes[seed, treatment] = partial(time_separately, act, environment, recording)
        return passes

    def warm_up(self, passes: Mapping[tuple[int, Treatment], Callable[[], Any]]) -> None:
        """Run the policies of the first seed until their time is steady, and those of other seeds once.

        The other seeds run the same code with other weights.
        """
        print("warming up", flush=True)
        first = next(iter(self.replicas))
        blocks.warm_up({item: run for (seed, item), run in passes.items() if seed == first}, self.parameters)
        for run in passes.values():
            run()

    def freeze(self) -> dict[str, Any]:
        """Measure the meter's overhead, and how many episodes of the first policy fill a window."""
        parameters, first = self.parameters, next(iter(self.replicas.values()))
        overhead = blocks.meter_overhead(parameters, self.make_meter, "benchmark_policies.windows")
        act, first_seed = next(iter(first.values())).act, parameters.seed + CALIBRATION_OFFSET
        episodes = {
            name: len(episodes_for(1, parameters.window_s, environment, act, count(first_seed)))
            for name, environment in self.environments.items()
        }
        return {"meter_overhead_p95": overhead, "episodes": episodes}

    def window(
        self, policy: LabelledPolicy | None, environment: Environment | None, minimum: int, block: int
    ) -> tuple[dict[str, Any], list[Episode]]:
        """Meter one window of at least `minimum` episodes; sleep if there is no policy (the idle window)."""
        parameters, episodes = self.parameters, []
        meter, before = self.make_meter(), now()
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
        flags = blocks.flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters)
        return asdict(reading) | {"neighbours_load": others, "flags": flags}, episodes


def measure_episodes(measurement: Measurement, journal: RowJournal) -> dict[str, Any]:
    """Measure the whole design and append one row per window to `journal`.

    A journal that already has rows is continued at the next window. Return the frozen settings: the meter's
    overhead and the number of episodes per window for each environment.
    """
    parameters, seeds = measurement.parameters, list(measurement.replicas)
    passes = measurement.passes()
    blocks.throw_away(measurement.make_meter)
    measurement.warm_up(passes)
    if not journal.rows:
        journal.append(measurement.freeze())
    frozen, done = journal.rows[0], len(journal.rows) - 1
    windows = blocks.design(
        [*measurement.treatments, Treatment("", IDLE)], parameters.blocks, parameters.seed
    )
    left = blocks.to_measure(windows, journal.rows, parameters.repeats)
    for window in progress(left, "windows", len(windows), done, "windows"):
        seed, treatment = seeds[window.block % len(seeds)], window.item
        tqdm.write(f"block {window.block + 1} of {parameters.blocks}: {' '.join(treatment).strip()}")
        policy = measurement.replicas[seed].get(treatment.configuration)  # None for the idle window
        environment = measurement.environments.get(treatment.environment)
        minimum = frozen["episodes"].get(treatment.environment, 0)
        row, episodes = measurement.window(policy, environment, minimum, window.block)
        separate = passes[seed, treatment]() if policy else {}
        placed = {
            "place": treatment.environment,
            "configuration": treatment.configuration,
            "training_seed": seed,
            "block": window.block,
            "position": window.position,
            "threads": torch.get_num_threads(),
        }
        labels = dict(policy.labels) if policy else {}
        journal.append(placed | labels | row | per_step(row, episodes, separate))
    return dict(frozen)


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
