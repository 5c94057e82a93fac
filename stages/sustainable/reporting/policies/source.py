"""The tables that study B's paper prints, counted again. Nothing is measured here.

The paper's numbers are those of paper/published.yaml. Each of its sentences stands beside what its own tables
give, with the place of both.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field
from scipy import stats
from typing_extensions import TypedDict

from sustainable.core.documents import Name, Number, Pair, Share, Text, problem_in
from sustainable.core.reading import damaged
from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import declared_percent, p_value, percent, significant
from sustainable.reporting.published import read_source

SOURCE_KEYS = ("claims", "best_quantizer_share", "notebook", "pruning_survival", "cells", "sentences")
METHODS = ("PTDQ", "PTSQ", "QAT")
NORMS = ("L1", "L2")


class PrintedCell(TypedDict):
    """A policy in the paper's tables; see published.yaml."""

    quantized: Annotated[list[Number], Field(min_length=4, max_length=4)]
    pruned: Pair
    shares: Annotated[list[Share], Field(min_length=2, max_length=2)]
    best: Annotated[dict[Literal["L1", "L2"], Share], Field(min_length=1, max_length=1)]


class Sentence(TypedDict):
    """A sentence of the paper, and where it stands."""

    place: Name
    text: Text


class PrintedPolicies(TypedDict):
    """What the section study_b of published.yaml quotes of the paper's tables."""

    cells: Annotated[dict[Name, dict[Name, PrintedCell]], Field(min_length=1)]
    sentences: dict[Name, Sentence]


def read_published_policies(path: Path) -> dict[str, Any]:
    """Read the numbers of study B's source; see `read_source`."""
    content = read_source(path, "study_b", SOURCE_KEYS)
    if problem := problem_in(content, PrintedPolicies):
        raise damaged(path, f"study_b.{problem}")
    return content


def printed_cells(cells: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the paper's Tables 1 to 3, one row per policy.

    Mean returns: `baseline` and `METHODS` from Table 1, `unpruned` and `pruned` from Table 2. Shares removed:
    by `NORMS`, from Table 2; `best` is the better norm and `best_share` its share, from Table 3.
    """
    rows = [
        {
            "algorithm": algorithm,
            "environment": environment,
            **dict(zip(("baseline", *METHODS), cell["quantized"], strict=True)),
            **dict(zip(("unpruned", "pruned"), cell["pruned"], strict=True)),
            **dict(zip(NORMS, cell["shares"], strict=True)),
            **dict(zip(("best", "best_share"), *cell["best"].items(), strict=True)),
        }
        for algorithm, own in cells.items()
        for environment, cell in own.items()
    ]
    return pd.DataFrame(rows)


def kept_returns(cells: pd.DataFrame) -> pd.DataFrame:
    """Return, by policy and method, whether the return is at least `SURVIVES` of its baseline's.

    `pruned` is compared with Table 2's baseline, the others with Table 1's. All baselines are positive.
    """
    kept = {name: cells[name] >= SURVIVES * cells["baseline"] for name in METHODS}
    return pd.DataFrame({**kept, "pruned": cells["pruned"] >= SURVIVES * cells["unpruned"]})


def audit(cells: pd.DataFrame, table: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say what the paper's tables give, by the name of the sentence that they are held against.

    `table` describes our own policies of the same environments: a random policy's return, and the return
    from which a policy counts as learned.
    """
    counted: Mapping[str, Callable[[pd.DataFrame], str]] = {
        "repeats": _repeats,
        "standup": _standup,
        "bar": _bar,
        "best": _best,
        "norms": _norms,
        "quantizers": _quantizers,
        "statistics": _statistics,
        "survival": _survival,
    }
    found = {name: count(cells) for name, count in counted.items()}
    return found | {"trained": _trained(cells, table)}


def _names(rows: pd.DataFrame) -> str:
    return ", ".join(f"{row.algorithm} in {row.environment}" for row in rows.itertuples())


def _repeats(cells: pd.DataFrame) -> str:
    ratio = cells["unpruned"] / cells["baseline"]
    apart = (ratio < SURVIVES) | (ratio > 1 / SURVIVES)
    factor = ratio.where(ratio > 1, 1 / ratio)
    return (
        f"The uncompressed policies of {apart.sum()} of {len(cells)} cells differ between the tables by over "
        f"{declared_percent(1 - SURVIVES)}, by up to a factor of {significant(factor.max())} "
        f"({_names(cells[factor == factor.max()])}); {(ratio == 1).sum()} are equal to the last digit."
    )


def _standup(cells: pd.DataFrame) -> str:
    own = cells[cells["environment"] == "HumanoidStandup"]
    change = (own["QAT"] / own["baseline"] - 1).set_axis(own["algorithm"])
    return (
        "Change by QAT: " + ", ".join(f"{name} {100 * share:+.1f} %" for name, share in change.items()) + "."
    )


def _bar(cells: pd.DataFrame) -> str:
    kept = cells["pruned"] / cells["unpruned"]
    below = kept < SURVIVES
    return (
        f"Of {len(cells)} chosen policies, those that keep less: {below.sum()} ({_names(cells[below])}). "
        f"{_names(cells[kept == kept.min()])} keeps {percent(kept.min())}."
    )


def _best(cells: pd.DataFrame) -> str:
    largest = cells[list(NORMS)].max(axis=1)
    own = pd.Series([row[row["best"]] for _, row in cells.iterrows()], index=cells.index)
    differs = (own != cells["best_share"]) | (largest != cells["best_share"])
    return (
        f"In {differs.sum()} of {len(cells)} cells, Table 3's share is not the largest of Table 2, or not "
        f"that of its norm: {_names(cells[differs])}."
    )


def _norms(cells: pd.DataFrame) -> str:
    more, less = int((cells["L2"] > cells["L1"]).sum()), int((cells["L2"] < cells["L1"]).sum())
    test = stats.binomtest(more, more + less)
    return (
        f"L2 removes more units in {more} cells and L1 in {less}; in {len(cells) - more - less} both remove "
        f"as many (sign test: p = {p_value(float(test.pvalue))})."
    )


def _quantizers(cells: pd.DataFrame) -> str:
    best = cells[list(METHODS)].idxmax(axis=1).value_counts()
    counts = ", ".join(f"{name} {count}" for name, count in best.items())
    tied = cells["PTDQ"] == cells["baseline"]
    return (
        f"Highest return, of {len(cells)} cells: {counts}. PTDQ's return equals the baseline's to the last "
        f"digit in {tied.sum()}: {_names(cells[tied])}."
    )


def _statistics(cells: pd.DataFrame) -> str:
    test = stats.friedmanchisquare(*(cells[name] for name in METHODS))
    kept = cells[list(METHODS)].div(cells["baseline"], axis=0).median()
    medians = ", ".join(f"{name} {percent(float(kept[name]))}" for name in METHODS)
    return (
        f"Friedman's test of the {len(METHODS)} methods over {len(cells)} cells: p = "
        f"{p_value(float(test.pvalue))}. Median of the return kept: {medians}."
    )


def _survival(cells: pd.DataFrame) -> str:
    largest = cells[list(NORMS)].max(axis=1)
    few, half = largest <= cells["L1"].min(), largest <= 0.5
    lost = few | ~kept_returns(cells)["pruned"]
    beyond = cells.loc[~half, "environment"]
    return (
        f"{percent(few.mean())} and {percent(half.mean())} of {len(cells)} cells; {percent(lost.mean())} in "
        f"place of the former if a policy below the bar has not survived. Of the other {len(beyond)} cells, "
        f"{(beyond == beyond.mode()[0]).sum()} are those of {beyond.mode()[0]}."
    )


def _trained(cells: pd.DataFrame, table: Sequence[Mapping[str, Any]]) -> str:
    bars = [
        {
            "algorithm": entry["algorithm"],
            "environment": entry["environment"].partition("-")[0],
            "chance": entry["random_return"],
            "bar": entry["random_return"]
            + entry["learned_share"] * (entry["reference_return"] - entry["random_return"]),
        }
        for entry in table
        if entry["reference_return"] is not None
    ]
    columns = ["algorithm", "environment", "chance", "bar"]
    own = cells.merge(pd.DataFrame(bars, columns=columns), on=columns[:2])
    below, chance = own["baseline"] < own["bar"], own["baseline"] < own["chance"]
    return (
        f"Of {len(own)} baselines that this artifact trains too (in later versions of the environments), "
        f"{below.sum()} lie below the return from which ours count as learned ({_names(own[below])}), and "
        f"{chance.sum()} below a random policy's ({_names(own[chance])})."
    )
