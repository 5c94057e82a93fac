"""The power trace of a span over time, gross and net of what the host draws when it does nothing."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sustainable.energy.meter import Meter, Reading

COMPONENTS = ("cpu", "ram", "gpu")


@dataclass(frozen=True)
class PowerSummary:
    """Power of one component over a trace. `net_j` is the gross energy less `idle_w` times the span;
    it can be negative where the idle power was higher than the mean."""

    average_w: float
    peak_w: float
    idle_w: float
    gross_j: float
    net_j: float


def power_trace(readings: list[Reading]) -> list[dict[str, float]]:
    """Watts by component between successive readings (totals since one start): a row a step.

    `time_s` is the middle of the step. Components that were not measured are left out.
    """
    rows = []
    for before, after in pairwise(readings):
        step = after.wall_time_s - before.wall_time_s
        if step <= 0:
            continue
        row = {"time_s": (before.wall_time_s + after.wall_time_s) / 2, "step_s": step}
        for name in COMPONENTS:
            first, last = getattr(before, f"{name}_j"), getattr(after, f"{name}_j")
            if first is not None and last is not None:
                row[f"{name}_w"] = (last - first) / step
        rows.append(row)
    return rows


def summarise_power(trace: list[dict[str, float]], idle_w: dict[str, float]) -> dict[str, PowerSummary]:
    """Average, peak, idle and net by component, over a trace as `power_trace` gives it."""
    summaries = {}
    for name in COMPONENTS:
        steps = [(row[f"{name}_w"], row["step_s"]) for row in trace if f"{name}_w" in row]
        if not steps:
            continue
        watts, seconds = np.array(steps).T
        gross, span, idle = float(watts @ seconds), float(seconds.sum()), idle_w.get(name, 0.0)
        summaries[name] = PowerSummary(gross / span, float(watts.max()), idle, gross, gross - idle * span)
    return summaries


class PowerSampler:
    """Reads a meter every `interval_s` in a thread and keeps the readings.

    `calibrate` measures the idle power before; `start` and `stop` bracket the work.
    """

    def __init__(self, make_meter: Callable[[], Meter], interval_s: float = 0.5) -> None:
        self._make_meter, self._interval_s = make_meter, interval_s
        self.idle_w: dict[str, float] = {}
        self._readings: list[Reading] = []

    def calibrate(self, seconds: float) -> dict[str, float]:
        """Watts by component while nothing is done for `seconds`."""
        meter = self._make_meter()
        meter.start()
        time.sleep(seconds)
        reading = meter.stop()
        energy = {name: getattr(reading, f"{name}_j") for name in COMPONENTS}
        self.idle_w = {name: j / reading.wall_time_s for name, j in energy.items() if j is not None}
        return self.idle_w

    def start(self) -> None:
        """Begin to sample."""
        self._meter, self._done = self._make_meter(), threading.Event()
        self._meter.start()
        self._readings = [self._meter.read()]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[list[dict[str, float]], dict[str, PowerSummary]]:
        """End; gives the trace and its summary."""
        self._done.set()
        self._thread.join()
        self._readings.append(self._meter.stop())
        trace = power_trace(self._readings)
        return trace, summarise_power(trace, self.idle_w)

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self._readings.append(self._meter.read())
