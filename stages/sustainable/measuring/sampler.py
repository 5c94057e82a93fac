"""Power over time: the trace of a span, gross and net of the host's idle power."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sustainable.core.errors import UserError
from sustainable.energy.meter import MODELLED_LOAD, Meter, Reading, weakest_evidence

ENERGY_COMPONENTS = ("cpu", "ram", "gpu")


@dataclass(frozen=True)
class PowerSummary:
    """Power and energy of one component over a trace."""

    average_w: float
    peak_w: float
    idle_w: float
    gross_j: float
    net_j: float  # gross energy minus `idle_w` times the span; negative below the idle power


def power_trace(readings: list[Reading]) -> list[dict[str, float]]:
    """Return the watts of each component between successive readings, one row per step.

    `readings` are totals since one start. `time_s` is the middle of the step. Components that were not
    measured are left out. A reading without the value of a component is skipped, which makes a step longer: a
    model of power has none for very short spans.
    """
    rows = []
    for before, after in pairwise(reading for reading in readings if reading.complete):
        step = after.wall_time_s - before.wall_time_s
        if step <= 0:
            continue
        row = {"time_s": (before.wall_time_s + after.wall_time_s) / 2, "step_s": step}
        for name in ENERGY_COMPONENTS:
            first, last = getattr(before, f"{name}_j"), getattr(after, f"{name}_j")
            if first is not None and last is not None:
                row[f"{name}_w"] = (last - first) / step
        rows.append(row)
    return rows


def summarise_power(trace: list[dict[str, float]], idle_w: dict[str, float]) -> dict[str, PowerSummary]:
    """Return the power and energy of each component over a trace from `power_trace`."""
    summaries = {}
    for name in ENERGY_COMPONENTS:
        if steps := [(row[f"{name}_w"], row["step_s"]) for row in trace if f"{name}_w" in row]:
            watts, seconds = np.array(steps).T
            gross, span, idle = float(watts @ seconds), float(seconds.sum()), idle_w.get(name, 0.0)
            summaries[name] = PowerSummary(gross / span, float(watts.max()), idle, gross, gross - idle * span)
    return summaries


class PowerSampler:
    """Read a meter every `interval_s` in a thread.

    Call `calibrate` first to measure the idle power; `start` and `stop` enclose the work.
    """

    def __init__(self, make_meter: Callable[[], Meter], interval_s: float = 0.5) -> None:
        self._make_meter, self._interval_s = make_meter, interval_s
        self.idle_w: dict[str, float] = {}
        self.evidence = ""  # class of the energy of all components together
        self._readings: list[Reading] = []

    def calibrate(self, seconds: float) -> dict[str, float]:
        """Measure the idle power: return the watts of each component while sleeping for `seconds`.

        A meter that models the load has no value for the CPU where there was none, and that is 0 W. Raises
        `UserError` if a value is missing otherwise: without it, nothing could be subtracted.
        """
        meter = self._make_meter()
        meter.start()
        time.sleep(seconds)
        reading = meter.stop()
        if reading.cpu_evidence == MODELLED_LOAD and reading.cpu_j is None and reading.ram_j is not None:
            reading = replace(reading, cpu_j=0.0)
        if not reading.complete:
            raise UserError(
                f"idle power: the meter has no value for {seconds:g} s ({reading.note}); idle longer"
            )
        energy = {name: getattr(reading, f"{name}_j") for name in ENERGY_COMPONENTS}
        self.idle_w = {name: j / reading.wall_time_s for name, j in energy.items() if j is not None}
        return self.idle_w

    def start(self) -> None:
        """Start sampling."""
        self._meter, self._done = self._make_meter(), threading.Event()
        self._meter.start()
        self._readings = [_at_start(self._meter.read())]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[list[dict[str, float]], dict[str, PowerSummary]]:
        """Stop sampling; return the trace and its summary."""
        self._done.set()
        self._thread.join()
        self._readings.append(self._meter.stop())
        last = self._readings[-1]
        self.evidence = weakest_evidence([last.cpu_evidence, last.ram_evidence, last.gpu_evidence])
        trace = power_trace(self._readings)
        return trace, summarise_power(trace, self.idle_w)

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self._readings.append(self._meter.read())


def _at_start(reading: Reading) -> Reading:
    """Return the first reading, with an energy of 0 where a model has no value for so short a span."""
    if reading.complete:
        return reading
    return replace(
        reading,
        cpu_j=0.0 if reading.cpu_evidence else None,
        ram_j=0.0 if reading.ram_evidence else None,
        gpu_j=0.0 if reading.gpu_evidence else None,
    )
