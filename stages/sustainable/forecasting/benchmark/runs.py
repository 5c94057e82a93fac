"""The published benchmark: N runs in a fixed order, one short pass each. Kept for comparison.

Its weaknesses are kept on purpose: no warm-up, no randomised order, windows of a fraction of a second. An A/A
twin (the baseline measured again under another name) shows the size of their effect.
"""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.compression.runtimes import Deployed
from sustainable.energy.meter import Meter
from sustainable.measuring.rows import energy_columns
from sustainable.forecasting.benchmark.subjects import Subject


@dataclass(frozen=True, config=STRICT)
class RunsParameters:
    """Settings of the published benchmark."""

    method: Literal["runs"]
    runs: Annotated[int, Field(ge=2, le=1000)]
    batch_size: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    configurations: Annotated[dict[str, Configuration | Literal["search"]], Field(min_length=2)]
    """Measured in this order in every run. The first is the uncompressed baseline, to which ratios are taken;
    `search` is the best action that the search has seen."""


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
    torch.set_num_threads(parameters.threads)
    cells = [(run, name) for run in range(parameters.runs) for name in subjects]
    done = len(journal.rows)
    if done:
        print(f"resuming after {done} of {len(cells)} rows", flush=True)
    for run, name in progress(cells[done:], "benchmark", len(cells), done, "rows"):
        torch.manual_seed(parameters.seed + run)
        row = _measure(subjects[name].deployed, inputs, target, parameters.batch_size, make_meter())
        position = {"configuration": name, "block": run, "position": list(subjects).index(name), "loops": 1}
        journal.append({**position, **subjects[name].labels, "threads": torch.get_num_threads(), **row})


def _measure(
    deployed: Deployed, inputs: Tensor, target: Tensor, batch_size: int, meter: Meter
) -> dict[str, Any]:
    """Measure one pass with the meter, then one with only the clock."""
    meter.start()
    logits = deployed.logits(inputs, batch_size)
    reading = meter.stop()
    start = time.perf_counter()
    deployed.logits(inputs, batch_size)
    latency_s = time.perf_counter() - start
    hits = (logits > 0) == (target.numpy() > 0.5)
    return {
        "batch_size": batch_size,
        "windows": len(target),
        "correct": int(hits.sum()),
        "accuracy": float(hits.mean()),
        "latency_ms": 1000 * latency_s / len(target),
        **energy_columns(reading, len(target)),
    }
