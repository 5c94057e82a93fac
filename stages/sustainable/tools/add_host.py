"""Check the rows of another machine and take them into data/hosts, so that claims are judged on them, too.

The folder is a checkout of this version after `make reproduce` (or `dvc repro` of one benchmark), or it has
dvc.lock and, in its folder benchmark, the files of a benchmark: those of the policies, or of an audited task.
Rows that are damaged, of other code or of other models are refused, and nothing is written then.
"""

import argparse
from pathlib import Path

import sustainable.core.determinism  # noqa: F401  (first: as `verify` does)

from sustainable.core.errors import UserError, exit_on_error
from sustainable.verification.place import ROOT
from sustainable.verification.sent_rows import take_host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder with the rows")
    parser.add_argument("--name", help="of the folder in data/hosts (default: the kind of CPU)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    if not arguments.folder or not folder.is_dir():
        raise UserError(f"{arguments.folder or 'no folder'}: not found; name the rows with FOLDER=...")
    taken = take_host(arguments.root.resolve(), folder, arguments.name)
    print(f"{taken}: {', '.join(sorted(path.name for path in taken.iterdir()))}")
    print("now `make reference PAGES=1`, which judges claims on these rows, then `make verify`, and commit")


if __name__ == "__main__":
    exit_on_error(main)
