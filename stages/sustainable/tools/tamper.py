"""A test of verification itself: forge a copy of the artifact in many ways; `verify` must notice each.

With --mechanisms only one forgery of each kind is tried, and a table says which kinds are caught by a single
mechanism of verification: what would escape without it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import sustainable.core.determinism  # noqa: F401  (first: as `verify` does)

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parallel import available_cores, in_parallel
from sustainable.verification.place import ROOT
from sustainable.verification.tamper import attacks
from sustainable.verification.tamper.attack import Attack
from sustainable.verification.tiers.shipped import MECHANISMS

OUTSIDE = {"sha256sum --check": "outside", "root hash": "outside"}
"""What notices a forgery without any code of the project (see `attacks.by_sha256sum`)."""
Seen = tuple[str, dict[str, str]]
"""The kind of a forgery and, by mechanism, the item that failed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    seed = "draws bytes and rows: another seed, other forgeries"
    table = "a table of what each mechanism alone catches"
    parser.add_argument("--seed", type=int, default=1, help=seed)
    parser.add_argument("--mechanisms", action="store_true", help=table)
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes at a time")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if (root / "data/benchmark").is_dir():
        print("this folder holds a run of your own; only the shipped files are copied and forged")
    start, workers = time.perf_counter(), arguments.workers
    wanted = attacks.one_of_each_kind if arguments.mechanisms else attacks.attacks
    count = len(wanted(root, arguments.seed))
    shares = [(root, arguments.seed, first, workers, arguments.mechanisms) for first in range(workers)]
    tried = in_parallel(try_share, shares, "shares of the forgeries", workers)
    seen = [attempt for share in tried for attempt in share]
    caught = sum(bool(mechanisms) for _, mechanisms in seen)
    if arguments.mechanisms:
        print("\n".join(mechanism_table(seen)))
    outside = sum(not OUTSIDE.keys().isdisjoint(mechanisms) for _, mechanisms in seen)
    print(f"{outside} of them only by `sha256sum`, in the hands of a reader who knows the root hash")
    print(f"caught/tried: {caught}/{count} ({time.perf_counter() - start:.0f} s)")
    if caught < count:
        sys.exit(1)


def try_share(root: Path, seed: int, first: int, step: int, mechanisms: bool) -> list[Seen]:
    """Try a share of the forgeries in a separate copy. Neighbours stay together: they share results."""
    tried = attacks.one_of_each_kind(root, seed) if mechanisms else attacks.attacks(root, seed)
    length = -(-len(tried) // step)
    with TemporaryDirectory(prefix="tamper-") as scratch:
        folder = Path(scratch)
        attacks.released_copy(root, folder)
        watch = attacks.Watch(folder)
        for item in watch.first_failures(1).values():
            raise UserError(f"the artifact fails before anything is forged: {item.line}; run `make verify`")
        return [try_attack(watch, one, mechanisms) for one in tried[first * length : (first + 1) * length]]


def try_attack(watch: attacks.Watch, attack: Attack, mechanisms: bool) -> Seen:
    """Try one forgery, and print whether it was caught, and by which item. With `mechanisms` a second
    mechanism that catches it is looked for."""
    with attacks.attacked(watch.folder, attack):
        failing = watch.noticed(attack, 2 if mechanisms else 1)
    by = "; ".join(f"{name}: {item}" for name, item in failing.items())
    print(f"caught  {attack.name}: {by}" if failing else f"MISSED  {attack.name}", flush=True)
    return attack.kind + (", every hash rewritten" if attack.resealed else ""), failing


def mechanism_table(seen: Sequence[Seen]) -> list[str]:
    """A table in Markdown: the kinds of forgery that only one mechanism catches."""
    lines = ["| mechanism | tier | catches alone | kinds of forgery |", "|---|---|---:|---|"]
    for name, tier in [*((one.name, str(one.tier)) for one in MECHANISMS), ("start", "T0"), *OUTSIDE.items()]:
        alone = [kind for kind, failing in seen if list(failing) == [name]]
        lines.append(f"| {name} | {tier} | {len(alone)} | {'; '.join(alone)} |")
    several = [kind for kind, failing in seen if len(failing) > 1]
    return [*lines, f"| two or more of them | | {len(several)} | {'; '.join(several)} |"]


if __name__ == "__main__":
    exit_on_error(main)
