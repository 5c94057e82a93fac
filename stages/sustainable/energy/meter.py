"""The meter interface, its readings and their evidence classes, and the clock that all meters share."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypedDict

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
"""Evidence classes and their meaning. Only counters can support a claim about energy. Replayed and fake
readings show how a claim would be decided, on pages that are stamped."""

STAMPED = frozenset({REPLAYED_COUNTER, REPLAYED, FAKE})
"""Pages that contain readings of these classes carry a stamp."""


def carries_energy_claims(evidence: str) -> bool:
    """Return whether readings of this class can decide a claim about energy."""
    return evidence in (COUNTER, REPLAYED_COUNTER)


WEAKEST_FIRST = (FAKE, REPLAYED, REPLAYED_COUNTER, MODELLED_CONSTANT, MODELLED_LOAD, SAMPLED, COUNTER)


def weakest_evidence(classes: Iterable[str | None]) -> str:
    """Return the class of a sum of energies: that of its weakest part. None stands for a part not metered.

    An empty string means that nothing was metered.
    """
    known = set(classes) - {None}
    return next((name for name in WEAKEST_FIRST if name in known), "")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The cost of one metered span. Energy that was not measured is None, and `note` gives the reason.

    The order of the fields is the order of the columns in the data files.
    """

    wall_time_s: float
    cpu_time_s: float  # user and system time of this process, read from its own clock and not from the meter
    cpu_j: float | None = None  # energy of the processor packages
    ram_j: float | None = None
    gpu_j: float | None = None  # energy of all GPUs
    cpu_evidence: str | None = None
    """Evidence class of `cpu_j`; None if the meter does not cover the processor. The same holds below."""
    ram_evidence: str | None = None
    gpu_evidence: str | None = None
    meter: str
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether every component that the meter covers has a value."""
        parts = (("cpu_j", "cpu_evidence"), ("ram_j", "ram_evidence"), ("gpu_j", "gpu_evidence"))
        return all(getattr(self, value) is not None for value, kind in parts if getattr(self, kind))

    @property
    def total_j(self) -> float | None:
        """Sum of all components that the meter covers.

        None if it covers none, or if one of them has no value: part of an energy is not the energy.
        """
        evidence_of = {"cpu_j": self.cpu_evidence, "ram_j": self.ram_evidence, "gpu_j": self.gpu_evidence}
        parts = [getattr(self, name) for name, evidence in evidence_of.items() if evidence is not None]
        return sum(parts) if parts and None not in parts else None


class Meter(Protocol):
    """A meter of one span: `start` once, `read` any number of times, `stop` once.

    `read` and `stop` return totals since the start.
    """

    def start(self) -> None: ...

    def read(self) -> Reading: ...

    def stop(self) -> Reading: ...


class MeterError(Exception):
    """A meter cannot be used on this host; the message says why and how to enable it."""


class Elapsed(TypedDict):
    """The two fields of `Reading` that every meter takes from a `SpanClock`."""

    wall_time_s: float
    cpu_time_s: float


class SpanClock:
    """Wall time and CPU time of this process since the clock was made, in seconds."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def elapsed(self) -> Elapsed:
        """Return the seconds since the clock was made."""
        return {
            "wall_time_s": time.perf_counter() - self._wall,
            "cpu_time_s": time.process_time() - self._cpu,
        }
