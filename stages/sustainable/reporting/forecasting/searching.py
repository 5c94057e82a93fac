"""Summaries of the comparison of searchers on one task's table: regret and ranks at each budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import Estimate

LEARNS_A_POLICY = "ppo"
OURS = "ppo_stepwise"
NEAR_ORACLE = 0.99
"""Share of the oracle's reward that counts as near the oracle."""
RANKED, ABLATION, OTHER_SPACE = "ranked", "ablation", "other space"
"""Groups of searchers, as choices.json names them. Only those of the first search the same points."""


@dataclass(frozen=True)
class AtBudget:
    """One searcher after a budget of distinct evaluations: means over seeds, with bootstrap intervals."""

    regret: Estimate  # the oracle's reward minus the best found, in nats
    normalised: Estimate  # regret as a share of the range of the grid's rewards
    rank: Estimate | None  # among the ranked searchers, by regret; None for the others
    test_regret: Estimate | None  # None: the table has no test accuracies
    tied: Estimate
    """Share of seeds whose choice the noise cannot tell from the oracle, with Wilson's interval."""


@dataclass(frozen=True)
class SearcherLine:
    """One searcher over its seeds. Regret is the oracle's reward minus the best found, in nats."""

    name: str
    group: str  # `RANKED`, `ABLATION` or `OTHER_SPACE`
    curve: statistics.Curve  # mean regret after every distinct evaluation, up to the largest budget
    at: Mapping[int, AtBudget]  # by budget
    mean_regret: Estimate | None  # over the evaluations of the main budget
    final_regret: Estimate | None  # at the main budget
    found: Estimate  # share of seeds that found the oracle within the main budget
    near: int  # seeds that reached `NEAR_ORACLE` of the oracle's reward
    near_after: float | None  # median evaluations of those
    against: Estimate | None  # our PPO's mean regret minus this one's, paired by seed
    adjusted_p: float | None  # of that difference, by Holm's method over the rivals; None for the others
    ours_is: str | None  # our PPO's mean regret: `lower`, `higher` or `undecided` by that p; None without it
    seeds: int
    distinct: float  # mean number of distinct evaluations
    cost: Mapping[str, Any]  # without evaluations
    main_budget: int

    @property
    def at_main(self) -> AtBudget:
        """What it has found at the main budget."""
        return self.at[self.main_budget]

    @property
    def is_rl(self) -> bool:
        """Whether it learns a policy."""
        return self.name.startswith(LEARNS_A_POLICY)


@dataclass(frozen=True)
class Searching:
    """Every searcher on the table of one task, the budgets of distinct evaluations, and the choices made."""

    lines: Mapping[str, SearcherLine]
    budget: int  # the main one, at which claims are judged
    verdict: str  # whether our PPO has a lower mean regret than every rival
    false_refutations: Estimate  # simulated share of refutations if all searchers were equal to ours
    choices: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The task whose table is searched."""
        return str(self.choices["task"])

    @property
    def tuned_on(self) -> str:
        """The task on whose table the settings were tuned."""
        return str(self.choices["tuned_on"])

    @property
    def budgets(self) -> Mapping[int, float]:
        """Share of the grid's points, by budget of distinct evaluations."""
        return budgets_of(self.choices)

    @property
    def ties(self) -> int:
        """Candidates that the noise cannot tell from the oracle, the oracle included."""
        return len(self.choices["space"]["ties"])

    @property
    def best(self) -> SearcherLine:
        """The ranked searcher with the lowest mean regret over the main budget."""
        return min(self.of(RANKED), key=lambda line: float(line.curve.mean[: self.budget].mean()))

    def of(self, group: str) -> list[SearcherLine]:
        """Return the searchers of a group, in the order of the stage."""
        return [line for line in self.lines.values() if line.group == group]

    @property
    def unranked_seeds(self) -> int:
        """Seeds of the searchers that are not ranked."""
        return min(line.seeds for line in self.lines.values())

    @property
    def rivals(self) -> list[SearcherLine]:
        """The ranked searchers other than ours."""
        return [line for line in self.of(RANKED) if line.name != OURS]


def budgets_of(choices: Mapping[str, Any]) -> dict[int, float]:
    """Return the budgets of choices.json, ascending: distinct evaluations, and their share of the grid."""
    return {
        count: float(share) for share, count in sorted(choices["budgets"].items(), key=lambda one: one[1])
    }


@dataclass(frozen=True)
class Runs:
    """The searches of one searcher, by ascending seed."""

    rises: Sequence[pd.DataFrame]  # per search, one row for each time its best reward rose
    choices: Mapping[str, Any]

    @cached_property
    def curves(self) -> np.ndarray:
        """Simple regret [seeds, largest budget] after each distinct evaluation."""
        best, largest = self.choices["space"]["best_reward"], max(budgets_of(self.choices))
        return np.array([statistics.regret_curve(self._pairs(run), best, largest) for run in self.rises])

    @property
    def regret(self) -> np.ndarray:
        """Mean regret [seeds] over the evaluations of the main budget."""
        mean: np.ndarray = self.curves[:, : self.choices["main_budget"]].mean(axis=1)
        return mean

    def at_budgets(self, column: str) -> np.ndarray:
        """The value of a column for the best point so far, as [seeds, budgets]."""
        budgets = list(budgets_of(self.choices))
        return np.array([self._latest(run, column, budgets) for run in self.rises], dtype=float)

    def reached(self, share: float) -> list[int]:
        """The evaluations after which a search had `share` of the best reward, of those that had it."""
        best, budget = self.choices["space"]["best_reward"], self.choices["main_budget"]
        counts = [statistics.evaluations_to_reach(self._pairs(run), best, share) for run in self.rises]
        return [count for count in counts if count is not None and count <= budget]

    @staticmethod
    def _pairs(run: pd.DataFrame) -> list[tuple[int, float]]:
        return list(zip(run["evaluation"], run["reward"], strict=True))

    @staticmethod
    def _latest(run: pd.DataFrame, column: str, budgets: Sequence[int]) -> np.ndarray:
        places = np.searchsorted(run["evaluation"], budgets, side="right") - 1
        return run[column].to_numpy()[places]


def summarise_searches(
    improvements: pd.DataFrame,
    choices: Mapping[str, Any],
    costs: Mapping[str, Any],
    parameters: ReportParameters,
) -> Searching:
    """Summarise the table of improvements (one row each time a search's best reward rose)."""
    runs = {
        str(name): Runs([run for _, run in own.groupby("seed")], choices)
        for name, own in improvements.groupby("searcher", sort=False)
    }
    ours, ranks = runs[OURS], _ranks_of(runs, choices)
    rivals = [name for name in ranks if name != OURS]
    family = statistics.verdict_on_family(
        np.stack([ours.regret - runs[name].regret for name in rivals]), parameters.confidence
    )
    adjusted = dict(zip(rivals, family.adjusted, strict=True))
    lines = {
        name: _line(
            name,
            own,
            at=_at_budgets(own, ranks.get(name), parameters),
            differences=None if name == OURS else ours.regret[: len(own.rises)] - own.regret,
            adjusted_p=adjusted.get(name),
            cost=costs[name],
            parameters=parameters,
        )
        for name, own in runs.items()
    }
    simulated = statistics.false_refutations(
        ours.regret, len(rivals), parameters.confidence, seed=parameters.seed
    )
    return Searching(lines, int(choices["main_budget"]), family.verdict, simulated, choices)


def _ranks_of(runs: Mapping[str, Runs], choices: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the ranks [seeds, budgets] of the ranked searchers by regret, within seed and budget.

    TPE and NSGA-II begin with the same random points in a seed, because both draw them with Optuna's sampler;
    they are tied until then. Otherwise the searches of one seed share nothing.
    """
    names = [name for name in runs if choices["groups"][name] == RANKED]
    places = [budget - 1 for budget in budgets_of(choices)]
    regrets = np.stack([runs[name].curves[:, places] for name in names])  # [searchers, seeds, budgets]
    by_budget = [statistics.ranks_of(regrets[:, :, index].T) for index in range(len(places))]
    ranks = np.stack(by_budget, axis=1)  # [seeds, budgets, searchers]
    return {name: ranks[:, :, index] for index, name in enumerate(names)}


def _at_budgets(own: Runs, ranks: np.ndarray | None, parameters: ReportParameters) -> dict[int, AtBudget]:
    """Summarise one searcher at each budget; `ranks` [seeds, budgets] are None for one that is not ranked."""
    space, budgets = own.choices["space"], list(budgets_of(own.choices))
    regret = own.curves[:, [budget - 1 for budget in budgets]]

    def over_seeds(values: np.ndarray | None) -> list[Any]:
        if values is None:
            return [None] * len(budgets)
        curve = statistics.mean_curve(values, *parameters.bootstrap)
        ends = zip(curve.mean, curve.low, curve.high, strict=True)
        return [Estimate(float(mean), float(low), float(high), curve.n) for mean, low, high in ends]

    scale = space["best_reward"] - space["worst_reward"]
    best_test = space["best_test_reward"]
    test_regret = None if best_test is None else best_test - own.at_budgets("test_reward")
    columns = (regret, regret / scale if scale else regret, ranks, test_regret)
    tied = [_share(column, parameters.confidence) for column in own.at_budgets("tie").T]
    values = zip(*map(over_seeds, columns), tied, strict=True)
    return {budget: AtBudget(*five) for budget, five in zip(budgets, values, strict=True)}


def _share(hits: np.ndarray, confidence: float) -> Estimate:
    """Return the share of `hits` [n] with Wilson's interval."""
    count, n = int(hits.sum()), len(hits)
    return Estimate(count / n, *statistics.share_interval(count, n, confidence), n)


def _direction(differences: np.ndarray | None, adjusted_p: float | None, confidence: float) -> str | None:
    """Return what a p of `differences` [seeds] says about their mean."""
    if differences is None or adjusted_p is None:
        return None
    if adjusted_p > 1 - confidence:
        return "undecided"
    return "lower" if differences.mean() < 0 else "higher"


def _line(
    name: str,
    own: Runs,
    at: Mapping[int, AtBudget],
    differences: np.ndarray | None,
    adjusted_p: float | None,
    cost: Mapping[str, Any],
    parameters: ReportParameters,
) -> SearcherLine:
    """Summarise one searcher; `differences` [seeds] is our PPO's mean regret minus its own."""
    confidence = parameters.confidence
    near = own.reached(NEAR_ORACLE)
    final = own.curves[:, own.choices["main_budget"] - 1]
    return SearcherLine(
        name=name,
        group=own.choices["groups"][name],
        curve=statistics.mean_curve(own.curves, *parameters.bootstrap),
        at=at,
        mean_regret=statistics.student_interval(own.regret, confidence),
        final_regret=statistics.student_interval(final, confidence),
        found=_share(final <= 0, confidence),
        near=len(near),
        near_after=float(np.median(near)) if near else None,
        against=None if differences is None else statistics.student_interval(differences, confidence),
        adjusted_p=adjusted_p,
        ours_is=_direction(differences, adjusted_p, confidence),
        seeds=len(own.rises),
        distinct=float(np.mean([run["distinct"].iloc[0] for run in own.rises])),
        cost=cost,
        main_budget=int(own.choices["main_budget"]),
    )
