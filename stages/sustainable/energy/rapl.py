"""RAPL: the energy counters of x86 processors, as Linux shows them under powercap.

Each zone counts microjoules in `energy_uj` up to `max_energy_range_uj` and then starts again at 0. One
wrap between two readings is corrected; a package under full load takes more than ten minutes to wrap.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from sustainable.energy.meter import COUNTER, MeterError, Reading

POWERCAP = Path("/sys/class/powercap")
GRANT = "sudo chmod -R a+r /sys/class/powercap/intel-rapl*"


@dataclass(frozen=True)
class Zone:
    """One counter: its folder, the component it belongs to, and where it wraps, in microjoules."""

    folder: Path
    component: str
    wrap_uj: int


def find_zones(powercap: Path = POWERCAP) -> list[Zone]:
    """The packages and their memory. Raises `MeterError` when there are none or they cannot be read.

    `core` and `uncore` are parts of a package and `psys` contains it; counting them would count twice.
    """
    zones = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
        except OSError:
            continue
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
    """Counter differences of all packages and of their memory, where it is counted."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._zones = find_zones(powercap)
        self._counted = {zone.component for zone in self._zones}

    def start(self) -> None:
        """Begin: remember every counter."""
        self._energy_uj = dict.fromkeys(("cpu", "ram"), 0)
        self._last = [_number(zone.folder / "energy_uj") for zone in self._zones]
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Reading:
        """The total since the start; each call corrects one wrap since the call before."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        for index, zone in enumerate(self._zones):
            now = _number(zone.folder / "energy_uj")
            gone = now - self._last[index]
            self._energy_uj[zone.component] += gone if gone >= 0 else gone + zone.wrap_uj
            self._last[index] = now
        joules = {name: value / 1e6 for name, value in self._energy_uj.items() if name in self._counted}
        return Reading(
            wall_time_s=wall,
            cpu_time_s=cpu,
            cpu_j=joules.get("cpu"),
            ram_j=joules.get("ram"),
            gpu_j=None,
            cpu_evidence=COUNTER,
            ram_evidence=COUNTER if "ram" in joules else None,
            gpu_evidence=None,
            meter="rapl",
            note="whole machine" if "ram" in joules else "whole machine; memory is not counted here",
        )

    def stop(self) -> Reading:
        return self.read()
