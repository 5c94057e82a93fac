"""Stage preprocess: a daily CSV becomes scaled windows, split into train, validation and test."""

import argparse
from pathlib import Path

from sustainable.artifact.effort import run_stage
from sustainable.artifact.files import write_json
from sustainable.artifact.parameters import read_section
from sustainable.weather import (
    PreprocessParameters,
    Windows,
    leaks,
    make_windows,
    read_table,
    rows_to_scale_over,
    save_windows,
    scale_min_max,
    split_windows,
)


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "preprocess", PreprocessParameters, arguments.protocol)
    table = read_table(arguments.csv, parameters)
    scaled, minimum, span = scale_min_max(table.features, rows_to_scale_over(table, parameters))
    windows = make_windows(scaled, table.positive, parameters.window_days)
    parts = split_windows(windows, table, parameters)
    save_windows(arguments.windows, parts)
    scale = {
        name: {"minimum": float(low), "range": float(width)}
        for name, low, width in zip(parameters.features, minimum, span, strict=True)
    }
    shared = leaks(parts, parameters.window_days)
    write_json(
        arguments.metrics, describe(parts) | {"rows": len(table), "scale": scale, "shared_rows": shared}
    )
    print(", ".join(f"{name}: {len(part)} windows" for name, part in parts.items()))


def describe(parts: dict[str, Windows]) -> dict[str, dict[str, float]]:
    return {
        name: {"windows": len(part), "wet_share": float(part.target.mean())} for name, part in parts.items()
    }


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
