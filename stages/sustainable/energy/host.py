"""What was measured on: a description of this machine for whoever reads the rows."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

LIBRARIES = ("torch", "stable-baselines3", "codecarbon", "numpy")


def describe_host() -> dict[str, Any]:
    """CPU, memory, system and versions; None where this system does not tell."""
    return {
        "cpu": _cpu_model(),
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_physical": psutil.cpu_count(logical=False),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _cpu_model() -> str | None:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None
