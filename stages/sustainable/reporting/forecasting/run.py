"""The files of study A's run, read from one folder and checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.documents import METRICS, AuditedConditions, BestAction, CandidateConditions, Choices
from sustainable.core.documents import PUBLISHED_ACTIONS, Conditions, Cost
from sustainable.core.files import read_json, read_rows
from sustainable.core.reading import damaged
from sustainable.core.schema import Column, Table
from sustainable.reporting.forecasting.conditions import STEPS
from sustainable.reporting.forecasting.searching import OURS, RANKED
from sustainable.reporting.forecasting.results import COUNTS, ROW_COLUMNS
from sustainable.reporting.measured_rows import IDLE

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
OF_A_MODEL = ("name", "runtime", "precision", "weights_sha256", *COUNTS, "cpu_time_ms", "latency_ms")
ENERGIES = ("cpu_j", "ram_j", "energy_mwh", "cpu_evidence", "ram_evidence")
MEASURED = Table(
    ROW_COLUMNS,
    empty=(*OF_A_MODEL, *ENERGIES, "note"),
    filled=OF_A_MODEL,
    where=lambda rows: rows["configuration"] != IDLE,
)
SCORES_OF_A_CANDIDATE = ("parameters", "size_bytes", "sparsity", "proxy_flops", "proxy_parameters",
                         "validation_accuracy")  # fmt: skip
CANDIDATES = Table(
    CANDIDATE_COLUMNS,
    empty=(*SCORES_OF_A_CANDIDATE, "refused"),
    filled=SCORES_OF_A_CANDIDATE,
    where=lambda rows: rows["refused"].isna(),
)
HITS = Table(HIT_COLUMNS, key=HIT_COLUMNS[:2], others=Column("integer", "a correct forecast", low=0, high=1))
HISTORY = Table(HISTORY_COLUMNS, key=("seed", "epoch"))
ACTIONS = Table(ACTION_COLUMNS, key=("action",))
CURVE = Table(("step", "mean_reward"), key=("step",))
DISCOVERY = Table(("seed", "action", "step", "updates"), key=("seed",))
SEARCHES = Table(SEARCH_COLUMNS, key=("searcher", "seed"))
PLANS = Table(PLAN_COLUMNS, key=PLAN_COLUMNS[:4])
REPAIRS = Table(REPAIR_COLUMNS, key=("variant", "seed"))
NARROW = Table(NARROW_COLUMNS, key=("method", "width_0", "width_1", "seed"))
IMPROVEMENTS = Table(IMPROVEMENT_COLUMNS, key=("searcher", "seed", "evaluation"), empty=("test_reward",))


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
        rows={name: read_rows(measured / f"{name}.csv", MEASURED) for name in BENCHMARKS},
        hits={name: read_rows(measured / f"{name}.hits.csv", HITS) for name in JUDGED},
        conditions={name: read_json(measured / f"{name}.conditions.json", Conditions) for name in BENCHMARKS},
        metrics=_metrics(folder / "metrics/published", (*PREPARED, "search_cost")),
        history=read_rows(folder / "training/published/history.csv", HISTORY),
        actions=read_actions(searched / "published/actions.csv"),
        curve=read_rows(searched / "published/curve.csv", CURVE),
        best=read_json(searched / "published/best_action.json", BestAction),
        discovery=read_rows(searched / "published/discovery.csv", DISCOVERY),
        searches=read_rows(searched / "layerwise/searches.csv", SEARCHES),
        plans=read_rows(searched / "layerwise/plans.csv", PLANS),
        repairs=read_rows(searched / "weather/repairs.csv", REPAIRS),
        tasks={task: read_task(folder, task) for task in tasks},
    )


def read_task(folder: Path, task: str) -> TaskRun:
    """Read the files of one audited task. Raises `UserError` for the first that is missing or malformed."""
    measured, searched = folder / "benchmark", folder / "search" / task
    timed = read_json(searched / "candidates.conditions.json", CandidateConditions)
    metrics = _metrics(folder / "metrics" / task, TASK_METRICS)
    improvements, choices = read_searches(searched, metrics["searchers_cost"])
    return TaskRun(
        rows=read_rows(measured / f"{task}.csv", MEASURED),
        hits=read_rows(measured / f"{task}.hits.csv", HITS),
        conditions=read_json(measured / f"{task}.conditions.json", AuditedConditions),
        metrics=metrics,
        narrow=read_rows(folder / "training" / task / "narrow.csv", NARROW),
        candidates=accepted(read_rows(searched / "candidates.csv", CANDIDATES)),
        refused=timed["refused"],
        candidates_host=timed["host"],
        improvements=improvements,
        choices=choices,
    )


def _metrics(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    return {name: read_json(folder / f"{name}.json", METRICS.get(name, Cost)) for name in names}


def read_actions(path: Path) -> pd.DataFrame:
    """Read the evaluated actions; raises `UserError` unless each is there once."""
    actions = read_rows(path, ACTIONS)
    if missing := sorted(set(range(PUBLISHED_ACTIONS)) - set(actions["action"])):
        raise damaged(path, f"action {missing[0]} has no row")
    return actions


def read_searches(folder: Path, costs: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what the searchers of a task improved and chose. Raises `UserError` if the two files, or the
    costs by searcher, do not fit together."""
    path = folder / "improvements.csv"
    improvements, choices = read_rows(path, IMPROVEMENTS), read_json(folder / "choices.json", Choices)
    budget = max(choices["budgets"].values())
    if choices["main_budget"] not in choices["budgets"].values():
        raise damaged(folder / "choices.json", "main_budget is none of the budgets")
    if choices["space"]["best_test_reward"] is not None and improvements["test_reward"].isna().any():
        raise damaged(path, "test_reward is missing, but choices.json has best_test_reward")
    searched = set(improvements["searcher"])
    for name in sorted(searched - (choices["groups"].keys() & costs.keys())):
        raise damaged(path, f"searcher {name!r} is not in choices.json (groups) and searchers_cost.json")
    ranked = {name for name, group in choices["groups"].items() if group == RANKED}
    if OURS not in ranked & searched & choices["choices"].keys():
        raise damaged(folder / "choices.json", f"{OURS} is not a {RANKED} searcher with a choice")
    seeds = {str(name): set(own["seed"]) for name, own in improvements.groupby("searcher")}
    for name in sorted(searched):
        if len(seeds[name]) > len(seeds[OURS]) or (name in ranked and seeds[name] != seeds[OURS]):
            raise damaged(path, f"searcher {name!r} has other seeds than {OURS}")
    for (name, seed), own in improvements.groupby(["searcher", "seed"], sort=False):
        first = own["evaluation"].iloc[0]
        is_rising = own["evaluation"].is_monotonic_increasing and own["reward"].is_monotonic_increasing
        if first != 1 or not is_rising or own["evaluation"].iloc[-1] > budget:
            raise damaged(path, f"searcher {name!r}, seed {seed}: evaluations or rewards do not rise from 1")
    return improvements, choices


def accepted(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the measured candidates: those that were not refused."""
    return candidates[candidates["refused"].isna()].reset_index(drop=True)
