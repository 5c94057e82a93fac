"""Which meter to use: the best class of evidence that this host has, or the one that is named."""

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
from sustainable.energy.stand_ins import FakeMeter, ReplayMeter, Trace


@dataclass(frozen=True, config=STRICT)
class MeterParameters:
    """`meter: auto` takes the best evidence there is; `trace` is the file that `replay` plays back."""

    meter: Literal["auto", "rapl", "nvml", "codecarbon", "replay", "fake"]
    codecarbon: CodeCarbonParameters
    trace: str | None = None


@plain_dataclass(frozen=True)
class Chosen:
    """A maker of meters, its name, and why it was chosen."""

    make: Callable[[], Meter]
    name: str
    reason: str

    @property
    def whole_machine(self) -> bool:
        """Whether it reads all that the machine does, so that metered work must run alone."""
        return self.name in ("rapl", "nvml")


def choose_meter(parameters: MeterParameters, device: Literal["cpu", "cuda"] = "cpu") -> Chosen:
    """The meter for work on `device`. Raises `UserError` when the one that is named cannot be used.

    `auto` tries the counters of the device that does the work first: RAPL for the processor, NVML for a
    GPU; CodeCarbon's model is the last resort, and the reason says what was missing.
    """
    makers: dict[str, Callable[[], Callable[[], Meter]]] = {
        "rapl": lambda: _tried(RaplMeter),
        "nvml": lambda: _tried(NvmlMeter),
        "codecarbon": lambda: lambda: CodeCarbonMeter(parameters.codecarbon),
        "fake": lambda: FakeMeter,
        "replay": lambda: _replay(parameters.trace),
    }
    if parameters.meter != "auto":
        try:
            return Chosen(makers[parameters.meter](), parameters.meter, "named in params.yaml")
        except MeterError as error:
            raise UserError(f"metering: meter: {parameters.meter} cannot be used here: {error}") from None
    counter = "nvml" if device == "cuda" else "rapl"
    try:
        return Chosen(makers[counter](), counter, "auto: a hardware counter is readable")
    except MeterError as error:
        return Chosen(makers["codecarbon"](), "codecarbon", f"auto: no counter ({error})")


def _tried(kind: Callable[[], Meter]) -> Callable[[], Meter]:
    kind()  # raises now what it would raise at the first window
    return kind


def _replay(path: str | None) -> Callable[[], Meter]:
    if path is None:
        raise MeterError("replay needs the key metering.trace, a CSV of readings")
    trace = Trace(Path(path))
    return lambda: ReplayMeter(trace)
