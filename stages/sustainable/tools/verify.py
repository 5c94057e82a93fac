"""Is this the shipped artifact, does this host reproduce it, do the claims follow from the rows?

Without --run nothing is trained or measured. With it, the run that `make reproduce` has left is compared with
the reference. Exit status 1 when anything fails; what was skipped is listed and is no pass.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import sustainable.core.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

from sustainable.core.errors import exit_on_error
from sustainable.core.files import write_json
from sustainable.reporting.evidence import rows_sha256
from sustainable.verification.tiers.integrity import root_sha256
from sustainable.verification.items import TIERS, Item, counts
from sustainable.verification.tiers.own_run import check_run
from sustainable.verification.place import Place
from sustainable.verification.tiers.shipped import check_shipped

ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    arguments = parse_arguments()
    start = time.perf_counter()
    root = arguments.root.resolve()
    items = check_run(root) if arguments.run else check_shipped(root)
    for item in items:
        print(item.line)
    summarise(items)
    place = Place(root)
    hashes = {"reference": root_sha256(place.sums()), "rows": rows_sha256(place.reference)}
    print(f"reference {hashes['reference']}")
    print(f"its rows  {hashes['rows']} (as printed in the paper's appendix)")
    print(f"{time.perf_counter() - start:.1f} s; all items in {arguments.out.name}")
    write_json(arguments.out, hashes | {"items": [asdict(item) for item in items]})
    if any(item.status == "FAIL" for item in items):
        sys.exit(1)


def summarise(items: Sequence[Item]) -> None:
    """Counts by tier, what was not checked, and what failed."""
    print()
    for tier, found in counts(items).items():
        numbers = ", ".join(f"{count} {status}" for status, count in found.items())
        print(f"{tier}  {numbers:<32} {TIERS[tier]}")
    for item in (item for item in items if item.status == "skipped"):
        print(f"not checked: {item.tier} {item.name}")
    failed = [item for item in items if item.status == "FAIL"]
    for item in failed[:20]:
        print(f"FAILED: {item.tier} {item.name}: {item.advice}")
    print(f"{'FAIL' if failed else 'ok'}: {len(failed)} of {len(items)} items failed")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    parser.add_argument("--run", action="store_true", help="compare the run of this host with the reference")
    parser.add_argument("--out", type=Path, default=Path("verify.json"), help="the report for machines")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
