"""Running a stage, and what it took: a line on the screen, and one in a log that foretells the next run."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sustainable.core.errors import exit_on_error

LOG = Path("data/checkpoints/effort.jsonl")
PARTS = ("--protocol", "--name")
"""Arguments that name the part of a matrix or foreach which a stage is."""


def run_stage(main: Callable[[], None]) -> None:
    """`main`, with a user's mistake as one line (see `exit_on_error`); when it ends well, its wall time and
    memory are printed, and noted in `LOG` where the program was started beside a dvc.yaml."""
    exit_on_error(lambda: _noted(main))


def _noted(main: Callable[[], None]) -> None:
    start = time.perf_counter()
    main()
    effort = effort_of(sys.argv, time.perf_counter() - start)
    print(f"{effort['stage']}: {effort['wall_s']:.0f} s, at most {effort['memory_mib']:.0f} MiB")
    if Path("dvc.yaml").is_file():
        LOG.parent.mkdir(parents=True, exist_ok=True)
        with LOG.open("a", encoding="utf-8") as file:
            file.write(json.dumps(effort) + "\n")


def effort_of(arguments: Sequence[str], wall_s: float) -> dict[str, Any]:
    """Stage as DVC names it, wall seconds, and resident memory in MiB: this process's, and its largest
    child's once a core, which is the most that can have been there at once."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    part = next((f"@{value}" for name, value in pairwise(arguments) if name in PARTS), "")
    memory = (own + child * (os.cpu_count() or 1)) / 2**10  # Linux counts in KiB
    return {"stage": Path(arguments[0]).stem + part, "wall_s": wall_s, "memory_mib": memory}
