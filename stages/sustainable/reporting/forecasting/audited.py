"""Summaries of the audited rows: every configuration at every batch size, intervals over training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.core.errors import UserError
from sustainable.reporting.forecasting.accuracy_gate import NOT_MODELS, Gate, hits_by_seed, summarise_gate
from sustainable.reporting.forecasting.results import COUNTS, SAME_MODEL
from sustainable.reporting.forecasting.retest import retest_correlation
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN, by_block, check_blocks
from sustainable.reporting.measured_rows import describe_evidence, repeated
from sustainable.reporting.parameters import POWER, ReportParameters

PRECISIONS = ("fp32", "bf16", "int8")
"""Those that may have a ceiling."""
PROXIES = ("flops", "parameters", "size_bytes", "sparsity", "proxy_flops", "proxy_parameters")


@dataclass(frozen=True)
class Timing:
    """Cost of a forecast at one batch size; ratios are within blocks, with intervals over training seeds."""

    cpu_time_ms: float
    ratio: statistics.Ratio | None  # to the eager baseline
    to_uncompressed: statistics.Ratio | None  # to the full network's fastest fp32 runtime at this batch size
    clean: statistics.Ratio | None  # `ratio` without flagged windows
    to_uncompressed_clean: statistics.Ratio | None  # `to_uncompressed` without flagged windows
    energy: statistics.Ratio | None
    detectable: float | None  # smallest effect found with `POWER`
    attained: float | None  # share of the core's peak rate (`peak_rates`); None if no ceiling is comparable


@dataclass(frozen=True)
class AuditedLine:
    """One configuration."""

    key: str
    name: str
    runtime: str
    precision: str
    weights_sha256: str
    counts: Mapping[str, int]
    accuracy: float
    over_seeds: statistics.Estimate | None  # accuracy minus the baseline's, interval over training seeds
    crossed: statistics.Estimate  # the same, interval over training seeds and test windows
    timings: Mapping[int, Timing]
    same_as: str | None  # first configuration with the same model, runtime and precision


@dataclass(frozen=True)
class Audited:
    """All lines by configuration, and how they were measured."""

    lines: Mapping[str, AuditedLine]
    accuracies: Mapping[str, float]
    gate: Gate
    batch_sizes: Sequence[int]
    quickest: Mapping[int, str]
    blocks: int
    seeds: int
    windows: int
    flagged: int
    stamps: Sequence[str]
    cpu_evidence: str
    meter: str


def peak_rates(roofline: Mapping[str, Any]) -> dict[str, float]:
    """Return the peak rates of operations by precision, in FLOP/s.

    Older rooflines have none for int8. One measured with one library and one shape is not comparable with the
    rows, which exceed it: it gives no rate at all.
    """
    ceilings = {precision: roofline.get(precision) for precision in PRECISIONS}
    return {precision: ceiling["flops_per_s"] for precision, ceiling in ceilings.items() if ceiling}


def summarise_audited(
    rows: pd.DataFrame, hits: pd.DataFrame, peaks: Mapping[str, float], parameters: ReportParameters
) -> Audited:
    """Summarise the audited benchmark.

    `hits` has one row per training seed and test window; `peaks` as `peak_rates` returns them. Raises
    `UserError` if a row exceeds the peak rate.
    """
    models = rows[rows["configuration"] != IDLE]
    sizes = sorted(int(size) for size in models["batch_size"].unique())
    known = {str(key): own.iloc[0] for key, own in models.groupby("configuration")}
    first_rows = {key: known[key] for key in hits.columns if key in known}
    check_blocks(models, "audited rows", also=["batch_size"])
    refuse_above_peak(models, peaks)
    quickest = {size: quickest_uncompressed(models, size) for size in sizes}
    same_as = repeated({key: tuple(own[[*SAME_MODEL, "precision"]]) for key, own in first_rows.items()})
    lines = {}
    for key, own in first_rows.items():
        timings = {
            size: _timing(models, key, reference, size, peaks, parameters)
            for size, reference in quickest.items()
        }
        lines[key] = _line(key, own, hits, timings, same_as[key], parameters)
    names = [name for name in hits.columns if name not in NOT_MODELS]
    return Audited(
        lines=lines,
        accuracies={name: float(hits[name].mean()) for name in names},
        gate=summarise_gate(hits, parameters.audited.accuracy_margin, parameters.confidence),
        batch_sizes=sizes,
        quickest=quickest,
        blocks=int(models["block"].nunique()),
        seeds=int(models["training_seed"].nunique()),
        windows=int(hits["first_day"].nunique()),
        flagged=int(rows["flags"].notna().sum()),
        **describe_evidence(models),
    )


def _line(
    key: str,
    own: pd.Series,
    hits: pd.DataFrame,
    timings: Mapping[int, Timing],
    same_as: str | None,
    parameters: ReportParameters,
) -> AuditedLine:
    right, base = hits_by_seed(hits, key), hits_by_seed(hits, BASELINE)
    by_seed = (right.mean(axis=1) - base.mean(axis=1)).tolist()
    return AuditedLine(
        key=key,
        **{name: str(own[name]) for name in ("name", "runtime", "precision", "weights_sha256")},
        counts={name: int(own[name]) for name in COUNTS},
        accuracy=float(right.mean()),
        over_seeds=statistics.student_interval(by_seed, parameters.confidence),
        crossed=statistics.crossed_difference(right, base, parameters.confidence),
        timings=timings,
        same_as=same_as,
    )


def _timing(
    models: pd.DataFrame,
    key: str,
    reference: str,
    size: int,
    peaks: Mapping[str, float],
    parameters: ReportParameters,
) -> Timing:
    own, base, quickest = (cells(models, name, size) for name in (key, BASELINE, reference))
    seeds = own["training_seed"]
    logs = np.log(own["cpu_time_ms"] / base["cpu_time_ms"])
    mean_ms = _mean_ms(own)

    def ratio(values: pd.Series, to: pd.DataFrame) -> statistics.Ratio | None:
        return statistics.ratio_over_units(values, to[values.name], seeds, parameters.confidence)

    def clean(to: pd.DataFrame) -> statistics.Ratio | None:
        return ratio(own["cpu_time_ms"].mask(own["flags"].notna() | to["flags"].notna()), to)

    return Timing(
        cpu_time_ms=mean_ms,
        ratio=ratio(own["cpu_time_ms"], base),
        to_uncompressed=ratio(own["cpu_time_ms"], quickest),
        clean=clean(base),
        to_uncompressed_clean=clean(quickest),
        energy=ratio(own["energy_mwh"], base),
        detectable=statistics.detectable_ratio(statistics.unit_means(logs, seeds), power=POWER),
        attained=_attained(own.iloc[0], mean_ms, peaks),
    )


def refuse_above_peak(models: pd.DataFrame, peaks: Mapping[str, float]) -> None:
    """Raise `UserError` if a configuration computes faster than the peak rate of its precision."""
    for (key, size), own in models.groupby(["configuration", "batch_size"]):
        share = _attained(own.iloc[0], _mean_ms(own), peaks)
        if share is not None and share > 1:
            raise UserError(
                f"audited rows: configuration {key!r} at batch {size} reaches {share:.0%} of the core's peak "
                f"rate in {own.iloc[0]['precision']}, so the ceiling was measured too low; measure again "
                "with `dvc repro -s -f benchmark@<task>`"
            )


def _attained(row: pd.Series, mean_ms: float, peaks: Mapping[str, float]) -> float | None:
    """Return the share of the peak rate that `mean_ms` per forecast reaches."""
    peak = peaks.get(row["precision"])
    return None if peak is None else float(row["flops"]) / (mean_ms / 1000) / peak


def _mean_ms(rows: pd.DataFrame) -> float:
    """Return the geometric mean of the CPU time per forecast."""
    return float(np.exp(np.mean(np.log(rows["cpu_time_ms"]))))


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
    return by_block(models[models["batch_size"] == size], key)


def pay_back_audited(
    models: pd.DataFrame, key: str, reference: str, size: int, cpu_s: float, parameters: ReportParameters
) -> statistics.BreakEven:
    """Compute the forecasts after which `key` has repaid, against `reference`, `cpu_s` of CPU time."""
    own, other = (cells(models, name, size)["cpu_time_ms"] for name in (key, reference))
    return statistics.break_even(1000 * cpu_s, own, other, *parameters.bootstrap)


@dataclass(frozen=True)
class Ranking:
    """How counted proxies rank the candidates, against their measured CPU time."""

    proxies: Mapping[str, Mapping[int, statistics.Estimate]]
    """Spearman's correlation over all candidates, by proxy and batch size."""
    within: Mapping[str, Mapping[int, statistics.Estimate]]
    """The same for operations, over the candidates of one precision and runtime."""
    retest: Mapping[str, Mapping[int, float | None]]
    """Rank correlation of a second timing of those candidates with the first; None: noise unknown."""
    at_equal_operations: Mapping[int, statistics.Ratio | None]
    """CPU time of a network on its slowest target / on its fastest, by batch size, over networks."""


def summarise_ranking(
    candidates: pd.DataFrame, sizes: Sequence[int], parameters: ReportParameters
) -> Ranking:
    """Compare proxies with measured CPU time over all candidates, within a target, and between targets."""
    searched = candidates[candidates["family"] != "masked"]
    targets = {f"{p} on {r}": own for (p, r), own in searched.groupby(["precision", "runtime"])}
    return Ranking(
        proxies=proxy_agreement(candidates, sizes, parameters),
        within={
            name: {size: agreement(own["flops"], own, size, parameters) for size in sizes}
            for name, own in targets.items()
        },
        retest={
            name: {size: retest_correlation(own, size, parameters.seed) for size in sizes}
            for name, own in targets.items()
        },
        at_equal_operations={size: _between_targets(searched, size, parameters) for size in sizes},
    )


def _between_targets(
    searched: pd.DataFrame, size: int, parameters: ReportParameters
) -> statistics.Ratio | None:
    networks = searched.groupby(["width_0", "width_1"])[f"cpu_time_ms_batch_{size}"]
    times = networks.agg(["max", "min", "count"])
    times = times[times["count"] > 1].reset_index()
    return statistics.ratio_over_units(
        times["max"], times["min"], times.index.to_numpy(), parameters.confidence
    )


def agreement(
    proxy: pd.Series, candidates: pd.DataFrame, size: int, parameters: ReportParameters
) -> statistics.Estimate:
    """Compute Spearman's correlation of a proxy with measured CPU time at one batch size."""
    measured = candidates[f"cpu_time_ms_batch_{size}"]
    return statistics.rank_correlation(proxy, measured, *parameters.bootstrap)


def proxy_agreement(
    candidates: pd.DataFrame, sizes: Sequence[int], parameters: ReportParameters
) -> dict[str, dict[int, statistics.Estimate]]:
    """Correlate every proxy with measured CPU time over candidates, by batch size.

    Higher sparsity promises less time, so its sign is turned: 1 is agreement for every proxy.
    """
    signed = candidates.assign(sparsity=-candidates["sparsity"])
    return {
        proxy: {size: agreement(signed[proxy], signed, size, parameters) for size in sizes}
        for proxy in PROXIES
    }


def repair_lines(repairs: pd.DataFrame, sizes: Sequence[int], confidence: float) -> list[dict[str, Any]]:
    """Summarise each variant: its most frequent pick, on how many seeds, and what the pick achieves."""
    lines = []
    for variant, own in repairs.groupby("variant", sort=False):
        picks = own["names"].value_counts().sort_index()
        ratios = {
            size: statistics.ratio_over_units(
                own[f"cpu_time_ratio_batch_{size}"], np.ones(len(own)), own["seed"], confidence
            )
            for size in sizes
        }
        lines.append(
            {
                "variant": variant,
                "picks": str(picks.idxmax()).split(),
                "on": int(picks.max()),
                "seeds": len(own),
                **{name: [int(own[name].min()), int(own[name].max())] for name in ("ties", "models")},
                "ratios": ratios,
                "accuracy": statistics.student_interval(own["test_accuracy_difference"], confidence),
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
            "before": statistics.student_interval(own["validation_loss_before"], confidence),
            "loss": statistics.student_interval(own["validation_loss"], confidence),
            "seeds": len(own),
        }
        for (width_0, width_1, method), own in rows.groupby(["width_0", "width_1", "method"])
    ]
