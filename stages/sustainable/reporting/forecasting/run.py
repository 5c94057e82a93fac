"""The files of study A's run, read from one folder and checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.files import read_json, read_rows
from sustainable.reporting.forecasting.conditions import STEPS
from sustainable.reporting.forecasting.results import ROW_COLUMNS

WAYS = ("published", "remeasured")
JUDGED = (*WAYS, "layerwise")
BENCHMARKS = (*STEPS, *JUDGED[1:])
PAID_TERMS = ("accuracy", "flops", "parameters", "inaction")
REWARD_TERMS = (*PAID_TERMS, "error")
HISTORY_COLUMNS = ("seed", "epoch", "train_loss", "validation_loss")
ACTION_COLUMNS = (
    "action", "name", "reward", *(f"reward_{term}" for term in REWARD_TERMS), "pruning", "quantization",
    "parameters", "weights_sha256", "proxy_parameters", "proxy_flops",
)  # fmt: skip
CANDIDATE_COLUMNS = (
    "family", "width_0", "width_1", "precision", "runtime", "flops", "parameters", "size_bytes", "sparsity",
    "proxy_flops", "proxy_parameters", "validation_accuracy", "refused",
)  # fmt: skip
NARROW_COLUMNS = ("method", "width_0", "width_1", "seed", "validation_loss_before", "validation_loss")
REPAIR_COLUMNS = ("variant", "seed", "names", "ties", "models", "test_accuracy_difference")
PLAN_COLUMNS = ("share_0", "share_1", "share_readout", "int8", "accuracy", "sparsity", "reward")
SEARCH_COLUMNS = (
    "searcher", "seed", "evaluations", "distinct", "tied", *PLAN_COLUMNS, "test_accuracy_difference",
)  # fmt: skip
HIT_COLUMNS = ("training_seed", "first_day", "baseline")
IMPROVEMENT_COLUMNS = ("searcher", "seed", "evaluation", "reward", "distinct", "tie", "test_reward")


PREPARED = ("preprocess", "baseline", "training_cost")
TASK_METRICS = (
    *PREPARED, "shrinking_cost", "candidates_cost", "searchers_cost", "confirmed", "confirmation_cost",
)  # fmt: skip


@dataclass(frozen=True)
class TaskRun:
    """The files of one audited task; `metrics` by name."""

    rows: pd.DataFrame
    hits: pd.DataFrame
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Any]
    narrow: pd.DataFrame
    candidates: pd.DataFrame
    refused: Mapping[str, str]
    candidates_host: Mapping[str, Any]  # the host that timed the candidates
    improvements: pd.DataFrame
    choices: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """The files of a run: those of the published protocol with its `metrics` by name, and of the tasks."""

    rows: Mapping[str, pd.DataFrame]  # by benchmark, as are the next two
    hits: Mapping[str, pd.DataFrame]
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: pd.DataFrame
    actions: pd.DataFrame
    curve: pd.DataFrame
    best: Mapping[str, Any]
    discovery: pd.DataFrame
    searches: pd.DataFrame
    plans: pd.DataFrame
    repairs: pd.DataFrame
    tasks: Mapping[str, TaskRun]


def read_run(folder: Path, tasks: Iterable[str]) -> Run:
    """Read a run. Raises `UserError` for the first file that is missing or malformed."""
    measured, searched = folder / "benchmark", folder / "search"
    return Run(
        rows={name: read_rows(measured / f"{name}.csv", ROW_COLUMNS) for name in BENCHMARKS},
        hits={name: read_rows(measured / f"{name}.hits.csv", HIT_COLUMNS) for name in JUDGED},
        conditions={name: read_json(measured / f"{name}.conditions.json") for name in BENCHMARKS},
        metrics=_metrics(folder / "metrics/published", (*PREPARED, "search_cost")),
        history=read_rows(folder / "training/published/history.csv", HISTORY_COLUMNS),
        actions=read_rows(searched / "published/actions.csv", ACTION_COLUMNS),
        curve=read_rows(searched / "published/curve.csv", ("step", "mean_reward")),
        best=read_json(searched / "published/best_action.json"),
        discovery=read_rows(searched / "published/discovery.csv", ("seed", "action", "step", "updates")),
        searches=read_rows(searched / "layerwise/searches.csv", SEARCH_COLUMNS),
        plans=read_rows(searched / "layerwise/plans.csv", PLAN_COLUMNS),
        repairs=read_rows(searched / "weather/repairs.csv", REPAIR_COLUMNS),
        tasks={task: read_task(folder, task) for task in tasks},
    )


def read_task(folder: Path, task: str) -> TaskRun:
    """Read the files of one audited task. Raises `UserError` for the first that is missing or malformed."""
    measured, searched = folder / "benchmark", folder / "search" / task
    timed = read_json(searched / "candidates.conditions.json")
    return TaskRun(
        rows=read_rows(measured / f"{task}.csv", ROW_COLUMNS),
        hits=read_rows(measured / f"{task}.hits.csv", HIT_COLUMNS),
        conditions=read_json(measured / f"{task}.conditions.json"),
        metrics=_metrics(folder / "metrics" / task, TASK_METRICS),
        narrow=read_rows(folder / "training" / task / "narrow.csv", NARROW_COLUMNS),
        candidates=accepted(read_rows(searched / "candidates.csv", CANDIDATE_COLUMNS)),
        refused=timed["refused"],
        candidates_host=timed["host"],
        improvements=read_rows(searched / "improvements.csv", IMPROVEMENT_COLUMNS),
        choices=read_json(searched / "choices.json"),
    )


def _metrics(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    return {name: read_json(folder / f"{name}.json") for name in names}


def accepted(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the measured candidates: those that were not refused."""
    return candidates[candidates["refused"].isna()].reset_index(drop=True)
