"""Run a stage's script in this process, with the determinism pins or without: PINS THREADS SCRIPT ARGUMENTS.

Without pins a stand-in takes the place of `artifact.determinism` before anything imports it. Nothing is
timed, and everything stays in this process: in others the stand-in would be missing. Nothing here may import
numpy or torch.
"""

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    pins, threads, script, *_ = sys.argv[1:]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.argv = sys.argv[3:]
    if pins == "pinned":
        import sustainable.core.determinism  # noqa: F401
    else:
        sys.modules[DETERMINISM] = stand_in(int(threads))
    stay_here()
    if Path(script).stem == "benchmark":
        measure_nothing()
    runpy.run_path(script, run_name="__main__")


DETERMINISM = "sustainable.core.determinism"


def stand_in(threads: int) -> ModuleType:
    """A module that pins nothing, and sets only the number of torch's threads."""

    def use_deterministic_torch() -> None:
        import torch

        torch.set_num_threads(threads)

    module = ModuleType(DETERMINISM)
    vars(module).update(use_deterministic_torch=use_deterministic_torch, PINS={})
    return module


def stay_here() -> None:
    """No workers, and no fresh process without the pins."""
    from sustainable.core import parallel
    from sustainable.measuring import process

    def no_fresh_process(threads: int, keep_memory: bool) -> None:
        """What `start_afresh` sets is of no account where nothing is timed."""

    parallel.available_cores = lambda: 1
    process.start_afresh = no_fresh_process


def measure_nothing() -> None:
    """The benchmark makes its models and their forecasts; its windows are left out."""
    from sustainable.forecasting.benchmark import blocks
    from sustainable.forecasting.benchmark import runs as published
    from sustainable.measuring import roofline

    def nothing(*_: Any) -> dict[str, Any]:
        return {}

    published.measure_runs = nothing  # type: ignore[assignment]
    blocks.measure_blocks = nothing  # type: ignore[assignment]
    roofline.measure_roofline = lambda: roofline.Roofline(1.0, 1.0)


if __name__ == "__main__":
    main()
