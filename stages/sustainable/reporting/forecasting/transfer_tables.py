"""The tables of study A's candidates on several hosts."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import pandas as pd

from sustainable.forecasting.search.objective import DeploymentReward
from sustainable.reporting import formats
from sustainable.reporting.forecasting.ceilings import Reached, highest_rates, target_reach, valid_ceilings
from sustainable.reporting.forecasting.transfer import Deployment, of_same_networks, target_costs, transfers
from sustainable.reporting.tables import NOT_AVAILABLE, Column, ReportTable, Row, rows_of

THIS_RUN = "this run"
ESTIMATES = (
    "Estimates: a table times every candidate for a few short windows. All hosts timed networks with equal "
    "weights. CPU time is read from the clock."
)


def transfer_tables(
    task: str,
    candidates: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    reward: DeploymentReward,
    sizes: Sequence[int],
    ceilings: Mapping[str, float] | None = None,
) -> list[ReportTable]:
    """Declare what a choice is worth elsewhere, and what each target costs and reaches; `others` by host.

    Hosts that timed other networks are left out. `ceilings`: FLOP/s by precision that this run measured.
    """
    tables = {THIS_RUN: candidates, **of_same_networks(candidates, others, sizes)}
    return [
        _transfer_table(task, tables, reward, sizes),
        _targets_table(task, tables, sizes),
        _ceilings_table(task, tables, sizes, ceilings or {}),
    ]


def _transfer_table(
    task: str, tables: Mapping[str, pd.DataFrame], reward: DeploymentReward, sizes: Sequence[int]
) -> ReportTable:
    ratio = partial(Column, format=formats.THREE_DIGITS, group="CPU time to eager fp32 there", align="r")
    columns = (
        Column("Batch", of=attrgetter("batch_size")),
        Column("Chosen on", of=attrgetter("chosen_on")),
        Column("Measured on", of=attrgetter("measured_on")),
        Column("Deployment", format=_deployment, of=attrgetter("deployment")),
        Column("Preferred there", format=_deployment, of=attrgetter("preferred")),
        ratio("the choice", of=attrgetter("ratio")),
        ratio("preferred", of=attrgetter("preferred_ratio")),
        Column("Kept (log)", format=formats.percent, align="r", of=attrgetter("kept")),
        Column("Regret (nats)", format=formats.TWO_DIGITS, align="r", of=attrgetter("regret")),
    )
    caption = (
        f"A choice that is made on a host, deployed on another ({task}): the deployment that the reward "
        "prefers in the table of the former, among those that both timed, beside what it prefers on the "
        f"latter. Kept: ratio of the logarithms of both CPU times. {ESTIMATES}"
    )
    rows = rows_of(transfers(tables, reward, sizes), columns)
    return ReportTable("transfer", caption, columns, rows or [Row([NOT_AVAILABLE])])


def _targets_table(task: str, tables: Mapping[str, pd.DataFrame], sizes: Sequence[int]) -> ReportTable:
    columns = (
        Column("Batch"),
        Column("Precision"),
        Column("Runtime"),
        *(Column(host, format=_spread) for host in tables),
    )
    caption = (
        f"Precisions and runtimes by host ({task}): CPU time of a network, divided by its own in eager fp32; "
        f"geometric mean over networks, with the range. {ESTIMATES}"
    )
    rows = [
        Row([cost.batch_size, cost.precision, cost.runtime, *_by_host(cost.ratios, tables)])
        for cost in target_costs(tables, sizes)
    ]
    return ReportTable("targets_hosts", caption, columns, rows)


def _ceilings_table(
    task: str, tables: Mapping[str, pd.DataFrame], sizes: Sequence[int], measured: Mapping[str, float]
) -> ReportTable:
    reach = target_reach(tables, sizes, {THIS_RUN: measured})
    known = valid_ceilings(highest_rates(tables[THIS_RUN], sizes), measured)
    columns = (
        Column("Precision"),
        Column("Runtime"),
        *(Column(host, format=_reached, align="r") for host in tables),
    )
    caption = (
        f"What hosts can compute ({task}): the top rate of operations of each precision and runtime, over "
        "networks and batch sizes, divided by the top rate in fp32 on that host; in brackets, its share of "
        "the ceiling of that host in its own precision. A precision pays on a CPU if its top rate is above "
        f"that of fp32. Measured ceilings: {', '.join(known) or NOT_AVAILABLE}, of this run. The others are "
        "estimates: the top rate of any candidate there. A true ceiling may be above it, so these shares are "
        "upper bounds, and what sets an estimate has no share. CPU time is read from the clock."
    )
    rows = [Row([line.precision, line.runtime, *_by_host(line.by_host, tables)]) for line in reach]
    return ReportTable("ceilings_hosts", caption, columns, rows)


def _by_host(values: Mapping[str, Any], hosts: Iterable[str]) -> list[Any]:
    return [values.get(host, NOT_AVAILABLE) for host in hosts]


def _deployment(deployment: Deployment) -> str:
    width_0, width_1, precision, runtime = deployment
    return f"{width_0}x{width_1} {precision}, {runtime}"


def _reached(reached: Reached) -> str:
    share = "estimate" if reached.of_ceiling is None else formats.percent(reached.of_ceiling)
    return f"{reached.to_fp32:.2f} ({share})"


def _spread(values: tuple[float, float, float]) -> str:
    mean, least, most = values
    return f"{mean:.2f} ({least:.2f} to {most:.2f})"
