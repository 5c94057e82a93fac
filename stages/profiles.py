"""The whole pipeline under another profile, in a folder of its own.

`smoke` is short: a check that everything runs, and no evidence. `full` is what the shipped run leaves out for
the sake of time. What a profile changes in params.yaml stands in stages/<profile>.yaml.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "dvc.yaml",
    ".dvcignore",
    "stages",
    "data/raw",
    "paper/templates",
    "paper/published.yaml",
    "paper/references.bib",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=("smoke", "full"))
    parser.add_argument(
        "--folder", type=Path, help="where (default: .smoke or .full); a smoke run's is made anew"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(f".{arguments.profile}")
    if arguments.profile == "smoke" or not (folder / "dvc.lock").is_file():
        prepare(folder, arguments.profile)
    status = repro(folder).returncode
    if status == 0:
        evidence = "smoke run, not evidence: " if arguments.profile == "smoke" else ""
        print(f"{evidence}look at {folder}/paper/report.html")
    sys.exit(status)


def prepare(folder: Path, profile: str = "smoke") -> None:
    """Make `folder` a copy of the project with the profile's parameters and DVC without git.

    A folder that exists is replaced if it is an earlier run of this kind, and refused otherwise.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / ".dvc" / "config.local").is_file() or folder.resolve() == ROOT:
            sys.exit(f"profiles.py: {folder} is not an earlier {profile} run; name another folder")
        shutil.rmtree(folder)
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    merge(parameters, yaml.safe_load((ROOT / "stages" / f"{profile}.yaml").read_text(encoding="utf-8")))
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")


def merge(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Put `changes` into `base`, section by section; every key must be there already."""
    for key, value in changes.items():
        if key not in base:
            raise KeyError(f"{key} is no key of params.yaml")
        if isinstance(value, dict) and isinstance(base[key], dict):
            merge(base[key], value)
        else:
            base[key] = value


def repro(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`dvc repro` in `folder`, with the Python that runs this."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, text=True, check=False, **options
    )


if __name__ == "__main__":
    main()
