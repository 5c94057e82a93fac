"""Stage ablation: the published search again, its flaws repaired one at a time."""

import argparse
from pathlib import Path

from sustainable.artifact.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.ablation import VARIANTS, AblationParameters, outcome, try_actions
from sustainable.artifact.effort import run_stage
from sustainable.artifact.files import read_rows, write_rows
from sustainable.artifact.parameters import read_section
from sustainable.artifact.progress import progress
from sustainable.subjects import Sources
from sustainable.weather import load_windows

COLUMNS = ("family", "width_0", "width_1", "precision", "runtime")


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "ablation", AblationParameters)
    use_deterministic_torch()
    parts = load_windows(arguments.windows)
    costs = read_rows(arguments.candidates, COLUMNS)
    sources = Sources(arguments.models, arguments.candidates, arguments.models, parts["train"])
    seeds, rows = sources.seeds(), []
    for seed in progress(seeds, "ablation", len(seeds)):
        tried = {prunes: try_actions(sources, seed, parts, costs, prunes) for prunes in (False, True)}
        rows += [{"seed": seed} | outcome(tried[variant.prunes], variant, parameters) for variant in VARIANTS]
    write_rows(arguments.ablation, rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "windows", "models", "candidates", "ablation"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
