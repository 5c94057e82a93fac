"""Randomised complete blocks: how everything but the published way is measured.

Every block holds each configuration once at every batch size, among them the baseline's A/A twin, and one
idle window, in an order drawn from the seed. A window repeats the model's pass over all test windows a
number of times that was calibrated once, on CPU time, and then frozen. Where several networks were trained,
a block measures those of one training seed, and the seeds take turns. Contention is noted in the row;
nothing is dropped.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from tqdm import tqdm

from sustainable.artifact.errors import UserError
from sustainable.artifact.journal import RowJournal
from sustainable.artifact.parameters import STRICT
from sustainable.artifact.progress import progress
from sustainable.compression.runtimes import Deployed
from sustainable.energy.choice import Chosen
from sustainable.energy.meter import Meter
from sustainable.energy.process import frequency_mhz, neighbours_load, now, temperature_c
from sustainable.energy.rows import energy_columns
from sustainable.subjects import Choice, Subject

T = TypeVar("T")
IDLE = "idle"
WARM_UP_STEP_S = 0.5
EMPTY_METERINGS = 20

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class WindowParameters:
    """What every measured window keeps to, in either study.

    `keep_memory`: the process does not give freed memory back to the kernel (see `process`)."""

    blocks: Annotated[int, Field(ge=2, le=1000)]
    window_s: Annotated[float, Field(ge=0.05, le=600.0)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    keep_memory: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    warm_up_limit_s: Annotated[float, Field(gt=0.0, le=600.0)]
    warm_up_tolerance: Share
    overhead_limit: Share
    cpu_to_wall_floor: Share
    neighbours_limit: Share


@dataclass(frozen=True, config=STRICT)
class BlocksParameters(WindowParameters):
    """The protocol's settings; `configurations` as for the published way, measured in random order."""

    method: Literal["blocks"]
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    latency_calls: Annotated[int, Field(ge=10, le=100_000)]
    configurations: Annotated[dict[str, Choice], Field(min_length=2)]


class Item(NamedTuple):
    """What a window measures: a configuration at a batch size; an idle window has none (0)."""

    configuration: str
    batch_size: int


Passes = Mapping[Item, Callable[[], None]]


@plain_dataclass(frozen=True)
class Cell(Generic[T]):
    """One window of the design."""

    block: int
    position: int
    item: T


def design(items: Sequence[T], blocks: int, seed: int) -> list[Cell[T]]:
    """Every item once in each block, in an order that `seed` and the block's number alone decide."""
    cells = []
    for block in range(blocks):
        order = np.random.default_rng([seed, block]).permutation(len(items))
        cells += [Cell(block, position, items[index]) for position, index in enumerate(order)]
    return cells


def items_of(configurations: Sequence[str], batch_sizes: Sequence[int]) -> list[Item]:
    """What a block holds: every configuration at every batch size, and one idle window."""
    measured = [Item(name, size) for size in batch_sizes for name in configurations]
    return [*measured, Item(IDLE, 0)]


def measure_blocks(
    replicas: Mapping[int, Mapping[str, Subject]],
    inputs: Tensor,
    parameters: BlocksParameters,
    chosen: Chosen,
    journal: RowJournal,
) -> dict[str, Any]:
    """Measure the whole design, a row a window into `journal`; gives what was frozen and latencies.

    `replicas` holds the subjects of every training seed; block b measures those of the seed whose turn it
    is. A journal that holds rows is continued at the next window, with the loop counts that it began with.
    `inputs` [n, days, features].
    """
    seeds, subjects = list(replicas), next(iter(replicas.values()))
    passes = {seed: _passes(models, inputs, parameters) for seed, models in replicas.items()}
    throw_away(chosen.make)
    print("warming up", flush=True)
    warm_up(passes[seeds[0]], parameters)
    for others in list(passes.values())[1:]:
        for run in others.values():  # the same code with other weights: once through is enough
            run()
    if not journal.rows:
        journal.append(_freeze(passes[seeds[0]], parameters, chosen.make))
    frozen, done = journal.rows[0], len(journal.rows) - 1
    items = items_of(list(subjects), parameters.batch_sizes)
    cells = design(items, parameters.blocks, parameters.seed)
    if done:
        print(f"resuming after {done} of {len(cells)} windows", flush=True)
    for cell in progress(cells[done:], "benchmark", len(cells), done, "windows"):
        name, seed = cell.item.configuration, seeds[cell.block % len(seeds)]
        tqdm.write(f"block {cell.block + 1} of {parameters.blocks}: {name}, batch {cell.item.batch_size}")
        row = _window(cell.item, passes[seed], frozen["loops"], parameters, chosen)
        labels = replicas[seed][name].labels if name in subjects else {}
        place = {"configuration": name, "block": cell.block, "position": cell.position}
        journal.append({**place, "training_seed": seed, **labels, **row, **_per_window(row, len(inputs))})
    return frozen | {"latency": _latencies(subjects, inputs, parameters)}


def _passes(subjects: Mapping[str, Subject], inputs: Tensor, parameters: BlocksParameters) -> Passes:
    return {
        Item(name, size): _make_pass(subject.deployed, inputs, size)
        for size in parameters.batch_sizes
        for name, subject in subjects.items()
    }


def flags_of(configuration: str, cpu_to_wall: float, others: float, parameters: WindowParameters) -> str:
    """Why a window is doubtful, in words joined by `+`; empty for a good one."""
    waited = configuration != IDLE and cpu_to_wall < parameters.cpu_to_wall_floor * parameters.threads
    found = {"waited": waited, "neighbours": others > parameters.neighbours_limit}
    return "+".join(name for name, true in found.items() if true)


def loops_for(window_s: float, pass_s: float) -> int:
    """How many passes of `pass_s` CPU seconds fill a window; at least one."""
    return max(1, math.ceil(window_s / pass_s))


def warm_up(passes: Mapping[Any, Callable[[], None]], parameters: WindowParameters) -> None:
    """Run every model until two successive steps agree in CPU time, or until the limit."""
    end = time.perf_counter() + parameters.warm_up_limit_s
    step_s = min(WARM_UP_STEP_S, parameters.window_s)
    for run in passes.values():
        before = _seconds_a_pass(run, step_s)
        while time.perf_counter() < end:
            after = _seconds_a_pass(run, step_s)
            if abs(after / before - 1) <= parameters.warm_up_tolerance:
                break
            before = after


def _freeze(passes: Passes, parameters: BlocksParameters, make_meter: Callable[[], Meter]) -> dict[str, Any]:
    """Loop counts by configuration and batch size, and the meter's own cost; fails when that is too high.

    Configurations that share the baseline's model still get a count of their own: the A/A control is to
    go through everything that a comparison goes through.
    """
    step_s = max(min(1.0, parameters.window_s), 0.05)
    loops: dict[str, dict[str, int]] = {}
    for (name, size), run in passes.items():
        count = loops_for(parameters.window_s, _seconds_a_pass(run, step_s))
        loops.setdefault(name, {})[str(size)] = count
    return {"loops": loops, "meter_overhead_p95": meter_overhead(parameters, make_meter, "benchmark.*")}


def meter_overhead(parameters: WindowParameters, make_meter: Callable[[], Meter], section: str) -> float:
    """What an empty metering takes (p95), as a share of the window. Raises `UserError`, naming the key of
    params.yaml in `section`, when that is too much."""
    costs = [_empty_metering_s(make_meter()) for _ in range(EMPTY_METERINGS)]
    overhead = float(np.percentile(costs, 95)) / parameters.window_s
    if overhead > parameters.overhead_limit:
        raise UserError(
            f"benchmark: an empty metering takes {100 * overhead:.1f} % of the window (limit "
            f"{100 * parameters.overhead_limit:.1f} %): raise {section}.window_s above "
            f"{parameters.window_s * overhead / parameters.overhead_limit:.1f}"
        )
    return overhead


def _window(
    item: Item,
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
    if name == IDLE:
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
        "flags": flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters),
        "meter_reason": chosen.reason,
        **energy_columns(reading, 1),
    }


def _per_window(row: Mapping[str, Any], windows: int) -> dict[str, Any]:
    """Costs of one forecast; an idle row has none, and keeps its totals."""
    forecasts = row["loops"] * windows
    if forecasts == 0:
        return {"windows": 0, "cpu_time_ms": None, "latency_ms": None, "energy_mwh": None}
    energy = row["energy_mwh"]
    return {
        "windows": windows,
        "cpu_time_ms": row["cpu_time_ms"] / forecasts,
        "latency_ms": 1000 * row["wall_time_s"] / forecasts,
        "energy_mwh": None if energy is None else energy / forecasts,
    }


def _latencies(
    subjects: Mapping[str, Subject], inputs: Tensor, parameters: BlocksParameters
) -> dict[str, dict[str, dict[str, float]]]:
    """p50, p95 and p99 of one call in ms, with the meter off, for batch 1 and the configured batch."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, subject in subjects.items():
        found[name] = {}
        for size in sorted({1, *parameters.batch_sizes}):
            calls = _call_times_ms(subject.deployed, inputs[:size], parameters.latency_calls)
            found[name][str(size)] = {f"p{q}": float(np.percentile(calls, q)) for q in (50, 95, 99)}
    return found


def _call_times_ms(deployed: Deployed, windows: Tensor, calls: int) -> list[float]:
    batch, times = deployed.prepare(windows), []
    for _ in range(calls):
        start = time.perf_counter()
        deployed.run(batch)
        times.append(1000 * (time.perf_counter() - start))
    return times


def _make_pass(deployed: Deployed, inputs: Tensor, batch_size: int) -> Callable[[], None]:
    batches, call = [deployed.prepare(batch) for batch in inputs.split(batch_size)], deployed.run

    def run() -> None:
        for batch in batches:
            call(batch)

    return run


def _seconds_a_pass(run: Callable[[], None], step_s: float) -> float:
    """CPU seconds of one pass, from as many as fill `step_s`."""
    start, count = time.process_time(), 0
    while time.process_time() - start < step_s:
        run()
        count += 1
    return (time.process_time() - start) / count


def _empty_metering_s(meter: Meter) -> float:
    start = time.perf_counter()
    meter.start()
    meter.stop()
    return time.perf_counter() - start


def throw_away(make_meter: Callable[[], Meter]) -> None:
    """The first metering of a process probes the hardware, which takes a second or two."""
    _empty_metering_s(make_meter())
