"""The self-test for doubters: a copy of the artifact is forged in many ways; `verify` must see every one."""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import sustainable.core.determinism  # noqa: F401  (first: as `verify` does)

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parallel import available_cores, in_parallel
from sustainable.verification.tamper.attacks import Attack, Watch, attacks, copy_of, damaged

ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    arguments = parse_arguments()
    root = arguments.root.resolve()
    if (root / "data/benchmark").is_dir():
        print("this folder holds a run of your own; what is forged is a copy of the shipped files alone")
    tried = attacks(root, arguments.seed)
    cores = available_cores()
    shares = [(root, arguments.seed, first, cores) for first in range(cores)]
    start = time.perf_counter()
    caught = 0
    for lines in in_parallel(try_share, shares, "shares of the forgeries"):
        for seen, line in lines:
            caught += seen
            print(line)
    print(f"caught/tried: {caught}/{len(tried)} ({time.perf_counter() - start:.0f} s)")
    if caught < len(tried):
        sys.exit(1)


def try_share(root: Path, seed: int, first: int, step: int) -> list[tuple[bool, str]]:
    """Every `step`-th forgery in a copy of its own: whether it was seen, and a line on it."""
    with TemporaryDirectory(prefix="tamper-") as scratch:
        folder = Path(scratch)
        copy_of(root, folder)
        watch = Watch(folder)
        before = watch.look()
        if before:
            raise UserError(
                f"the artifact fails before anything is forged: {before[0].line}; run `make verify`"
            )
        return [try_attack(watch, attack) for attack in attacks(root, seed)[first::step]]


def try_attack(watch: Watch, attack: Attack) -> tuple[bool, str]:
    """One forgery: seen or not, and by which item."""
    with damaged(watch.folder, attack):
        failed = watch.look()
    if not failed:
        return False, f"MISSED  {attack.name}"
    return True, f"caught  {attack.name}: {failed[0].tier} {failed[0].name}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    parser.add_argument(
        "--seed", type=int, default=1, help="draws bytes and rows: another seed, other forgeries"
    )
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
