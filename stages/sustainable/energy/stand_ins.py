"""Meters that measure nothing: a recorded trace played back, and plain arithmetic.

Their readings have evidence classes of their own, which stamp every page on which they appear.
"""

from dataclasses import fields
from pathlib import Path

from sustainable.core.files import read_rows
from sustainable.energy import meter


class RecordedTrace:
    """Recorded readings, returned one after the other.

    The file is a CSV with the fields of `Reading` as columns.
    """

    def __init__(self, path: Path) -> None:
        self._rows = read_rows(path, [field.name for field in fields(meter.Reading)])
        self._path, self._next = path, 0

    def next(self) -> meter.Reading:
        """Return the next reading, its evidence marked as replayed. Raises `MeterError` at the end."""
        if self._next == len(self._rows):
            raise meter.MeterError(f"{self._path}: the trace has ended after {self._next} readings")
        row = {str(name): value for name, value in self._rows.iloc[self._next].items()}
        self._next += 1
        for name, value in row.items():
            if value != value:  # NaN: pandas read an empty cell
                row[name] = "" if name == "note" else None
            if name.endswith("_evidence") and row[name] is not None:
                row[name] = meter.REPLAYED_COUNTER if value == meter.COUNTER else meter.REPLAYED
        return meter.Reading(**{field.name: row[field.name] for field in fields(meter.Reading)})


class ReplayMeter:
    """One span of a trace. It returns the recorded reading, whatever happens between start and stop."""

    def __init__(self, trace: RecordedTrace) -> None:
        self._trace = trace
        self._reading: meter.Reading | None = None

    def start(self) -> None:
        self._reading = self._trace.next()

    def read(self) -> meter.Reading:
        if self._reading is None:
            raise meter.MeterError("replay: start first")
        return self._reading

    stop = read


class FakeMeter:
    """Processor: `watts` times CPU time. Memory: a tenth of `watts` times wall time."""

    def __init__(self, watts: float = 10.0) -> None:
        self._watts = watts

    def start(self) -> None:
        self._clock = meter.SpanClock()

    def read(self) -> meter.Reading:
        elapsed = self._clock.elapsed()
        return meter.Reading(
            **elapsed,
            cpu_j=self._watts * elapsed["cpu_time_s"],
            ram_j=self._watts / 10 * elapsed["wall_time_s"],
            cpu_evidence=meter.FAKE,
            ram_evidence=meter.FAKE,
            meter="fake",
            note=f"assumed {self._watts:g} W",
        )

    stop = read
