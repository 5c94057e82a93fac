"""What an engine costs: the time per cell that does nothing, and the speed-up of cells that compute.

`SUSTAINABLE_ENGINE` and `RAY_ADDRESS` choose the engine. Nothing is kept.
"""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

import argparse
import time
from math import sqrt

from sustainable.core.cells import on_every_machine, run_cells
from sustainable.core.engine import chosen_engine
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parallel import available_cores

STEPS = 10_000_000
"""Square roots of a cell that computes: about a second."""


def compute(steps: int) -> float:
    """Keep one core busy."""
    return sum(sqrt(number) for number in range(steps))


def seconds_of(function: object, arguments: list[tuple[int]], what: str) -> float:
    start = time.perf_counter()
    for _ in run_cells(function, arguments, what):  # type: ignore[arg-type]
        pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500, help="how many do nothing (default: 500)")
    count = parser.parse_args().cells
    if not 10 <= count <= 1_000_000:
        raise UserError(f"--cells {count}: 10 to 1000000")
    cores = sum(on_every_machine(available_cores))
    seconds_of(abs, [(-1,)] * 4 * cores, "starting workers")
    empty_s = seconds_of(abs, [(-1,)] * count, "cells that do nothing")
    start = time.process_time()
    compute(STEPS)
    alone_s = time.process_time() - start
    busy_s = seconds_of(compute, [(STEPS,)] * 4 * cores, "cells that compute")
    each_ms, efficiency = 1000 * empty_s / count, 4 * alone_s / busy_s
    print(f"engine {chosen_engine()}, {cores} cores")
    print(f"{count} cells that do nothing: {each_ms:.2f} ms each, {1000 / each_ms:.0f} per second")
    print(f"{4 * cores} cells of {alone_s:.2f} CPU seconds: {busy_s:.2f} s, efficiency {efficiency:.2f}")


if __name__ == "__main__":
    exit_on_error(main)
