"""Tiers T2 and T3: compare hits by counts, and measured rows by ratios to the baseline, never by seconds.

Both hosts measure the same models in blocks. The logarithm of a configuration's ratio to the baseline of its
block has a mean on each host. Their difference gets Welch's interval over blocks; the mean of each training
seed is subtracted first, because both hosts have the same seeds. The item is `ok` if the whole interval lies
within the declared margin (two one-sided tests), `FAIL` if all of it lies outside, and otherwise undecided.
It is undecided, too, if windows decide it that were flagged because other processes used the cores.

Ratios of CPU time depend on vector units and caches. Between kinds of CPU both ratios are shown, and neither
is wrong; `orders` has what must hold there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sustainable.core.files import read_rows
from sustainable.reporting.measured_rows import BASELINE, IDLE
from sustainable.statistics import Estimate, student_interval
from sustainable.verification.items import HERE, Item, compared, on_other_cpu, passed, skipped
from sustainable.verification.place import TASKS

CANDIDATE_TABLES = tuple(f"data/search/{task}/candidates.csv" for task in TASKS)
CANDIDATE_KEYS = ["family", "width_0", "width_1", "masked_share", "scope", "precision", "runtime"]
"""The columns that name a candidate."""
CELL = ("environment", "algorithm")
WINDOW_KEYS = ["training_seed", "first_day"]
"""The columns that name a window in a table of hits (1: the forecast of the window is right)."""


@dataclass(frozen=True)
class MeasuredTable:
    """A table of measured rows."""

    path: str
    value: str
    """The column that is compared."""
    by: tuple[str, ...] = ()
    """The columns that, with the configuration, define a group of rows."""
    block: str = "block"
    on_every_cpu: bool = False
    """Whether the ratios must agree between kinds of CPU."""


MEASURED = (
    MeasuredTable("data/benchmark/published.csv", "cpu_time_ms"),
    MeasuredTable("data/benchmark/remeasured.csv", "cpu_time_ms", ("batch_size",)),
    MeasuredTable("data/benchmark/step_windows.csv", "cpu_time_ms", ("batch_size",)),
    MeasuredTable("data/benchmark/layerwise.csv", "cpu_time_ms", ("batch_size",)),
    *(MeasuredTable(f"data/benchmark/{task}.csv", "cpu_time_ms", ("batch_size",)) for task in TASKS),
    MeasuredTable("data/benchmark/policies.csv", "cpu_time_per_step_us", CELL),
    MeasuredTable("data/benchmark/workload.csv", "cpu_time_per_step_us", ("dose_us",)),
    # Memory is what libraries and weights take: it agreed within 0.3 % between two kinds of CPU.
    MeasuredTable("data/benchmark/memory.csv", "process_rss_bytes", ("network", *CELL), "repeat", True),
)


@dataclass(frozen=True)
class Margin:
    """When two hosts agree."""

    ratio: float
    """Ratios within 1/(1 + ratio) and 1 + ratio of each other are equivalent."""
    confidence: float


def flipped(expected: Path, found: Path, left_out: tuple[str, ...] = ()) -> tuple[dict[str, int], int]:
    """Count for each configuration the windows that are right in one table of hits and wrong in the other.

    Returns the counts and the number of windows. Configurations in `left_out` are not counted. Raises
    `ValueError` if the tables have other windows or other configurations.
    """
    tables = (read_rows(path, WINDOW_KEYS).set_index(WINDOW_KEYS) for path in (expected, found))
    ours, theirs = (table.drop(columns=[*left_out], errors="ignore") for table in tables)
    if not ours.index.equals(theirs.index) or set(ours.columns) != set(theirs.columns):
        raise ValueError("other windows or other configurations")
    return {str(name): int((ours[name] != theirs[name]).sum()) for name in ours.columns}, len(ours)


def check_measured(
    own: Path, reference: Path, measured: MeasuredTable, margin: Margin, kinds: str | None = None
) -> Iterator[Item]:
    """Compare, for every configuration of a table, this host's ratio to the baseline with the reference's.

    `kinds` names the two kinds of CPU if they differ.
    """
    needed = ("configuration", measured.block, measured.value, *measured.by)
    tables = [log_ratios_to_baseline(read_rows(path, needed), measured) for path in (own, reference)]
    keys = [*measured.by, "configuration"]
    groups = [dict(list(table.groupby(keys, sort=False))) for table in tables]
    kinds = None if measured.on_every_cpu else kinds
    for key, there in groups[1].items():
        name, here = f"{measured.path}: {' '.join(str(part) for part in key)}", groups[0].get(key)
        if here is None:
            yield skipped("T3", name, "not measured here", HERE)
        elif _texts(here, "weights_sha256") != _texts(there, "weights_sha256"):
            names = [", ".join(_texts(table, "name")) or "other weights" for table in (here, there)]
            yield skipped("T3", name, f"other models: here {names[0]}, there {names[1]}", HERE)
        else:
            yield compare_ratios(name, here, there, margin, kinds)


def compare_ratios(
    name: str, here: pd.DataFrame, there: pd.DataFrame, margin: Margin, kinds: str | None = None
) -> Item:
    """Compare the ratios of one configuration, with and without windows that were flagged as disturbed."""
    difference = difference_of_means(here, there, margin.confidence)
    found = item_of_ratio(name, difference, _mean(there), margin, kinds)
    flagged = int(here["flagged"].sum() + there["flagged"].sum())
    if not flagged or found.status not in ("ok", "FAIL"):
        return found
    clean = here[~here["flagged"]], there[~there["flagged"]]
    difference = difference_of_means(*clean, margin.confidence)
    without = item_of_ratio(name, difference, _mean(clean[1]), margin)
    if without.status == found.status:
        return found
    why = f"undecided: {flagged} flagged windows decide it, measure again on an idle machine"
    return skipped("T3", name, f"{why}; {found.detail}", HERE)


def _mean(rows: pd.DataFrame) -> float:
    return float(rows["log"].mean())


def log_ratios_to_baseline(rows: pd.DataFrame, measured: MeasuredTable) -> pd.DataFrame:
    """The rows without baseline and idle, with two more columns.

    `log`: ln(value / baseline of the same block). `flagged`: whether one of these two windows is flagged.
    """
    keys = [*measured.by, measured.block]
    models = rows[rows["configuration"] != IDLE]
    flags = models["flags"].notna() if "flags" in models else False
    models = models.assign(flagged=flags)
    base = models[models["configuration"] == BASELINE].set_index(keys)[[measured.value, "flagged"]]
    others = models[models["configuration"] != BASELINE].copy()
    against = base.reindex(pd.MultiIndex.from_frame(others[keys]) if len(keys) > 1 else others[keys[0]])
    others["log"] = np.log(others[measured.value].to_numpy(float) / against[measured.value].to_numpy(float))
    others["flagged"] |= against["flagged"].to_numpy() == True  # noqa: E712  (NaN without a baseline)
    return others


def _texts(rows: pd.DataFrame, column: str) -> list[str]:
    """The distinct values of a column, in order; none if the table has no such column."""
    return sorted(set(rows[column].dropna().astype(str))) if column in rows else []


def difference_of_means(own: pd.DataFrame, other: pd.DataFrame, confidence: float) -> Estimate | None:
    """Mean `log` of `own` minus that of `other`, with Welch's interval; None with too few blocks."""
    if own.empty or other.empty:
        return None
    mean, error, freedom = _mean_and_error(own)
    mean_there, error_there, freedom_there = _mean_and_error(other)
    if min(freedom, freedom_there) < 1:
        return None
    squared, difference = error**2 + error_there**2, mean - mean_there
    if squared == 0:
        return Estimate(difference, difference, difference, len(own))
    degrees = squared**2 / (error**4 / freedom + error_there**4 / freedom_there)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(squared)
    return Estimate(difference, difference - half, difference + half, len(own))


def mean_interval(rows: pd.DataFrame, confidence: float) -> Estimate | None:
    """Mean `log` of one host's rows with Student's interval; None with too few blocks."""
    if rows.empty or rows["log"].isna().any():
        return None
    mean, error, freedom = _mean_and_error(rows)
    if freedom < 1:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Estimate(mean, mean - half, mean + half, len(rows))


def _mean_and_error(rows: pd.DataFrame) -> tuple[float, float, int]:
    """Mean of `log`, its standard error after subtracting each seed's mean, and the degrees of freedom."""
    seeds = rows["training_seed"] if "training_seed" in rows else pd.Series(0, index=rows.index)
    rest = rows["log"] - rows["log"].groupby(seeds).transform("mean")
    freedom = len(rows) - seeds.nunique()
    variance = float((rest**2).sum()) / max(freedom, 1)
    return float(rows["log"].mean()), math.sqrt(variance / len(rows)), freedom


def item_of_ratio(
    name: str, difference: Estimate | None, log_there: float, margin: Margin, kinds: str | None = None
) -> Item:
    """Return `ok` if the interval lies within the margin, `FAIL` if it lies outside, else `skipped`.

    With other `kinds` of CPU the ratios are only shown.
    """
    if difference is None:
        return skipped("T3", name, "too few blocks for an interval", HERE)
    there, limit = math.exp(log_there), 1 + margin.ratio
    here, times = f"{math.exp(log_there + difference.estimate):.3f}", math.exp(difference.estimate)
    low, high = math.exp(difference.low), math.exp(difference.high)
    text = f"ratio {here} here, {there:.3f} there; theirs times {times:.3f} [{low:.3f}, {high:.3f}]"
    if kinds is not None:
        return on_other_cpu("T3", name, kinds, text)
    if 1 / limit <= low and high <= limit:
        return passed("T3", name, HERE, text)
    if low > limit or high < 1 / limit:
        expected = f"a ratio within {1 / limit:.3f} to {limit:.3f} times {there:.3f}"
        advice = "measure again on an idle machine"
        return compared("T3", name, HERE, expected, here, advice=advice, detail=text)
    why = f"undecided: {text} crosses the margin {1 / limit:.3f} to {limit:.3f}"
    return skipped("T3", name, why, HERE)


def check_candidates(
    path: str, own: Path, reference: Path, margin: Margin, kinds: str | None = None
) -> Iterator[Item]:
    """Compare two tables of candidates, named `path` in items, by precision, runtime and batch size.

    What is compared is the mean difference of log ratios to the baseline, over the candidates that both hosts
    timed. `kinds` names the two kinds of CPU if they differ.
    """
    tables = [_priced(read_rows(table, CANDIDATE_KEYS)) for table in (own, reference)]
    sizes = [name for name in tables[1].columns if str(name).startswith("cpu_time_ms_batch_")]
    paired = tables[0].join(tables[1], lsuffix="_here", rsuffix="_there", how="inner")
    for (precision, runtime), rows in paired.groupby(["precision", "runtime"]):
        for size in sizes:
            name = f"{path}: {precision} {runtime} {size.removeprefix('cpu_time_ms_')}"
            differences = (rows[f"{size}_here"] - rows[f"{size}_there"]).dropna()
            if differences.empty or ((differences == 0).all() and len(differences) < 2):
                continue
            found = student_interval(differences.tolist(), margin.confidence)
            yield item_of_ratio(name, found, float(rows[f"{size}_there"].mean()), margin, kinds)


def _priced(table: pd.DataFrame) -> pd.DataFrame:
    """The timed candidates by their keys: logarithm of CPU time over the baseline's, for each batch size."""
    sizes = [name for name in table.columns if name.startswith("cpu_time_ms_batch_")]
    timed = table.dropna(subset=sizes).copy()
    timed["scope"] = timed["scope"].fillna("")
    full = (timed["width_0"] == timed["width_0"].max()) & (timed["width_1"] == timed["width_1"].max())
    plain = (timed["family"] == "grid") & (timed["precision"] == "fp32") & (timed["runtime"] == "torch-eager")
    base = timed[full & plain].iloc[0]
    for size in sizes:
        timed[size] = np.log(timed[size] / base[size])
    return timed.set_index(CANDIDATE_KEYS)[sizes]
