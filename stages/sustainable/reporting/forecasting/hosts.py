"""Claims about study A's tasks, judged on the rows that other hosts measured.

C1, C2 and C5 need a host's benchmark, whose deployments were chosen from its own table of candidates. C4
needs that table, and C3 what the searchers found on it (stage compare_searchers). This run is judged again on
the same part: the tasks that a host measured and, for C4, the deployments that both tables have.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.documents import METRICS, AuditedConditions
from sustainable.core.files import read_json, read_rows
from sustainable.reporting.claims import DECLARATIONS, judge_claim
from sustainable.reporting.declaration import Analysis
from sustainable.reporting.forecasting.audited import (
    Ranking,
    peak_rates,
    summarise_audited,
    summarise_ranking,
)
from sustainable.reporting.forecasting.run import HITS, MEASURED, read_searches
from sustainable.reporting.forecasting.searching import Searching, summarise_searches
from sustainable.reporting.forecasting.task import AuditedTask, is_fresh
from sustainable.reporting.forecasting.transfer import candidates_on, of_same_networks, searched
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.over_hosts import Twice
from sustainable.reporting.parameters import ReportParameters

SEARCHED, TIMED = "C3", "C4"
BENCHMARKED = ("C1", "C2", "C5")
Pair = tuple[AuditedTask, AuditedTask]
"""A task with the summary of another host's rows in place of this run's, and with this run's of that part."""


@dataclass(frozen=True)
class Folders:
    """Where rows lie: this run's folder `data`, and that of other hosts' tables."""

    data: Path
    hosts: Path


def judge_tables(
    folders: Folders, analysis: Analysis, statements: Mapping[str, str]
) -> dict[str, dict[str, Twice]]:
    """Return the claims by host and id, as far as the host timed networks of this run.

    Raises `UserError` if a table is malformed.
    """
    pairs: dict[str, dict[str, list[Pair]]] = {}
    for task in analysis.tasks.values():
        tables = candidates_on(folders.hosts, task.name)
        same = of_same_networks(task.run.candidates, tables, task.audited.batch_sizes)
        for host, (there, here) in rankings(task, same, analysis.parameters).items():
            own = pairs.setdefault(host, {})
            own.setdefault(TIMED, []).append((replace(task, ranking=there), replace(task, ranking=here)))
            if found := searches_on(folders.data, f"{task.name}-{host}", analysis.parameters):
                own.setdefault(SEARCHED, []).append((replace(task, searching=found), task))
        for host, measured in benchmarks(folders.hosts, task, analysis.parameters).items():
            for name in BENCHMARKED:
                pairs.setdefault(host, {}).setdefault(name, []).append((measured, task))
    return {
        host: {name: _judge(name, both, analysis, statements) for name, both in by_claim.items()}
        for host, by_claim in pairs.items()
    }


def rankings(
    task: AuditedTask, tables: Mapping[str, pd.DataFrame], parameters: ReportParameters
) -> dict[str, tuple[Ranking, Ranking]]:
    """Summarise each host's table and this run's, over the deployments that both measured."""

    def ranking(rows: pd.DataFrame, deployments: pd.Index) -> Ranking:
        return summarise_ranking(rows.loc[deployments].reset_index(), task.audited.batch_sizes, parameters)

    here, known = searched(task.run.candidates), dict[tuple[Any, ...], Ranking]()
    found = {}
    for host, table in tables.items():
        there = searched(table)
        shared = here.index.intersection(there.index)
        if tuple(shared) not in known:  # several hosts often measured the same part
            known[tuple(shared)] = ranking(here, shared)
        found[host] = ranking(there, shared), known[tuple(shared)]
    return found


def benchmarks(hosts: Path, task: AuditedTask, parameters: ReportParameters) -> dict[str, AuditedTask]:
    """Return the task as other hosts measured it, by host; without those whose baselines are other networks.

    Raises `UserError` if a file is malformed.
    """
    found = {}
    for path in sorted(hosts.glob(f"*/{task.name}.csv")):
        rows, hits = read_rows(path, MEASURED), read_rows(path.with_suffix(".hits.csv"), HITS)
        conditions = read_json(path.with_suffix(".conditions.json"), AuditedConditions)
        if baselines(rows) == baselines(task.run.rows):
            peaks = peak_rates(conditions["frozen"]["roofline"])
            audited = summarise_audited(rows, hits, peaks, parameters)
            found[path.parent.name] = replace(task, audited=audited, fresh=is_fresh(hits, task.run.metrics))
    return found


def baselines(rows: pd.DataFrame) -> dict[Any, str]:
    """The hash of the uncompressed network's weights by training seed."""
    models = rows[rows["configuration"] == BASELINE].drop_duplicates(["training_seed", "weights_sha256"])
    return dict(zip(models["training_seed"], models["weights_sha256"], strict=True))


def searches_on(data: Path, name: str, parameters: ReportParameters) -> Searching | None:
    """Summarise the searches on a host's table; None if this run has not searched it."""
    folder, metrics = data / "search" / name, data / "metrics" / name
    if not folder.is_dir():
        return None
    costs = read_json(metrics / "searchers_cost.json", METRICS["searchers_cost"])
    return summarise_searches(*read_searches(folder, costs), costs, parameters)


def _judge(name: str, pairs: Iterable[Pair], analysis: Analysis, statements: Mapping[str, str]) -> Twice:
    """Judge a claim on the tasks of another host, and on this run's rows of the same tasks."""
    there, here = (
        judge_claim(
            DECLARATIONS[name], replace(analysis, tasks={task.name: task for task in tasks}), statements
        )
        for tasks in zip(*pairs, strict=True)
    )
    return there, here
