"""NVML: the energy of NVIDIA GPUs, from the driver's energy counter or, without one, its power sensor."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sustainable.energy.meter import COUNTER, SAMPLED, MeterError, Reading, SpanClock

SAMPLING_S = 0.1


def load_library() -> Any:
    """Return the NVML bindings, initialised. Raises `MeterError` if there is no driver or no GPU."""
    try:
        import pynvml
    except ImportError:
        raise MeterError("NVML: the package nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        raise MeterError(f"NVML: no NVIDIA driver or GPU here ({error})") from None
    if count == 0:
        raise MeterError("NVML: the driver sees no GPU")
    return pynvml


def synchronise_torch() -> None:
    """Wait until the GPU has finished all work that torch has launched: launches are asynchronous."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


class NvmlMeter:
    """Energy of all GPUs. Tests replace `library` and `synchronise` by stand-ins."""

    def __init__(
        self,
        library: Any = None,
        synchronise: Callable[[], None] = synchronise_torch,
        sampling_s: float = SAMPLING_S,
    ) -> None:
        self._nvml = library if library is not None else load_library()
        self._synchronise, self._sampling_s = synchronise, sampling_s
        count = self._nvml.nvmlDeviceGetCount()
        self._devices = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        try:
            self._counter_mj()
            self._counted = True
        except self._nvml.NVMLError:
            self._counted = False

    def start(self) -> None:
        """Start when the GPU has become idle, so that earlier work is not counted."""
        self._synchronise()
        self._sampler = None if self._counted else _Integral(self._watts, self._sampling_s)
        self._first_mj = self._counter_mj() if self._counted else 0
        self._clock = SpanClock()

    def read(self) -> Reading:
        """Return the totals since the start, after the GPU has finished its work."""
        self._synchronise()
        elapsed = self._clock.elapsed()
        if self._sampler is None:
            joules = (self._counter_mj() - self._first_mj) / 1000
        else:
            joules = self._sampler.joules()
        sampled = "" if self._counted else f"; power sampled every {self._sampling_s} s"
        return Reading(
            **elapsed,
            gpu_j=joules,
            gpu_evidence=COUNTER if self._counted else SAMPLED,
            meter="nvml",
            note=f"the GPU alone{sampled}",
        )

    def stop(self) -> Reading:
        reading = self.read()
        if self._sampler is not None:
            self._sampler.stop()
        return reading

    def _counter_mj(self) -> int:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(device) for device in self._devices)

    def _watts(self) -> float:
        milliwatts = sum(self._nvml.nvmlDeviceGetPowerUsage(device) for device in self._devices)
        return float(milliwatts) / 1000


class _Integral:
    """Trapezoidal integral over power readings that a thread takes every `interval_s`."""

    def __init__(self, watts: Callable[[], float], interval_s: float) -> None:
        self._watts, self._interval_s = watts, interval_s
        self._lock, self._done = threading.Lock(), threading.Event()
        self._joules, self._last = 0.0, (time.perf_counter(), watts())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Return the integral up to now, in joules."""
        with self._lock:  # the meter and the thread both call this
            now = (time.perf_counter(), self._watts())
            self._joules += (now[0] - self._last[0]) * (now[1] + self._last[1]) / 2
            self._last = now
            return self._joules

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self.joules()
