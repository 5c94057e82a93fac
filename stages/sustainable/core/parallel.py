"""Independent pieces of work, side by side over the cores. Not for work that is timed."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from sustainable.core.errors import UserError
from sustainable.core.effort import peak_memory_mib, record_workers, workers_ended
from sustainable.core.progress import progress

T = TypeVar("T")


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], what: str, workers: int | None = None
) -> Iterator[T]:
    """Yield `function(*task)` for every task, in the order of `tasks`, showing progress as `what`.

    `workers` is the number of processes, at most one a core; with one, everything runs in this process.
    An exception of a task is raised here and ends the others. Raises `UserError` if a worker process is
    killed: the system does that when it runs out of memory.
    """
    count = max(1, min(workers or available_cores(), len(tasks)))
    calls = (delayed(_with_peak)(os.getpid(), function, *task) for task in tasks)
    peaks_mib: dict[int, float] = {}
    try:
        for result, process, peak_mib in progress(
            Parallel(n_jobs=count, return_as="generator")(calls), what, len(tasks)
        ):
            peaks_mib[process] = peak_mib
            yield result
    except BrokenProcessPool:
        problem = f"{what}: a worker process was killed, perhaps because memory ran out"
        raise UserError(f"{problem}; what is finished is kept, run it again to continue") from None
    peaks_mib.pop(os.getpid(), None)  # with one worker, the tasks run in this process
    record_workers(peaks_mib, count)


def end_workers() -> None:
    """End the worker processes now. Otherwise they wait some minutes for more work and keep their memory."""
    get_reusable_executor().shutdown(wait=True)
    workers_ended()


def _with_peak(parent: int, function: Callable[..., T], *task: Any) -> tuple[T, int, float]:
    """Return the result, and the id and peak memory of the process that computed it."""
    if os.getpid() != parent:
        _end_with(parent)
    return function(*task), os.getpid(), peak_memory_mib()


@cache
def _end_with(parent: int) -> None:
    """End this worker soon after its `parent`: a killed stage cannot end its workers itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
