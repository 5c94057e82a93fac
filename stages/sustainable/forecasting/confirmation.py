"""Fresh networks for a task: its choices are confirmed on training seeds that did not choose them.

Every fresh seed gets a baseline, each pruned and fine-tuned network that the benchmark deploys, and the
baseline trained on for as long ("continued"), which separates compression from longer training. The recipes
are those of the selection.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.energy.choice import MeterParameters
from sustainable.energy.parallel import run_metered_cells
from sustainable.forecasting.baselines import train_baselines, weights_file
from sustainable.forecasting.compression.shrinking import ShrinkParameters, ShrinkTask
from sustainable.forecasting.model.training import TrainingParameters
from sustainable.forecasting.narrow import finish_narrow, narrow_files


@dataclass(frozen=True, config=STRICT)
class ConfirmParameters:
    """Section `confirm` of params.yaml."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=2)]
    """Training seeds; none of those with which deployments are chosen."""


def refuse_used_seeds(fresh: Iterable[int], used: Iterable[int]) -> None:
    """Raise `UserError` if a seed has already taken part in the selection."""
    both = sorted(set(fresh) & set(used))
    if both:
        raise UserError(f"confirm.seeds: {both[0]} also chooses (train_baseline); take a fresh seed")


def train_fresh(
    seeds: list[int], training: TrainingParameters, metering: MeterParameters, windows: Path, folder: Path
) -> tuple[list[dict[str, Any]], dict[int, Path]]:
    """Train a baseline per seed; return a record for each (as `train_baselines`), and the weights by seed."""
    records = train_baselines(replace(training, seeds=seeds), metering, windows, folder)
    return records, {seed: weights_file(folder, seed) for seed in seeds}


def shrink_fresh(
    baselines: dict[int, Path],
    widths: Iterable[tuple[int, ...]],
    full: tuple[int, ...],
    shrinking: ShrinkParameters,
    metering: MeterParameters,
    windows: Path,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str | Path, Path]]:
    """Make the networks of `widths` and the continued one from the baselines, which have the `full` widths.

    Returns a record per network (`made`, `cost`), and the files by their place in a folder of models.
    """
    planned = [ShrinkTask("continued", full, seed) for seed in baselines]
    planned += [ShrinkTask("l1", pair, seed) for pair in widths if pair != full for seed in baselines]
    tasks = [(task, baselines[task.seed], shrinking, metering, windows, folder) for task in planned]
    files = [narrow_files(*task) for task in tasks]
    records = list(run_metered_cells(finish_narrow, tasks, "shrinking", metering, files))
    return records, {f"narrow/{task.file}": folder / task.file for task in planned}
