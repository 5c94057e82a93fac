"""Stage preprocess: the weather CSV becomes scaled windows, split into train, validation and test."""

import argparse
from pathlib import Path

import numpy as np

from sustainable.artifact.errors import exit_on_error
from sustainable.artifact.files import write_json
from sustainable.artifact.parameters import read_section
from sustainable.weather import (
    PreprocessParameters,
    Windows,
    make_windows,
    read_weather,
    save_windows,
    scale_min_max,
    stratified_split,
)


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "preprocess", PreprocessParameters, arguments.protocol)
    weather = read_weather(arguments.csv)
    wet = weather["weather"].isin(parameters.wet).to_numpy().astype(np.int64)
    features = weather[parameters.features].to_numpy(dtype=np.float64)
    scaled, minimum, span = scale_min_max(features)
    windows = make_windows(scaled, wet, parameters.window_days)
    split = stratified_split(
        windows.target, parameters.test_share, parameters.validation_share, parameters.split_seed
    )
    parts = {name: windows.take(index) for name, index in split.items()}
    save_windows(arguments.windows, parts)
    scale = {
        name: {"minimum": float(low), "range": float(width)}
        for name, low, width in zip(parameters.features, minimum, span, strict=True)
    }
    write_json(arguments.metrics, describe(parts) | {"rows": len(weather), "scale": scale})
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
    exit_on_error(main)
