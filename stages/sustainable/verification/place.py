"""Where things lie: the project, its shipped run, and a run of one's own."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.verification.lock import Stage, read_lock, read_yaml

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = "data/reference"
SUMS, MANIFEST = "SHA256SUMS", "manifest.json"
UNLISTED = (SUMS, "README.md")
"""Files of the reference that `SHA256SUMS` does not list: itself, and the text that explains it."""


@dataclass(frozen=True)
class Place:
    """The project's folder `root`; what is read of it is read once."""

    root: Path

    @property
    def reference(self) -> Path:
        return self.root / REFERENCE

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json; raises `UserError` when it is missing or no manifest."""
        path = self.reference / MANIFEST
        found = read_json(path)
        if not isinstance(found, dict) or not {"artifacts", "claims", "sources"} <= found.keys():
            raise UserError(f"{path}: no manifest; restore it from git or from the release")
        return found

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
    def own_lock(self) -> dict[str, Stage]:
        """The stages of the run in this folder."""
        return read_lock(self.root / "dvc.lock")

    @property
    def has_own_run(self) -> bool:
        """Whether the pipeline was run here: dvc.lock and the tracked metrics are that run's then."""
        return (self.root / "data/benchmark").is_dir()

    def sums(self) -> dict[str, str]:
        """`SHA256SUMS` as path (in the reference) -> SHA-256."""
        path = self.reference / SUMS
        try:
            pairs = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
            return {name: digest for digest, name in pairs}
        except (OSError, ValueError):
            raise UserError(f"{path}: missing or damaged; restore it from git or from the release") from None

    def shipped_files(self) -> list[str]:
        """The files of the reference, by path in it, but for those in `UNLISTED`."""
        found = (path for path in self.reference.rglob("*") if path.is_file())
        return sorted(
            name for path in found if (name := path.relative_to(self.reference).as_posix()) not in UNLISTED
        )
