"""Independent pieces of work, side by side over the cores. Not for work that is timed."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed

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
    An exception of a task is raised here and ends the others.
    """
    count = max(1, min(workers or available_cores(), len(tasks)))
    running = Parallel(n_jobs=count, return_as="generator")(delayed(function)(*task) for task in tasks)
    yield from progress(running, what, len(tasks))
