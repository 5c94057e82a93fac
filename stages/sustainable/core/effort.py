"""Run a stage, and record its wall time and its memory.

The log of these records predicts the time and memory of the next run.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from sustainable.core.engine import LOCAL, chosen_engine
from sustainable.core.errors import exit_on_error
from sustainable.core.reading import parsed_json

LOG = Path("data/checkpoints/effort.jsonl")
PART_OPTIONS = ("--protocol", "--task", "--name")
"""Options that name the part of a DVC matrix or foreach that a stage runs."""

_workers_mib = 0.0
_earlier_mib = 0.0


def run_stage(main: Callable[[], None]) -> None:
    """Run `main` and report a user's mistake as one line (see `exit_on_error`).

    After a successful run, print its wall time and memory. Append them to `LOG` if the working folder has a
    dvc.yaml, also those of a run that was interrupted or failed: the next run resumes it.
    """
    exit_on_error(lambda: _run_and_record(main))


def _run_and_record(main: Callable[[], None]) -> None:
    start = time.perf_counter()
    try:
        main()
    except BaseException:
        if LOG.parent.is_dir():  # otherwise nothing was begun that the next run could resume
            with suppress(OSError):  # such as the full disk that ended the run
                _record(effort_of(sys.argv, time.perf_counter() - start) | {"ended": False})
        raise
    effort = effort_of(sys.argv, time.perf_counter() - start)
    print(f"{effort['stage']}: {effort['wall_s']:.0f} s, at most {effort['memory_mib']:.0f} MiB")
    _record(effort)


def _record(effort: Mapping[str, Any]) -> None:
    # What a cluster takes says nothing about this machine.
    if Path("dvc.yaml").is_file() and chosen_engine() == LOCAL:
        LOG.parent.mkdir(parents=True, exist_ok=True)
        with LOG.open("a", encoding="utf-8") as file:
            file.write(json.dumps(effort) + "\n")


def latest_efforts(log: str) -> list[dict[str, Any]]:
    """Return what the last run of every stage in `log` took, the text of a file such as `LOG`.

    The wall time includes the parts that were interrupted before the stage ended; the memory is that of the
    largest part. What a killed process took (signal 9) is not known.
    """
    latest: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for line in log.splitlines():
        if not line.endswith("}"):  # cut off when the process was killed
            continue
        effort = parsed_json(line)
        ended, stage = effort.pop("ended", True), effort["stage"]
        if stage in parts:
            effort["wall_s"] += parts[stage]["wall_s"]
            effort["memory_mib"] = max(effort["memory_mib"], parts[stage]["memory_mib"])
        if ended:
            parts.pop(stage, None)
            latest.pop(stage, None)
        (latest if ended else parts)[stage] = effort
    return list(latest.values())


def effort_of(arguments: Sequence[str], wall_s: float) -> dict[str, Any]:
    """Return the stage as DVC names it, its wall seconds, and its memory in MiB.

    The memory is the sum of the peaks of resident memory that the kernel recorded for this process and for
    its workers (see `record_workers`), or such a sum up to `workers_ended` if that is larger. It is never
    below the true peak of all processes together. The kernel keeps these peaks anyway, so reading them does
    not disturb a stage that measures; a thread that samples the memory would. Other programs that a stage
    starts, such as `lscpu`, are not included.
    """
    part = next((f"@{value}" for name, value in pairwise(arguments) if name in PART_OPTIONS), "")
    memory = max(_earlier_mib, peak_memory_mib() + _workers_mib)
    return {"stage": Path(arguments[0]).stem + part, "wall_s": wall_s, "memory_mib": memory}


def peak_memory_mib() -> float:
    """Return the peak resident memory of this process, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not `ru_maxrss`: Linux carries it over when a process starts another program, so that the smallest
        # child of a large process seems to be as large as its parent.
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere


def record_workers(peaks_mib: Mapping[int, float], at_once: int) -> None:
    """Record the peak memory of worker processes, by process id, of which at most `at_once` ran together.

    A pool replaces workers that have grown, so that only the largest `at_once` count.
    """
    global _workers_mib
    _workers_mib = max(_workers_mib, sum(sorted(peaks_mib.values())[-at_once:]))


def workers_ended() -> None:
    """Record that all workers so far have ended: the memory that is needed later is not added to theirs."""
    global _earlier_mib, _workers_mib
    _earlier_mib = max(_earlier_mib, peak_memory_mib() + _workers_mib)
    _workers_mib = 0.0
