"""Stage shrink: the baselines become narrower forecasters, pruned and fine-tuned, with their controls."""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

import torch

from sustainable.core.effort import run_stage
from sustainable.core.files import read_json, write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.model.gru import layered, load_forecaster, save_forecaster, trained_in
from sustainable.forecasting.compression.shrinking import (
    ShrinkTask,
    ShrinkParameters,
    shrink_forecaster,
    plan_shrinking,
)
from sustainable.forecasting.data import Windows, load_windows


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "shrink", ShrinkParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    baselines = trained_in(arguments.baselines)
    widths = load_forecaster(next(iter(baselines.values()))).widths
    load_windows(arguments.windows)  # here, so that a file that is missing or damaged is one clear line
    inputs_read = [file_sha256(path) for path in (arguments.windows, *baselines.values())]
    folder = arguments.work / fingerprint([asdict(parameters), inputs_read])[:16]
    tasks = [
        (task, baselines[task.seed], parameters, metering, arguments.windows, folder)
        for task in plan_shrinking(widths, list(baselines), parameters)
    ]
    workers = 1 if choose_meter(metering).whole_machine else None
    done = list(in_parallel(make_one, tasks, "shrinking", workers))
    write_rows(arguments.history, [row["made"] for row in done])
    write_json(arguments.cost, total_cost([row["cost"] for row in done]))
    shutil.rmtree(arguments.models, ignore_errors=True)
    for task, *_ in tasks:  # one by one: a file that is missing must be noticed here
        (arguments.models / task.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / task.file, arguments.models / task.file)
    shutil.rmtree(arguments.work)


def make_one(
    task: ShrinkTask,
    baseline: Path,
    parameters: ShrinkParameters,
    metering: MeterParameters,
    windows: Path,
    folder: Path,
) -> dict[str, Any]:
    """Make one network, unless an earlier run that was killed has made it already."""
    weights = folder / task.file
    record = weights.with_suffix(".json")
    if not (record.is_file() and weights.is_file()):
        use_deterministic_torch()
        parts = load_windows(windows)
        pairs = [as_pair(parts[name]) for name in ("train", "validation")]
        meter = choose_meter(metering).make()
        meter.start()
        model, made = shrink_forecaster(
            task, layered(load_forecaster(baseline)), pairs[0], pairs[1], parameters
        )
        save_forecaster(weights, model)
        write_json(record, {"made": made, "cost": asdict(meter.stop())})
    return dict(read_json(record))


def as_pair(part: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.inputs), torch.from_numpy(part.target).float()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "windows", "baselines", "work", "models", "history", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
