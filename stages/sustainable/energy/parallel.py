"""Metered work over the cores, or over a cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sustainable.core.cells import CellFiles, on_every_machine, run_cells
from sustainable.core.parallel import in_parallel
from sustainable.energy.choice import MeterParameters, choose_meter

TaskRecord = TypeVar("TaskRecord")


def in_metered_parallel(
    function: Callable[..., TaskRecord],
    tasks: Sequence[tuple[Any, ...]],
    what: str,
    metering: MeterParameters,
) -> Iterator[TaskRecord]:
    """`in_parallel` for tasks that are metered: one at a time if the meter reads the whole machine."""
    return in_parallel(function, tasks, what, 1 if reads_whole_machine(metering) else None)


def run_metered_cells(
    function: Callable[..., TaskRecord],
    tasks: Sequence[tuple[Any, ...]],
    what: str,
    metering: MeterParameters,
    files: Sequence[CellFiles],
) -> Iterator[TaskRecord]:
    """`run_cells` for cells that are metered: each alone on its machine if a meter reads whole machines."""
    alone = any(on_every_machine(reads_whole_machine, metering))
    return run_cells(function, tasks, what, files, alone)


def reads_whole_machine(metering: MeterParameters) -> bool:
    """Whether the meter that would be chosen here reads the whole machine."""
    return choose_meter(metering).whole_machine
