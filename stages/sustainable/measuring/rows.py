"""The energy columns of every measured row."""

from dataclasses import asdict
from typing import Any

from sustainable.energy.meter import Reading

JOULES_PER_MWH = 3.6


def energy_columns(reading: Reading, windows: int) -> dict[str, Any]:
    """Return a reading and its CPU time and energy per forecast, for a span of `windows` forecasts."""
    total_j = reading.total_j
    return {
        **asdict(reading),
        "cpu_time_ms": 1000 * reading.cpu_time_s / windows,
        "energy_mwh": None if total_j is None else total_j / JOULES_PER_MWH / windows,
    }
