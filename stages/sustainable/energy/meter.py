"""What a meter is: start, read, stop; joules by component, each with its class of evidence."""

from dataclasses import dataclass
from typing import Protocol

COUNTER = "counter"
MODELLED_LOAD = "modelled-load"
MODELLED_CONSTANT = "modelled-constant"

EVIDENCE = {
    COUNTER: "difference of a hardware energy counter",
    MODELLED_LOAD: "CPU time or load multiplied by assumed watts; not independent of time",
    MODELLED_CONSTANT: "assumed watts multiplied by wall time",
}
"""The classes of evidence. Only `counter` can carry a claim about energy."""


@dataclass(frozen=True)
class Reading:
    """What one metered span has cost. Energy is None where it was not measured, and `note` says why.

    `cpu_time_s` is user and system time of this process, read beside the meter and not by it.
    """

    wall_time_s: float
    cpu_time_s: float
    cpu_j: float | None
    ram_j: float | None
    gpu_j: float | None
    cpu_evidence: str
    ram_evidence: str
    gpu_evidence: str | None
    meter: str
    note: str = ""


class Meter(Protocol):
    """Every meter: `start` once, `read` as often as wanted (the total since the start), `stop` once."""

    def start(self) -> None: ...

    def read(self) -> Reading: ...

    def stop(self) -> Reading: ...
