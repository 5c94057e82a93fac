"""Stage preprocess: a daily CSV becomes scaled windows, split into train, validation and test."""

import argparse
from pathlib import Path

from sustainable.core.effort import run_stage
from sustainable.core.files import write_json
from sustainable.core.parameters import read_section
from sustainable.forecasting.data import PreprocessParameters, preprocess, save_windows


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "preprocess", PreprocessParameters, arguments.protocol)
    parts, described = preprocess(arguments.csv, parameters)
    save_windows(arguments.windows, parts)
    write_json(arguments.metrics, described)
    print(", ".join(f"{name}: {len(part)} windows" for name, part in parts.items()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
