"""Copies of the project in other folders, so that stages can run there and leave this project unchanged."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COPIED = (
    "dvc.yaml",
    "params.yaml",
    ".dvcignore",
    "stages",
    "data/raw",
    "paper/templates",
    "paper/published.yaml",
    "paper/references.bib",
)


def replaceable(project: Path, folder: Path) -> bool:
    """Whether `folder` may be replaced: it is missing, empty, or an earlier copy, and not the project."""
    if folder.resolve() == project.resolve():
        return False
    return not folder.exists() or not any(folder.iterdir()) or (folder / ".dvc" / "config.local").is_file()


def copy_project(project: Path, folder: Path) -> None:
    """Make `folder` (see `replaceable`) a copy of what the pipeline needs, with DVC set up without git."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / ".dvc").mkdir(parents=True)  # first, so that a copy that is cut short can be replaced
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    shutil.copy(project / ".dvc" / "config", folder / ".dvc" / "config")
    for name in COPIED:
        copy(project / name, folder / name)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, replacing what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


EXTENSIBLE = ("train_policies.cells", "train_policies.recipes")
"""Sections of params.yaml to which a profile may add names; read_section checks what it adds."""


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
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, text=True, check=False, **options
    )
