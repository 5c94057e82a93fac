"""Choose a meter: the best evidence class that this host supports, or the meter that params.yaml names."""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.energy.codecarbon import CodeCarbonMeter, CodeCarbonParameters
from sustainable.energy.meter import Meter, MeterError
from sustainable.energy.nvml import NvmlMeter
from sustainable.energy.rapl import RaplMeter
from sustainable.energy.stand_ins import FakeMeter, RecordedTrace, ReplayMeter


@dataclass(frozen=True, config=STRICT)
class MeterParameters:
    """Section `metering` of params.yaml."""

    meter: Literal["auto", "rapl", "nvml", "codecarbon", "replay", "fake"]
    """`auto` chooses the best evidence class that this host supports."""
    codecarbon: CodeCarbonParameters
    trace: str | None = None  # file of recorded readings for `replay`


@plain_dataclass(frozen=True)
class Chosen:
    """The meter to use."""

    make: Callable[[], Meter]  # returns a new meter for each span
    name: str
    reason: str  # why this meter was chosen

    @property
    def whole_machine(self) -> bool:
        """Whether the meter reads the whole machine; then metered work must run without neighbours."""
        return self.name in ("rapl", "nvml")


def choose_meter(parameters: MeterParameters, device: Literal["cpu", "cuda"] = "cpu") -> Chosen:
    """Choose the meter for work on `device`.

    `auto` tries the counter of that device first: RAPL for the processor, NVML for a GPU. If it cannot be
    used, the choice is CodeCarbon's model, and the reason says what was missing. Raises `UserError` if
    params.yaml names a meter that cannot be used.
    """
    factories: dict[str, Callable[[], Callable[[], Meter]]] = {
        "rapl": lambda: _checked(RaplMeter),
        "nvml": lambda: _checked(NvmlMeter),
        "codecarbon": lambda: lambda: CodeCarbonMeter(parameters.codecarbon),
        "fake": lambda: FakeMeter,
        "replay": lambda: _replay(parameters.trace),
    }
    if parameters.meter != "auto":
        try:
            return Chosen(factories[parameters.meter](), parameters.meter, "named in params.yaml")
        except MeterError as error:
            raise UserError(f"metering: meter: {parameters.meter} cannot be used here: {error}") from None
    counter = "nvml" if device == "cuda" else "rapl"
    try:
        return Chosen(factories[counter](), counter, "auto: a hardware counter is readable")
    except MeterError as error:
        return Chosen(factories["codecarbon"](), "codecarbon", f"auto: no counter ({error})")


def _checked(kind: Callable[[], Meter]) -> Callable[[], Meter]:
    kind()  # fail now, not at the first window
    return kind


def _replay(path: str | None) -> Callable[[], Meter]:
    if path is None:
        raise MeterError("replay needs the key metering.trace, a CSV of readings")
    trace = RecordedTrace(Path(path))
    return lambda: ReplayMeter(trace)
