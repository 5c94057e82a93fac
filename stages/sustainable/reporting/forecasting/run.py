"""The files of study A's run, read from one folder and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.files import read_json, read_rows
from sustainable.reporting.forecasting.conditions import STEPS
from sustainable.reporting.forecasting.results import ROW_COLUMNS

WAYS = ("published", "remeasured")
JUDGED = (*WAYS, "layerwise", "audited")
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
    "proxy_flops", "proxy_parameters", "validation_accuracy",
)  # fmt: skip
NARROW_COLUMNS = ("method", "width_0", "width_1", "seed", "validation_loss_before", "validation_loss")
REPAIR_COLUMNS = ("variant", "seed", "names", "ties", "models", "test_accuracy_difference")
PLAN_COLUMNS = ("share_0", "share_1", "share_readout", "int8", "accuracy", "sparsity", "reward")
SEARCH_COLUMNS = (
    "searcher", "seed", "evaluations", "distinct", "tied", *PLAN_COLUMNS, "test_accuracy_difference",
)  # fmt: skip
IMPROVEMENT_COLUMNS = ("searcher", "seed", "evaluation", "reward", "distinct", "tie", "test_reward")


@dataclass(frozen=True)
class Run:
    """The files of a run: `rows`, `hits` and `conditions` by benchmark, `metrics` by protocol and name."""

    rows: Mapping[str, pd.DataFrame]
    hits: Mapping[str, pd.DataFrame]
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    history: pd.DataFrame
    actions: pd.DataFrame
    curve: pd.DataFrame
    best: Mapping[str, Any]
    discovery: pd.DataFrame
    searches: pd.DataFrame
    plans: pd.DataFrame
    narrow: pd.DataFrame
    candidates: pd.DataFrame
    refused: Mapping[str, str]
    improvements: pd.DataFrame
    choices: Mapping[str, Any]
    repairs: pd.DataFrame


def read_run(folder: Path) -> Run:
    """Read a run. Raises `UserError` for the first file that is missing or malformed."""
    measured, searched = folder / "benchmark", folder / "search"
    hit_columns = ("training_seed", "first_day", "baseline")
    both = ("preprocess", "baseline", "training_cost")
    names = {
        "published": (*both, "search_cost"),
        "audited": (*both, "shrinking_cost", "candidates_cost", "searchers_cost"),
        "mnist1d": both,
    }
    return Run(
        rows={name: read_rows(measured / f"{name}.csv", ROW_COLUMNS) for name in BENCHMARKS},
        hits={name: read_rows(measured / f"{name}.hits.csv", hit_columns) for name in JUDGED},
        conditions={name: read_json(measured / f"{name}.conditions.json") for name in BENCHMARKS},
        metrics={
            protocol: {name: read_json(folder / "metrics" / protocol / f"{name}.json") for name in wanted}
            for protocol, wanted in names.items()
        },
        history=read_rows(folder / "training/published/history.csv", HISTORY_COLUMNS),
        actions=read_rows(searched / "published/actions.csv", ACTION_COLUMNS),
        curve=read_rows(searched / "published/curve.csv", ("step", "mean_reward")),
        best=read_json(searched / "published/best_action.json"),
        discovery=read_rows(searched / "published/discovery.csv", ("seed", "action", "step", "updates")),
        searches=read_rows(searched / "layerwise/searches.csv", SEARCH_COLUMNS),
        plans=read_rows(searched / "layerwise/plans.csv", PLAN_COLUMNS),
        narrow=read_rows(folder / "training/audited/narrow.csv", NARROW_COLUMNS),
        candidates=accepted(read_rows(searched / "candidates.csv", CANDIDATE_COLUMNS)),
        refused=read_json(searched / "candidates.conditions.json")["refused"],
        improvements=read_rows(searched / "improvements.csv", IMPROVEMENT_COLUMNS),
        choices=read_json(searched / "choices.json"),
        repairs=read_rows(searched / "repairs.csv", REPAIR_COLUMNS),
    )


def accepted(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the measured candidates; a table without refusals may lack the column."""
    if "refused" not in candidates.columns:
        return candidates
    return candidates[candidates["refused"].isna()].reset_index(drop=True)
