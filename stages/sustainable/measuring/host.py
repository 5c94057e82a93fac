"""A description of the machine on which the rows were measured."""

import os
import platform
from importlib.metadata import version
from typing import Any

import psutil

from sustainable.measuring.cpu import describe_cpu

LIBRARIES = ("torch", "stable-baselines3", "codecarbon", "numpy")


def describe_host() -> dict[str, Any]:
    """Return processor, memory, system and versions; None for what the system does not report."""
    processor = describe_cpu()
    return {
        **processor,
        "cpu": processor["cpu"] or platform.processor() or None,
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
        "versions": {name: version(name) for name in LIBRARIES},
    }
