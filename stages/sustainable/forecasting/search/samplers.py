"""Searchers that use Optuna's samplers: TPE and NSGA-II.

Each returns its number of trials, repeated points included.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Ledger, Point, SearchOutcome

Trials = Annotated[int, Field(ge=1)]
Decode = Callable[[optuna.Trial], Point]


@dataclass(frozen=True, config=STRICT)
class TpeParameters:
    """Settings of TPE."""

    trials: Trials  # maximum number of trials; it ends a search that only repeats points
    startup: Annotated[int, Field(ge=1)]  # number of random trials at the start
    multivariate: bool


@dataclass(frozen=True, config=STRICT)
class NsgaParameters:
    """Settings of NSGA-II."""

    trials: Trials  # as for TPE
    population: Annotated[int, Field(ge=2)]  # points per generation


def search_tpe(ledger: Ledger, seed: int, parameters: TpeParameters) -> int:
    """Search with a tree-structured Parzen estimator (Bergstra et al. 2011).

    Widths are ordered integers, targets are categories.
    """
    settings = {"n_startup_trials": parameters.startup, "multivariate": parameters.multivariate}
    sampler = _quiet(lambda: TPESampler(seed=seed, **settings))
    return _search(ledger, sampler, parameters.trials, [("maximize", "reward")])


def search_nsga2(ledger: Ledger, seed: int, parameters: NsgaParameters) -> int:
    """Search with NSGA-II (Deb et al. 2002) on two objectives: ln of CPU time, and lost accuracy.

    Its points are compared by the reward, like those of the other searchers.
    """
    sampler = NSGAIISampler(seed=seed, population_size=parameters.population)
    objectives = [("minimize", "log_cpu_time"), ("minimize", "accuracy_loss")]
    return _search(ledger, sampler, parameters.trials, objectives)


def _decoder(ledger: Ledger) -> Decode:
    """Return a decoder of trials: widths are indices into the ascending axis, targets are categories."""
    widths = ledger.landscape.widths
    names = {" on ".join(target): target for target in ledger.landscape.targets}

    def decode(trial: optuna.Trial) -> Point:
        first, second = (widths[trial.suggest_int(f"width_{layer}", 0, len(widths) - 1)] for layer in (0, 1))
        return Point(first, second, *names[trial.suggest_categorical("target", list(names))])

    return decode


def _search(ledger: Ledger, sampler: BaseSampler, trials: int, objectives: list[tuple[str, str]]) -> int:
    """Run trials until the budget or `trials` is spent; return the number of trials.

    An objective is a direction and a field of `SearchOutcome`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    decode = _decoder(ledger)
    study = optuna.create_study(sampler=sampler, directions=[direction for direction, _ in objectives])

    def values(outcome: SearchOutcome) -> list[float]:
        return [getattr(outcome, name) for _, name in objectives]

    with suppress(BudgetSpent):
        study.optimize(lambda trial: values(ledger.evaluate(decode(trial))), n_trials=trials)
    return len(study.trials)


def _quiet(make: Callable[[], BaseSampler]) -> BaseSampler:
    """Make a sampler without Optuna's warning about experimental options; our version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
