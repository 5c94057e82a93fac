"""Metered work over the cores."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

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
    workers = 1 if choose_meter(metering).whole_machine else None
    return in_parallel(function, tasks, what, workers)
