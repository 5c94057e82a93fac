"""What study B has left of a run, read from one folder and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows
from sustainable.reporting.forecasting.results import BASELINE, IDLE, TWIN
from sustainable.reporting.forecasting.run import read_published

RETURNS = (
    "environment", "algorithm", "seed", "variant", "method", "norm", "share", "size_bytes", "episode",
    "episode_return", "steps", "terminated", "return_known",
)  # fmt: skip
LEARNING = ("environment", "algorithm", "seed", "step", "episode_return", "episode_length")
WINDOWS = (
    "profile", "environment", "algorithm", "training_seed", "configuration", "method", "norm", "share",
    "runtime", "weights_sha256", "size_bytes", "block", "position", "threads", "episodes", "steps",
    "return_mean", "wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "gpu_j", "cpu_evidence", "ram_evidence",
    "gpu_evidence", "meter", "note", "cpu_time_per_step_us", "policy_us", "environment_us", "remainder_us",
    "flags",
)  # fmt: skip
MEMORY = (
    "environment", "algorithm", "configuration", "method", "norm", "share", "runtime", "repeat",
    "policy_rss_bytes", "process_rss_bytes", "weights_bytes_disk", "weights_bytes_memory",
)  # fmt: skip
TRAINED = (
    "environment", "algorithm", "seeds", "total_steps", "reference_return", "reference_source",
    "random_return", "policies",
)  # fmt: skip
PUBLISHED = ("claims", "best_quantizer_share", "pruning_survival")
CELL = ["environment", "algorithm"]


@dataclass(frozen=True)
class PoliciesRun:
    """The files of study B by what they are; `table` has an entry a cell (environment and algorithm)."""

    returns: pd.DataFrame
    learning: pd.DataFrame
    table: Sequence[Mapping[str, Any]]
    rows: pd.DataFrame
    workload: pd.DataFrame
    memory: pd.DataFrame
    conditions: Mapping[str, Any]
    costs: Mapping[str, Mapping[str, Any]]


def read_policies_run(folder: Path) -> PoliciesRun:
    """Read study B; raises `UserError` for the first file that is missing or not what it should be."""
    learned, measured, metrics = folder / "policies", folder / "benchmark", folder / "metrics/policies"
    rows = read_rows(measured / "policies.csv", WINDOWS)
    workload = read_rows(measured / "workload.csv", (*WINDOWS, "dose_us"))
    check_cells(rows, CELL, "policies.csv")
    check_cells(workload, [*CELL, "dose_us"], "workload.csv")
    return PoliciesRun(
        returns=read_rows(learned / "returns.csv", RETURNS),
        learning=read_rows(learned / "learning.csv", LEARNING),
        table=checked_table(read_json(learned / "table.json"), rows),
        rows=rows,
        workload=workload,
        memory=read_rows(measured / "memory.csv", MEMORY),
        conditions=read_json(measured / "policies.conditions.json"),
        costs={name: read_json(metrics / f"{name}_cost.json") for name in ("training", "compress")},
    )


def checked_table(table: Any, rows: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    """The table of policies, with every key that is used and every cell that was measured."""
    for entry in table:
        missing = [name for name in TRAINED if name not in entry]
        if missing:
            raise UserError(f"policies/table.json: {missing[0]!r} is missing; run `dvc repro` again")
    known = {(entry["environment"], entry["algorithm"]) for entry in table}
    for cell, _ in rows[rows["configuration"] != IDLE].groupby(CELL):
        if cell not in known:
            raise UserError(
                f"policies/table.json: {' '.join(map(str, cell))} is missing; run `dvc repro` again"
            )
    return list(table)


def learned_seeds(table: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """The training seeds whose policies have learned, by environment and algorithm. Without a reference
    return nobody can say, and it does not count as learned."""
    return {
        (str(entry["environment"]), str(entry["algorithm"])): [
            int(policy["seed"]) for policy in entry["policies"] if policy["learned"] is True
        ]
        for entry in table
    }


def check_cells(rows: pd.DataFrame, by: list[str], name: str) -> None:
    """Every configuration once in every block of a cell; else a `UserError` names what is not."""
    models = rows[rows["configuration"] != IDLE]
    for cell, own in models.groupby(by):
        counts = own.groupby(["block", "configuration"]).size().unstack(fill_value=0)
        for needed in (BASELINE, TWIN):
            if needed not in counts:
                raise UserError(
                    f"{name}: {' '.join(map(str, cell))}: configuration {needed!r} is missing; "
                    "run `dvc repro` again"
                )
        wrong = counts.stack()[lambda found: found != 1]
        if len(wrong):
            (block, key), count = wrong.index[0], int(wrong.iloc[0])
            raise UserError(
                f"{name}: {' '.join(map(str, cell))}: block {block}, configuration {key!r} stands {count} "
                "times, not once; delete the file and run `dvc repro` again"
            )


def read_published_policies(path: Path) -> dict[str, Any]:
    """The second source's numbers; raises `UserError` when the file is not what it should be."""
    return read_published(path, "study_b", PUBLISHED)
