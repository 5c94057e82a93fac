"""Meters that measure nothing: a recorded trace played back, and plain arithmetic.

Rows of these carry classes of evidence that stamp every page on which they appear.
"""

import time
from dataclasses import fields
from pathlib import Path

from sustainable.core.files import read_rows
from sustainable.energy.meter import COUNTER, FAKE, REPLAYED, REPLAYED_COUNTER, MeterError, Reading


class Trace:
    """Recorded readings (a CSV with the fields of `Reading`), handed out one after another."""

    def __init__(self, path: Path) -> None:
        self._rows = read_rows(path, [field.name for field in fields(Reading)])
        self._path, self._next = path, 0

    def next(self) -> Reading:
        """The next reading, with its evidence marked as played back. Raises `MeterError` at the end."""
        if self._next == len(self._rows):
            raise MeterError(f"{self._path}: the trace has ended after {self._next} readings")
        row = {str(name): value for name, value in self._rows.iloc[self._next].items()}
        self._next += 1
        for name, value in row.items():
            if value != value:  # an empty cell
                row[name] = "" if name == "note" else None
            if name.endswith("_evidence") and row[name] is not None:
                row[name] = REPLAYED_COUNTER if value == COUNTER else REPLAYED
        return Reading(**{field.name: row[field.name] for field in fields(Reading)})


class ReplayMeter:
    """One span of a trace: whatever is done between start and stop, the recorded reading comes back."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._reading: Reading | None = None

    def start(self) -> None:
        self._reading = self._trace.next()

    def read(self) -> Reading:
        if self._reading is None:
            raise MeterError("replay: start first")
        return self._reading

    stop = read


class FakeMeter:
    """`watts` times CPU time for the processor, and a tenth of it times wall time for memory."""

    def __init__(self, watts: float = 10.0) -> None:
        self._watts = watts

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Reading:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Reading(
            wall_time_s=wall,
            cpu_time_s=cpu,
            cpu_j=self._watts * cpu,
            ram_j=self._watts / 10 * wall,
            gpu_j=None,
            cpu_evidence=FAKE,
            ram_evidence=FAKE,
            gpu_evidence=None,
            meter="fake",
            note=f"assumed {self._watts:g} W",
        )

    stop = read
