"""What a choice made on one host is worth on another: tables of the same networks, timed on several hosts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sustainable.core.files import read_rows
from sustainable.forecasting.search.objective import BASELINE, SEARCHED_FAMILIES, DeploymentReward
from sustainable.reporting.forecasting.run import CANDIDATES

NETWORK, TARGET = ["width_0", "width_1"], ["precision", "runtime"]
DEPLOYMENT = NETWORK + TARGET
Deployment = tuple[int, int, str, str]  # hidden units of both layers, precision, runtime


@dataclass(frozen=True)
class Transfer:
    """What the reward prefers on one host, on another. An estimate: tables time a candidate briefly."""

    chosen_on: str
    measured_on: str
    batch_size: int
    deployment: Deployment
    preferred: Deployment  # by the reward, on the host that measures
    ratio: float  # CPU time of `deployment` to that of the eager baseline, on the host that measures
    preferred_ratio: float  # the same of `preferred`
    regret: float  # reward of `preferred` minus that of `deployment`, in nats

    @property
    def kept(self) -> float:
        """The share of the saving of `preferred` that the choice keeps, in logarithms."""
        return math.log(self.ratio) / math.log(self.preferred_ratio)


@dataclass(frozen=True)
class TargetCost:
    """CPU time of one precision and runtime, relative to eager fp32 of the same network, over networks."""

    precision: str
    runtime: str
    batch_size: int
    ratios: Mapping[str, tuple[float, float, float]]  # geometric mean, least, most; by host that measured it


def candidates_on(hosts: Path, task: str) -> dict[str, pd.DataFrame]:
    """Return the candidates of `task` that were timed on other hosts, by the host's folder in `hosts`."""
    files = sorted(hosts.glob(f"*/{task}.candidates.csv"))
    return {path.parent.name: read_rows(path, CANDIDATES) for path in files}


def of_same_networks(
    own: pd.DataFrame, others: Mapping[str, pd.DataFrame], sizes: Sequence[int]
) -> dict[str, pd.DataFrame]:
    """Return those tables that timed the networks of `own`, at its batch sizes.

    Only weights in fp32 are compared: int8 weights are packed as the CPU's kernels want them.
    """
    times = {f"cpu_time_ms_batch_{size}" for size in sizes}
    known = {host: table for host, table in others.items() if times <= set(table.columns)}
    return {host: table for host, table in known.items() if _weights(table) == _weights(own)}


def _weights(table: pd.DataFrame) -> dict[Any, str]:
    """The hash of every network's fp32 weights, by its widths, as the baseline's runtime has them."""
    rows = searched(table).xs(tuple(BASELINE), level=TARGET)
    return dict(zip(rows.index, rows["weights_sha256"], strict=True))


def transfers(
    tables: Mapping[str, pd.DataFrame], reward: DeploymentReward, sizes: Sequence[int]
) -> list[Transfer]:
    """Move what the reward prefers on a host to every other one, over the deployments that both measured.

    `tables`: candidates by host, of the same networks (see `of_same_networks`).
    """
    known = {host: searched(table) for host, table in tables.items()}
    found = []
    for size in sizes:
        for chosen_on, measured_on in permutations(known, 2):
            here, there = (known[host] for host in (chosen_on, measured_on))
            shared = here.index.intersection(there.index)
            own = replace(reward, batch_size=size)
            found.append(_transfer(chosen_on, measured_on, here.loc[shared], there.loc[shared], own))
    return found


def searched(table: pd.DataFrame) -> pd.DataFrame:
    """Return the accepted candidates of the search space, by deployment, without doubles."""
    rows = table[table["family"].isin(SEARCHED_FAMILIES)]
    if "refused" in rows:
        rows = rows[rows["refused"].isna()]
    return rows.set_index(DEPLOYMENT).sort_index()


def _transfer(
    chosen_on: str, measured_on: str, here: pd.DataFrame, there: pd.DataFrame, reward: DeploymentReward
) -> Transfer:
    chosen, preferred = (_named(rewards(table, reward).idxmax()) for table in (here, there))
    worth, time = rewards(there, reward), there[f"cpu_time_ms_batch_{reward.batch_size}"]
    full = time[_baseline(there)]
    return Transfer(
        chosen_on=chosen_on,
        measured_on=measured_on,
        batch_size=reward.batch_size,
        deployment=chosen,
        preferred=preferred,
        ratio=float(time[chosen] / full),
        preferred_ratio=float(time[preferred] / full),
        regret=float(worth[preferred] - worth[chosen]),
    )


def _named(key: Any) -> Deployment:
    """A deployment as plain numbers and text; pandas gives its own integers."""
    width_0, width_1, precision, runtime = key
    return int(width_0), int(width_1), str(precision), str(runtime)


def rewards(table: pd.DataFrame, reward: DeploymentReward) -> pd.Series:
    """Return the reward of each row of `searched`, on that host's own times and accuracies."""
    time, accuracy = table[f"cpu_time_ms_batch_{reward.batch_size}"], table["validation_accuracy"]
    full = _baseline(table)
    worth = [
        reward.of(speedup, loss)
        for speedup, loss in zip(time[full] / time, accuracy[full] - accuracy, strict=True)
    ]
    return pd.Series(worth, table.index)


def target_costs(tables: Mapping[str, pd.DataFrame], sizes: Sequence[int]) -> list[TargetCost]:
    """Compare precisions and runtimes with eager fp32, network by network, on every host."""
    found: dict[tuple[str, str, int], dict[str, tuple[float, float, float]]] = {}
    for host, table in tables.items():
        rows = searched(table)
        for size in sizes:
            times = rows[f"cpu_time_ms_batch_{size}"].unstack(TARGET)
            for target in times.columns.difference([tuple(BASELINE)]):
                logs = np.log((times[target] / times[tuple(BASELINE)]).dropna())
                spread = (float(math.exp(value)) for value in (logs.mean(), logs.min(), logs.max()))
                found.setdefault((*target, size), {})[host] = tuple(spread)  # type: ignore[assignment]
    return [TargetCost(*key, ratios) for key, ratios in sorted(found.items(), key=lambda one: one[0][::-1])]


def _baseline(rows: pd.DataFrame) -> Deployment:
    """The largest network in eager fp32."""
    width_0, width_1 = (int(rows.index.get_level_values(name).max()) for name in NETWORK)
    return width_0, width_1, *BASELINE
