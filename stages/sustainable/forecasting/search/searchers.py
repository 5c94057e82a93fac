"""All searchers by name, and the two simple ones: random search and evolution."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT, Share
from sustainable.forecasting.search import local, mixed_cmaes, ppo, samplers
from sustainable.forecasting.search.landscape import BudgetSpent, Landscape, Ledger, Point
from sustainable.forecasting.search.objective import DeploymentReward


@dataclass(frozen=True, config=STRICT)
class RandomParameters:
    """Random search has no settings."""


@dataclass(frozen=True, config=STRICT)
class EvolutionParameters:
    """Settings of regularised evolution."""

    children: Annotated[int, Field(ge=1)]  # at most; it ends a search that only repeats points
    population: Annotated[int, Field(ge=2)]
    tournament: Annotated[int, Field(ge=1)]  # number of members that compete to be the parent of a child


@dataclass(frozen=True, config=STRICT)
class Searchers:
    """The parameters of each searcher.

    The variants of `ppo_stepwise` are trained with its parameters, so that they differ from it in one thing
    only; their sections here hold only what they add.
    """

    random: RandomParameters
    local_search: local.LocalParameters
    evolution: EvolutionParameters
    tpe: samplers.TpeParameters
    cmaes: mixed_cmaes.CmaesParameters
    nsga2: samplers.NsgaParameters
    ppo_stepwise: ppo.PpoParameters
    ppo_stepwise_unmasked: ppo.UnmaskedParameters
    ppo_stepwise_warm: ppo.WarmParameters
    ppo_published: ppo.PpoParameters
    ppo_continuous: ppo.PpoParameters

    def by_name(self) -> dict[str, Any]:
        """Return the parameters of each function of `SEARCHERS`, in the order of the paper."""
        stepwise = self.ppo_stepwise
        added: dict[str, Any] = {
            "ppo_stepwise_unshaped": stepwise,
            "ppo_stepwise_unmasked": (stepwise, self.ppo_stepwise_unmasked),
            "ppo_stepwise_warm": (stepwise, self.ppo_stepwise_warm),
        }
        return {name: added[name] if name in added else getattr(self, name) for name in SEARCHERS}


@dataclass(frozen=True, config=STRICT)
class TuningParameters:
    """Section `tune_searchers` of params.yaml."""

    settings: Annotated[int, Field(ge=1)]  # settings tried per searcher
    seeds: Annotated[int, Field(ge=1)]  # searches per setting
    first_seed: Annotated[int, Field(ge=0, lt=2**31)]  # the comparison's seeds must not be among them
    grids: dict[str, dict[str, list[Any]]]  # by searcher and setting: the values that are tried


@dataclass(frozen=True, config=STRICT)
class SearchersParameters:
    """Section `compare_searchers` of params.yaml."""

    budgets: Annotated[list[Share], Field(min_length=1)]
    """Distinct evaluations per search, as shares of the grid, ascending. A search with the last gives all."""
    main_budget: Share  # the one of `budgets` at which claims are judged
    seeds: Annotated[int, Field(ge=1, le=1000)]  # searches per ranked searcher
    seeds_unranked: Annotated[int, Field(ge=1, le=1000)]  # searches per searcher that is shown apart
    first_seed: Annotated[int, Field(ge=0, lt=2**31)]  # seed of the first search; the others follow by one
    reward: DeploymentReward
    searchers: Searchers

    def __post_init__(self) -> None:
        if self.budgets != sorted(set(self.budgets)):
            raise ValueError("budgets must be ascending")
        if self.main_budget not in self.budgets:
            raise ValueError("main_budget must be one of budgets")
        if self.seeds_unranked > self.seeds:
            raise ValueError("seeds_unranked must be at most seeds")

    def evaluations(self, landscape: Landscape) -> dict[float, int]:
        """Return the distinct evaluations of each of the budgets; at least one."""
        grid = len(list(landscape.grid()))
        return {share: max(1, round(share * grid)) for share in self.budgets}

    def seeds_of(self, name: str) -> range:
        """Return the seeds of a searcher."""
        count = self.seeds if GROUPS[name] == RANKED else self.seeds_unranked
        return range(self.first_seed, self.first_seed + count)


def search_evolution(ledger: Ledger, seed: int, parameters: EvolutionParameters) -> int:
    """Search with regularised evolution (Real et al. 2019); return the evaluations, repeated ones included.

    The best of a random tournament gets a mutated child, and the oldest member is removed.
    """
    rng = np.random.default_rng(seed)
    grid = list(ledger.landscape.grid())
    population: deque[tuple[Point, float]] = deque(maxlen=parameters.population)  # drops the oldest
    born = 0
    with suppress(BudgetSpent):
        while born < parameters.population + parameters.children:
            if len(population) < parameters.population:
                child = grid[rng.integers(len(grid))]
            else:
                entrants = rng.choice(parameters.population, parameters.tournament, replace=True)
                parent, _ = max((population[index] for index in entrants), key=lambda member: member[1])
                child = _mutated(parent, ledger, rng)
            population.append((child, ledger.evaluate(child).reward))
            born += 1
    return born


def _mutated(point: Point, ledger: Ledger, rng: np.random.Generator) -> Point:
    """Return `point` with another value on one of the axes width 0, width 1 and target."""
    landscape = ledger.landscape
    axes: list[tuple[Any, ...]] = [landscape.widths, landscape.widths, landscape.targets]
    genes: list[Any] = [point.width_0, point.width_1, (point.precision, point.runtime)]
    axis = rng.choice([index for index, values in enumerate(axes) if len(values) > 1])
    others = [value for value in axes[axis] if value != genes[axis]]
    genes[axis] = others[rng.integers(len(others))]
    return Point(genes[0], genes[1], *genes[2])


SEARCHERS: dict[str, Callable[[Ledger, int, Any], int]] = {
    "random": lambda ledger, seed, parameters: ledger.evaluate_random(seed),
    "local_search": local.search_local,
    "evolution": search_evolution,
    "tpe": samplers.search_tpe,
    "cmaes": mixed_cmaes.search_cmaes,
    "nsga2": samplers.search_nsga2,
    "ppo_stepwise": ppo.search_stepwise,
    "ppo_stepwise_unshaped": ppo.search_unshaped,
    "ppo_stepwise_unmasked": ppo.search_unmasked,
    "ppo_stepwise_warm": ppo.search_warm,
    "ppo_published": ppo.search_published,
    "ppo_continuous": ppo.search_continuous,
}
"""A searcher takes a ledger that counts its evaluations, a seed and its parameters. It ends when the budget
is spent and returns its number of steps (evaluations, trials or environment steps).

No searcher reads the budget, so a search with a smaller budget is the beginning of one with a larger budget.
"""

RANKED, ABLATION, OTHER_SPACE = "ranked", "ablation", "other space"
GROUPS: dict[str, str] = (
    dict.fromkeys(SEARCHERS, RANKED)
    | dict.fromkeys(("ppo_stepwise_unshaped", "ppo_stepwise_unmasked", "ppo_stepwise_warm"), ABLATION)
    | dict.fromkeys(("ppo_published", "ppo_continuous"), OTHER_SPACE)
)
"""Searchers that are ranked search the same grid. Ablations search it too, but they are variants of one
searcher. The others search another space: 16 points, or eager PyTorch only."""
