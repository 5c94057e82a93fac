"""What a page rests on: one hash of everything that the report reads of a run, and what the run took."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.hashing import file_sha256
from sustainable.reporting.policies.run import PoliciesRun
from sustainable.reporting.forecasting.run import Run

FOLDERS = ("benchmark", "metrics", "policies", "search", "training")
UNREAD = ("metrics/benchmark.json", "benchmark/published.conditions.json", "training/audited/history.csv")
"""What lies there and is not read: the report's own summary, and what no page shows."""


def rows_sha256(folder: Path) -> str:
    """SHA-256 over the names and hashes of all rows, tables and metrics that the report reads of a run in
    `folder`: printed in the paper, so that it tells which rows it was rendered from."""
    hashed = hashlib.sha256()
    for name in read_files(folder):
        hashed.update(f"{file_sha256(folder / name)}  {name}\n".encode())
    return hashed.hexdigest()


def read_files(folder: Path) -> list[str]:
    """The files that the report reads of a run, by path in its folder."""
    found = (path for part in FOLDERS for path in (folder / part).rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in found)
    return sorted(name for name in names if name not in UNREAD and name.endswith((".csv", ".json")))


def minutes_of(run: Run, policies_run: PoliciesRun) -> dict[str, float]:
    """Minutes that the parts of a run took: of trainings and searches as they were metered, sittings that ran
    side by side added up; of measuring the windows alone, without warm-up and what is timed apart."""
    published, audited = run.metrics["published"], run.metrics["audited"]
    metered: Mapping[str, Any] = {
        "training, as published": published["training_cost"],
        "training, audited": audited["training_cost"],
        "pruning and fine-tuning": audited["shrinking_cost"],
        "candidates": audited["candidates_cost"],
        "training policies": policies_run.costs["training"],
        "compressing policies": policies_run.costs["compress"],
    }
    windows: Mapping[str, pd.DataFrame] = {
        "windows, remeasured": run.rows["remeasured"],
        "windows, audited": run.rows["audited"],
        "windows of policies": policies_run.rows,
        "windows of doses": policies_run.workload,
    }
    seconds = {name: float(cost["wall_time_s"]) for name, cost in metered.items()}
    seconds |= {name: float(rows["wall_time_s"].sum()) for name, rows in windows.items()}
    return {name: found / 60 for name, found in seconds.items()}
