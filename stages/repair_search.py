"""Stage repair_search: the published search again, its flaws repaired one at a time."""

import argparse
from pathlib import Path

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.forecasting.repairs import REPAIR_VARIANTS, RepairsParameters, repair_row, try_actions
from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_rows
from sustainable.core.parameters import read_section
from sustainable.core.progress import progress
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data import load_windows

COLUMNS = ("family", "width_0", "width_1", "precision", "runtime")


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "repair_search", RepairsParameters)
    use_deterministic_torch()
    parts = load_windows(arguments.windows)
    costs = read_rows(arguments.candidates, COLUMNS)
    sources = Sources(arguments.models, arguments.candidates, arguments.models, parts["train"])
    seeds, rows = sources.seeds(), []
    for seed in progress(seeds, "seeds", len(seeds)):
        tried = {prunes: try_actions(sources, seed, parts, costs, prunes) for prunes in (False, True)}
        rows += [
            {"seed": seed} | repair_row(tried[variant.prunes], variant, parameters)
            for variant in REPAIR_VARIANTS
        ]
    write_rows(arguments.repairs, rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "windows", "models", "candidates", "repairs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
