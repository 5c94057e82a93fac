"""The notebook's energy monitor, which assumes watts, and a meter in its place.

Both sample power in a thread, and subtract the power of the idle host.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import psutil
import torch
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass as checked_dataclass

from sustainable.core.parameters import STRICT
from sustainable.energy.meter import MODELLED_LOAD, Meter
from sustainable.energy.nvml import load_library
from sustainable.measuring.sampler import PowerSampler

COMPONENTS = ("cpu", "ram", "gpu", "total")
Watts = Annotated[float, Field(ge=0.0)]


@checked_dataclass(frozen=True, config=STRICT)
class MonitorParameters:
    """The notebook's energy monitor: the watts are assumed, and its own."""

    interval_s: PositiveFloat  # between two samples
    idle_s: PositiveFloat  # of the idle host, sampled before the tests
    cpu_idle_w: Watts
    cpu_busy_w: Watts  # more, at full utilisation of all cores
    ram_idle_w: Watts
    ram_busy_w: Watts  # more, when all memory is in use


@dataclass(frozen=True)
class Monitored:
    """The energy of one test by component, and its trace."""

    duration_s: float
    idle_w: Mapping[str, float]
    gross_j: Mapping[str, float]
    net_j: Mapping[str, float]
    average_w: Mapping[str, float]  # net
    peak_w: Mapping[str, float]  # net
    evidence: str  # class of the energy of all components together
    trace: Sequence[Mapping[str, float]]  # `time_s` and gross watts by component


class Monitor(Protocol):
    """Encloses one test. The idle power is measured when the monitor is made."""

    def start(self) -> None: ...

    def stop(self) -> Monitored: ...


def gpu_sensor() -> Callable[[], float]:
    """Return the power of the first GPU in watts, from NVML; 0 if torch sees none, as in the notebook."""
    if not torch.cuda.is_available():
        return lambda: 0.0
    library = load_library()
    device = library.nvmlDeviceGetHandleByIndex(0)
    return lambda: float(library.nvmlDeviceGetPowerUsage(device)) / 1000.0


class AssumedPowerMonitor:
    """Watts that follow the utilisation of all cores and of memory, as the notebook assumes them.

    Three of its habits are kept: samples count as if they were exactly `interval_s` apart, net power below
    zero counts as zero, and the first sample of the utilisation is meaningless (psutil returns 0).
    """

    def __init__(self, parameters: MonitorParameters) -> None:
        self._parameters, self._gpu_watts = parameters, gpu_sensor()
        samples, end = [], time.perf_counter() + parameters.idle_s
        while time.perf_counter() < end:
            samples.append(self._watts())
            time.sleep(parameters.interval_s)
        self._idle_w = {name: float(np.mean([one[name] for one in samples])) for name in COMPONENTS}

    def _watts(self) -> dict[str, float]:
        own = self._parameters
        cpu = own.cpu_idle_w + own.cpu_busy_w * psutil.cpu_percent(interval=None) / 100
        ram = own.ram_idle_w + own.ram_busy_w * psutil.virtual_memory().percent / 100
        gpu = self._gpu_watts()
        return {"cpu": cpu, "ram": ram, "gpu": gpu, "total": cpu + ram + gpu}

    def start(self) -> None:
        """Start sampling."""
        self._trace: list[dict[str, float]] = []
        self._done, self._begun = threading.Event(), time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._trace.append({"time_s": time.perf_counter() - self._begun, **self._watts()})
            if self._done.wait(self._parameters.interval_s):
                break

    def stop(self) -> Monitored:
        """Stop sampling, and integrate by the trapezoidal rule."""
        self._done.set()
        self._thread.join()
        return integrated(
            self._trace, self._idle_w, self._parameters.interval_s, time.perf_counter() - self._begun
        )


def integrated(
    trace: Sequence[Mapping[str, float]], idle_w: Mapping[str, float], interval_s: float, duration_s: float
) -> Monitored:
    """Integrate assumed watts as the notebook does, see `AssumedPowerMonitor`."""
    gross = {name: np.array([sample[name] for sample in trace]) for name in COMPONENTS}
    net = {name: np.maximum(watts - idle_w[name], 0.0) for name, watts in gross.items()}
    return Monitored(
        duration_s=duration_s,
        idle_w=idle_w,
        gross_j={name: float(np.trapezoid(watts, dx=interval_s)) for name, watts in gross.items()},
        net_j={name: float(np.trapezoid(watts, dx=interval_s)) for name, watts in net.items()},
        average_w={name: float(watts.mean()) for name, watts in net.items()},
        peak_w={name: float(watts.max()) for name, watts in net.items()},
        evidence=MODELLED_LOAD,
        trace=trace,
    )


class MeteredMonitor:
    """The host's meter, sampled; net power may be negative, and steps have their measured length."""

    def __init__(self, make_meter: Callable[[], Meter], idle_s: float, interval_s: float) -> None:
        self._sampler = PowerSampler(make_meter, interval_s)
        self._sampler.calibrate(idle_s)

    def start(self) -> None:
        """Start sampling."""
        self._begun = time.perf_counter()
        self._sampler.start()

    def stop(self) -> Monitored:
        """Stop sampling, and sum the energy of the steps; a test too short for the meter has no energy."""
        trace, summaries = self._sampler.stop()
        duration_s = time.perf_counter() - self._begun
        if not trace:
            return Monitored(duration_s, {}, {}, {}, {}, {}, self._sampler.evidence, [])
        idle = {name: one.idle_w for name, one in summaries.items()}
        gross = {name: one.gross_j for name, one in summaries.items()}
        net = {name: one.net_j for name, one in summaries.items()}
        span = sum(row["step_s"] for row in trace)
        rows = [_watts_of(row) for row in trace]
        idle["total"], gross["total"], net["total"] = (sum(part.values()) for part in (idle, gross, net))
        return Monitored(
            duration_s=duration_s,
            idle_w=idle,
            gross_j=gross,
            net_j=net,
            average_w={name: joules / span for name, joules in net.items()},
            peak_w={name: max(row[name] for row in rows) - idle[name] for name in net},
            evidence=self._sampler.evidence,
            trace=rows,
        )


def _watts_of(row: Mapping[str, float]) -> dict[str, float]:
    """A row of a power trace as `Monitored.trace` has it."""
    watts = {name.removesuffix("_w"): value for name, value in row.items() if name.endswith("_w")}
    return {"time_s": row["time_s"], **watts, "total": sum(watts.values())}
