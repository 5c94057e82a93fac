"""The files of study B's run, read from one folder and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.documents import Cost, PolicyCell, PolicyConditions
from sustainable.core.files import read_json, read_rows
from sustainable.core.schema import Table
from sustainable.reporting.measured_rows import AGAIN, IDLE, check_blocks
from sustainable.reporting.policies.notebook import NotebookRun, read_notebook

RETURN_COLUMNS = (
    "environment", "algorithm", "seed", "variant", "method", "norm", "share", "size_bytes", "episode",
    "episode_return", "steps", "terminated", "return_known",
)  # fmt: skip
LEARNING_COLUMNS = ("environment", "algorithm", "seed", "step", "episode_return", "episode_length")
WINDOW_COLUMNS = (
    "profile", "environment", "algorithm", "training_seed", "configuration", "method", "norm", "share",
    "runtime", "weights_sha256", "size_bytes", "block", "position", "threads", "episodes", "steps",
    "return_mean", "wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "gpu_j", "cpu_evidence", "ram_evidence",
    "gpu_evidence", "meter", "note", "cpu_time_per_step_us", "policy_us", "environment_us", "remainder_us",
    "flags",
)  # fmt: skip
MEMORY_COLUMNS = (
    "network", "environment", "algorithm", "configuration", "method", "norm", "share", "runtime", "repeat",
    "policy_rss_bytes", "process_rss_bytes", "weights_bytes_disk", "weights_bytes_memory",
)  # fmt: skip
OF_A_POLICY = (
    "method", "share", "runtime", "weights_sha256", "size_bytes", "return_mean", "cpu_time_per_step_us",
    "policy_us", "environment_us", "remainder_us",
)  # fmt: skip
ENERGIES = ("cpu_j", "ram_j", "gpu_j", "cpu_evidence", "ram_evidence", "gpu_evidence")
WINDOWS = Table(
    WINDOW_COLUMNS,
    empty=(*OF_A_POLICY, *ENERGIES, "norm", "note", "flags"),
    filled=OF_A_POLICY,
    where=lambda rows: rows["configuration"] != IDLE,
)
DOSES = replace(WINDOWS, needed=(*WINDOW_COLUMNS, "dose_us"), empty=(*WINDOWS.empty, "dose_us"))
RETURNS = Table(
    RETURN_COLUMNS,
    empty=("norm",),
    key=("environment", "algorithm", "seed", "variant", "method", "norm", "share", "episode"),
)
LEARNING = Table(LEARNING_COLUMNS, key=("environment", "algorithm", "seed", "step"))
MEMORY = Table(MEMORY_COLUMNS, empty=("norm",))
CELL = ["environment", "algorithm"]
POLICY, LARGE = "policy", "large"  # the networks whose memory was read
NO_METHOD = "none"  # the method of an uncompressed policy


@dataclass(frozen=True)
class PoliciesRun:
    """The files of study B; `table` has one entry per cell (environment and algorithm)."""

    returns: pd.DataFrame
    learning: pd.DataFrame
    table: Sequence[Mapping[str, Any]]
    rows: pd.DataFrame
    workload: pd.DataFrame
    memory: pd.DataFrame
    notebook: NotebookRun
    conditions: Mapping[str, Any]
    costs: Mapping[str, Mapping[str, Any]]


def read_policies_run(folder: Path) -> PoliciesRun:
    """Read study B. Raises `UserError` for the first file that is missing or malformed."""
    learned, measured, metrics = folder / "policies", folder / "benchmark", folder / "metrics/policies"
    rows, workload = read_windows(measured)
    return PoliciesRun(
        returns=read_rows(learned / "returns.csv", RETURNS),
        learning=read_rows(learned / "learning.csv", LEARNING),
        table=checked_table(read_json(learned / "table.json", list[PolicyCell]), rows),
        rows=rows,
        workload=workload,
        memory=read_rows(measured / "memory.csv", MEMORY),
        notebook=read_notebook(measured),
        conditions=read_json(measured / "policies.conditions.json", PolicyConditions),
        costs={name: read_json(metrics / f"{name}_cost.json", Cost) for name in ("training", "compress")},
    )


def read_windows(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the windows of acting policies, and those at several doses. Raises `UserError` if malformed."""
    rows = read_rows(folder / "policies.csv", WINDOWS)
    workload = read_rows(folder / "workload.csv", DOSES)
    check_blocks(_design(rows, CELL), "policies.csv", CELL)
    doses = [*CELL, "dose_us"]
    check_blocks(_design(workload, doses), "workload.csv", doses)
    for windows, name in ((rows, "policies.csv"), (workload, "workload.csv")):
        check_nodes(windows, name)
    return rows, workload


def check_nodes(windows: pd.DataFrame, name: str) -> None:
    """Raise `UserError` unless all windows of an environment and algorithm were measured on one node.

    Ratios are formed within blocks, and energies are compared with the idle windows of the same cell: on one
    node, its speed and its idle power cancel. Rows without a column `node` are of one host.
    """
    if "node" not in windows:
        return
    nodes = windows.groupby(CELL)["node"].nunique(dropna=False)
    wrong = nodes[nodes > 1]
    if len(wrong):
        environment, algorithm = wrong.index[0]
        where, count = f"{name}: {environment} {algorithm}", wrong.iloc[0]
        raise UserError(f"{where} was measured on {count} nodes, not on one; {AGAIN}")


def _design(windows: pd.DataFrame, within: Sequence[str]) -> pd.DataFrame:
    """Return what `check_blocks` reads of the windows in which a policy acted."""
    return windows.loc[windows["configuration"] != IDLE, [*within, "block", "configuration"]]


def checked_table(table: Any, rows: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    """Check that the table of policies has every measured cell."""
    models = rows.loc[rows["configuration"] != IDLE, CELL].drop_duplicates()
    measured = sorted(models.itertuples(index=False, name=None))
    missing = [" ".join(map(str, cell)) for cell in measured if cell not in by_cell(table)]
    if missing:
        raise UserError(f"policies/table.json: {missing[0]} is missing; run `dvc repro` again")
    return list(table)


def by_cell(table: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the entries of the table by environment and algorithm."""
    return {(entry["environment"], entry["algorithm"]): entry for entry in table}


def learned_seeds(entry: Mapping[str, Any]) -> list[int]:
    """Return the training seeds of a cell whose policies have learned.

    Without a reference return that cannot be judged, and the seed does not count as learned.
    """
    return [int(policy["seed"]) for policy in entry["policies"] if policy["learned"] is True]
