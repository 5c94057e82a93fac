"""The whole pipeline under another profile, in a folder of its own.

`smoke` is short: a check that everything runs, and no evidence. `full` is what the shipped run leaves out for
the sake of time. What a profile changes in params.yaml stands in stages/profiles/<profile>.yaml.
"""

import argparse
import sys
from pathlib import Path

import yaml

from sustainable.verification.folders import copy_project, merge, replaceable, repro

ROOT = Path(__file__).resolve().parents[3]


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
    if not replaceable(ROOT, folder):
        sys.exit(f"profiles.py: {folder} is not an earlier {profile} run; name another folder")
    copy_project(ROOT, folder)
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    merge(
        parameters, yaml.safe_load((ROOT / "stages/profiles" / f"{profile}.yaml").read_text(encoding="utf-8"))
    )
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
