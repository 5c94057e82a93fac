"""The cost of work that was done in one or several sessions."""

from collections.abc import Mapping, Sequence
from typing import Any

AMOUNT_COLUMNS = ("wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "gpu_j")
LABEL_COLUMNS = ("cpu_evidence", "ram_evidence", "gpu_evidence", "meter")


def total_cost(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum the readings (`meter.Reading` as dictionaries) of one piece of work.

    An amount that one session lacks is None in the sum: part of a cost is not the cost. Different labels
    are joined by ` + `, different notes by `; `. The key `sittings` counts the sessions.
    """
    total: dict[str, Any] = {"sittings": len(sessions)}
    for amount in AMOUNT_COLUMNS:
        values = [session[amount] for session in sessions]
        total[amount] = None if None in values else sum(values)
    for label in LABEL_COLUMNS:
        names = sorted({session[label] for session in sessions if session[label] is not None})
        total[label] = " + ".join(names) or None
    total["note"] = "; ".join(dict.fromkeys(session["note"] for session in sessions if session["note"]))
    return total
