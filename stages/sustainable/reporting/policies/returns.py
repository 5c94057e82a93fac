"""Summaries of study B's episodes: the return of the policies, and what compression keeps of it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable.policies.returns import SURVIVES, normalised_return, share_of, stratified_iqm, survival
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.run import CELL, NO_METHOD, by_cell, learned_seeds
from sustainable.statistics import Estimate, difference_of_shares

QUANTIZERS = ("ptdq", "ptsq", "qat")
PRUNERS = ("unstructured", "structured")
MODEL = [*CELL, "seed"]
ON_POLICY, OFF_POLICY = ("PPO", "TRPO"), ("SAC", "TD3")
"""Kinds of algorithms, as claim B5 compares them."""


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
    models = returns[MODEL].itertuples(index=False, name=None)
    return returns[[model in learned for model in models]].reset_index(drop=True)


def kept_returns(returns: pd.DataFrame, table: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Compute mean return, steps and normalised return (`kept`) of learned policies.

    The result has one row per model and variant.
    """
    means = mean_outcomes(of_learned_policies(returns, table))
    plain = means[means["variant"] == NO_METHOD].set_index(MODEL)["episode_return"]
    known = by_cell(table)
    models = list(means[MODEL].itertuples(index=False, name=None))
    kept = [
        normalised_return(value, float(plain.get(model, math.nan)), float(known[model[:2]]["random_return"]))
        for value, model in zip(means["episode_return"], models, strict=True)
    ]
    return means.assign(kept=kept)


def mean_outcomes(returns: pd.DataFrame) -> pd.DataFrame:
    """Compute mean return, steps and bytes over episodes, one row per model and variant."""
    by = [*MODEL, "variant", "method", "norm", "share"]
    values = ["episode_return", "steps", "size_bytes"]
    return returns.groupby(by, dropna=False, sort=False)[values].mean().reset_index()


@dataclass(frozen=True)
class LengthShare:
    """Share of policies with most of whose variants something holds. Variants of one policy are alike, so
    the policy is the unit."""

    share: Estimate | None  # with Wilson's interval; None without a policy
    by_variant: Estimate | None  # of the variants; printed, but decides nothing
    environments: Sequence[str]


@dataclass(frozen=True)
class Lengths:
    """Lengths of compressed policies' episodes, in environments that can end early."""

    lost: LengthShare  # of variants that have lost their return: episodes shorter by the margin
    kept: LengthShare  # of variants that keep it: episodes that are not


def environments_paying_per_step(returns: pd.DataFrame) -> set[str]:
    """Return the environments in which the return of every episode is its number of steps."""
    counts = returns["episode_return"] == returns["steps"]
    return {str(name) for name, own in counts.groupby(returns["environment"]) if own.all()}


def lengths_by_return(
    kept: pd.DataFrame, early: Collection[str], margin: float, confidence: float
) -> Lengths:
    """Compare the mean length of each variant's episodes with the uncompressed policy's.

    `kept` is from `kept_returns`, `early` holds the environments to count. Episodes are shorter if their
    length is below 1 / (1 + `margin`) of it.
    """
    own = kept[kept["environment"].isin(early) & kept["kept"].notna()]
    plain = own[own["variant"] == NO_METHOD].set_index(MODEL)["steps"]
    own = own[own["variant"] != NO_METHOD].join(plain, on=MODEL, rsuffix="_plain")
    shorter = own["steps"] / own["steps_plain"] < 1 / (1 + margin)
    lost = own["kept"] < SURVIVES
    return Lengths(
        _share_of_policies(own[lost], shorter[lost], confidence),
        _share_of_policies(own[~lost], ~shorter[~lost], confidence),
    )


def _share_of_policies(variants: pd.DataFrame, holds: pd.Series, confidence: float) -> LengthShare:
    """Return the share of policies for most of whose `variants` it `holds`."""
    shares = holds.groupby([variants[name] for name in MODEL]).mean()
    share = share_of(int((shares > 0.5).sum()), len(shares), confidence)
    by_variant = share_of(int(holds.sum()), len(holds), confidence)
    return LengthShare(share, by_variant, sorted(set(variants["environment"])))


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


def largest_surviving(kept: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the largest share by which each policy can be pruned and survives, as the source counts it.

    The unit is a learned policy, whichever norm ranks its units or weights; it survives if it keeps
    `SURVIVES` of its raw return (of a negative return r: if it is not below r - (1 - `SURVIVES`) |r|). By
    method of pruning; 0 for a policy that survives none.
    """
    pruned = kept[kept["method"].isin(PRUNERS)]
    surviving = pruned[_keeps_raw_return(kept).loc[pruned.index]]
    models = pd.MultiIndex.from_frame(kept.loc[kept["variant"] == NO_METHOD, MODEL])
    return {
        method: surviving[surviving["method"] == method]
        .groupby(MODEL)["share"]
        .max()
        .reindex(models, fill_value=0.0)
        for method in PRUNERS
    }


def _keeps_raw_return(means: pd.DataFrame) -> pd.Series:
    """Return for each row whether its raw return survives, see `largest_surviving`."""
    plain = means[means["variant"] == NO_METHOD].set_index(MODEL)["episode_return"]
    bar = (plain - (1 - SURVIVES) * plain.abs()).rename("bar")
    return means["episode_return"] >= means.join(bar, on=MODEL)["bar"]


@dataclass(frozen=True)
class Split:
    """How many policies of each kind of algorithm keep their return under one method."""

    on_policy: Estimate
    off_policy: Estimate
    difference: Estimate  # on-policy minus off-policy
    environments: Sequence[str]  # with policies of both kinds


def split_by_algorithm(means: pd.DataFrame, method: str, confidence: float) -> Split | None:
    """Compare which policies of `ON_POLICY` and of `OFF_POLICY` keep their raw return under `method`.

    `means` is from `mean_outcomes`, of all policies: the source counts those that have not learned, too.
    Only environments with policies of both kinds count: otherwise the environment could explain the
    difference. None without such an environment.
    """
    own = means[means["method"] == method]
    survives, kind = _keeps_raw_return(means).loc[own.index], own["algorithm"]
    both = set.intersection(
        *(set(own.loc[kind.isin(names), "environment"]) for names in (ON_POLICY, OFF_POLICY))
    )
    found = [
        share_of(int(survives[chosen].sum()), int(chosen.sum()), confidence)
        for names in (ON_POLICY, OFF_POLICY)
        for chosen in [kind.isin(names) & own["environment"].isin(both)]
    ]
    on_policy, off_policy = found
    if on_policy is None or off_policy is None:
        return None
    return Split(on_policy, off_policy, difference_of_shares(on_policy, off_policy), sorted(both))


def lost_of(largest: pd.Series, said: Mapping[str, Any], confidence: float) -> Estimate | None:
    """Return the share of policies that do not survive the share (or more than it) of one published line."""
    share = float(said["share"])
    lost = largest <= share + 1e-9 if said["more_than"] else largest < share - 1e-9
    return share_of(int(lost.sum()), len(lost), confidence)


def beside_published(
    curves: Sequence[Survival],
    largest: Mapping[str, pd.Series],
    published: Sequence[Mapping[str, Any]],
    confidence: float,
) -> list[dict[str, Any]]:
    """Pair the source's shares of lost models with ours: counted as it does, by method, and over all ways."""
    lines = []
    for said in published:
        counted = {method: lost_of(own, said, confidence) for method, own in largest.items()}
        found = curves[0].at(float(said["share"]), bool(said["more_than"])) if curves else None
        tested, kept = found or (None, None)
        lost = kept and Estimate(1 - kept.estimate, 1 - kept.high, 1 - kept.low, kept.n)
        lines.append({**said, **counted, "tested": tested, "measured": lost})
    return lines


def best_quantizers(kept: pd.DataFrame, confidence: float) -> Quantizers | None:
    """Count which quantizer keeps the most return of a model; ties are counted separately.

    Returns None if no model has more than one quantizer.
    """
    own = kept[kept["method"].isin(QUANTIZERS)]
    table = own.pivot_table(index=MODEL, columns="method", values="episode_return").dropna()
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
    for model, own in returns.groupby(MODEL):
        plain = own.loc[own["variant"] == NO_METHOD, "steps"].astype(float)
        means = own.groupby("variant")[["episode_return", "steps"]].mean().rank()
        varies = bool((means.nunique() > 1).all())
        variation = float(plain.std(ddof=1) / plain.mean()) if len(plain) > 1 else math.nan
        correlation = float(np.corrcoef(means.to_numpy().T)[0, 1]) if varies else math.nan
        rows.append((*model, variation, correlation))
    return pd.DataFrame(rows, columns=[*CELL, "seed", "variation", "correlation"])
