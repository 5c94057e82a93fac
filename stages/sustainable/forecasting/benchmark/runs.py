"""The published benchmark: N runs, and in each of them two short passes of every model. Kept for comparison.

The first pass gives accuracy and latency: a data loader and a progress bar run inside the clock. The second
is metered with CodeCarbon. There is no warm-up, and a pass takes a fraction of a second. An A/A twin (the
baseline measured again under another name) shows how large the effects of all this are. The parameters can
also replace one condition at a time by that of the randomised blocks.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.compression.runtimes import Deployed
from sustainable.energy.meter import Meter
from sustainable.measuring.blocks import design
from sustainable.measuring.rows import energy_columns
from sustainable.forecasting.benchmark.subjects import Subject


@dataclass(frozen=True, config=STRICT)
class RunsParameters:
    """Settings of the published benchmark."""

    method: Literal["runs"]
    runs: Annotated[int, Field(ge=2, le=1000)]
    order: Literal["fixed", "random"]
    """Order of the configurations within a run: as listed, or drawn from the seed."""
    loader: bool
    """Whether a data loader and a progress bar run inside the clock of the latency pass."""
    batch_size: Annotated[int, Field(ge=1)]
    metered_batches: Annotated[int, Field(ge=1)]
    """Number of batches, at most, in the metered pass."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["default"]
    """Threads of torch; `default`: as many as torch chooses, on any core."""
    keep_memory: bool
    """Whether the process keeps freed memory instead of returning it to the kernel (see `process`)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the first run; the others follow."""
    configurations: Annotated[dict[str, Configuration | Literal["search"]], Field(min_length=2)]
    """The first is the uncompressed baseline, to which ratios are taken; `search` is the best action that the
    search has seen."""


def measure_runs(
    subjects: Mapping[str, Subject],
    inputs: Tensor,
    target: Tensor,
    parameters: RunsParameters,
    make_meter: Callable[[], Meter],
    journal: RowJournal,
) -> None:
    """Measure each model once per run and append one row each to `journal`, after the rows that it holds.

    The rows call a run a block. `inputs` [n, days, features], `target` [n].
    """
    refuse_large_batches(parameters, len(target))
    names = list(subjects)
    if parameters.order == "random":
        cells = [(w.block, w.position, w.item) for w in design(names, parameters.runs, parameters.seed)]
    else:
        cells = [(run, *numbered) for run in range(parameters.runs) for numbered in enumerate(names)]
    done = len(journal.rows)
    if done:
        print(f"resuming after {done} of {len(cells)} rows", flush=True)
    for run, place, name in progress(cells[done:], "benchmark", len(cells), done, "rows"):
        torch.manual_seed(parameters.seed + run)
        row = _measure(subjects[name].deployed, inputs, target, parameters, make_meter())
        position = {"configuration": name, "block": run, "position": place, "loops": 1}
        journal.append({**position, **subjects[name].labels, "threads": torch.get_num_threads(), **row})


def refuse_large_batches(parameters: RunsParameters, windows: int) -> None:
    """Raise `UserError` for a batch that is larger than the test set of `windows`."""
    if parameters.batch_size > windows:
        raise UserError(
            f"params.yaml: benchmark.*.batch_size: {parameters.batch_size} windows, but the test set has "
            f"{windows}; give at most so many"
        )


def _measure(
    deployed: Deployed, inputs: Tensor, target: Tensor, parameters: RunsParameters, meter: Meter
) -> dict[str, Any]:
    """Measure one pass with the clock, then one with the meter."""
    size = parameters.batch_size
    start = time.perf_counter()
    batches = _loaded(inputs, target, size) if parameters.loader else inputs.split(size)
    logits = np.concatenate([deployed.run(deployed.prepare(batch)) for batch in batches])
    latency_s = time.perf_counter() - start
    metered = inputs[: parameters.metered_batches * size]
    meter.start()
    deployed.logits(metered, size)
    reading = meter.stop()
    hits = (logits > 0) == (target.numpy() > 0.5)
    return {
        "batch_size": size,
        "windows": len(target),
        "correct": int(hits.sum()),
        "accuracy": float(hits.mean()),
        "latency_ms": 1000 * latency_s / len(target),
        **energy_columns(reading, len(metered)),
    }


def _loaded(inputs: Tensor, target: Tensor, size: int) -> Iterator[Tensor]:
    """Yield batches as the published benchmark does; the bar is drawn, but not shown."""
    with Path(os.devnull).open("w") as nowhere:
        for batch, _ in tqdm(DataLoader(TensorDataset(inputs, target), size), file=nowhere):
            yield batch
