"""The folders of rows that other hosts measured: their files, and what is known of each host."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sustainable.core.documents import AuditedConditions, CandidateConditions, HostRows, PolicyConditions
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.measuring.cpu import kind_of

DESCRIPTION = "host.json"
CONDITIONS = "conditions.json"
POLICIES = "policies"
"""The name of study B's tables; those of study A are named after their tasks."""


@dataclass(frozen=True)
class HostFolder:
    """What one other host measured, and what it is."""

    path: Path
    description: Mapping[str, Any]
    """What its stages recorded of the host, and what was noted by hand."""
    noted: tuple[str, ...]
    """The keys of the description that were noted by hand."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def rows_sha256(self) -> str:
        """A hash over all its tables."""
        return fingerprint([file_sha256(file) for file in sorted(self.path.glob("*.csv"))])

    def measured(self, name: str) -> bool:
        """Whether the benchmark `name` ran there: that of the policies, or of a task."""
        return (self.path / f"{name}.csv").is_file()


def read_hosts(folder: Path) -> list[HostFolder]:
    """Read what is known of every host in `folder`. Raises `UserError` if a file is missing or malformed."""
    return [read_host(path) for path in sorted(folder.glob("*")) if path.is_dir()]


def read_host(place: Path) -> HostFolder:
    """Read what is known of the host of a folder.

    Raises `UserError` if a file is missing or malformed, or if it names another kind of CPU.
    """
    path = place / DESCRIPTION
    stated = read_json(path, HostRows)
    hosts = [_recorded(file) for file in sorted(place.glob(f"*.{CONDITIONS}"), key=_policies_first)]
    if not hosts:
        raise UserError(f"{place}: no file describes the host (*.{CONDITIONS}); restore the folder")
    for host in hosts:
        if not host["cpu"] or not host.get("isa"):
            raise UserError(f"{path}: not a description of a host (no cpu or isa); restore the file")
        found = kind_of(host | stated["noted_by_hand"])
        if found != stated["kind"]:
            problem = f"kind {stated['kind']}, but its numbers say {found}"
            raise UserError(f"{path}: {problem}; restore the file")
    return HostFolder(place, hosts[0] | stated["noted_by_hand"], tuple(sorted(stated["noted_by_hand"])))


def _recorded(path: Path) -> dict[str, Any]:
    """The host as the stage that measured recorded it."""
    name = path.name.removesuffix(f".{CONDITIONS}")
    schemas = {POLICIES: PolicyConditions}
    schema = CandidateConditions if name.endswith(".candidates") else schemas.get(name, AuditedConditions)
    host: dict[str, Any] = read_json(path, schema)["host"]
    return host


def _policies_first(path: Path) -> tuple[bool, str]:
    return path.name != f"{POLICIES}.{CONDITIONS}", path.name
