"""How `report` scales with the number of measured windows: its time and memory, beside reading with pandas.

The windows of policies are repeated with noise until there are enough. That gives no evidence, and nothing is
kept. All other rows are those of the shipped run, whose report is timed as well: its time is there for any
number of windows.
"""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

import argparse
import contextlib
import math
import os
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sustainable.core.effort import peak_memory_mib
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_rows
from sustainable.measuring.cpu import kind_of
from sustainable.measuring.host import describe_host
from sustainable.reporting.policies.run import CELL, WINDOWS, read_windows
from sustainable.verification.place import HOSTS, REFERENCE, ROOT

GOAL = 3.0
"""How many times as long as pandas reads the windows, the report may take for them."""
WINDOWS_FILE = "benchmark/policies.csv"
MOST = 1_200_000
"""More windows make a larger file than `report` accepts (`reading.TABLE_BYTES`)."""
TIMED = [
    "wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "cpu_time_per_step_us", "policy_us", "environment_us",
    "remainder_us",
]  # fmt: skip
"""Columns that vary from block to block; one factor for all of a row keeps its sums."""
NOISE = 0.02
"""Standard deviation of the logarithm of that factor."""
AT_ONCE = 100
"""How many repetitions are in memory at once."""


@dataclass(frozen=True)
class Taken:
    """What a piece of work took in a process of its own."""

    cpu_s: float
    """CPU time of the process: on a busy machine it says more than the wall time."""
    wall_s: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="windows (default: 1000000)")
    least = parser.parse_args().rows
    if not 1000 <= least <= MOST:
        raise UserError(f"--rows {least}: 1000 to {MOST}")
    with tempfile.TemporaryDirectory(prefix="sustainable-scale-") as folder:
        data, out = Path(folder, "data"), Path(folder, "paper")
        shutil.copytree(ROOT / REFERENCE, data)
        shipped = read_rows(data / WINDOWS_FILE, WINDOWS)
        fixed = alone(report, data, out)
        count = write_windows(data / WINDOWS_FILE, repeated_windows(shipped, least))
        size_mib = (data / WINDOWS_FILE).stat().st_size / 2**20
        steps = {
            "pandas.read_csv": alone(pd.read_csv, data / WINDOWS_FILE),
            "read and check": alone(read_windows, data / "benchmark"),
            "report": alone(report, data, out),
        }
    print(f"kind of CPU: {kind_of(describe_host())}")
    print("\n".join(lines_of(count, size_mib, fixed, steps)))


def lines_of(count: int, size_mib: float, fixed: Taken, steps: dict[str, Taken]) -> Iterator[str]:
    """Describe what `steps` took for `count` windows, and the report for the shipped ones (`fixed`)."""
    yield f"{count:,} windows, {size_mib:.0f} MiB"
    yield f"  {'':<30}{'CPU s':>10}{'wall s':>10}{'windows/s':>12}{'peak MiB':>10}"
    for name, taken in {**steps, "report on the shipped windows": fixed}.items():
        rate = "" if taken is fixed else f"{count / taken.wall_s:,.0f}"
        yield f"  {name:<30}{taken.cpu_s:>10.1f}{taken.wall_s:>10.1f}{rate:>12}{taken.peak_mib:>10.0f}"
    reading, whole = steps["pandas.read_csv"], steps["report"]
    added_s = whole.cpu_s - fixed.cpu_s
    times = added_s / reading.cpu_s
    verdict = "met" if times <= GOAL else "missed"
    yield f"the added windows take {added_s:.1f} s of CPU time, {times:.1f} times as much as pandas"
    yield f"goal, at most {GOAL:g} times: {verdict}"
    yield f"peak memory: {whole.peak_mib / reading.peak_mib:.2f} times that of pandas"


def repeated_windows(shipped: pd.DataFrame, least: int) -> Iterator[pd.DataFrame]:
    """Yield at least `least` windows in parts, cell by cell: those shipped, in more blocks and with noise."""
    repetitions, blocks = math.ceil(least / len(shipped)), int(shipped["block"].max()) + 1
    generator = np.random.default_rng(0)
    for _, own in shipped.groupby(CELL, sort=False):
        for first in range(0, repetitions, AT_ONCE):
            numbers = np.arange(first, min(first + AT_ONCE, repetitions))
            part = pd.concat([own] * len(numbers), ignore_index=True)
            part["block"] += blocks * np.repeat(numbers, len(own))
            factors = np.exp(NOISE * generator.standard_normal(len(part)))
            part[TIMED] = part[TIMED].mul(factors, axis=0)
            yield part


def write_windows(path: Path, parts: Iterator[pd.DataFrame]) -> int:
    """Write a table in parts; return the number of its rows."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            part.to_csv(file, index=False, header=not count, lineterminator="\n")
            count += len(part)
    return count


def report(data: Path, out: Path) -> None:
    """Run the stage `report` silently on the run in the folder `data`."""
    paths = {
        "params": ROOT / "params.yaml",
        "published": ROOT / "paper/published.yaml",
        "templates": ROOT / "paper/templates",
        "references": ROOT / "paper/references.bib",
        "data": data,
        "hosts": ROOT / HOSTS,
        "out": out,
        **{name: out / f"{name}.json" for name in ("claims", "summary", "headline")},
    }
    os.chdir(data)  # in the project's folder, the stage would record its effort
    sys.argv = ["report.py", *(text for name, path in paths.items() for text in (f"--{name}", str(path)))]
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        runpy.run_path(str(ROOT / "stages/report.py"), run_name="__main__")


def alone(function: Callable[..., Any], *arguments: Any) -> Taken:
    """Call the function in a new process, and return what the call took; the imports are not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed, function, *arguments).result()


def _timed(function: Callable[..., Any], *arguments: Any) -> Taken:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    function(*arguments)
    return Taken(time.process_time() - cpu_s, time.perf_counter() - wall_s, peak_memory_mib())


if __name__ == "__main__":
    exit_on_error(main)
