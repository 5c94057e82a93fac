"""Faults of disks: full ones, and folders that cannot be written.

A full disk is a small file system in memory, a read-only one a second mount of the folder. Both are mounted
in a mount namespace of their own, which other programs do not see, and need root and util-linux.
"""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sustainable.verification.faults.comparison import Difference
from sustainable.verification.faults.workshop import Ended, Skip, Workshop, run, surroundings, tail
from sustainable.verification.place import ROOT

FULL = """
mount -t tmpfs -o size=$1k none "$2" || exit 99
head -c $((($1 - $3) * 1024)) /dev/zero > "$2/filler"
shift 3
"$@"
status=$?
rm -f */*/filler
"$@" > again.log 2>&1 || exit 98
rm again.log
exit $status
"""
"""Run a program with a few KiB left on the disk of a folder, and again when there is room. The folder's
earlier content is hidden, and what is made there lost at the end: only for folders of checkpoints."""
READ_ONLY = """
mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" || exit 99
cd "$PWD" && exec "$@"
"""
LEFT_KIB, SIZE_KIB = 8, 4096
READ_ONLY_LINE = "read-only file system"


def in_namespace(script: str, command: Sequence[str], folder: Path) -> Ended:
    """Run a shell script in a mount namespace of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Skip("mounting needs root and `unshare`")
    shell = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    ended = run(shell, folder, surroundings(folder))
    if ended.status == 99:
        raise Skip(f"mounting is not allowed here: {ended.errors.strip()}")
    return ended


def full_disk(workshop: Workshop, stage: str) -> Difference:
    """Fill the disk of the checkpoints of a stage while it runs."""
    workshop.restore(stage)
    arguments = [str(SIZE_KIB), "data/checkpoints", str(LEFT_KIB), *workshop.command(stage)]
    ended = in_namespace(FULL, arguments, workshop.folder)
    if ended.status == 98:
        again = (workshop.folder / "again.log").read_text(encoding="utf-8")
        return Difference(problem=f"failed when there was room again: {tail(again)}")
    problem = ended.refusal("no space left on device", "free some space")
    found = workshop.difference(stage)
    return Difference(found.lost, found.doubled, problem or found.problem)


def read_only_stage(workshop: Workshop, stage: str) -> Difference:
    """Run a stage in a folder that cannot be written, and then in one that can."""
    workshop.restore(stage)
    ended = in_namespace(READ_ONLY, workshop.command(stage), workshop.folder)
    problem = ended.refusal(READ_ONLY_LINE)
    found = workshop.check(stage, workshop.run(stage))
    return Difference(found.lost, found.doubled, problem or found.problem)


def read_only_tool(workshop: Workshop, arguments: Sequence[str]) -> Difference:
    """Run a tool in a checkout on a read-only file system."""
    ended = in_namespace(READ_ONLY, [sys.executable, *arguments], ROOT)
    return Difference(problem=ended.refusal(READ_ONLY_LINE))


def forbidden_stage(workshop: Workshop, stage: str) -> Difference:
    """Run a stage in a folder that its user may not write."""
    if os.geteuid() == 0:
        raise Skip("root may write everywhere")
    workshop.restore(stage)
    folders = [path for path in (workshop.folder, *workshop.folder.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        ended = workshop.run(stage)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    found = workshop.check(stage, workshop.run(stage))
    return Difference(found.lost, found.doubled, ended.refusal("permission denied") or found.problem)


def full_output(workshop: Workshop, stage: str) -> Difference:
    """Send what a stage prints to a full disk."""
    workshop.restore(stage)
    with Path("/dev/full").open("wb") as full:
        ended = run(workshop.command(stage), workshop.folder, stdout=full)
    found = workshop.check(stage, workshop.run(stage))
    return Difference(found.lost, found.doubled, ended.refusal("no space left on device") or found.problem)


TABLES = """
    stages/report.py --params params.yaml --published paper/published.yaml --templates paper/templates
    --references paper/references.bib --data data/reference --hosts data/hosts --out shipped
    --claims shipped/claims.json --summary shipped/benchmark.json --headline shipped/headline.json
"""
"""As `make tables` runs it."""


def faults() -> dict[str, Callable[[Workshop], Difference]]:
    """Return the faults of disks by name."""
    named: dict[str, Callable[[Workshop], Difference]] = {}
    for stage in ("benchmark@step_order", "train_baseline@mnist1d", "candidates@mnist1d"):
        named[f"the disk full: {stage}"] = partial(full_disk, stage=stage)
    named["the disk full: what is printed"] = partial(full_output, stage="preprocess@mnist1d")
    for stage in ("preprocess@mnist1d", "benchmark@step_order", "train_baseline@mnist1d"):
        named[f"a read-only file system: {stage}"] = partial(read_only_stage, stage=stage)
    named["a read-only checkout: preprocess@mnist1d"] = partial(forbidden_stage, stage="preprocess@mnist1d")
    tools = {
        "smoke": ("-m", "sustainable.tools.profiles", "smoke"),
        "claim": ("-m", "sustainable.tools.claim", "A5"),
        "tables": TABLES.split(),
        "verify": ("-m", "sustainable.tools.verify"),
    }
    for name, arguments in tools.items():
        named[f"a read-only file system: {name}"] = partial(read_only_tool, arguments=arguments)
    return named
