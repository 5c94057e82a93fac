"""From the published benchmark to the randomised blocks: what each condition does to the int8 saving."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sustainable.reporting.measured_rows import BASELINE, TWIN, by_block
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import Ratio, student_ratio, summarise_values

STEPS = {
    "published": "as published",
    "step_order": "random order",
    "step_loader": "no loader, no progress bar",
    "step_batch": "batch",
    "step_threads": "one thread",
    "step_allocator": "allocator keeps memory",
    "step_windows": "long, warm windows",
}
"""The benchmarks, each with one more condition replaced, and what it replaces."""
INT8 = "manual_quantization"


@dataclass(frozen=True)
class Step:
    """The latency of the int8 model under one set of conditions."""

    changed: str
    batch_size: int
    threads: int
    baseline_ms: float | None
    int8: Ratio | None  # to the baseline
    twin: Ratio | None  # the A/A control


def summarise_steps(rows: Mapping[str, pd.DataFrame], parameters: ReportParameters) -> list[Step]:
    """Summarise each step's rows."""
    return [_step(STEPS[name], rows[name], parameters) for name in STEPS]


def _step(changed: str, rows: pd.DataFrame, parameters: ReportParameters) -> Step:
    base, int8, twin = (by_block(rows, key)["latency_ms"] for key in (BASELINE, INT8, TWIN))
    first: Any = rows[rows["configuration"] == BASELINE].iloc[0]
    return Step(
        changed=changed,
        batch_size=int(first["batch_size"]),
        threads=int(first["threads"]),
        baseline_ms=summarise_values(base).mean,
        int8=student_ratio(int8, base, parameters.confidence),
        twin=student_ratio(twin, base, parameters.confidence),
    )
