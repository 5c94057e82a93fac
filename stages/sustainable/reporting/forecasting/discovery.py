"""Does the published search discover an action? The first maximum of many searches, against chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from sustainable.statistics import Estimate, share_interval


@dataclass(frozen=True)
class Discovery:
    """Which action each search reports, and when it was first sampled."""

    wins: Mapping[int, int]  # searches that report an action, by action
    tied: Sequence[int]  # the actions that share the best reward
    uniform_p: float  # of chi-square against the uniform distribution over the tied actions
    published_wins: int
    published_p: float  # that the published action wins so often by chance, one-sided and exact
    before_updates: int  # searches that sampled their action before the first update of the policy
    last_step: int  # the latest step at which a search first sampled its action; the first is 0

    @property
    def by_chance(self) -> float:
        """How many searches would report each tied action by chance."""
        return self.searches / len(self.tied)

    def published_share(self, confidence: float) -> Estimate:
        """The share of searches that report the published action, with Wilson's interval."""
        interval = share_interval(self.published_wins, self.searches, confidence)
        return Estimate(self.published_wins / self.searches, *interval, self.searches)

    @property
    def searches(self) -> int:
        return sum(self.wins.values())


def summarise_discovery(
    repeated: pd.DataFrame, tied: Sequence[int], actions: int, published: int
) -> Discovery:
    """Summarise repeated searches; `repeated` has the columns action, step and updates."""
    counts = {action: int((repeated["action"] == action).sum()) for action in range(actions)}
    expected = len(repeated) / len(tied)
    observed = [counts[action] for action in tied]
    uniform = stats.chisquare(observed, [expected] * len(tied)) if sum(observed) == len(repeated) else None
    chance = stats.binomtest(counts[published], len(repeated), 1 / len(tied), alternative="greater")
    return Discovery(
        wins=counts,
        tied=tied,
        uniform_p=0.0 if uniform is None else float(uniform.pvalue),
        published_wins=counts[published],
        published_p=float(chance.pvalue),
        before_updates=int((repeated["updates"] == 0).sum()),
        last_step=int(repeated["step"].max()),
    )
