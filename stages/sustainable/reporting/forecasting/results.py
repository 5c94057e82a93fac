"""Summaries of study A's measured rows: one line per configuration, compared with the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.core.errors import UserError
from sustainable.measuring.rows import JOULES_PER_MWH
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN, by_block, check_blocks
from sustainable.reporting.measured_rows import describe_evidence, joined, repeated
from sustainable.reporting.parameters import POWER, ReportParameters

PRIMARY = "cpu_time_ms"
COMPARED = (PRIMARY, "latency_ms", "energy_mwh", "net_energy_mwh")
COUNTS = (
    "parameters", "nonzero", "int8_parameters", "size_bytes", "flops", "proxy_parameters", "proxy_flops",
)  # fmt: skip
ROW_COLUMNS = (
    "configuration", "block", "position", "profile", "name", "runtime", "precision",
    "weights_sha256", *COUNTS,
    "windows", "threads", "batch_size", "wall_time_s", "cpu_time_s", "cpu_j", "ram_j", "cpu_evidence",
    "ram_evidence", "meter", "note", "cpu_time_ms", "latency_ms", "energy_mwh",
)  # fmt: skip
SAME_MODEL = ["weights_sha256", "runtime"]
"""Equal in rows of the same model."""
MICRO_IN_MILLI = 1000.0
ASSUMED_WATTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Watts at full load for which modelled energy is computed: from a phone's core to a server's socket."""


@dataclass(frozen=True)
class Comparison:
    """One outcome compared with the baseline within blocks."""

    ratio: statistics.Ratio | None  # with Student's interval, which decides
    bootstrap: statistics.Ratio | None  # with the BCa bootstrap interval, for comparison
    clean: statistics.Ratio | None  # without flagged windows
    p: float | None  # sign-flip test
    p_holm: float | None  # None outside the family
    p_equivalence: float | None  # TOST
    detectable: float | None  # smallest effect that the rule of the claims finds with `POWER`


@dataclass(frozen=True)
class Line:
    """One configuration: its model, its accuracy, and the cost of a forecast."""

    key: str
    name: str
    precision: str
    weights_sha256: str
    counts: Mapping[str, int]
    hits: np.ndarray  # [windows], whether the forecast is right
    outcomes: Mapping[str, statistics.Summary]
    compared: Mapping[str, Comparison]
    watts_range: tuple[float, float] | None
    flagged: int
    same_as: str | None  # first configuration with equal weights and runtime; None if this is the first

    @property
    def correct(self) -> int:
        """Number of test windows classified correctly."""
        return int(self.hits.sum())

    @property
    def accuracy(self) -> float:
        return float(self.hits.mean())


@dataclass(frozen=True)
class Results:
    """All lines by configuration, in declared order, and how they were measured."""

    lines: Mapping[str, Line]
    frugal: Mapping[str, np.ndarray]
    first_days: np.ndarray  # [windows], the row of the data at which a test window begins
    blocks: int
    flagged: int
    stamps: Sequence[str]
    cpu_evidence: str
    ram_evidence: str
    meter: str
    meter_reason: str
    assumptions: str
    ram_share: float | None
    energy_missing: int
    energy_is_time: statistics.Redundancy | None
    threads: int
    batch_size: int

    @property
    def twin(self) -> Mapping[str, Comparison]:
        """The A/A control: one model measured twice."""
        return self.lines[TWIN].compared

    @property
    def windows(self) -> int:
        return len(self.lines[BASELINE].hits)


def summarise_rows(
    rows: pd.DataFrame, hits: pd.DataFrame, parameters: ReportParameters, family: Sequence[str] | None = None
) -> Results:
    """Summarise and compare measured rows (`ROW_COLUMNS`, one row per block and configuration).

    `hits` has one row per test window and one column per configuration or frugal forecaster, 1 for a correct
    forecast. `family`: the configurations whose p values are corrected together, by default those of the
    section `report`. Raises `UserError` if a cell of the design is missing or duplicated.
    """
    rows = rows if "flags" in rows else rows.assign(flags=None)
    check_blocks(rows, "benchmark rows")
    rows = rows.assign(net_energy_mwh=net_energy_mwh(rows))
    models = rows[rows["configuration"] != IDLE]
    keys = list(dict.fromkeys(name for name in hits.columns if (models["configuration"] == name).any()))
    base = by_block(models, BASELINE)
    twin = by_block(models, TWIN)
    rows_by_key = {key: by_block(models, key) for key in keys}
    same_as = repeated({key: tuple(own[SAME_MODEL].iloc[0]) for key, own in rows_by_key.items()})
    lines = {
        key: _line(key, own, base, twin, hits[key].to_numpy(dtype=bool), same_as[key], parameters)
        for key, own in rows_by_key.items()
    }
    others = [str(name) for name in hits.columns if name not in (*keys, "training_seed", "first_day")]
    frugal = {name: hits[name].to_numpy(dtype=bool) for name in others}
    return Results(
        lines=_with_holm(lines, parameters.comparisons if family is None else family),
        frugal=frugal,
        first_days=hits["first_day"].to_numpy(),
        **_conditions(rows, models),
    )


def net_energy_mwh(rows: pd.DataFrame) -> pd.Series:
    """Subtract the idle host's energy, measured in the idle window of the same block, from each forecast's.

    The result is missing if the block has no idle window with an energy, or if it is not positive.
    """
    idle = rows[rows["configuration"] == IDLE].set_index("block")
    idle_w = (idle["cpu_j"] + idle["ram_j"].fillna(0)) / idle["wall_time_s"]
    net = rows["energy_mwh"] - rows["block"].map(idle_w) * rows["latency_ms"] / 1000 / JOULES_PER_MWH
    return net.where(net > 0)


def _line(
    key: str,
    own: pd.DataFrame,
    base: pd.DataFrame,
    twin: pd.DataFrame,
    hits: np.ndarray,
    same_as: str | None,
    parameters: ReportParameters,
) -> Line:
    first = own.iloc[0]
    return Line(
        key=key,
        **{name: str(first[name]) for name in ("name", "precision", "weights_sha256")},
        counts={name: int(first[name]) for name in COUNTS},
        hits=hits,
        outcomes={outcome: statistics.summarise_values(own[outcome]) for outcome in COMPARED},
        compared={outcome: compare_outcome(own, base, twin, outcome, parameters) for outcome in COMPARED},
        watts_range=None if key == BASELINE else _watts_range(own, base),
        flagged=int(own["flags"].notna().sum()),
        same_as=same_as,
    )


def compare_outcome(
    own: pd.DataFrame, base: pd.DataFrame, twin: pd.DataFrame, outcome: str, parameters: ReportParameters
) -> Comparison:
    """Compare the column `outcome` of a configuration with the baseline's; rows are paired by block.

    `flags` must be missing in rows without a flag.
    """
    values, reference, control = (part[outcome].astype(float) for part in (own, base, twin))
    logs = statistics.paired_log_ratios(values, reference)
    both = (np.log(values / reference), np.log(control / reference))
    clean = values.mask(own["flags"].notna() | base["flags"].notna())
    enough = len(logs) > 2
    return Comparison(
        ratio=statistics.student_ratio(values, reference, parameters.confidence),
        bootstrap=statistics.paired_ratio(values, reference, *parameters.bootstrap),
        clean=statistics.student_ratio(clean, reference, parameters.confidence),
        p=statistics.sign_flip_p(logs, parameters.bootstrap_resamples, parameters.seed) if enough else None,
        p_holm=None,
        p_equivalence=statistics.equivalence_p(logs, parameters.equivalence_margin) if enough else None,
        detectable=statistics.detectable_ratio(*both, parameters.confidence, POWER),
    )


def _with_holm(lines: Mapping[str, Line], comparisons: Sequence[str]) -> dict[str, Line]:
    """Adjust the p values of the primary outcome over the declared family."""
    unknown = [key for key in comparisons if key not in lines]
    if unknown:
        raise UserError(
            f"params.yaml: report.comparisons: {unknown[0]!r} is not among the measured configurations"
        )
    adjusted = adjusted_by_holm({key: lines[key].compared[PRIMARY].p for key in comparisons})
    found = {}
    for key, line in lines.items():
        changed = replace(line.compared[PRIMARY], p_holm=adjusted.get(key))
        found[key] = replace(line, compared={**line.compared, PRIMARY: changed})
    return found


def adjusted_by_holm(tested: Mapping[str, float | None]) -> dict[str, float]:
    """Adjust the p values of a family by Holm's method; without those that are missing."""
    family = {key: p for key, p in tested.items() if p is not None}
    return dict(zip(family, statistics.holm(list(family.values())), strict=True))


def _watts_range(own: pd.DataFrame, base: pd.DataFrame) -> tuple[float, float] | None:
    """Return the lowest and highest energy ratio to the baseline over `ASSUMED_WATTS`.

    Energy is modelled as watts x CPU time, with and without the memory energy of the rows.
    """

    def energy(rows: pd.DataFrame, watts: float, memory: float) -> np.ndarray:
        joules = watts * rows["cpu_time_s"] + memory * rows["ram_j"].fillna(0)
        return np.asarray(joules / rows["loops"])

    assumed = product(ASSUMED_WATTS, (0.0, 1.0))
    ratios = [float(np.exp(np.log(energy(own, *pair) / energy(base, *pair)).mean())) for pair in assumed]
    return (min(ratios), max(ratios)) if np.isfinite(ratios).all() else None


def _conditions(rows: pd.DataFrame, models: pd.DataFrame) -> dict[str, Any]:
    """Describe how the rows were measured; a sum over classes of evidence states its modelled share."""
    measured = models.dropna(subset=["cpu_j", "ram_j"])
    total_j = float((measured["cpu_j"] + measured["ram_j"]).sum())
    notes = models["note"].dropna().astype(str).str.split("; ").explode()
    return {
        **describe_evidence(models),
        "blocks": int(models["block"].nunique()),
        "flagged": int(rows["flags"].notna().sum()),
        "ram_evidence": joined(models["ram_evidence"]),
        "meter_reason": joined(rows.get("meter_reason", pd.Series(["as published"]))),
        "assumptions": joined(notes[notes.str.contains("assumed")]),
        "ram_share": float(measured["ram_j"].sum()) / total_j if total_j else None,
        "energy_missing": int(models["energy_mwh"].isna().sum()),
        "energy_is_time": statistics.redundancy(models["energy_mwh"], models["latency_ms"]),
        "threads": int(models["threads"].max()),
        "batch_size": int(models["batch_size"].max()),
    }


@dataclass(frozen=True)
class AccuracyDifference(statistics.Estimate):
    """Accuracy of one forecaster minus another's on the same windows, with its interval and McNemar's p."""

    p: float


def accuracy_difference(
    hits: np.ndarray, reference: np.ndarray, parameters: ReportParameters
) -> AccuracyDifference:
    """Compare two columns of hits [windows], paired by window."""
    interval = statistics.difference_interval(hits, reference, *parameters.bootstrap)
    return AccuracyDifference(*interval, len(hits), statistics.mcnemar_p(hits, reference))


def pay_back(
    rows: pd.DataFrame,
    key: str,
    costs: Sequence[Mapping[str, Any]],
    outcome: str,
    parameters: ReportParameters,
) -> statistics.BreakEven:
    """Compute the forecasts after which `key` has repaid `costs` (as `cost.total_cost` returns them).

    `outcome` is `cpu_time_ms` or `energy_mwh`. Energy is compared only if costs and rows come from one meter
    and class of evidence.
    """
    own, base = (by_block(rows, name) for name in (key, BASELINE))
    if outcome == PRIMARY:
        invested, unit = [cost["cpu_time_s"] for cost in costs], 1000.0
    else:
        sources = {(cost["meter"], cost["cpu_evidence"]) for cost in costs}
        sources |= {(str(row.meter), str(row.cpu_evidence)) for row in base.itertuples()}
        parts = ("cpu_j", "ram_j", "gpu_j")
        invested = [sum(cost[part] or 0.0 for part in parts) for cost in costs]
        unit = 1 / JOULES_PER_MWH
        if len(sources) > 1 or any(cost["cpu_j"] is None for cost in costs):
            return statistics.BreakEven(None, None, None, "costs and rows were not metered alike")
    total = float(sum(invested)) * unit  # in the outcome's own unit
    return statistics.break_even(total, own[outcome], base[outcome], *parameters.bootstrap)


def scaled(summary: statistics.Summary, factor: float) -> statistics.Summary:
    """Convert a summary to another unit."""
    mean, std = (None if value is None else factor * value for value in (summary.mean, summary.std))
    return replace(summary, mean=mean, std=std)
