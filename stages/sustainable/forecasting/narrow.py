"""Narrow forecasters, made side by side from the baselines of all seeds."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.cells import CellFiles
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.tasks import finish
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import run_metered_cells
from sustainable.forecasting.compression.shrinking import ShrinkParameters, ShrinkTask
from sustainable.forecasting.compression.shrinking import plan_shrinking, shrink_forecaster
from sustainable.forecasting.data.windows import as_tensors, load_windows
from sustainable.forecasting.model.gru import layered, load_forecaster, save_forecaster


def make_all_narrow(
    baselines: Mapping[int, Path],
    parameters: ShrinkParameters,
    metering: MeterParameters,
    windows: Path,
    work: Path,
) -> tuple[list[dict[str, Any]], dict[str | Path, Path]]:
    """Make every planned network from the baselines (seed: weights).

    Returns a record per network (`made`, `cost`), and the networks' files by their place in a folder of
    models. Networks that an earlier, killed run has made are taken from `work`.
    """
    widths = load_forecaster(next(iter(baselines.values()))).widths
    load_windows(windows)  # here, so that a missing or damaged file is one clear line
    identity = [asdict(parameters), [file_sha256(path) for path in (windows, *baselines.values())]]
    folder = work / fingerprint(identity)[:16]
    tasks = [
        (task, baselines[task.seed], parameters, metering, windows, folder)
        for task in plan_shrinking(widths, list(baselines), parameters)
    ]
    files = [narrow_files(*task) for task in tasks]
    records = list(run_metered_cells(finish_narrow, tasks, "shrinking", metering, files))
    return records, {task.file: folder / task.file for task, *_ in tasks}


def narrow_files(
    task: ShrinkTask,
    baseline: Path,
    parameters: ShrinkParameters,
    metering: MeterParameters,
    windows: Path,
    folder: Path,
) -> CellFiles:
    """Return the files of `finish_narrow`, which has the same arguments."""
    weights = folder / task.file
    return CellFiles((windows, baseline), (weights, weights.with_suffix(".json")))


def finish_narrow(
    task: ShrinkTask,
    baseline: Path,
    parameters: ShrinkParameters,
    metering: MeterParameters,
    windows: Path,
    folder: Path,
) -> dict[str, Any]:
    """Make one network, unless an earlier run has made it."""
    weights = folder / task.file

    def make() -> dict[str, Any]:
        use_deterministic_torch()
        parts = load_windows(windows)
        pairs = (as_tensors(parts["train"]), as_tensors(parts["validation"]))
        meter = choose_meter(metering).make()
        meter.start()
        model, made = shrink_forecaster(task, layered(load_forecaster(baseline)), *pairs, parameters)
        save_forecaster(weights, model)
        return {"made": made, "cost": asdict(meter.stop())}

    return finish(weights.with_suffix(".json"), make, weights)
