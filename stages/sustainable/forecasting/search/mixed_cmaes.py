"""CMA-ES for ordered widths and a category: CatCMA with margin, with restarts."""

from contextlib import suppress
from typing import Annotated

import numpy as np
from cmaes import CatCMAwM
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Landscape, Ledger, Point


@dataclass(frozen=True, config=STRICT)
class CmaesParameters:
    """Settings of CMA-ES."""

    trials: Annotated[int, Field(ge=1)]  # about the maximum number of trials; ends a search that only repeats
    population: Annotated[int, Field(ge=4)]  # points per generation before the first restart
    growth: Annotated[int, Field(ge=1)]  # factor of the population at each restart; 2 is IPOP, 1 keeps it
    spread: Annotated[float, Field(gt=0.0, le=1.0)]  # first standard deviation, as a share of the axis
    patience: Annotated[int, Field(ge=1)]  # generations without a new point until a restart


def search_cmaes(ledger: Ledger, seed: int, parameters: CmaesParameters) -> int:
    """Search with CatCMA with margin (Hamano et al. 2025); return its trials, repeated points included.

    Widths are ordered integers, and the target is a category. As in IPOP (Auger and Hansen 2005), the search
    starts again from a random mean, with a larger population, when a run has converged. On a finite grid
    that includes a run that only repeats points.
    """
    rng = np.random.default_rng(seed)
    population = parameters.population
    with suppress(BudgetSpent):
        while ledger.requests < parameters.trials:
            _run(_optimizer(ledger.landscape, population, rng, parameters.spread), ledger, parameters)
            population *= parameters.growth
    return ledger.requests


def _optimizer(landscape: Landscape, population: int, rng: np.random.Generator, spread: float) -> CatCMAwM:
    """Return an optimizer with a random mean. An axis with one value is no variable of it."""
    widths, targets = len(landscape.widths), len(landscape.targets)
    deviation = spread * (widths - 1)
    ordered = {
        "z_space": [list(range(widths))] * 2,
        "mean": rng.uniform(0, widths - 1, size=2),
        "cov": np.diag([deviation**2] * 2),
    }
    category = {"c_space": [targets]}
    return CatCMAwM(
        **(ordered if widths > 1 else {}),
        **(category if targets > 1 else {}),
        population_size=population,
        seed=int(rng.integers(2**31)),
    )


def _run(optimizer: CatCMAwM, ledger: Ledger, parameters: CmaesParameters) -> None:
    """Evaluate generations until the optimizer stops, only repeats points, or the trials are spent."""
    stale = 0
    while stale < parameters.patience and ledger.requests < parameters.trials:
        known = ledger.distinct
        asked = [optimizer.ask() for _ in range(optimizer.population_size)]
        # the optimizer minimises
        optimizer.tell([(one, -ledger.evaluate(_point(one, ledger.landscape)).reward) for one in asked])
        stale = 0 if ledger.distinct > known else stale + 1
        # without ordered axes there is nothing whose convergence it could tell
        if len(ledger.landscape.widths) > 1 and optimizer.should_stop():
            return


def _point(solution: CatCMAwM.Solution, landscape: Landscape) -> Point:
    """Return the point of a solution: indices of both widths, and the target one-hot [1, targets]."""
    first, second = (0, 0) if solution.z is None else (round(float(index)) for index in solution.z)
    target = 0 if solution.c is None else int(np.argmax(solution.c[0]))
    return Point(landscape.widths[first], landscape.widths[second], *landscape.targets[target])
