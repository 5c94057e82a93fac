"""Inject faults into real stages of a smoke run, and check what each leaves.

Every stage that trains or measures is killed and interrupted at random moments, and started again. Other
faults follow: a full disk, a read-only folder, a task that fails, and more. After each there must be one
clear message, and the repeated command must give the results of an undisturbed run, with no row lost or
doubled. Exit status 1 if it does not.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory

from sustainable.core.errors import UserError, exit_on_error
from sustainable.tools.profiles import prepare_profile
from sustainable.verification.faults import storage, surroundings, tasks
from sustainable.verification.faults.comparison import Difference
from sustainable.verification.faults.interruptions import PARTS, Attempt, Chain
from sustainable.verification.faults.workshop import Skip, Workshop, make_workshop
from sustainable.verification.folders import repro
from sustainable.verification.place import ROOT

AT_ONCE = 4
"""How often a stage is interrupted before it may finish."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    smoke = "a finished smoke run to start from; it is made if it is missing (about 6 minutes)"
    parser.add_argument("--smoke", type=Path, default=Path(".smoke"), help=smoke)
    number = "how many kills and interruptions (about 10 s each on 2 idle cores)"
    parser.add_argument("--interruptions", type=int, default=len(PARTS) * 7, help=number)
    parser.add_argument("--seed", type=int, default=1, help="draws the moments and the ways")
    parser.add_argument("--only", help="only stages and faults whose name contains this text")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    start = time.monotonic()
    if not (arguments.smoke / "paper/report.html").is_file():
        make_smoke_run(arguments.smoke)
    attempts = []
    with TemporaryDirectory(prefix="faults-") as scratch:
        workshop = make_workshop(ROOT, arguments.smoke.resolve(), Path(scratch) / "smoke")
        for attempt in all_attempts(workshop, arguments):
            print(attempt.line, flush=True)
            attempts.append(attempt)
    print(f"{summary(attempts)} ({(time.monotonic() - start) / 60:.0f} minutes, seed {arguments.seed})")
    sys.exit(any(attempt.difference for attempt in attempts))


def make_smoke_run(folder: Path) -> None:
    """Run the smoke profile, which the disturbed stages are compared with."""
    prepare_profile(folder)
    if repro(folder).returncode != 0:
        raise UserError(f"{folder}: the smoke run failed (see above)")


def all_attempts(workshop: Workshop, asked: argparse.Namespace) -> Iterator[Attempt]:
    """Inject every fault, one after the other."""
    wanted = asked.only or ""
    for name, fault in (tasks.faults() | storage.faults() | surroundings.faults()).items():
        if wanted in name:
            yield attempted(name, fault, workshop)
    chance = random.Random(asked.seed)
    parts = [part for part in PARTS if wanted in part]
    for part, count in zip(parts, shares(asked.interruptions, len(parts)), strict=True):
        while count > 0:
            yield from Chain(workshop, part, chance).attempts(min(count, AT_ONCE))
            count -= AT_ONCE


def attempted(name: str, fault: Callable[[Workshop], Difference], workshop: Workshop) -> Attempt:
    """Inject one declared fault."""
    try:
        return Attempt(name, fault(workshop))
    except Skip as reason:
        return Attempt(name, skipped=str(reason))
    except TimeoutExpired as error:
        return Attempt(name, Difference(problem=f"still running after {error.timeout:.0f} s"))


def shares(count: int, parts: int) -> list[int]:
    """Divide `count` as evenly as possible."""
    if parts == 0:
        return []
    return [count // parts + (index < count % parts) for index in range(parts)]


def summary(attempts: Sequence[Attempt]) -> str:
    """One line with the counts; what was skipped was not tried."""
    tried = [attempt for attempt in attempts if attempt.skipped is None]
    survived = sum(not attempt.difference for attempt in tried)
    lost, doubled = (sum(getattr(one.difference, what) for one in tried) for what in ("lost", "doubled"))
    return (
        f"tried {len(tried)}, survived {survived}, rows lost {lost}, rows doubled {doubled}, "
        f"skipped {len(attempts) - len(tried)}"
    )


if __name__ == "__main__":
    exit_on_error(main)
