"""Where things lie: the project, the shipped run in it, and a run made on this host."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.reading import plain_path, read_text
from sustainable.verification.items import RESTORE
from sustainable.verification.lock import Stage, declared_stages, files_in, read_lock, read_yaml

ROOT = Path(__file__).resolve().parents[3]
"""The folder of this project."""
REFERENCE = "data/reference"
HOSTS = "data/hosts"  # rows that were measured elsewhere, a folder per host
ACTORS = "data/actors"  # policies that are not trained but shipped
TASKS = ("weather", "mnist1d")
"""The audited tasks of params.yaml; the files of each lie in folders of its name."""
SUMS, MANIFEST, HOST = "SHA256SUMS", "manifest.json", "host.json"
UNLISTED = (SUMS, "README.md")
"""Files of the reference that `SHA256SUMS` does not list: itself, and the text that explains it."""


@dataclass(frozen=True)
class Place:
    """A copy of the project. Each file is read at most once."""

    root: Path

    @property
    def reference(self) -> Path:
        return self.root / REFERENCE

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json; raises `UserError` if it is missing or not a manifest."""
        path = self.reference / MANIFEST
        content = read_json(path) if path.is_file() else None
        if not isinstance(content, dict) or not {"artifacts", "claims", "sources"} <= content.keys():
            raise UserError(f"{path}: missing or not a manifest; {RESTORE}")
        return content

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        """The manifest's artifacts by path."""
        return dict(self.manifest["artifacts"])

    @cached_property
    def parameters(self) -> dict[str, Any]:
        return dict(read_yaml(self.root / "params.yaml"))

    @cached_property
    def lock(self) -> dict[str, Stage]:
        """The stages of the reference run."""
        return read_lock(self.reference / "dvc.lock")

    @cached_property
    def declared(self) -> dict[str, Stage]:
        """The stages as dvc.yaml, params.yaml and the code of this checkout declare them."""
        return declared_stages(self.root, read_yaml(self.root / "dvc.yaml"), self.parameters)

    @property
    def has_own_run(self) -> bool:
        """Whether the pipeline was run here; dvc.lock and the tracked metrics are then that run's."""
        return (self.root / "data/benchmark").is_dir()

    @property
    def in_development(self) -> bool:
        """Whether CITATION.cff names a development version, which may have stale items."""
        return str(read_yaml(self.root / "CITATION.cff")["version"]).endswith(".dev")

    @cached_property
    def sums(self) -> dict[str, str]:
        """`SHA256SUMS` as path (in the reference) -> SHA-256."""
        path = self.reference / SUMS
        try:
            pairs = [line.split("  ", 1) for line in read_text(path).splitlines()]
            return {plain_path(name): digest for digest, name in pairs}
        except (OSError, ValueError):
            raise UserError(f"{path}: missing or damaged; {RESTORE}") from None

    @property
    def shipped_files(self) -> list[str]:
        """The files of the reference by path in it, without those in `UNLISTED`."""
        return sorted(files_in(self.reference).keys() - {*UNLISTED})


def read_claims(path: Path) -> dict[str, dict[str, Any]]:
    """The content of a claims.json by claim; raises `UserError` if it is not a list of claims."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(one, dict) and "id" in one for one in content):
        raise UserError(f"{path}: not a list of claims; {RESTORE}")
    return {str(claim["id"]): claim for claim in content}


def verdict_of_run(claim: Mapping[str, Any]) -> str:
    """The verdict on a run's own rows. `verdict` also depends on the rows of other hosts, which can only turn
    it to inconclusive, so that comparing it would hide a contradiction between two runs."""
    return str(claim.get("this_run") or claim["verdict"])
