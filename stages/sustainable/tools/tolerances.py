"""Measure tier T2's tolerances: the stages' own code, cut down, with the determinism pins and without.

Takes about a quarter of an hour, and goes on where it was stopped. What is cut down stands in
stages/sustainable/verification/tiers/tolerances.yaml.
"""

import argparse
from pathlib import Path

from sustainable.core.errors import exit_on_error
from sustainable.core.files import write_json
from sustainable.measuring.host import describe_host
from sustainable.verification.tiers.tolerance_runs import EXPECTED, OTHERS, changes, measure, run_all
from sustainable.verification.tiers.tolerances import FACTOR

ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    arguments = parse_arguments()
    taken = run_all(ROOT, arguments.folder)
    host = describe_host()
    del host["load_at_start"]
    ways = {way.name: {"pinned": way.pinned, "threads": way.threads} for way in (EXPECTED, *OTHERS)}
    settings = {"factor": FACTOR, "changed_parameters": changes(ROOT), "ways": ways, "cpu_s": taken}
    tables = measure(arguments.folder)
    write_json(arguments.out, {"settings": settings, "host": host, "tables": tables})
    for pattern, table in tables.items():
        for column, entry in table["columns"].items():
            if entry["largest"]:
                tolerance = "none fits" if entry["tolerance"] is None else f"{entry['tolerance']:.2g}"
                print(f"{pattern}: {column}: {entry['largest']:.2g}, tolerance {tolerance}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".tolerances"), help="where the runs are kept")
    parser.add_argument("--out", type=Path, required=True, help="data/reference/tolerances.json")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
