"""Searchers that use Optuna's samplers: TPE, CMA-ES and NSGA-II.

Each returns its number of trials, repeated points included.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, TPESampler
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import (
    BudgetSpent,
    Ledger,
    SearchOutcome,
    Point,
    SearchTarget,
)

Trials = Annotated[int, Field(ge=1)]
Decode = Callable[[optuna.Trial], Point]
TARGET_SEPARATOR = " on "


@dataclass(frozen=True, config=STRICT)
class TpeParameters:
    """Settings of TPE."""

    trials: Trials  # maximum number of trials; it ends a search that only repeats points
    startup: Annotated[int, Field(ge=1)]  # number of random trials at the start
    multivariate: bool


@dataclass(frozen=True, config=STRICT)
class CmaesParameters:
    """Settings of CMA-ES."""

    trials: Trials  # maximum number of trials; it ends a search that only repeats points
    population: Annotated[int, Field(ge=2)]  # points per generation


@dataclass(frozen=True, config=STRICT)
class Nsga2Parameters:
    """Settings of NSGA-II."""

    trials: Trials  # maximum number of trials; it ends a search that only repeats points
    population: Annotated[int, Field(ge=2)]  # points per generation


def search_tpe(ledger: Ledger, seed: int, parameters: TpeParameters) -> int:
    """Search with a tree-structured Parzen estimator (Bergstra et al. 2011).

    Widths are ordered integers, targets are categories.
    """
    sampler = _quiet(
        lambda: TPESampler(
            seed=seed, n_startup_trials=parameters.startup, multivariate=parameters.multivariate
        )
    )
    return _search(ledger, sampler, parameters.trials, _mixed(ledger), ["maximize"], lambda o: (o.reward,))


def search_cmaes(ledger: Ledger, seed: int, parameters: CmaesParameters) -> int:
    """Search with CMA-ES with margin (Hamano et al. 2022) over integers.

    CMA-ES has no categories, so the target is an index too, in alphabetical order. The distance between such
    indices has no meaning.
    """
    landscape, last = ledger.landscape, len(ledger.landscape.widths) - 1

    def decode(trial: optuna.Trial) -> Point:
        first, second = (trial.suggest_int(name, 0, last) for name in ("width_0", "width_1"))
        target = landscape.targets[trial.suggest_int("target", 0, len(landscape.targets) - 1)]
        return Point(landscape.widths[first], landscape.widths[second], *target)

    sampler = _quiet(
        lambda: CmaEsSampler(
            seed=seed, popsize=parameters.population, with_margin=True, warn_independent_sampling=False
        )
    )
    return _search(ledger, sampler, parameters.trials, decode, ["maximize"], lambda o: (o.reward,))


def search_nsga2(ledger: Ledger, seed: int, parameters: Nsga2Parameters) -> int:
    """Search with NSGA-II (Deb et al. 2002) on two objectives: ln of CPU time, and lost accuracy.

    Its points are compared by the reward, like those of the other searchers.
    """
    sampler = NSGAIISampler(seed=seed, population_size=parameters.population)
    return _search(
        ledger,
        sampler,
        parameters.trials,
        _mixed(ledger),
        ["minimize", "minimize"],
        lambda o: (o.log_cpu_time, o.accuracy_loss),
    )


def _mixed(ledger: Ledger) -> Decode:
    """Return a decoder with widths as indices into the ascending axis, and targets as categories."""
    landscape, last = ledger.landscape, len(ledger.landscape.widths) - 1
    names = {TARGET_SEPARATOR.join(target): target for target in landscape.targets}

    def decode(trial: optuna.Trial) -> Point:
        first, second = (trial.suggest_int(name, 0, last) for name in ("width_0", "width_1"))
        target: SearchTarget = names[trial.suggest_categorical("target", list(names))]
        return Point(landscape.widths[first], landscape.widths[second], *target)

    return decode


def _search(
    ledger: Ledger,
    sampler: BaseSampler,
    trials: int,
    decode: Decode,
    directions: list[str],
    values: Callable[[SearchOutcome], tuple[float, ...]],
) -> int:
    """Run trials until the budget or `trials` is spent; return the number of trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, directions=directions)
    with suppress(BudgetSpent):
        study.optimize(lambda trial: values(ledger.evaluate(decode(trial))), n_trials=trials)
    return len(study.trials)


def _quiet(make: Callable[[], BaseSampler]) -> BaseSampler:
    """Make a sampler without Optuna's warning about experimental options; our version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
