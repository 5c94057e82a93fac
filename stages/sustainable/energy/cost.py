"""What work has cost, over one or several sittings."""

from collections.abc import Mapping, Sequence
from typing import Any

AMOUNTS = ("wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "gpu_j")
LABELS = ("cpu_evidence", "ram_evidence", "gpu_evidence", "meter")


def total_cost(sittings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum the readings (see `meter.Reading`, as dictionaries) of a piece of work.

    An amount that one sitting lacks is None in the sum: part of a cost is not the cost.
    """
    total: dict[str, Any] = {"sittings": len(sittings)}
    for amount in AMOUNTS:
        values = [sitting[amount] for sitting in sittings]
        total[amount] = None if None in values else sum(values)
    for label in LABELS:
        names = sorted({sitting[label] for sitting in sittings if sitting[label] is not None})
        total[label] = " + ".join(names) or None
    total["note"] = "; ".join(dict.fromkeys(sitting["note"] for sitting in sittings if sitting["note"]))
    return total
