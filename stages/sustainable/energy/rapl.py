"""RAPL: the energy counters of x86 processors, as Linux exposes them under powercap.

Documentation: Linux kernel, Documentation/power/powercap/powercap.rst.
"""

from dataclasses import dataclass
from pathlib import Path

from sustainable.energy.meter import COUNTER, MeterError, Reading, SpanClock

POWERCAP = Path("/sys/class/powercap")
GRANT = "sudo chmod -R a+r /sys/class/powercap/intel-rapl*"


@dataclass(frozen=True)
class Zone:
    """One energy counter."""

    folder: Path
    component: str  # `cpu` or `ram`
    wrap_uj: int  # the counter restarts at 0 after this many microjoules


def find_zones(powercap: Path = POWERCAP) -> list[Zone]:
    """Find the counters of the processor packages and of their memory.

    Raises `MeterError` if there are none or if they cannot be read.
    """
    zones = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
        except OSError:
            continue
        # `core` and `uncore` are parts of a package and `psys` contains it: each would count energy twice.
        component = "cpu" if name.startswith("package") else {"dram": "ram"}.get(name)
        if component is not None:
            zones.append(Zone(folder, component, int(_number(folder / "max_energy_range_uj"))))
    if not any(zone.component == "cpu" for zone in zones):
        raise MeterError(f"RAPL: no processor counters under {powercap} (a virtual machine, or another CPU)")
    for zone in zones:
        _number(zone.folder / "energy_uj")
    return zones


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError:
        raise MeterError(f"RAPL: permission denied for {path}: run `{GRANT}`") from None
    except (OSError, ValueError) as error:
        raise MeterError(f"RAPL: {path} cannot be read ({error})") from None


class RaplMeter:
    """Energy of all packages, and of their memory if the processor counts it."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._zones = find_zones(powercap)
        self._counted = {zone.component for zone in self._zones}

    def start(self) -> None:
        """Remember every counter."""
        self._energy_uj = dict.fromkeys(("cpu", "ram"), 0)
        self._last = [_number(zone.folder / "energy_uj") for zone in self._zones]
        self._clock = SpanClock()

    def read(self) -> Reading:
        """Return the totals since the start."""
        elapsed = self._clock.elapsed()
        for index, zone in enumerate(self._zones):
            now = _number(zone.folder / "energy_uj")
            spent = now - self._last[index]
            # A counter that is lower than before has wrapped. One wrap per call can be corrected, and no
            # more can happen: a package under full load needs more than ten minutes for one.
            self._energy_uj[zone.component] += spent if spent >= 0 else spent + zone.wrap_uj
            self._last[index] = now
        joules = {name: value / 1e6 for name, value in self._energy_uj.items() if name in self._counted}
        return Reading(
            **elapsed,
            cpu_j=joules.get("cpu"),
            ram_j=joules.get("ram"),
            cpu_evidence=COUNTER,
            ram_evidence=COUNTER if "ram" in joules else None,
            meter="rapl",
            note="whole machine" if "ram" in joules else "whole machine; memory is not counted here",
        )

    def stop(self) -> Reading:
        return self.read()
