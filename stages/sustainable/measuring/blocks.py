"""Randomised complete blocks: the part of the measurement protocol that both studies share.

Every block holds each item once, in an order drawn from the seed. A warm-up comes first, then the cost of an
empty metering is measured. A window with contention is flagged, and measured again at the end of its block.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT, Share
from sustainable.energy.meter import Meter

ItemT = TypeVar("ItemT")
IDLE = "idle"
WARM_UP_STEP_S = 0.5
EMPTY_METERINGS = 20


@dataclass(frozen=True, config=STRICT)
class WindowParameters:
    """Settings of measured windows in both studies."""

    blocks: Annotated[int, Field(ge=2, le=1000)]
    window_s: Annotated[float, Field(ge=0.05, le=600.0)]  # CPU time that one window should take
    threads: Annotated[int, Field(ge=1, le=1024)]
    keep_memory: bool  # whether the process keeps freed memory (see `process`)
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # seed of the order within blocks
    warm_up_limit_s: Annotated[float, Field(gt=0.0, le=600.0)]  # longest duration of the whole warm-up
    warm_up_tolerance: Share  # relative change of CPU time between two steps at which a model counts as warm
    overhead_limit: Share  # largest cost of an empty metering (95th percentile), as a share of the window
    cpu_to_wall_floor: Share  # a window with less CPU time per second and thread is flagged as `waited`
    neighbours_limit: Share  # a window in which others use a larger share of the cores is flagged
    repeats: Annotated[int, Field(ge=0, le=100)]  # how often at most a flagged window is measured again


@plain_dataclass(frozen=True)
class ScheduledWindow(Generic[ItemT]):
    """One window of the design."""

    block: int
    position: int
    item: ItemT


def design(items: Sequence[ItemT], blocks: int, seed: int) -> list[ScheduledWindow[ItemT]]:
    """Return every item once per block, in an order that depends only on `seed` and the block's number."""
    schedule: list[ScheduledWindow[ItemT]] = []
    for block in range(blocks):
        order = np.random.default_rng([seed, block]).permutation(len(items))
        schedule += [ScheduledWindow(block, position, items[index]) for position, index in enumerate(order)]
    return schedule


def to_measure(
    schedule: Sequence[ScheduledWindow[ItemT]], rows: Sequence[Mapping[str, Any]], repeats: int
) -> Iterator[ScheduledWindow[ItemT]]:
    """Yield what is still to measure, block by block: each window, then again those that are still flagged.

    `rows` are those of all tries so far, in order of time; rows without a block are ignored. The caller
    appends the row of a window before it takes the next. A window is tried at most 1 + `repeats` times.
    Whether it is tried again depends on the other processes alone, not on what was measured.
    """
    tries: Counter[tuple[int, int]] = Counter()
    flagged: dict[tuple[int, int], bool] = {}
    seen = 0
    for _, block in groupby(schedule, key=attrgetter("block")):
        own = {(window.block, window.position): window for window in block}
        while True:
            for row in rows[seen:]:
                if "block" in row:
                    place = (row["block"], row["position"])
                    tries[place] += 1
                    flagged[place] = bool(row["flags"])
            seen = len(rows)
            left = [place for place in own if not tries[place]]
            left = left or [place for place in own if flagged[place] and tries[place] <= repeats]
            if not left:
                break
            yield own[min(left, key=lambda place: (tries[place], place))]


def last_tries(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the row of each window's last try, in the order of the design; `tries` counts all."""
    last: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        place = (row["block"], row["position"])
        last[place] = {**row, "tries": last[place]["tries"] + 1 if place in last else 1}
    return [last[place] for place in sorted(last)]


def flags_of(configuration: str, cpu_to_wall: float, others: float, parameters: WindowParameters) -> str:
    """Return the reasons why a window is doubtful, joined by `+`; empty if there is none."""
    waited = configuration != IDLE and cpu_to_wall < parameters.cpu_to_wall_floor * parameters.threads
    reasons = {"waited": waited, "neighbours": others > parameters.neighbours_limit}
    return "+".join(name for name, applies in reasons.items() if applies)


def loops_for(window_s: float, pass_s: float) -> int:
    """Return how many passes of `pass_s` CPU seconds fill a window; at least 1."""
    return max(1, math.ceil(window_s / pass_s))


def warm_up(passes: Mapping[Any, Callable[[], None]], parameters: WindowParameters) -> None:
    """Run each model until two successive steps agree in CPU time, or until the limit is reached."""
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
    """Return the duration of an empty metering (95th percentile) as a share of the window.

    Raises `UserError`, which names the key of params.yaml under `section`, if the share exceeds the limit.
    """
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
    """Return the mean CPU seconds of a pass, over as many passes as fill `step_s`."""
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
    """Meter once and ignore the result: the first metering probes the hardware for a second or two."""
    _empty_metering_s(make_meter())
