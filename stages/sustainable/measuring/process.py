"""The measuring process: its threads, cores and allocator, and the load of other processes."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from sustainable.core.errors import UserError
from sustainable.core.pins import PINS
from sustainable.core.reading import parsed_yaml, read_text

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PINNED = tuple(name for name in PINS if name not in THREAD_VARIABLES)
"""The variables that `core.determinism` sets. Measured work runs without them."""
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Settings of glibc's allocator that make a process keep freed memory. By default it returns large blocks to
the kernel after every call and takes a page fault for each page when it allocates them again: an int8
forecast then costs up to 50 % more and varies by 10 % from window to window."""


CHANGED = (*PINNED, *THREAD_VARIABLES, *KEEP_MEMORY)
Threads = int | Literal["default"]
"""Threads of a runtime; `default`: as many as it chooses itself, on any core."""


def start_afresh(threads: Threads, keep_memory: bool) -> None:
    """Restart this program with these settings in the environment and without the determinism pins.

    Does nothing if the environment is already right. The libraries read the variables when they are loaded,
    and the allocator reads them before that, so only a restart of the process is reliable.
    """
    wanted = fresh_environment(threads, keep_memory)
    if wanted != dict(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


def fresh_environment(threads: Threads, keep_memory: bool) -> dict[str, str]:
    """Return this process's environment with these settings and without the determinism pins."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads != "default" else {}
    wanted |= KEEP_MEMORY if keep_memory else {}
    return {name: value for name, value in os.environ.items() if name not in CHANGED} | wanted


def start_stage_afresh(*keys: str) -> None:
    """`start_afresh` with `threads` and `keep_memory` of the section that `keys` name in `--params`.

    `{name}` in a key stands for `--name`. For the first lines of a stage, before anything else is loaded:
    loading all libraries twice takes seconds. The stage itself reports faults in params.yaml.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--name")
    arguments, _ = parser.parse_known_args()
    with suppress(OSError, UserError, ValueError, LookupError, TypeError, AttributeError):
        section = parsed_yaml(read_text(arguments.params))
        for key in keys:
            section = section[key.format(name=arguments.name)]
        start_afresh(section["threads"], section["keep_memory"])


def settle(threads: Threads) -> dict[str, Any]:
    """Pin the process to as many cores as it has threads; return the settings in force.

    With `default`, nothing is set.
    """
    import torch

    if threads != "default":
        _pin(threads)
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "keeps_memory": all(os.environ.get(name) == value for name, value in KEEP_MEMORY.items()),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _pin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(allowed[-threads:]))  # the last cores serve fewer interrupts


@contextmanager
def on_all_cores() -> Iterator[None]:
    """Give a settled process all cores again, for work that is not timed."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    settled = os.sched_getaffinity(0)
    # the kernel ignores cores that this process may not use
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, settled)


@dataclass(frozen=True)
class Moment:
    """Clocks at one moment, in seconds."""

    wall_s: float
    own_cpu_s: float  # CPU time of this process
    all_cpu_s: float  # CPU time of all processes on all cores


def now() -> Moment:
    """Read the clocks."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    counted = sum(times) - guests  # already included in user
    return Moment(time.perf_counter(), time.process_time(), counted - idle)


def neighbours_load(before: Moment, after: Moment, cores: int | None = None) -> float:
    """Return the share of all cores that others used between two moments.

    Others are other processes and, on a virtual machine, time stolen by the host. The system counts in ticks
    of 10 ms, so a small negative difference can occur; it is returned as 0.
    """
    span = (after.wall_s - before.wall_s) * (cores or psutil.cpu_count() or 1)
    others = (after.all_cpu_s - before.all_cpu_s) - (after.own_cpu_s - before.own_cpu_s)
    return max(0.0, others / span) if span > 0 else 0.0


def frequency_mhz() -> float | None:
    """Return the mean frequency of the cores; None if the system does not report it."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return float(frequency.current) if frequency else None


def temperature_c() -> float | None:
    """Return the temperature of the hottest sensor; None if there is none."""
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    readings = [sensor.current for group in sensors.values() for sensor in group]
    return float(max(readings)) if readings else None
