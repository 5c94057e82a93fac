"""Optuna's samplers as searchers: TPE, CMA-ES, NSGA-II."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, TPESampler
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Ledger, Outcome, Point, Target

Trials = Annotated[int, Field(ge=1)]
Decode = Callable[[optuna.Trial], Point]
SEPARATOR = " on "


@dataclass(frozen=True, config=STRICT)
class TpeParameters:
    """`trials` ends a search that keeps repeating itself; `startup` trials are random."""

    trials: Trials
    startup: Annotated[int, Field(ge=1)]
    multivariate: bool


@dataclass(frozen=True, config=STRICT)
class CmaesParameters:
    """As above; the population is a generation's."""

    trials: Trials
    population: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, config=STRICT)
class Nsga2Parameters:
    """As above; the population is a generation's."""

    trials: Trials
    population: Annotated[int, Field(ge=2)]


def search_tpe(ledger: Ledger, seed: int, parameters: TpeParameters) -> int:
    """Tree-structured Parzen estimator (Bergstra et al. 2011): widths as ordered, targets as categories.
    Gives the number of trials."""
    sampler = _quiet(
        lambda: TPESampler(
            seed=seed, n_startup_trials=parameters.startup, multivariate=parameters.multivariate
        )
    )
    return _search(ledger, sampler, parameters.trials, _mixed(ledger), ["maximize"], lambda o: (o.reward,))


def search_cmaes(ledger: Ledger, seed: int, parameters: CmaesParameters) -> int:
    """CMA-ES with margin (Hamano et al. 2022) over integers. It knows no categories, so the target is
    an index as well, in alphabetical order, which tells it of a distance that means nothing. Gives the
    number of trials."""
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
    """NSGA-II (Deb et al. 2002) on the two objectives apart, ln CPU time and lost accuracy; what it
    finds is judged by the reward like the rest. Gives the number of trials."""
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
    """Widths as indices into the ascending axis (their order means something), targets as categories."""
    landscape, last = ledger.landscape, len(ledger.landscape.widths) - 1
    names = {SEPARATOR.join(target): target for target in landscape.targets}

    def decode(trial: optuna.Trial) -> Point:
        first, second = (trial.suggest_int(name, 0, last) for name in ("width_0", "width_1"))
        target: Target = names[trial.suggest_categorical("target", list(names))]
        return Point(landscape.widths[first], landscape.widths[second], *target)

    return decode


def _search(
    ledger: Ledger,
    sampler: BaseSampler,
    trials: int,
    decode: Decode,
    directions: list[str],
    values: Callable[[Outcome], tuple[float, ...]],
) -> int:
    """Ask and tell until the budget or the trials are used up; gives the number of trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, directions=directions)
    with suppress(BudgetSpent):
        study.optimize(lambda trial: values(ledger.evaluate(decode(trial))), n_trials=trials)
    return len(study.trials)


def _quiet(make: Callable[[], BaseSampler]) -> BaseSampler:
    """Optuna warns that what we ask for may change in later versions; ours is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
