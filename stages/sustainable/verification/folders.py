"""Copies of the project in other folders, so that stages can run there and leave this project unchanged."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.files import write_text
from sustainable.core.reading import opened
from sustainable.verification.lock import files_in, read_yaml

COPIED = (
    "dvc.yaml", "params.yaml", ".dvcignore", "stages", "data/raw", "data/hosts", "data/actors",
    "paper/templates", "paper/published.yaml", "paper/references.bib", "CITATION.cff",
)  # fmt: skip
EXTENSIBLE = ("train_policies.cells", "train_policies.recipes")
"""Sections of params.yaml to which a profile may add names; read_section checks what it adds."""


def replaceable(project: Path, folder: Path) -> bool:
    """Whether `folder` may be replaced: it is missing, empty, or an earlier copy, and not the project."""
    if folder.resolve() == project.resolve():
        return False
    return not folder.exists() or not any(folder.iterdir()) or (folder / ".dvc" / "config.local").is_file()


def copy_project(project: Path, folder: Path, changes: Mapping[str, Any], keep: bool = False) -> None:
    """Make `folder` (see `replaceable`) a copy of what the pipeline needs, with DVC set up without git, and
    put `changes` into its params.yaml (see `merge`). With `keep`, what an earlier run there made stays."""
    if folder.exists() and not keep:
        shutil.rmtree(folder)
    write_text(folder / ".dvc/config.local", "[core]\n    no_scm = true\n")  # first: see `replaceable`
    for name in (".dvc/config", *COPIED):
        copy(project / name, folder / name)
    if changes:
        parameters = read_yaml(project / "params.yaml")
        merge(parameters, changes)
        write_text(folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False))


def copy(source: Path, target: Path) -> None:
    """Copy a file or the files of a folder, replacing what is there; raises `UserError` for a device."""
    files = {".": source}
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        files = files_in(source)
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with opened(path) as content, (target / name).open("wb") as copied:
            shutil.copyfileobj(content, copied)


def merge(base: dict[str, Any], changes: Mapping[str, Any], section: str = "") -> None:
    """Put `changes` into `base`, section by section.

    Raises `KeyError` for a key that `base` does not have, unless the section is `EXTENSIBLE`.
    """
    for key, value in changes.items():
        path = f"{section}.{key}" if section else str(key)
        if key not in base and not section.startswith(EXTENSIBLE):
            raise KeyError(f"{path}: params.yaml has no such key")
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            base[key] = dict(base[key])  # a copy: YAML aliases let other sections share this one
            merge(base[key], value, path)
        else:
            base[key] = value


def repro(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `dvc repro` in `folder` with this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **options)
