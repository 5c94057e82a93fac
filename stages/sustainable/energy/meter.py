"""What a meter is: start, read, stop; joules by component, each with its class of evidence."""

from dataclasses import dataclass
from typing import Protocol

COUNTER = "counter"
SAMPLED = "sampled-power"
MODELLED_LOAD = "modelled-load"
MODELLED_CONSTANT = "modelled-constant"
REPLAYED_COUNTER = "replay-counter"
REPLAYED = "replay"
FAKE = "fake"

EVIDENCE = {
    COUNTER: "difference of a hardware energy counter",
    SAMPLED: "integral over readings of a hardware power sensor",
    MODELLED_LOAD: "CPU time or load multiplied by assumed watts; not independent of time",
    MODELLED_CONSTANT: "assumed watts multiplied by wall time",
    REPLAYED_COUNTER: "a recorded trace of a hardware energy counter, played back",
    REPLAYED: "a recorded trace of a model, played back",
    FAKE: "arithmetic",
}
"""The classes of evidence. Only counters can carry a claim about energy; what is played back or made up
can show how a claim would be decided, on pages that are stamped."""

STAMPED = frozenset({REPLAYED_COUNTER, REPLAYED, FAKE})


def carries_energy_claims(evidence: str) -> bool:
    """Whether a verdict about energy may be computed from readings of this class."""
    return evidence in (COUNTER, REPLAYED_COUNTER)


@dataclass(frozen=True)
class Reading:
    """What one metered span has cost. Energy is None where it was not measured, and `note` says why.

    `cpu_j` is the processor package's energy, `ram_j` the memory's, `gpu_j` that of all GPUs.
    `cpu_time_s` is user and system time of this process, read beside the meter and not by it.
    """

    wall_time_s: float
    cpu_time_s: float
    cpu_j: float | None
    ram_j: float | None
    gpu_j: float | None
    cpu_evidence: str | None
    ram_evidence: str | None
    gpu_evidence: str | None
    meter: str
    note: str = ""

    @property
    def total_j(self) -> float | None:
        """All components together; None where no component was measured, or the CPU's should have been
        and was not (part of an energy is not the energy)."""
        expected = {"cpu_j": self.cpu_evidence, "ram_j": self.ram_evidence, "gpu_j": self.gpu_evidence}
        parts = [getattr(self, name) for name, evidence in expected.items() if evidence is not None]
        return sum(parts) if parts and None not in parts else None


class Meter(Protocol):
    """Every meter: `start` once, `read` as often as wanted (the total since the start), `stop` once."""

    def start(self) -> None: ...

    def read(self) -> Reading: ...

    def stop(self) -> Reading: ...


class MeterError(Exception):
    """A meter cannot be used here; the message says why and what grants it."""
