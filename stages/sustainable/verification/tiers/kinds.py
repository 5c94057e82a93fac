"""Which host measured a table, and whether the reference's table comes from the same kind of CPU.

The kind is that of each table's own file of conditions: the shipped stages were not all measured on one host.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.measuring.cpu import difference_of_kinds
from sustainable.verification.items import RESTORE
from sustainable.verification.place import Place
from sustainable.verification.tiers.integrity import shipped_name

SHARED = {"workload": "policies", "memory": "policies"}
"""Tables that the stage of another table measures, in the same conditions."""


def conditions_of(table: str) -> str:
    """The path of the file that describes the host of a measured table."""
    path = Path(table)
    return path.with_name(f"{SHARED.get(path.stem, path.stem)}.conditions.json").as_posix()


def host_in(conditions: Path) -> dict[str, Any]:
    """The described host; raises `UserError` if the file has none."""
    content = read_json(conditions)
    host = content.get("host") if isinstance(content, dict) else None
    if not isinstance(host, dict):
        raise UserError(f"{conditions}: it describes no host; {RESTORE}")
    return host


def other_kind(place: Place, table: str, run: Path | None = None) -> str | None:
    """Say how this host's kind of CPU differs from that of the reference's table; None if it is the same.

    `run` is the folder of the run on this host; None: the project's.
    """
    path = conditions_of(table)
    here, there = ((run or place.root) / path, place.reference / shipped_name(path))
    return difference_of_kinds(host_in(here), host_in(there))


def other_kinds(place: Place, tables: Iterable[str], run: Path | None = None) -> str | None:
    """The first difference of kinds among the tables that have a file of conditions; None without one."""
    described = (
        table for table in tables if (place.reference / shipped_name(conditions_of(table))).is_file()
    )
    return next((found for table in described if (found := other_kind(place, table, run))), None)
