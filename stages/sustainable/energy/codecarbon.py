"""CodeCarbon as a meter: offline, silent, every argument explicit.

Without a readable counter, CodeCarbon models the energy of the CPU (in process mode: share of CPU time x
assumed watts). It always models RAM (assumed watts x wall time). Every reading states this.
"""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.energy.meter import COUNTER, MODELLED_CONSTANT, MODELLED_LOAD, Elapsed, Reading, SpanClock

os.environ["CODECARBON_LOG_LEVEL"] = "critical"  # importing it already logs
from codecarbon import OfflineEmissionsTracker
from codecarbon.output_methods.base_output import BaseOutput
from codecarbon.output_methods.emissions_data import EmissionsData

JOULES_PER_KWH = 3.6e6
SHORTEST_SPAN_S = 0.05
"""CodeCarbon takes no final reading if its last one is younger than this. Then it reports only the few
milliseconds of its own start, so that a shorter span gets no energy at all."""


@dataclass(frozen=True, config=STRICT)
class CodeCarbonParameters:
    """Arguments of the tracker."""

    tracking_mode: Literal["process", "machine"]  # only this process, or everything that runs
    country_iso_code: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    """For the carbon intensity, which is not used: it keeps CodeCarbon from looking up the location."""
    sampling_s: Annotated[float, Field(gt=0.0, le=60.0)]  # seconds between CodeCarbon's own readings


class _LastTotal(BaseOutput):
    """Keep the totals that CodeCarbon would write to a file."""

    total: EmissionsData | None = None

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        self.total = total


class CodeCarbonMeter:
    """One metered span. Raises `UserError` if configuration outside params.yaml would change its results."""

    def __init__(self, parameters: CodeCarbonParameters) -> None:
        refuse_outside_configuration()
        self._totals = _LastTotal()
        self._name = f"codecarbon-{parameters.tracking_mode}"
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=parameters.country_iso_code,
            tracking_mode=parameters.tracking_mode,
            measure_power_secs=parameters.sampling_s,
            output_methods=[],
            output_handlers=[self._totals],
            log_level="critical",
            allow_multiple_runs=True,
            api_call_interval=-1,
            pue=1.0,
            wue=0.0,
            force_cpu_power=None,
            force_ram_power=None,
            force_mode_cpu_load=False,
            rapl_include_dram=False,
            rapl_prefer_psys=False,
            project_name="sustainable-agents",
        )

    def start(self) -> None:
        """Start. The first start in a process takes a second or two: CodeCarbon probes the hardware."""
        self._tracker.start()
        self._clock = SpanClock()

    def read(self) -> Reading:
        """Return the totals since the start; metering continues."""
        elapsed = self._clock.elapsed()
        self._tracker.flush()
        return self._reading(elapsed)

    def stop(self) -> Reading:
        """Stop and return the totals."""
        elapsed = self._clock.elapsed()
        self._tracker.stop()
        return self._reading(elapsed)

    def _reading(self, elapsed: Elapsed) -> Reading:
        # CodeCarbon's `start`, `flush` and `stop` swallow every exception and only log it. A failure shows
        # up here as totals that are missing, stale, zero or NaN, so nothing else may become a number.
        total = self._totals.total if elapsed["wall_time_s"] >= SHORTEST_SPAN_S else None
        cpu_j, problem = _joules(total, "cpu_energy")
        ram_j, _ = _joules(total, "ram_energy")
        cpu_class, watts, gpu = self._hardware()
        gpu_j, gpu_problem = _joules(total, "gpu_energy") if gpu else (None, "")
        assumed = "" if watts is None else f"assumed {watts:g} W at full load"
        return Reading(
            **elapsed,
            cpu_j=cpu_j,
            ram_j=ram_j,
            gpu_j=gpu_j,
            cpu_evidence=cpu_class,
            ram_evidence=MODELLED_CONSTANT,
            gpu_evidence=COUNTER if gpu else None,
            meter=self._name,
            note="; ".join(text for text in (problem, gpu_problem, assumed) if text),
        )

    def _hardware(self) -> tuple[str, float | None, bool]:
        """Return the evidence class of the CPU's energy, its assumed watts, and whether there is a GPU."""
        # CodeCarbon has no public API for how it reads the CPU; its private hardware list tells.
        parts = {type(part).__name__: part for part in self._tracker._hardware}
        mode = getattr(parts.get("CPU"), "_mode", "none")
        if mode in ("intel_rapl", "windows_emi", "intel_power_gadget"):
            return COUNTER, None, "GPU" in parts
        kind = MODELLED_LOAD if mode == "cpu_load" else MODELLED_CONSTANT
        watts: Any = getattr(parts.get("CPU"), "_tdp", None)
        return kind, None if watts is None else float(watts), "GPU" in parts


def _joules(total: EmissionsData | None, component: str) -> tuple[float | None, str]:
    """Return a finite, positive energy, or None and the reason."""
    if total is None:
        return None, f"no reading: CodeCarbon does not meter spans under {SHORTEST_SPAN_S} s"
    joules = getattr(total, component) * JOULES_PER_KWH
    if math.isfinite(joules) and joules > 0:
        return joules, ""
    return None, f"CodeCarbon gave {joules:g} J for {component}"


def refuse_outside_configuration() -> None:
    """Raise `UserError` if a variable or file would configure CodeCarbon, which reads both silently."""
    for name in sorted(os.environ):
        if name.startswith("CODECARBON_") and name != "CODECARBON_LOG_LEVEL":
            raise UserError(f"{name} is set and would change measured energy: unset it and run again")
    for folder in (Path.home(), Path.cwd()):
        path = folder / ".codecarbon.config"
        if path.exists():
            raise UserError(f"{path}: it would change measured energy: move it away and run again")
