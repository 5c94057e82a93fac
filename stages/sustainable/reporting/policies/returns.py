"""Summaries of study B's episodes: the return of the policies, and what compression keeps of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable.policies.returns import SURVIVES, normalised_return, share_of, stratified_iqm, survival
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.run import CELL, NO_METHOD, by_cell, learned_seeds
from sustainable.statistics import Estimate

QUANTIZERS = ("ptdq", "ptsq", "qat")
PRUNERS = ("unstructured", "structured")


@dataclass(frozen=True)
class Trained:
    """One cell as it was trained."""

    entry: Mapping[str, Any]  # of the table of policies
    seeds: int
    episodes: int
    iqm: Estimate  # interquartile mean of the return over all seeds and their episodes
    learned: int  # number of seeds that have learned


@dataclass(frozen=True)
class Survival:
    """Share of models that keep `SURVIVES` of their return, by pruned share of the weights or units."""

    label: str
    shares: Sequence[float]
    survive: Sequence[Estimate]

    def at(self, share: float, more_than: bool) -> tuple[float, Estimate] | None:
        """Return the tested share that stands for `share`, or with `more_than` the next higher one."""
        pairs = zip(self.shares, self.survive, strict=True)
        if more_than:
            return next((pair for pair in pairs if pair[0] > share + 1e-9), None)
        return next((pair for pair in pairs if abs(pair[0] - share) < 1e-9), None)


@dataclass(frozen=True)
class Quantizers:
    """How often each quantizer keeps the most return, over the models without a tie."""

    best: Mapping[str, Estimate | None]
    ties: int


def trained_policies(
    returns: pd.DataFrame, table: Sequence[Mapping[str, Any]], parameters: ReportParameters
) -> list[Trained]:
    """Summarise the uncompressed policies, one entry per cell."""
    plain = dict(list(returns[returns["variant"] == NO_METHOD].groupby(CELL)))
    found = []
    for cell, entry in by_cell(table).items():
        if cell in plain:
            groups = [group["episode_return"].to_list() for _, group in plain[cell].groupby("seed")]
            iqm = stratified_iqm(groups, *parameters.bootstrap)
            found.append(Trained(entry, len(groups), len(plain[cell]), iqm, len(learned_seeds(entry))))
    return found


def of_learned_policies(returns: pd.DataFrame, table: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the episodes of policies that have learned."""
    learned = {(*cell, seed) for cell, entry in by_cell(table).items() for seed in learned_seeds(entry)}
    models = returns[[*CELL, "seed"]].itertuples(index=False, name=None)
    return returns[[model in learned for model in models]].reset_index(drop=True)


def kept_returns(returns: pd.DataFrame, table: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Compute mean return, steps and normalised return (`kept`) of learned policies.

    The result has one row per model and variant.
    """
    returns = of_learned_policies(returns, table)
    by = [*CELL, "seed", "variant", "method", "norm", "share"]
    values = ["episode_return", "steps", "size_bytes"]
    means = returns.groupby(by, dropna=False, sort=False)[values].mean().reset_index()
    plain = means[means["variant"] == NO_METHOD].set_index([*CELL, "seed"])["episode_return"]
    known = by_cell(table)
    models = list(means[[*CELL, "seed"]].itertuples(index=False, name=None))
    kept = [
        normalised_return(value, float(plain.get(model, math.nan)), float(known[model[:2]]["random_return"]))
        for value, model in zip(means["episode_return"], models, strict=True)
    ]
    return means.assign(kept=kept)


def survival_curves(kept: pd.DataFrame, confidence: float) -> list[Survival]:
    """Compute one curve per pruning method and norm, over models of every cell and seed.

    The first curve is over all of them; there a model is a policy pruned in one way.
    """
    pruned = kept[kept["method"].isin(PRUNERS)]
    curves = {"all ways of pruning": pruned}
    for (method, norm), own in pruned.groupby(["method", "norm"], dropna=False):
        curves[f"{method} {str(norm).upper()}"] = own
    found = []
    for label, own in curves.items():
        by_share: dict[Any, Estimate | None] = {
            share: survival(values.to_list(), SURVIVES, confidence)
            for share, values in own.groupby("share")["kept"]
        }
        known = {share: one for share, one in by_share.items() if one is not None}
        if known:
            found.append(Survival(label, list(known), list(known.values())))
    return found


def beside_published(
    curves: Sequence[Survival], published: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Pair the source's shares of lost models with ours over all ways of pruning."""
    lines = []
    for said in published:
        found = curves[0].at(float(said["share"]), bool(said["more_than"])) if curves else None
        tested, kept = found or (None, None)
        lost = kept and Estimate(1 - kept.estimate, 1 - kept.high, 1 - kept.low, kept.n)
        lines.append({**said, "tested": tested, "measured": lost})
    return lines


def best_quantizers(kept: pd.DataFrame, confidence: float) -> Quantizers | None:
    """Count which quantizer keeps the most return of a model; ties are counted separately.

    Returns None if no model has more than one quantizer.
    """
    own = kept[kept["method"].isin(QUANTIZERS)]
    table = own.pivot_table(index=[*CELL, "seed"], columns="method", values="episode_return").dropna()
    if len(table.columns) < 2 or table.empty:
        return None
    highest = table.eq(table.max(axis=1), axis=0)
    alone = highest[highest.sum(axis=1) == 1]
    best = {name: share_of(int(alone[name].sum()), len(alone), confidence) for name in table.columns}
    return Quantizers(best, len(table) - len(alone))


def environments_ending_early(returns: pd.DataFrame) -> set[str]:
    """Return the environments in which an episode of some policy has terminated early."""
    ended = returns[returns["terminated"].astype(str).str.lower().isin(("true", "1"))]
    return set(ended["environment"])


def spread_of_steps(returns: pd.DataFrame) -> pd.DataFrame:
    """Compute the spread of each model's episode length, one row per model.

    `variation` is the uncompressed policy's coefficient of variation of steps; `correlation` is Spearman's
    of mean return with mean steps over the variants (NaN if either does not vary).
    """
    rows = []
    for model, own in returns.groupby([*CELL, "seed"]):
        plain = own.loc[own["variant"] == NO_METHOD, "steps"].astype(float)
        means = own.groupby("variant")[["episode_return", "steps"]].mean().rank()
        varies = bool((means.nunique() > 1).all())
        variation = float(plain.std(ddof=1) / plain.mean()) if len(plain) > 1 else math.nan
        correlation = float(np.corrcoef(means.to_numpy().T)[0, 1]) if varies else math.nan
        rows.append((*model, variation, correlation))
    return pd.DataFrame(rows, columns=[*CELL, "seed", "variation", "correlation"])
