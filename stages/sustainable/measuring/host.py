"""A description of the machine on which the rows were measured."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("torch", "stable-baselines3", "codecarbon", "numpy")
VECTORS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}


def describe_host() -> dict[str, Any]:
    """Return CPU, memory, system and versions; None for what the system does not report."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or None,
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_physical": psutil.cpu_count(logical=False),
        "isa": instruction_sets(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
        "versions": {name: version(name) for name in LIBRARIES},
    }


def instruction_sets() -> str:
    """Return the processor's vector instructions, regardless of what the libraries may use."""
    flags = (_cpuinfo("flags") or "").split()
    return ", ".join(name for flag, name in VECTORS.items() if flag in flags) or "unknown"


def _cpuinfo(key: str) -> str | None:
    """Return the first value of a key in /proc/cpuinfo; None on systems other than Linux."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(rf"^{key}\s*:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else None
