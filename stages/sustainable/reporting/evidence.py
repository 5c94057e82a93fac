"""The provenance that a page prints: a hash of every file that the report reads, and the run's duration."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sustainable.core.hashing import file_sha256
from sustainable.reporting.policies.run import PoliciesRun
from sustainable.reporting.forecasting.run import Run

FOLDERS = ("benchmark", "metrics", "policies", "search", "training")
UNREAD = ("metrics/benchmark.json", "metrics/headline.json", "benchmark/published.conditions.json")
"""Files in these folders that the report does not read: its own summary, and what no page shows."""


def rows_sha256(folder: Path) -> str:
    """Hash the names and SHA-256 of all rows, tables and metrics that the report reads in `folder`.

    The paper prints the hash, so that it identifies the rows from which it was rendered.
    """
    found = (path for part in FOLDERS for path in (folder / part).rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    read = [name for name in names if name not in UNREAD and name.endswith((".csv", ".json"))]
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in read]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def minutes_of(run: Run, policies_run: PoliciesRun) -> dict[str, float]:
    """Return the minutes that each part of a run took.

    Training and search count as metered, with parallel sessions added up. Measuring counts the windows only,
    without warm-up and separately timed calls.
    """
    parts: dict[str, Any] = {"training, as published": run.metrics["training_cost"]}
    for name, task in run.tasks.items():
        parts |= {
            f"training, {name}": task.metrics["training_cost"],
            f"pruning and fine-tuning, {name}": task.metrics["shrinking_cost"],
            f"candidates, {name}": task.metrics["candidates_cost"],
            f"windows, {name}": task.rows,
            f"fresh seeds, {name}": task.metrics["confirmation_cost"],
        }
    parts |= {
        "training policies": policies_run.costs["training"],
        "compressing policies": policies_run.costs["compress"],
        "windows, remeasured": run.rows["remeasured"],
        "windows of policies": policies_run.rows,
        "windows of doses": policies_run.workload,
    }
    return {name: float(np.sum(part["wall_time_s"])) / 60 for name, part in parts.items()}
