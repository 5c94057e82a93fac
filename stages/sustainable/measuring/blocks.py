"""Windows in randomised complete blocks: what both studies share of the measurement protocol.

Every block holds each item once, in an order drawn from the seed. A warm-up and the cost of an empty metering
come first. Contention is flagged in the row; no row is dropped.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.energy.meter import Meter

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
        before = seconds_per_pass(run, step_s)
        while time.perf_counter() < end:
            after = seconds_per_pass(run, step_s)
            if abs(after / before - 1) <= parameters.warm_up_tolerance:
                break
            before = after


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


def seconds_per_pass(run: Callable[[], None], step_s: float) -> float:
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
