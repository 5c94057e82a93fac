"""Run the whole pipeline under another profile, in a separate folder.

`smoke` is short: it checks that everything runs, and is not evidence. `full` adds what the shipped run leaves
out to save time. stages/profiles/<profile>.yaml holds what a profile changes in params.yaml. The profile
`paper` is params.yaml itself: `make reproduce` runs it in place.
"""

import argparse
import sys
from pathlib import Path

from sustainable.core.errors import UserError, exit_on_error
from sustainable.verification.folders import copy_project, replaceable, repro
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", help="smoke or full")
    where = "where (default: .smoke or .full); a smoke run's folder is replaced"
    parser.add_argument("--folder", type=Path, help=where)
    arguments = parser.parse_args()
    if arguments.profile not in ("smoke", "full"):
        raise UserError(f"PROFILE={arguments.profile}: unknown; choose paper, smoke or full")
    folder = arguments.folder or Path(f".{arguments.profile}")
    if arguments.profile == "smoke" or not (folder / "dvc.lock").is_file():
        prepare_profile(folder, arguments.profile)
    status = repro(folder).returncode
    if status == 0:
        evidence = "smoke run, not evidence: " if arguments.profile == "smoke" else ""
        print(f"{evidence}open {folder}/paper/report.html")
    sys.exit(status)


def prepare_profile(folder: Path, profile: str = "smoke") -> None:
    """Make `folder` a copy of the project with the profile's parameters, and DVC set up without git.

    Replaces an earlier run of this kind; raises `UserError` for any other folder.
    """
    if not replaceable(ROOT, folder):
        raise UserError(f"{folder}: not an earlier {profile} run; name another folder with --folder")
    copy_project(ROOT, folder, read_yaml(ROOT / f"stages/profiles/{profile}.yaml"))


if __name__ == "__main__":
    exit_on_error(main)
