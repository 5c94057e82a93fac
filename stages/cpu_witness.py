"""Do CPUs agree, bit by bit? A little of both studies' training on this CPU and on emulated ones, by hash.

Every leg is a fresh process. Legs with the pins must give the same weights on every CPU; the controls, which
run without them, must give others, or the comparison could not fail. Emulated CPUs need `qemu-x86_64`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.artifact.errors import exit_on_error
from sustainable.artifact.files import write_json
from sustainable.artifact.parallel import available_cores
from sustainable.verification.cpu_comparison import Outcome, compare, legs

WIDTH, DIGITS = 34, 8


def main() -> None:
    arguments = parse_arguments()
    host = processor()
    wanted = legs(host["maker"])
    print(f"{len(wanted)} processes on {host['model']}, some under emulation: a few minutes", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cpu_witness.") as folder:
        outcomes = compare(
            wanted, arguments.params, arguments.csv, Path(folder), arguments.workers, arguments.limit
        )
    seconds = time.monotonic() - start
    show(outcomes)
    passed = all(outcome.as_expected or outcome.verdict == "skipped" for outcome in outcomes)
    if arguments.out is not None:
        write_json(arguments.out, document(outcomes, host, passed, seconds))
    print(conclusion(outcomes, seconds))
    sys.exit(0 if passed else 1)


def processor() -> dict[str, str]:
    """Maker and model of this machine's CPU, as the kernel names them."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    known = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))
    }
    return {"maker": known.get("vendor_id", "unknown"), "model": known.get("model name", "unknown")}


def show(outcomes: Sequence[Outcome]) -> None:
    """A line a subject with a column a leg, and then what each leg came to."""
    ran = [outcome for outcome in outcomes if outcome.result is not None]
    print(
        f"\n{'sha256 of':{WIDTH}} "
        + " ".join(f"[{outcomes.index(outcome) + 1}]".ljust(DIGITS) for outcome in ran)
    )
    for subject in ran[0].result["hashes"] if ran and ran[0].result else ():
        cells = [(outcome.result or {})["hashes"].get(subject, "-")[:DIGITS] for outcome in ran]
        print(f"{subject:{WIDTH}} " + " ".join(cell.ljust(DIGITS) for cell in cells))
    print()
    for number, outcome in enumerate(outcomes, start=1):
        print(f"[{number}] {line_of(outcome)}")
        for difference in (
            outcome.differences if outcome.leg.expects != "different" else outcome.differences[:1]
        ):
            print(f"    {told(difference)}")


def line_of(outcome: Outcome) -> str:
    """One leg: its name, what the libraries saw, and what it came to."""
    leg, seen = outcome.leg, (outcome.result or {}).get("seen")
    name = f"{leg.name} (emulated)" if leg.cpu else leg.name
    cpu = f"{seen['maker']}{' with AVX-512' if seen['avx512'] else ''}, ATen {seen['aten']}" if seen else ""
    said = {
        "reference": "the reference",
        "same": f"the same as {leg.against}",
        "different": f"differs from {leg.against}",
        "failed": f"FAILED: {outcome.problem}",
        "skipped": outcome.problem,
    }[outcome.verdict]
    if outcome.verdict not in ("failed", "skipped"):
        said += ", as it must" if outcome.as_expected and leg.expects != "reference" else ""
        said += "" if outcome.as_expected else ": THIS IS WRONG"
    return f"{name:28} {cpu:32} {outcome.seconds:5.0f} s  {said}"


def told(difference: dict[str, Any] | Any) -> str:
    """Where a subject differs."""
    if difference["tensor"] is None:
        return f"{difference['subject']}: the hash differs, and the tensors do not"
    where = f"{difference['subject']}: first {difference['tensor']}"
    if difference["largest"] is None:
        return f"{where}, which is missing or has another shape"
    share = difference["differing"] / difference["elements"]
    return f"{where}; {share:.1%} of elements, by at most {difference['largest']:.1e}"


def conclusion(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The last line."""
    wrong = [
        outcome.leg.name for outcome in outcomes if not outcome.as_expected and outcome.verdict != "skipped"
    ]
    skipped = [outcome.leg.name for outcome in outcomes if outcome.verdict == "skipped"]
    shown = [outcome.leg.name for outcome in outcomes if outcome.verdict == "same"]
    minutes = f"({seconds / 60:.1f} minutes)"
    if wrong:
        return f"FAILED: {'; '.join(wrong)} {minutes}"
    if skipped:
        return f"agree: native, {', '.join(shown)}; not shown, skipped: {'; '.join(skipped)} {minutes}"
    return f"agree bit by bit: native, {', '.join(shown)}; the controls differ {minutes}"


def document(
    outcomes: Sequence[Outcome], host: dict[str, str], passed: bool, seconds: float
) -> dict[str, Any]:
    """All of it, for machines."""
    entries = [asdict(outcome) | {"as_expected": outcome.as_expected} for outcome in outcomes]
    skipped = [outcome.leg.name for outcome in outcomes if outcome.verdict == "skipped"]
    return {"host": host, "passed": passed, "skipped": skipped, "seconds": round(seconds, 1), "legs": entries}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--csv", type=Path, default=Path("data/raw/seattle-weather.csv"))
    parser.add_argument("--out", type=Path, help="where to write all of it as JSON")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes at a time")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a process may take")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
