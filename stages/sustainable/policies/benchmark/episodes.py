"""Windows of whole episodes: how a policy is measured while it acts in its environment.

Every block holds each configuration once, in an order drawn from the seed, its A/A twin among them and one
idle window; a block takes the policies of one training seed, and the seeds take turns. All windows of a
block meet the same episodes (the same seeds of the environment): as many as fill the window with the first
configuration, which is calibrated once and frozen, so that returns and lengths are paired; a configuration
that is through with them too soon, because its episodes end early, goes on with further ones. What a call of
the policy and a step of the environment take by themselves is timed beside every window, meter off: the
policy on recorded observations, the environment by replaying recorded actions.
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
from sustainable.policies.environments.rollout import (
    Act,
    Environment,
    Episode,
    Recording,
    record,
    run_episode,
)

SEEDS_PER_BLOCK = 100_000
SHORTEST_SHARE = 0.25
"""Of `window_s`: a window that is shorter goes on with further episodes."""
RECORDED = 99 * SEEDS_PER_BLOCK
CALIBRATED = 98 * SEEDS_PER_BLOCK
"""Where the seeds of recorded and of calibrating episodes begin, away from those that are measured."""


@dataclass(frozen=True, config=STRICT)
class EpisodesParameters(WindowParameters):
    """`timed_steps`: how many calls of the policy, and steps of the environment, are timed apart beside
    every window."""

    timed_steps: Annotated[int, Field(ge=10, le=1_000_000)]


@plain_dataclass(frozen=True)
class LabelledPolicy:
    """A deployed policy, and the columns that name it."""

    act: Act
    labels: Mapping[str, Any]


class Treatment(NamedTuple):
    """What a window measures: a configuration in one of the environments (the doses of a cost knob, or one
    environment alone)."""

    environment: str
    configuration: str


Replicas = Mapping[int, Mapping[str, LabelledPolicy]]
Recordings = Mapping[tuple[int, Treatment], Recording]


def measure_episodes(
    environments: Mapping[str, Environment],
    replicas: Replicas,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
    journal: RowJournal,
) -> dict[str, Any]:
    """Measure the whole design, a row a window into `journal`; gives what was frozen.

    `replicas`: by training seed and configuration. Every configuration is measured in each of
    `environments`. A journal that holds rows is continued at the next window.
    """
    seeds, names = list(replicas), list(next(iter(replicas.values())))
    places = [Treatment(where, name) for where in environments for name in names]
    recordings = _recorded(environments, replicas, places, parameters)
    throw_away(make_meter)
    _warm_up(environments, replicas, recordings, parameters)
    if not journal.rows:
        journal.append(_freeze(environments, replicas[seeds[0]][names[0]].act, parameters, make_meter))
    frozen = journal.rows[0]
    cells = design([*places, Treatment("", IDLE)], parameters.blocks, parameters.seed)
    done = len(journal.rows) - 1
    for cell in progress(cells[done:], "windows", len(cells), done, "windows"):
        seed, place = seeds[cell.block % len(seeds)], cell.item
        tqdm.write(f"block {cell.block + 1} of {parameters.blocks}: {' '.join(place).strip()}")
        acting, environment = replicas[seed].get(place.configuration), environments.get(place.environment)
        least = frozen["episodes"].get(place.environment, 0)
        row, episodes = _window(acting, environment, least, cell.block, parameters, make_meter)
        apart = {}
        if acting is not None and environment is not None:
            apart = time_separately(acting.act, environment, recordings[seed, place])
        where = {"place": place.environment, "configuration": place.configuration, "training_seed": seed}
        where |= {"block": cell.block, "position": cell.position, "threads": torch.get_num_threads()}
        labels = dict(acting.labels) if acting else {}
        journal.append(where | labels | row | per_step(row, episodes, apart))
    return dict(frozen)


def _recorded(
    environments: Mapping[str, Environment],
    replicas: Replicas,
    places: Sequence[Treatment],
    parameters: EpisodesParameters,
) -> Recordings:
    """What is timed apart: episodes of every policy in every configuration and environment."""
    return {
        (seed, place): record(
            environments[place.environment],
            models[place.configuration].act,
            count(parameters.seed + RECORDED),
            parameters.timed_steps,
        )
        for seed, models in replicas.items()
        for place in places
    }


def _warm_up(
    environments: Mapping[str, Environment],
    replicas: Replicas,
    recordings: Recordings,
    parameters: EpisodesParameters,
) -> None:
    """The policies of the first seed until their time is steady; the others, the same code with other
    weights, once."""
    print("warming up", flush=True)
    stretches: dict[tuple[int, Treatment], Callable[[], None]] = {}
    for (seed, place), recording in recordings.items():
        act, environment = replicas[seed][place.configuration].act, environments[place.environment]
        stretches[seed, place] = partial(_stretch, act, environment, recording)
    first = next(iter(replicas))
    warm_up({place: run for (seed, place), run in stretches.items() if seed == first}, parameters)
    for run in stretches.values():
        run()


def _stretch(act: Act, environment: Environment, recording: Recording) -> None:
    time_separately(act, environment, recording)


def _freeze(
    environments: Mapping[str, Environment],
    act: Act,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
) -> dict[str, Any]:
    """How many episodes fill a window with `act`, by environment, and the meter's own cost."""
    overhead = meter_overhead(parameters, make_meter, "benchmark_policies.windows")
    seeds = parameters.seed + CALIBRATED
    filled = {
        name: len(episodes_for(1, parameters.window_s, environment, act, count(seeds)))
        for name, environment in environments.items()
    }
    return {"meter_overhead_p95": overhead, "episodes": filled}


def _window(
    acting: LabelledPolicy | None,
    environment: Environment | None,
    least: int,
    block: int,
    parameters: EpisodesParameters,
    make_meter: Callable[[], Meter],
) -> tuple[dict[str, Any], list[Episode]]:
    """One metered window of at least so many episodes; without a policy an idle one."""
    meter, before, episodes = make_meter(), now(), []
    meter.start()
    if acting is None or environment is None:
        time.sleep(parameters.window_s)
    else:
        shortest_s = SHORTEST_SHARE * parameters.window_s
        seeds = episode_seeds(parameters.seed, block)
        episodes = episodes_for(least, shortest_s, environment, acting.act, seeds)
    reading: Reading = meter.stop()
    others = neighbours_load(before, now())
    name = IDLE if acting is None else ""
    flags = flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters)
    return asdict(reading) | {"neighbours_load": others, "flags": flags}, episodes


def episode_seeds(seed: int, block: int) -> Iterator[int]:
    """The environment's seeds of a block's episodes; the same for all its windows."""
    return count(seed + block * SEEDS_PER_BLOCK)


def episodes_for(
    least: int, shortest_s: float, environment: Environment, act: Act, seeds: Iterator[int]
) -> list[Episode]:
    """Whole episodes, one a seed: at least so many, and until they have taken so much CPU time."""
    episodes: list[Episode] = []
    start = time.process_time()
    while len(episodes) < least or time.process_time() - start < shortest_s:
        episodes.append(run_episode(environment, act, next(seeds)))
    return episodes


def time_separately(act: Act, environment: Environment, recording: Recording) -> dict[str, float]:
    """CPU microseconds of one call of the policy, and of one step of the environment, each by itself."""
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
    row: Mapping[str, Any], episodes: Sequence[Episode], apart: Mapping[str, float]
) -> dict[str, Any]:
    """A window's episodes, and its CPU time of a step split into policy, environment and the remainder: the
    loop between them, resets, and what timing apart does not see. An idle window has none."""
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
        **apart,
        "remainder_us": whole - apart["policy_us"] - apart["environment_us"],
    }
