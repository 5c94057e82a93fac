"""Randomised complete blocks: the measurement protocol of study A, except for the published benchmark.

Every block holds each configuration once at every batch size, including the baseline's A/A twin, and one idle
window, in an order drawn from the seed. A measured window repeats the model's pass over all test windows. The
number of repetitions is calibrated once, on CPU time, and then kept. With several training seeds, each block
measures the networks of one seed, and the seeds alternate.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from tqdm import tqdm

from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.energy.choice import Chosen
from sustainable.energy.meter import Meter
from sustainable.forecasting.benchmark.choices import BenchmarkChoice, ControlChoice
from sustainable.forecasting.benchmark.subjects import Subject
from sustainable.forecasting.compression.runtimes import Deployed
from sustainable.measuring import blocks
from sustainable.measuring.process import frequency_mhz, neighbours_load, now, temperature_c
from sustainable.measuring.rows import energy_columns


@dataclass(frozen=True, config=STRICT)
class BlocksParameters(blocks.WindowParameters):
    """Settings of a benchmark in randomised blocks."""

    method: Literal["blocks"]
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    latency_calls: Annotated[int, Field(ge=10, le=100_000)]  # per configuration and batch size
    configurations: Annotated[dict[str, BenchmarkChoice], Field(min_length=2)]
    """What is measured; the first is the uncompressed baseline, to which ratios are taken."""
    ceilings: bool = False
    """Whether to measure the core's own rates as well, with which the rows are compared."""
    controls: dict[str, ControlChoice] = field(default_factory=dict)
    """What is scored and not timed, to show whether the accuracy gate can tell."""


class BlockItem(NamedTuple):
    """What a window measures: a configuration at a batch size; the batch size of an idle window is 0."""

    configuration: str
    batch_size: int


Passes = Mapping[BlockItem, Callable[[], None]]


def block_items(configurations: Sequence[str], batch_sizes: Sequence[int]) -> list[BlockItem]:
    """Return the content of a block: every configuration at every batch size, and one idle window."""
    measured = [BlockItem(name, size) for size in batch_sizes for name in configurations]
    return [*measured, BlockItem(blocks.IDLE, 0)]


def measure_blocks(
    replicas: Mapping[int, Mapping[str, Subject]],
    inputs: Tensor,
    parameters: BlocksParameters,
    chosen: Chosen,
    journal: RowJournal,
) -> dict[str, Any]:
    """Measure all blocks and append one row per window to `journal`.

    `replicas` holds the subjects of every training seed; block b measures those of seed number b modulo the
    number of seeds, which are made for the block and released after it. A journal with rows is continued at
    the next window, with its own loop counts.
    `inputs` [n, days, features]. Returns the calibrated loop counts, the meter's overhead and the latencies.
    """
    seeds = list(replicas)
    current = _Current(replicas, inputs, parameters)
    current.take(seeds[0])
    blocks.throw_away(chosen.make)
    print("warming up", flush=True)
    blocks.warm_up(current.passes, parameters)
    if not journal.rows:
        journal.append(_freeze(current.passes, parameters, chosen.make))
    frozen, done = journal.rows[0], len(journal.rows) - 1
    items = block_items(list(current.subjects), parameters.batch_sizes)
    schedule = blocks.design(items, parameters.blocks, parameters.seed)
    if done:
        print(f"resuming after {done} of {len(schedule)} windows", flush=True)
    left = blocks.to_measure(schedule, journal.rows, parameters.repeats)
    for scheduled in progress(left, "benchmark", len(schedule), done, "windows"):
        name, size = scheduled.item
        current.take(seeds[scheduled.block % len(seeds)])
        tqdm.write(f"block {scheduled.block + 1} of {parameters.blocks}: {name}, batch {size}")
        row = _window(scheduled.item, current.passes, frozen["loops"], parameters, chosen)
        labels = current.subjects[name].labels if name in current.subjects else {}
        position = {"configuration": name, "block": scheduled.block, "position": scheduled.position}
        own = {**position, "training_seed": current.seed, **labels}
        journal.append({**own, **row, **_per_window(row, len(inputs))})
    current.take(seeds[0])
    return frozen | {"latency": _latencies(current.subjects, inputs, parameters)}


class _Current:
    """The networks of one training seed and their passes: those of all seeds would take gigabytes."""

    def __init__(
        self, replicas: Mapping[int, Mapping[str, Subject]], inputs: Tensor, parameters: BlocksParameters
    ) -> None:
        self._replicas, self._inputs, self._parameters = replicas, inputs, parameters
        self.seed: int | None = None
        self.subjects: Mapping[str, Subject] = {}
        self.passes: Passes = {}

    def take(self, seed: int) -> None:
        """Make the networks of `seed`, unless they are there; those of the last seed are released first."""
        if seed == self.seed:
            return
        first = self.seed is None
        self.passes, self.subjects = {}, {}
        self.seed, self.subjects = seed, self._replicas[seed]
        self.passes = _passes(self.subjects, self._inputs, self._parameters)
        if not first:  # the same code with other weights: one call of each is enough to warm up
            for subject, size in product(self.subjects.values(), self._parameters.batch_sizes):
                subject.deployed.run(subject.deployed.prepare(self._inputs[:size]))


def _passes(subjects: Mapping[str, Subject], inputs: Tensor, parameters: BlocksParameters) -> Passes:
    return {
        BlockItem(name, size): _make_pass(subject.deployed, inputs, size)
        for size in parameters.batch_sizes
        for name, subject in subjects.items()
    }


def _freeze(passes: Passes, parameters: BlocksParameters, make_meter: Callable[[], Meter]) -> dict[str, Any]:
    """Calibrate the loop counts and measure the meter's overhead; raise `UserError` if that is too high.

    A configuration with the same model as the baseline is calibrated separately: the A/A control must pass
    through every step of a comparison.
    """
    step_s = max(min(1.0, parameters.window_s), 0.05)
    loops: dict[str, dict[str, int]] = {}
    for (name, size), run in passes.items():
        count = blocks.loops_for(parameters.window_s, blocks.seconds_per_pass(run, step_s))
        loops.setdefault(name, {})[str(size)] = count
    return {
        "loops": loops,
        "meter_overhead_p95": blocks.meter_overhead(parameters, make_meter, "benchmark.*"),
    }


def _window(
    item: BlockItem,
    passes: Passes,
    loops: Mapping[str, Mapping[str, int]],
    parameters: BlocksParameters,
    chosen: Chosen,
) -> dict[str, Any]:
    name, size = item
    count = loops.get(name, {}).get(str(size), 0)
    meter = chosen.make()
    before = now()
    meter.start()
    if name == blocks.IDLE:
        time.sleep(parameters.window_s)
    else:
        run = passes[item]
        for _ in range(count):
            run()
    reading = meter.stop()
    others = neighbours_load(before, now())
    return {
        "batch_size": size,
        "threads": torch.get_num_threads(),
        "loops": count,
        "neighbours_load": others,
        "frequency_mhz": frequency_mhz(),
        "temperature_c": temperature_c(),
        "flags": blocks.flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters),
        "meter_reason": chosen.reason,
        **energy_columns(reading, 1),
    }


def _per_window(row: Mapping[str, Any], windows: int) -> dict[str, Any]:
    """Return the costs per forecast; they are None for an idle window, whose row keeps its totals."""
    forecasts, energy = row["loops"] * windows, row["energy_mwh"]
    if forecasts == 0:
        return {"windows": 0, "cpu_time_ms": None, "latency_ms": None, "energy_mwh": None}
    return {
        "windows": windows,
        "cpu_time_ms": row["cpu_time_ms"] / forecasts,
        "latency_ms": 1000 * row["wall_time_s"] / forecasts,
        "energy_mwh": None if energy is None else energy / forecasts,
    }


def _latencies(
    subjects: Mapping[str, Subject], inputs: Tensor, parameters: BlocksParameters
) -> dict[str, dict[str, dict[str, float]]]:
    """Return p50, p95 and p99 of the latency of a call in ms, by configuration and batch size (1 as well).

    No meter runs meanwhile.
    """
    latencies: dict[str, dict[str, dict[str, float]]] = {name: {} for name in subjects}
    for name, size in product(subjects, sorted({1, *parameters.batch_sizes})):
        deployed, times = subjects[name].deployed, []
        batch = deployed.prepare(inputs[:size])
        for _ in range(parameters.latency_calls):
            start = time.perf_counter()
            deployed.run(batch)
            times.append(1000 * (time.perf_counter() - start))
        latencies[name][str(size)] = {f"p{q}": float(np.percentile(times, q)) for q in (50, 95, 99)}
    return latencies


def _make_pass(deployed: Deployed, inputs: Tensor, batch_size: int) -> Callable[[], None]:
    batches, call = [deployed.prepare(batch) for batch in inputs.split(batch_size)], deployed.run

    def run() -> None:
        for batch in batches:
            call(batch)

    return run
