"""What the rows of study A say: one line a configuration, ratios to the baseline, the A/A control."""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.artifact.errors import UserError
from sustainable.artifact.parameters import STRICT
from sustainable.statistics import Ratio, Summary, paired_ratio, summarise

BASELINE, TWIN = "baseline", "baseline_twin"

COLUMNS = (
    "configuration", "run", "protocol", "profile", "name", "runtime", "precision", "weights_sha256",
    "parameters", "nonzero", "int8_parameters", "size_bytes", "flops", "proxy_parameters", "proxy_flops",
    "windows", "correct", "accuracy", "latency_ms", "cpu_time_s", "energy_mwh", "cpu_j", "ram_j",
    "cpu_evidence", "ram_evidence", "meter", "threads", "batch_size", "note",
)  # fmt: skip

OUTCOMES = ("cpu_time_ms", "latency_ms", "energy_mwh")


@dataclass(frozen=True, config=STRICT)
class ReportParameters:
    """Intervals: their confidence, and the bootstrap that makes them."""

    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@plain_dataclass(frozen=True)
class Line:
    """One configuration: what it is, how it scored, what it cost. Costs are per window.

    `same_as` is the first configuration with the same weights and runtime, None if this is the first:
    no difference between two such lines is an effect.
    """

    key: str
    name: str
    precision: str
    weights_sha256: str
    same_as: str | None
    parameters: int
    nonzero: int
    int8_parameters: int
    size_bytes: int
    flops: int
    proxy_parameters: int
    proxy_flops: int
    windows: int
    correct: list[int]
    accuracy: Summary
    outcomes: Mapping[str, Summary]
    ratios: Mapping[str, Ratio | None]

    @property
    def same_every_run(self) -> bool:
        """Whether every run got the same windows right: then there is a count and no spread."""
        return len(set(self.correct)) == 1


@plain_dataclass(frozen=True)
class Results:
    """All lines by configuration, in the order of measurement, and how they were measured."""

    lines: Mapping[str, Line]
    runs: int
    smoke: bool
    cpu_evidence: str
    ram_evidence: str
    meter: str
    assumptions: str
    ram_share: float | None
    energy_missing: int
    threads: int
    batch_size: int

    @property
    def twin(self) -> Mapping[str, Ratio | None]:
        """Ratios of the A/A twin to the baseline: one model measured twice."""
        return self.lines[TWIN].ratios


def summarise_rows(rows: pd.DataFrame, parameters: ReportParameters) -> Results:
    """Summaries and ratios from measured rows (columns `COLUMNS`, a row a run and configuration).

    Raises `UserError` when a cell of the design is missing or double.
    """
    rows = rows.assign(cpu_time_ms=1000 * rows["cpu_time_s"] / rows["windows"])
    keys = list(dict.fromkeys(rows["configuration"]))
    _check_design(rows, keys)
    base = rows[rows["configuration"] == BASELINE].sort_values("run")
    first_of: dict[tuple[str, str], str] = {}
    lines = {}
    for key in keys:
        own = rows[rows["configuration"] == key].sort_values("run")
        lines[key] = _line(key, own, base, first_of, parameters)
    measured = rows.dropna(subset=["cpu_j"])
    total_j = float((measured["cpu_j"] + measured["ram_j"]).sum())
    notes = rows["note"].dropna().str.split("; ").explode()
    return Results(
        lines=lines,
        runs=int(rows["run"].nunique()),
        smoke=bool((rows["profile"] != "paper").any()),
        cpu_evidence=_joined(rows["cpu_evidence"]),
        ram_evidence=_joined(rows["ram_evidence"]),
        meter=_joined(rows["meter"]),
        assumptions=_joined(notes[notes.str.contains("assumed")]),
        ram_share=float(measured["ram_j"].sum()) / total_j if total_j else None,
        energy_missing=int(rows["energy_mwh"].isna().sum()),
        threads=int(rows["threads"].max()),
        batch_size=int(rows["batch_size"].max()),
    )


def _line(
    key: str,
    own: pd.DataFrame,
    base: pd.DataFrame,
    first_of: dict[tuple[str, str], str],
    parameters: ReportParameters,
) -> Line:
    first = own.iloc[0]
    model = (str(first["weights_sha256"]), str(first["runtime"]))
    same_as = first_of.setdefault(model, key)
    settings = (parameters.confidence, parameters.bootstrap_resamples, parameters.seed)
    counts = ("parameters", "nonzero", "int8_parameters", "size_bytes", "flops", "proxy_parameters")
    return Line(
        key=key,
        name=str(first["name"]),
        precision=str(first["precision"]),
        weights_sha256=model[0],
        same_as=None if same_as == key else same_as,
        **{name: int(first[name]) for name in (*counts, "proxy_flops", "windows")},
        correct=[int(value) for value in own["correct"]],
        accuracy=summarise(own["accuracy"].to_list()),
        outcomes={name: summarise(own[name].to_list()) for name in OUTCOMES},
        ratios={
            name: paired_ratio(own[name].to_list(), base[name].to_list(), *settings) for name in OUTCOMES
        },
    )


def _check_design(rows: pd.DataFrame, keys: list[str]) -> None:
    for needed in (BASELINE, TWIN):
        if needed not in keys:
            raise UserError(f"benchmark rows: configuration {needed!r} is missing; run `dvc repro` again")
    cells = rows.groupby(["run", "configuration"]).size()
    full = pd.MultiIndex.from_product([sorted(rows["run"].unique()), keys])
    for cell in full:
        if cells.get(cell, 0) != 1:
            raise UserError(
                f"benchmark rows: run {cell[0]}, configuration {cell[1]!r} stands {cells.get(cell, 0)} times "
                "and not once; delete the file and run `dvc repro` again"
            )


def _joined(values: pd.Series) -> str:
    return " + ".join(sorted({str(value) for value in values.dropna()}))


def correlation(rows: pd.DataFrame, one: str, other: str) -> float | None:
    """Pearson's r of two columns over the rows that have both; None with fewer than three."""
    both = rows[[one, other]].dropna()
    return float(np.corrcoef(both[one], both[other])[0, 1]) if len(both) > 2 else None
