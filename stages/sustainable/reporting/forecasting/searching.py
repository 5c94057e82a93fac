"""Summaries of the comparison of searchers: regret against distinct evaluations, over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.reporting.parameters import ReportParameters

LEARNS_A_POLICY = "ppo"
OURS = "ppo_stepwise"
NEAR_ORACLE = 0.99
"""Share of the oracle's reward that counts as near the oracle."""


@dataclass(frozen=True)
class SearcherLine:
    """One searcher over its seeds. Regret is the oracle's reward minus the best found, in nats."""

    name: str
    is_rl: bool
    curve: statistics.Curve  # mean regret after every distinct evaluation
    mean_regret: statistics.Estimate | None
    final_regret: statistics.Estimate | None
    found: statistics.Estimate  # share of seeds that found the oracle
    near: int  # seeds that reached `NEAR_ORACLE` of the oracle's reward
    near_after: float | None  # median evaluations of those
    against: statistics.Estimate | None  # our PPO's mean regret minus this one's, paired by seed
    seeds: int
    distinct: float  # mean number of distinct evaluations
    cost: Mapping[str, Any]  # without evaluations


@dataclass(frozen=True)
class Searching:
    """Every searcher, the budget of distinct evaluations, and the choices made."""

    lines: Mapping[str, SearcherLine]
    budget: int
    choices: Mapping[str, Any]

    @property
    def best(self) -> SearcherLine:
        """The searcher with the lowest mean regret."""
        return min(self.lines.values(), key=lambda line: float(line.curve.mean.mean()))


def summarise_searches(
    improvements: pd.DataFrame,
    choices: Mapping[str, Any],
    costs: Mapping[str, Any],
    parameters: ReportParameters,
) -> Searching:
    """Summarise the table of improvements (one row each time a search's best reward rose)."""
    budget, oracle = int(choices["budget"]), float(choices["choices"]["oracle"]["reward"])
    by_name = {str(name): own for name, own in improvements.groupby("searcher", sort=False)}
    ours = regret_curves(by_name[OURS], oracle, budget).mean(axis=1)
    lines = {name: _line(name, own, ours, choices, costs[name], parameters) for name, own in by_name.items()}
    return Searching(lines, budget, choices)


def _rises(improvements: pd.DataFrame) -> list[list[tuple[int, float]]]:
    """The evaluation and the new best reward of each rise, by ascending seed."""
    runs = improvements.groupby("seed")
    return [list(zip(run["evaluation"], run["reward"], strict=True)) for _, run in runs]


def regret_curves(improvements: pd.DataFrame, oracle: float, budget: int) -> np.ndarray:
    """Compute simple regret [seeds, budget] of one searcher, by ascending seed."""
    return np.array([statistics.regret_curve(run, oracle, budget) for run in _rises(improvements)])


def _line(
    name: str,
    own: pd.DataFrame,
    ours: np.ndarray,
    choices: Mapping[str, Any],
    cost: Mapping[str, Any],
    parameters: ReportParameters,
) -> SearcherLine:
    """Summarise one searcher; `ours` [seeds] is the mean regret of our PPO."""
    oracle, confidence = float(choices["choices"]["oracle"]["reward"]), parameters.confidence
    curve = regret_curves(own, oracle, int(choices["budget"]))
    regret = curve.mean(axis=1)
    reached = [statistics.evaluations_to_reach(run, oracle, NEAR_ORACLE) for run in _rises(own)]
    near = [count for count in reached if count is not None]
    hits, seeds = int((curve[:, -1] <= 0).sum()), len(curve)
    return SearcherLine(
        name=name,
        is_rl=name.startswith(LEARNS_A_POLICY),
        curve=statistics.mean_curve(curve, *parameters.bootstrap),
        mean_regret=statistics.student_interval(regret, confidence),
        final_regret=statistics.student_interval(curve[:, -1], confidence),
        found=statistics.Estimate(hits / seeds, *statistics.share_interval(hits, seeds, confidence), seeds),
        near=len(near),
        near_after=float(np.median(near)) if near else None,
        against=None if name == OURS else statistics.student_interval(ours - regret, confidence),
        seeds=seeds,
        distinct=float(own.groupby("seed")["distinct"].first().mean()),
        cost=cost,
    )
