"""What this host supports: meters, clocks, sensors, TeX, disk, memory, and the load of other processes."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sustainable.measuring.cpu import UNKNOWN
from sustainable.measuring.host import describe_host
from sustainable.energy.meter import MeterError
from sustainable.energy.nvml import load_library
from sustainable.measuring.process import frequency_mhz, neighbours_load, now, temperature_c
from sustainable.energy.rapl import find_zones

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class HostCheck:
    """One property of the host. `ok`: whether it is as the artifact would like it."""

    name: str
    ok: bool
    detail: str


def check_host(folder: Path, wait: Callable[[], None]) -> list[HostCheck]:
    """Check this host. `folder`: where the pipeline would run; `wait` is called while the load of other
    processes is measured."""
    host = describe_host()
    before = now()
    wait()
    load = neighbours_load(before, now())
    celsius = temperature_c()
    free_gib = shutil.disk_usage(folder).free / 2**30
    cores = f"{host['cpu']}, {host['cores_logical']} logical cores (one thread is measured)"
    isa = host["isa"]
    return [
        HostCheck("processor", True, cores),
        HostCheck("kind of CPU", host["kind"] != UNKNOWN, _kind(host)),
        HostCheck("instructions", "AVX2" in isa, f"{isa}; bitwise reproducible training needs AVX2"),
        HostCheck("caches", host["caches_kib"] is not None, _caches(host["caches_kib"])),
        *_meters(),
        _governor(),
        HostCheck("temperature", celsius is not None, _or_none(celsius, "C", "no sensor is readable")),
        HostCheck("load by others", load <= 0.05, f"{100 * load:.1f} % of all cores now (limit: 5 %)"),
        _tex(),
        HostCheck("disk", free_gib > 3, f"{free_gib:.0f} GiB free (3 are needed)"),
        HostCheck("memory", host["memory_gib"] >= 3, f"{host['memory_gib']} GiB (2 are needed)"),
    ]


def _kind(host: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name} {host[name]}" for name in ("vendor", "family", "model", "stepping"))
    name, virtual = host["microarchitecture"] or "no known name", host["hypervisor"]
    where = f"virtual machine ({virtual})" if virtual else "bare metal"
    return f"{host['kind']}: {numbers} ({name}); {where}"


def _caches(sizes: Mapping[str, int] | None) -> str:
    return ", ".join(f"{name} {size} KiB" for name, size in (sizes or {}).items()) or "not readable"


def _meters() -> Iterator[HostCheck]:
    counters: dict[str, Callable[[], str]] = {
        "RAPL": lambda: f"readable: {', '.join(sorted({zone.component for zone in find_zones()}))}",
        "GPU": lambda: f"{load_library().nvmlDeviceGetCount()} seen by NVML",
    }
    for name, describe in counters.items():
        try:
            yield HostCheck(name, True, describe())
        except MeterError as error:
            yield HostCheck(name, False, str(error))


def _governor() -> HostCheck:
    try:
        name = GOVERNOR.read_text().strip()
    except OSError:
        clock = _or_none(frequency_mhz(), "MHz", "unknown")
        return HostCheck("frequency", False, f"no governor is readable (clock: {clock})")
    return HostCheck("frequency", name == "performance", f"governor {name} (steady clocks: performance)")


def _tex() -> HostCheck:
    path = shutil.which("pdflatex")
    if path is None:
        return HostCheck("TeX", False, "no pdflatex: tables and figures without paper.pdf")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    detail = done.stdout.splitlines()[0] if done.stdout else "pdflatex fails"
    return HostCheck("TeX", done.returncode == 0, detail)


def _or_none(value: float | None, unit: str, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.0f} {unit}"
