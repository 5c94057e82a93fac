"""Check that CPUs agree bit by bit: run a little of both studies' training here and on emulated CPUs.

Every leg is a fresh process. Legs with the determinism pins must all give the same hashes. The controls,
which run without pins or with other functions of the C library, must differ; otherwise the comparison could
not fail. Emulated CPUs need `qemu-x86_64`; without it their legs are skipped, which shows nothing. Exit
status 1 if a leg is not as expected.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import exit_on_error
from sustainable.core.files import write_json
from sustainable.core.parallel import available_cores
from sustainable.core.parameters import read_protocols
from sustainable.measuring.cpu import UNKNOWN, cpuinfo
from sustainable.verification.cpu.comparison import LegOutcome, compare, legs
from sustainable.verification.cpu.computation import PROTOCOL

SUBJECT, DIGITS = 30, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, help="where to write the report as JSON")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes at a time")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a process may take")
    asked = parser.parse_args()
    host = processor()
    wanted, csv = legs(host["maker"]), read_protocols(asked.params)[PROTOCOL]
    said = f"{len(wanted)} processes on {host['model']}, some emulated"
    print(f"{said}: about 6 minutes on 2 cores", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cpu-") as folder:
        outcomes = compare(wanted, asked.params, csv, Path(folder), asked.workers, asked.limit)
    seconds = time.monotonic() - start
    for line in [*hash_table(outcomes), "", *findings(outcomes), "", conclusion(outcomes, seconds)]:
        print(line)
    if asked.out is not None:
        write_json(asked.out, document(outcomes, host, seconds))
    sys.exit(1 if wrong(outcomes) else 0)


def processor() -> dict[str, str]:
    """Maker and model of this machine's CPU."""
    return {"maker": cpuinfo("vendor_id") or UNKNOWN, "model": cpuinfo("model name") or UNKNOWN}


def wrong(outcomes: Sequence[LegOutcome]) -> list[str]:
    """The legs whose verdict is not the expected one."""
    return [one.leg.name for one in outcomes if not one.as_expected and one.verdict != "skipped"]


def skipped_legs(outcomes: Sequence[LegOutcome]) -> list[str]:
    return [one.leg.name for one in outcomes if one.verdict == "skipped"]


def hash_table(outcomes: Sequence[LegOutcome]) -> list[str]:
    """One row per subject, one column per leg, headed by the leg's number."""
    columns = {f"[{n}]": one.result["hashes"] for n, one in enumerate(outcomes, 1) if one.result is not None}
    rows: dict[str, list[str]] = {"sha256 of": list(columns)}
    for subject in dict.fromkeys(subject for hashes in columns.values() for subject in hashes):
        rows[subject] = [hashes.get(subject, "-")[:DIGITS] for hashes in columns.values()]
    return [f"{name:{SUBJECT}} " + " ".join(f"{cell:{DIGITS}}" for cell in row) for name, row in rows.items()]


def findings(outcomes: Sequence[LegOutcome]) -> list[str]:
    """One line per leg, and below it what differs; of a control, which must differ, only the largest."""
    lines = []
    for number, one in enumerate(outcomes, 1):
        lines.append(f"[{number}] {line_of(one)}")
        shown = one.differences
        if one.leg.expects == "different":
            shown = sorted(shown, key=lambda difference: -(difference["largest"] or 0.0))[:1]
        lines += [f"      {place_of(difference)}" for difference in shown]
    return lines


def line_of(outcome: LegOutcome) -> str:
    """One leg: its name, the CPU as the libraries see it, and its verdict."""
    leg, verdict = outcome.leg, outcome.verdict
    name = f"{leg.name} (emulated)" if leg.cpu else leg.name
    if outcome.result is None:
        return f"{name:27} {'FAILED: ' if verdict == 'failed' else ''}{outcome.problem}"
    seen, count = outcome.result["seen"], len(outcome.differences)
    cpu = f"{seen['maker']}, {'AVX-512' if seen['avx512'] else 'no AVX-512'}, torch: {seen['aten']}"
    said = {
        "reference": "the reference",
        "same": f"the same as {leg.against}",
        "different": f"{count} of {len(outcome.result['hashes'])} differ from {leg.against}",
        "failed": f"FAILED: {outcome.problem}",
    }[verdict]
    if verdict != "failed":
        said += {"reference": "", "same": ": all must agree", "different": ": some must differ"}[leg.expects]
        said += "" if outcome.as_expected else " - WRONG"
    return f"{name:27} {cpu:30} {outcome.seconds:4.0f} s  {said}"


def place_of(difference: Mapping[str, Any]) -> str:
    """Where a subject differs and by how much."""
    if difference["tensor"] is None:
        return f"{difference['subject']}: the hash differs, but no tensor does"
    where = f"{difference['subject']}: first in {difference['tensor']}"
    if difference["largest"] is None:
        return f"{where}, which is missing or has another shape"
    share = difference["differing"] / difference["elements"]
    return f"{where}; {share:.2%} of elements, by at most {difference['largest']:.1e}"


def conclusion(outcomes: Sequence[LegOutcome], seconds: float) -> str:
    agree = "; ".join(one.leg.name for one in outcomes if one.verdict == one.leg.expects == "same")
    minutes = f"({seconds / 60:.1f} minutes)"
    if wrong(outcomes):
        return f"FAILED: {'; '.join(wrong(outcomes))} {minutes}"
    if skipped_legs(outcomes):
        return f"agree: native; {agree}. NOT SHOWN, as skipped: {'; '.join(skipped_legs(outcomes))} {minutes}"
    return f"agree bit by bit: native; {agree}. Every control differs {minutes}"


def document(outcomes: Sequence[LegOutcome], host: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """The report for machines. `complete`: nothing was skipped; `passed`: nothing is wrong."""
    skipped = skipped_legs(outcomes)
    return {
        "host": dict(host),
        "passed": not wrong(outcomes),
        "complete": not skipped,
        "skipped": skipped,
        "seconds": round(seconds, 1),
        "legs": [asdict(one) | {"as_expected": one.as_expected} for one in outcomes],
    }


if __name__ == "__main__":
    exit_on_error(main)
