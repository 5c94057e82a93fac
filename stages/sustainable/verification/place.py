"""Where things lie: the project, the shipped run in it, and a run made on this host."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.verification.items import RESTORE
from sustainable.verification.listed import LIST, ListError, in_development, read_list
from sustainable.verification.lock import Stage, declared_stages, files_in, read_lock, read_yaml

ROOT = Path(__file__).resolve().parents[3]
"""The folder of this project."""
REFERENCE = "data/reference"
HOSTS = "data/hosts"  # rows that were measured elsewhere, a folder per host
TASKS = ("weather", "mnist1d")
"""The audited tasks of params.yaml; the files of each lie in folders of its name."""
MANIFEST, HOST = "manifest.json", "host.json"
REPORT = "report"
"""The stage that renders everything from the rows."""
SETTINGS = "stages/sustainable/verification/verify.yaml"
EXPLAINED = "README.md"
"""The file of the reference that explains the others. No description of the run names it."""


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
        if not isinstance(content, dict) or not {"artifacts", "claims"} <= content.keys():
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
        return in_development(self.root)

    @cached_property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of the reference's files by path in it, from `SHA256SUMS`, without `EXPLAINED`."""
        listed = read_sums(self.root / LIST)
        folder = f"{REFERENCE}/"
        inside = {path.removeprefix(folder): one for path, one in listed.items() if path.startswith(folder)}
        return {name: digest for name, digest in inside.items() if name != EXPLAINED}

    @property
    def shipped_files(self) -> list[str]:
        """The files of the reference by path in it, without `EXPLAINED`."""
        return sorted(files_in(self.reference).keys() - {EXPLAINED})


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by path, as listed; raises `UserError` if the list is missing or damaged."""
    try:
        return read_list(path)
    except ListError as error:
        raise UserError(str(error)) from None


def read_claims(path: Path) -> dict[str, dict[str, Any]]:
    """The content of a claims.json by claim; raises `UserError` if it is not a list of different claims."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(one, dict) and "id" in one for one in content):
        raise UserError(f"{path}: not a list of claims; {RESTORE}")
    claims = {str(claim["id"]): claim for claim in content}
    if len(claims) < len(content):
        raise UserError(f"{path}: a claim stands in it twice; {RESTORE}")
    return claims


def verdict_of_run(claim: Mapping[str, Any]) -> str:
    """The verdict on a run's own rows. `verdict` also depends on the rows of other hosts, which can only turn
    it to inconclusive, so that comparing it would hide a contradiction between two runs."""
    return str(claim.get("this_run") or claim["verdict"])
