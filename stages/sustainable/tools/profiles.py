"""Run the whole pipeline: under the profile `paper` in place, under another in a separate folder.

`paper` is params.yaml itself. `smoke` is short: it checks that everything runs, and is not evidence. `full`
adds what the shipped run leaves out to save time. stages/profiles/<profile>.yaml holds what a profile changes
in params.yaml.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parameters import refuse_unreadable
from sustainable.verification.folders import copy_project, replaceable, repro
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import ROOT

RESULTS = {
    "paper/report.html": "report, for a browser       paper/report.html",
    "paper/paper.pdf": "paper                       paper/paper.pdf",
    "paper/tables": "tables and figures          paper/tables/ paper/figures/",
    "paper/claims.json": "claims and their verdicts   paper/claims.json",
    "data/benchmark": "measured rows               data/benchmark/",
}
"""What `make reproduce` prints of a run, by the path that must exist."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", help="paper, smoke or full")
    where = "where (default: .smoke or .full); a smoke run's folder is replaced"
    parser.add_argument("--folder", type=Path, help=where)
    only = "run only these stages and what they need (default: all)"
    parser.add_argument("--stages", nargs="+", default=[], help=only)
    arguments = parser.parse_args()
    if arguments.profile not in ("paper", "smoke", "full"):
        raise UserError(f"PROFILE={arguments.profile}: unknown; choose paper, smoke or full")
    if arguments.profile == "paper":
        sys.exit(reproduce(ROOT, arguments.stages))
    folder = arguments.folder or Path(f".{arguments.profile}")
    if arguments.profile == "smoke" or not (folder / "dvc.lock").is_file():
        prepare_profile(folder, arguments.profile)
    status = repro(folder, *arguments.stages).returncode
    if status == 0:
        evidence = "smoke run, not evidence: " if arguments.profile == "smoke" else ""
        print(f"{evidence}open {folder}/paper/report.html")
    sys.exit(status)


def reproduce(root: Path, stages: Sequence[str] = ()) -> int:
    """Run the pipeline in `root`, or only `stages` and what they need; print where the results are.

    Returns the exit status.
    Raises `UserError` for a params.yaml that DVC cannot read, such as one with a date without quotes.
    """
    refuse_unreadable(root / "params.yaml")
    status = repro(root, *stages).returncode
    if status == 0 and stages:
        print(f"\n{', '.join(stages)}: done; run `make verify RUN=1`, which compares what was measured here")
    elif status == 0:
        places = [text for path, text in RESULTS.items() if (root / path).exists()]
        print("\n" + "\n".join(places) + "\nopen paper/report.html, then run `make verify RUN=1`")
    return status


def prepare_profile(folder: Path, profile: str = "smoke") -> None:
    """Make `folder` a copy of the project with the profile's parameters, and DVC set up without git.

    Replaces an earlier run of this kind; raises `UserError` for any other folder.
    """
    if not replaceable(ROOT, folder):
        raise UserError(f"{folder}: not an earlier {profile} run; name another folder with --folder")
    copy_project(ROOT, folder, read_yaml(ROOT / f"stages/profiles/{profile}.yaml"))


if __name__ == "__main__":
    exit_on_error(main)
