"""What measured rows of both studies have in common: reserved configurations, design, and evidence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.energy.meter import STAMPED

BASELINE, TWIN, IDLE = "baseline", "baseline_twin", "idle"
"""The uncompressed eager model, the same model measured again (A/A control), and an idle window."""
EVIDENCE_COLUMNS = ["profile", "meter", "cpu_evidence", "ram_evidence"]
"""What `describe_evidence` reads."""
AGAIN = "delete the file and run `dvc repro` again"


def check_blocks(rows: pd.DataFrame, name: str, within: Sequence[str] = (), also: Sequence[str] = ()) -> None:
    """Check that every configuration occurs once in every block.

    `within` are the columns that tell separate designs apart, each with blocks of its own; `also` are columns
    that vary inside a block beside the configuration, such as the batch size. Raises `UserError` if the
    baseline or its twin is missing, or a cell is missing or duplicated; names the first.
    """
    groups = rows.groupby(list(within), sort=False) if within else [((), rows)]
    for key, own in groups:
        where = ": ".join([name, *([" ".join(map(str, key))] if key else [])])
        for needed in (BASELINE, TWIN):
            if not (own["configuration"] == needed).any():
                raise UserError(f"{where}: configuration {needed!r} is missing; run `dvc repro` again")
        _check_counts(own, where, also)


def _check_counts(own: pd.DataFrame, where: str, also: Sequence[str]) -> None:
    names = ["block", "configuration", *also]
    if own["block"].max() >= len(own):
        raise UserError(f"{where}: block {own['block'].max()} of {len(own)} rows; {AGAIN}")
    levels = [range(int(own["block"].max()) + 1), *(own[column].unique() for column in names[1:])]
    if len(own) == math.prod(map(len, levels)) and not own.duplicated(names).any():
        return
    counts = (
        own.groupby(names, sort=False)
        .size()
        .reindex(pd.MultiIndex.from_product(levels, names=names), fill_value=0)
    )
    wrong = counts[counts != 1]
    if len(wrong):
        block, key, *others = wrong.index[0]
        varied = [f"{column} {value}" for column, value in zip(also, others, strict=True)]
        cell = ", ".join([f"block {block}", f"configuration {key!r}", *varied])
        raise UserError(f"{where}: {cell} occurs {wrong.iloc[0]} times, not once; {AGAIN}")


def repeated(models: Mapping[str, Any]) -> dict[str, str | None]:
    """By configuration, the first other one with an equal model; None if there is none before it."""
    first: dict[Any, str] = {}
    found = {key: first.setdefault(model, key) for key, model in models.items()}
    return {key: None if other == key else other for key, other in found.items()}


def by_block(models: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the rows of one configuration, by block."""
    return models[models["configuration"] == key].sort_values("block").reset_index(drop=True)


def describe_evidence(models: pd.DataFrame) -> dict[str, Any]:
    """Describe the meter and the class of evidence of rows, and what must be stamped across their pages."""
    evidence = {*models["cpu_evidence"].dropna().unique(), *models["ram_evidence"].dropna().unique()}
    stamps = {"smoke run"} if (models["profile"] == "smoke").any() else set()
    return {
        "stamps": sorted(stamps | {f"{name} energy" for name in evidence & STAMPED}),
        "cpu_evidence": joined(models["cpu_evidence"]),
        "meter": joined(models["meter"]),
    }


def stamp_of(results: Iterable[Any]) -> str:
    """Return what must be written across every page of these results; empty if they are evidence."""
    stamps = sorted({stamp for result in results for stamp in result.stamps})
    return f"{', '.join(stamps)}, not evidence" if stamps else ""


def joined(values: pd.Series) -> str:
    """Join the distinct values of a column with " + "."""
    return " + ".join(sorted({str(value) for value in values.dropna().unique()}))
