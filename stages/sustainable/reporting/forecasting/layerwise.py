"""The later version's search: what each searcher answers, and what its zeros are worth."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from sustainable.reporting.forecasting.results import Results
from sustainable.reporting.names import searcher_name
from sustainable.statistics import Estimate, Ratio, share_interval, student_interval

AGENT, RIVALS = "ppo", ("tpe", "cmaes")
"""The searcher that the claims are about, and those that it is compared with."""


@dataclass(frozen=True)
class SearcherAnswers:
    """The answers of one searcher over its seeds."""

    label: str
    searches: int
    evaluations: float  # mean per search
    distinct: float
    tied: tuple[int, int]  # fewest and most plans that share a search's best reward
    reward: tuple[float, float]  # lowest and highest best reward
    sparsity: tuple[float, float]
    mean_sparsity: Estimate | None  # over seeds; None for a single search
    accuracy: Estimate  # on the test, minus that of the uncompressed network; of a single search, no interval
    sparsities: tuple[float, ...]  # by seed
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class Layerwise:
    """Everything that the later version's rows say."""

    answers: Mapping[str, SearcherAnswers]  # by searcher
    plans: int  # different plans that were evaluated
    deepest_kept: float  # highest sparsity of an int8 plan that loses at most the margin on validation
    deepest_equal: float  # the same among plans with equal shares
    int8_plans: tuple[tuple[float, bool], ...]  # sparsity, and whether the plan loses at most the margin
    time: Mapping[str, Ratio | None]  # CPU time to the baseline, by measured configuration
    measured: Results

    def kept_beyond(self, sparsity: float, confidence: float) -> Estimate | None:
        """The share of int8 plans with more zeros that keep the accuracy, with Wilson's interval.

        None if there is no such plan.
        """
        kept = [keeps for own, keeps in self.int8_plans if own > sparsity]
        hits, n = sum(kept), len(kept)
        return Estimate(hits / n, *share_interval(hits, n, confidence), n) if n else None


def summarise_layerwise(
    searches: pd.DataFrame, plans: pd.DataFrame, measured: Results, margin: float, confidence: float
) -> Layerwise:
    """Summarise the searches. `margin`: loss of validation accuracy that counts as none."""
    dense = plans[(plans["sparsity"] == plans["sparsity"].min()) & ~plans["int8"]].iloc[0]
    int8 = plans[plans["int8"]]
    keeps = int8["accuracy"] >= dense["accuracy"] - margin
    kept = int8[keeps]
    equal = kept[(kept["share_0"] == kept["share_1"]) & (kept["share_1"] == kept["share_readout"])]
    return Layerwise(
        answers={
            str(name): _answers(searcher_name(str(name)), own, confidence)
            for name, own in searches.groupby("searcher", sort=False)
        },
        plans=len(plans),
        deepest_kept=float(kept["sparsity"].max()),
        deepest_equal=float(equal["sparsity"].max()),
        int8_plans=tuple(zip(int8["sparsity"].tolist(), keeps.tolist(), strict=True)),
        time={key: line.compared["cpu_time_ms"].ratio for key, line in measured.lines.items()},
        measured=measured,
    )


def _answers(label: str, own: pd.DataFrame, confidence: float) -> SearcherAnswers:
    def ends(name: str) -> tuple[float, float]:
        return float(own[name].min()), float(own[name].max())

    low, high = ends("tied")
    accuracies = tuple(own["test_accuracy_difference"])
    first = accuracies[0]
    return SearcherAnswers(
        label=label,
        searches=len(own),
        evaluations=float(own["evaluations"].mean()),
        distinct=float(own["distinct"].mean()),
        tied=(int(low), int(high)),
        reward=ends("reward"),
        sparsity=ends("sparsity"),
        mean_sparsity=student_interval(own["sparsity"], confidence),
        accuracy=student_interval(accuracies, confidence) or Estimate(first, first, first, len(own)),
        sparsities=tuple(own["sparsity"]),
        accuracies=accuracies,
    )
