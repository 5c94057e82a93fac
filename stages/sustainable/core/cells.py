"""Cells: independent pieces of work, on the cores of this machine or on a Ray cluster.

A stage names its cells and the files that they read and write; the engine (`core.engine`) runs them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sustainable.core.engine import LOCAL, chosen_engine
from sustainable.core.parallel import in_parallel

T = TypeVar("T")


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell, by paths relative to the working folder. Another machine has only these."""

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    """Those that exist already are sent along, so that a cell can continue where an earlier run ended."""


def run_cells(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    what: str,
    files: Sequence[CellFiles] | None = None,
    alone: bool = False,
    workers: int | None = None,
) -> Iterator[T]:
    """Yield `function(*task)` for every task, in the order of `tasks`, showing progress as `what`.

    `files` has one entry per task, or is None if no task reads or writes a file. With `alone`, each cell is
    the only one on its machine. `workers`: see `in_parallel`; other machines run as many as they have cores.
    An exception of a cell is raised here and ends the others.
    """
    if chosen_engine() == LOCAL:
        return in_parallel(function, tasks, what, 1 if alone else workers)
    from sustainable.core import ray_engine  # Ray is an optional dependency

    return ray_engine.run_cells(function, tasks, what, files or [CellFiles()] * len(tasks), alone)


def on_every_machine(function: Callable[..., T], *arguments: Any) -> list[T]:
    """Return `function(*arguments)` of each machine on which cells may run."""
    if chosen_engine() == LOCAL:
        return [function(*arguments)]
    from sustainable.core import ray_engine

    return ray_engine.on_every_node(function, *arguments)
