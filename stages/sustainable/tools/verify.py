"""Is this the shipped artifact, do its claims follow from the rows, and does this host reproduce it?

It prints what failed and a summary; with --all, every item. Without --run nothing is trained or measured.
With it, the run that `make reproduce` left is compared with the reference. Exit status: 0 if all is ok, 1 if
anything failed, 3 if nothing failed but rows are stale (measured by other code or parameters than this
checkout's). At a release version a stale item is a failure. Skipped items never count as a pass. Between
kinds of CPU, ratios are printed (`other CPU`), and so are verdicts on claims that are declared to depend on
the host. They count neither as ok nor as FAIL.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import sustainable.core.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

from sustainable.core.errors import exit_on_error, printable
from sustainable.core.files import write_json
from sustainable.reporting.evidence import rows_sha256
from sustainable.verification.items import MEASURE_AGAIN, TIERS, Item, compared, counts, skipped, strictly
from sustainable.verification.listed import LIST, root_hash
from sustainable.verification.place import ROOT, Place
from sustainable.verification.tiers.own_run import check_run
from sustainable.verification.tiers.shipped import check_shipped

SHOWN = 8
"""How many names a line of the summary lists."""
NEXT = {False: "next: `make tables`", True: "next: open paper/report.html"}
"""What to look at next, without --run and with it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    parser.add_argument("--run", action="store_true", help="compare the run of this host with the reference")
    strict = "stale counts as failure, as at a release version"
    parser.add_argument("--strict", action="store_true", help=strict)
    parser.add_argument("--all", action="store_true", help="print every item, also those that are ok")
    known = "the root hash, from the release's tag or record: verify compares it"
    parser.add_argument("--expect", metavar="SHA256", help=known)
    parser.add_argument("--out", type=Path, default=Path("verify.json"), help="the report for machines")
    arguments = parser.parse_args()
    start, root = time.perf_counter(), arguments.root.resolve()
    place = Place(root)
    hashes = {"root": root_hash(root), "rows": rows_sha256(place.reference)}
    items = [check_root(hashes["root"], arguments.expect)]
    items += check_run(root) if arguments.run else check_shipped(root)
    if arguments.strict or not place.in_development:
        items = strictly(items)
    for item in items:
        if arguments.all or item.status in ("FAIL", "other CPU"):
            print(item.line)
    print(f"root hash {hashes['root']} (sha256sum {LIST}; in the message of the release's tag)")
    print(f"the rows  {hashes['rows']} (as printed in the paper's appendix)")
    print_summary(items)
    took = time.perf_counter() - start
    print(f"{took:.1f} s; every item is in {arguments.out.name}; {NEXT[arguments.run]}")
    write_json(arguments.out, hashes | {"items": [asdict(item) for item in items]})
    sys.exit(exit_status(items))


def check_root(found: str, expected: str | None) -> Item:
    """Compare the root hash with one that the reader has from outside the artifact."""
    if expected is None:
        why = "compare it with the release's tag, or give it: `make verify EXPECT=...`"
        return skipped("T0", "root hash", why)
    advice = "this is not the artifact whose hash you have: fetch the release again"
    return compared("T0", "root hash", "shipped", expected.strip().lower(), found, advice=advice)


def exit_status(items: Sequence[Item]) -> int:
    """0: all ok; 1: a failure; 3: no failure, but stale rows."""
    found = {item.status for item in items}
    return 1 if "FAIL" in found else 3 if "stale" in found else 0


def print_summary(items: Sequence[Item]) -> None:
    """Print counts by tier, what was not checked, what failed, and what is stale."""
    for tier, by_status in counts(items).items():
        numbers = ", ".join(f"{count} {status}" for status, count in by_status.items())
        print(f"{tier}  {numbers:<49} {TIERS[tier]}")
    statuses = ("skipped", "FAIL", "stale")
    skipped, failed, stale = ([item for item in items if item.status == one] for one in statuses)
    if skipped:
        print(printable("not checked: " + listed(f"{item.tier} {item.name}" for item in skipped)))
    if shown := sum(item.status == "other CPU" for item in items):
        print(f"other CPU: {shown} ratios and verdicts of two kinds of CPU are shown above, not compared")
    print(f"{'FAIL' if failed else 'ok'}: {len(failed)} of {len(items)} items failed")
    stages = list(dict.fromkeys(item.stage for item in stale if item.stage is not None))
    others = [item.name for item in stale if item.stage is None]
    reasons = []
    if stages:
        reasons.append(f"{len(stages)} stages were run with other code or packages: {listed(stages)}")
    if others:
        reasons.append(f"{listed(others)} changed after the pages were rendered (`make reference PAGES=1`)")
    if stale:
        print(f"stale: {'; '.join(reasons)}")
        print(f"allowed in a development version only; {MEASURE_AGAIN}")


def listed(names: Iterable[str]) -> str:
    """The first `SHOWN` names, and how many there are more."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


if __name__ == "__main__":
    exit_on_error(main)
