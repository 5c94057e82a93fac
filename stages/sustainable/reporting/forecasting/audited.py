"""Summaries of the audited rows: every configuration at every batch size, intervals over training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable.reporting.forecasting.results import COUNTS
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN, check_blocks, describe_evidence
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.statistics import (
    BreakEven,
    Estimate,
    Ratio,
    break_even,
    crossed_difference,
    minimum_detectable_ratio,
    rank_correlation,
    ratio_over_units,
    student_interval,
    unit_means,
)

FRUGAL = ("logistic_last_day", "majority", "persistence")
NOT_MODELS = ("training_seed", "first_day")
PROXIES = ("flops", "parameters", "size_bytes", "sparsity", "proxy_flops", "proxy_parameters")


@dataclass(frozen=True)
class Timing:
    """Cost of a forecast at one batch size; ratios are within blocks, with intervals over training seeds."""

    cpu_time_ms: float
    ratio: Ratio | None  # to the eager baseline
    to_uncompressed: Ratio | None  # to the fastest fp32 runtime of the full network at this batch size
    clean: Ratio | None  # `ratio` without flagged windows
    energy: Ratio | None
    detectable: float | None  # smallest effect found with `POWER`
    attained: float | None  # counted operations per second, as a share of the core's peak rate


@dataclass(frozen=True)
class AuditedLine:
    """One configuration."""

    key: str
    name: str
    runtime: str
    precision: str
    weights_sha256: str
    same_as: str | None
    counts: Mapping[str, int]
    accuracy: float
    over_seeds: Estimate | None  # accuracy minus the baseline's, interval over training seeds
    crossed: Estimate  # the same, interval over training seeds and test windows
    timings: Mapping[int, Timing]


@dataclass(frozen=True)
class Audited:
    """All lines by configuration, and how they were measured."""

    lines: Mapping[str, AuditedLine]
    accuracies: Mapping[str, float]
    against_frugal: Mapping[str, Estimate]
    batch_sizes: Sequence[int]
    quickest: Mapping[int, str]
    blocks: int
    seeds: int
    windows: int
    flagged: int
    stamps: Sequence[str]
    cpu_evidence: str
    meter: str


def summarise_audited(
    rows: pd.DataFrame, hits: pd.DataFrame, peak_flops_per_s: float, parameters: ReportParameters
) -> Audited:
    """Summarise the audited benchmark; `hits` has one row per training seed and test window."""
    models = rows[rows["configuration"] != IDLE]
    sizes = sorted(int(size) for size in models["batch_size"].unique())
    keys = list(dict.fromkeys(models.loc[models["block"] == models["block"].min(), "configuration"]))
    keys = [key for key in hits.columns if key in keys]
    check_blocks(models, "audited rows", also=["batch_size"])
    quickest = {size: quickest_uncompressed(models, size) for size in sizes}
    first_of: dict[tuple[str, ...], str] = {}
    lines = {}
    for key in keys:
        own = models[models["configuration"] == key].iloc[0]
        model = (str(own["weights_sha256"]), str(own["runtime"]), str(own["precision"]))
        same_as = first_of.setdefault(model, key)
        timings = {
            size: _timing(models, key, quickest[size], size, peak_flops_per_s, parameters) for size in sizes
        }
        lines[key] = _line(key, own, None if same_as == key else same_as, hits, timings, parameters)
    names = [name for name in hits.columns if name not in NOT_MODELS]
    base = hits_by_seed(hits, BASELINE)
    return Audited(
        lines=lines,
        accuracies={name: float(hits[name].mean()) for name in names},
        against_frugal={
            name: crossed_difference(base, hits_by_seed(hits, name), *parameters.bootstrap) for name in FRUGAL
        },
        batch_sizes=sizes,
        quickest=quickest,
        blocks=int(models["block"].nunique()),
        seeds=int(models["training_seed"].nunique()),
        windows=int(hits["first_day"].nunique()),
        flagged=int(rows["flags"].notna().sum()),
        **describe_evidence(models),
    )


def hits_by_seed(hits: pd.DataFrame, name: str) -> np.ndarray:
    """One column of hits as [seeds, windows] of bool."""
    table = hits.pivot(index="training_seed", columns="first_day", values=name)
    found: np.ndarray = table.to_numpy(dtype=bool)
    return found


def _line(
    key: str,
    own: pd.Series,
    same_as: str | None,
    hits: pd.DataFrame,
    timings: Mapping[int, Timing],
    parameters: ReportParameters,
) -> AuditedLine:
    right, base = hits_by_seed(hits, key), hits_by_seed(hits, BASELINE)
    by_seed = (right.mean(axis=1) - base.mean(axis=1)).tolist()
    return AuditedLine(
        key=key,
        name=str(own["name"]),
        runtime=str(own["runtime"]),
        precision=str(own["precision"]),
        weights_sha256=str(own["weights_sha256"]),
        same_as=same_as,
        counts={name: int(own[name]) for name in COUNTS},
        accuracy=float(right.mean()),
        over_seeds=student_interval(by_seed, parameters.confidence),
        crossed=crossed_difference(right, base, *parameters.bootstrap),
        timings=timings,
    )


def _timing(
    models: pd.DataFrame,
    key: str,
    reference: str,
    size: int,
    peak_flops_per_s: float,
    parameters: ReportParameters,
) -> Timing:
    own, base, quickest = (cells(models, name, size) for name in (key, BASELINE, reference))
    times, seeds = own["cpu_time_ms"].to_list(), own["training_seed"].to_list()
    doubtful = own["flags"].notna() | base["flags"].notna()
    logs = np.log(own["cpu_time_ms"].to_numpy() / base["cpu_time_ms"].to_numpy())
    mean_ms = float(np.exp(np.mean(np.log(own["cpu_time_ms"]))))
    return Timing(
        cpu_time_ms=mean_ms,
        ratio=ratio_over_units(times, base["cpu_time_ms"].to_list(), seeds, parameters.confidence),
        to_uncompressed=ratio_over_units(
            times, quickest["cpu_time_ms"].to_list(), seeds, parameters.confidence
        ),
        clean=ratio_over_units(
            own["cpu_time_ms"].mask(doubtful).to_list(),
            base["cpu_time_ms"].to_list(),
            seeds,
            parameters.confidence,
        ),
        energy=ratio_over_units(
            own["energy_mwh"].to_list(), base["energy_mwh"].to_list(), seeds, parameters.confidence
        ),
        detectable=minimum_detectable_ratio(np.array(unit_means(logs.tolist(), seeds)), power=POWER),
        attained=float(own["flops"].iloc[0]) / (mean_ms / 1000) / peak_flops_per_s,
    )


def quickest_uncompressed(models: pd.DataFrame, size: int) -> str:
    """Return the configuration that runs the full network in fp32 with the least CPU time at one batch size.

    Comparing with it avoids speed-ups over a weak baseline only.
    """
    whole = models.loc[models["configuration"] == BASELINE, "parameters"].iloc[0]
    full = models[(models["parameters"] == whole) & (models["precision"] == "fp32")]
    full = full[(full["batch_size"] == size) & (full["configuration"] != TWIN)]
    return str(full.groupby("configuration")["cpu_time_ms"].mean().idxmin())


def cells(models: pd.DataFrame, key: str, size: int) -> pd.DataFrame:
    """Return the rows of one configuration at one batch size, by block."""
    own = models[(models["configuration"] == key) & (models["batch_size"] == size)]
    return own.sort_values("block").reset_index(drop=True)


def pay_back_audited(
    models: pd.DataFrame,
    key: str,
    reference: str,
    size: int,
    invested_cpu_s: float,
    parameters: ReportParameters,
) -> BreakEven:
    """Compute the forecasts after which `key` has repaid, against `reference`, the CPU time invested."""
    own, other = (cells(models, name, size)["cpu_time_ms"].to_list() for name in (key, reference))
    return break_even(1000 * invested_cpu_s, own, other, *parameters.bootstrap)


def proxy_agreement(
    candidates: pd.DataFrame, sizes: Sequence[int], parameters: ReportParameters
) -> dict[str, dict[int, Estimate]]:
    """Compute Spearman's correlation of every proxy with measured CPU time over candidates, by batch size.

    Higher sparsity promises less time, so its sign is turned: 1 is agreement for every proxy.
    """
    sign = {"sparsity": -1.0}
    return {
        proxy: {
            size: rank_correlation(
                (sign.get(proxy, 1.0) * candidates[proxy]).to_list(),
                candidates[f"cpu_time_ms_batch_{size}"].to_list(),
                *parameters.bootstrap,
            )
            for size in sizes
        }
        for proxy in PROXIES
    }


def repair_lines(repairs: pd.DataFrame, sizes: Sequence[int], confidence: float) -> list[dict[str, Any]]:
    """Summarise each variant: its most frequent pick, on how many seeds, and what the pick achieves."""
    lines = []
    for variant in dict.fromkeys(repairs["variant"]):
        own = repairs[repairs["variant"] == variant]
        picks = own["names"].value_counts(sort=True)
        commonest = sorted(name for name, count in picks.items() if count == picks.max())[0]
        ratios = {}
        for size in sizes:
            values = own[f"cpu_time_ratio_batch_{size}"].to_list()
            units = own["seed"].to_list()
            ratios[size] = ratio_over_units(values, [1.0] * len(values), units, confidence)
        lines.append(
            {
                "variant": variant,
                "picks": str(commonest).split(),
                "on": int(picks.max()),
                "seeds": len(own),
                "ties": [int(own["ties"].min()), int(own["ties"].max())],
                "models": [int(own["models"].min()), int(own["models"].max())],
                "ratios": ratios,
                "accuracy": student_interval(own["test_accuracy_difference"].to_list(), confidence),
            }
        )
    return lines


def control_lines(narrow: pd.DataFrame, confidence: float) -> list[dict[str, Any]]:
    """Summarise validation loss by method of making a narrow network, for the widths that have controls."""
    controlled = narrow.loc[narrow["method"] != "l1", ["width_0", "width_1"]].drop_duplicates()
    rows = narrow.merge(controlled, on=["width_0", "width_1"])
    return [
        {
            "widths": f"{width_0}x{width_1}",
            "method": method,
            "before": student_interval(own["validation_loss_before"].to_list(), confidence),
            "loss": student_interval(own["validation_loss"].to_list(), confidence),
            "seeds": len(own),
        }
        for (width_0, width_1, method), own in rows.groupby(["width_0", "width_1", "method"])
    ]
