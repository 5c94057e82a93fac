"""Settings of searchers, tuned on the table of one task and used on that of another.

A searcher that is tuned on the table on which it is judged looks better than it is. Every searcher gets the
same number of tried settings, and every setting the same seeds.
"""

from collections.abc import Sequence
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np

from sustainable.core.cells import run_cells
from sustainable.core.errors import UserError
from sustainable.forecasting.search.comparison import Search, run_search
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters, TuningParameters
from sustainable.forecasting.search.tuned import Settings, tuned_names, with_settings
from sustainable.statistics import regret_curve


def tune_all(
    task: str,
    landscape: Landscape,
    parameters: SearchersParameters,
    tuning: TuningParameters,
    workers: int | None = None,
) -> dict[str, Any]:
    """Try settings of every ranked searcher on the table of `task`; return the best of each and all tried.

    The measure is the one of the comparison: mean regret over the main budget, averaged over seeds.
    """
    budget = parameters.evaluations(landscape)[parameters.main_budget]
    _check_seeds(parameters, tuning)
    tried = {name: draw_settings(name, tuning) for name in tuned_names()}
    tasks = [
        (landscape, budget, name, seed, with_settings(parameters, name, settings))
        for name, every in tried.items()
        for settings in every
        for seed in range(tuning.first_seed, tuning.first_seed + tuning.seeds)
    ]
    searches = iter(list(run_cells(run_search, tasks, "tuning", workers=workers)))
    best = max(landscape.outcomes[point].reward for point in landscape.grid())
    scored = {
        name: [
            {
                "settings": dict(settings),
                "mean_regret": _mean_regret([next(searches) for _ in range(tuning.seeds)], best, budget),
            }
            for settings in every
        ]
        for name, every in tried.items()
    }
    chosen = {name: min(rows, key=itemgetter("mean_regret"))["settings"] for name, rows in scored.items()}
    return {"task": task, "budget": budget, "seeds": tuning.seeds, "settings": chosen, "tried": scored}


def draw_settings(name: str, tuning: TuningParameters) -> list[Settings]:
    """Draw different settings of a searcher from its grid; raises `UserError` if the grid is too small.

    The seed is that of the first search, so every run tries the same settings.
    """
    grid = tuning.grids.get(name, {})
    every = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())] if grid else []
    count = tuning.settings
    if len(every) < count:
        raise UserError(f"tune_searchers.grids.{name}: {len(every)} settings, but {count} are to be tried")
    drawn = np.random.default_rng(tuning.first_seed).choice(len(every), count, replace=False)
    return [every[index] for index in sorted(drawn)]


def _check_seeds(parameters: SearchersParameters, tuning: TuningParameters) -> None:
    tried = range(tuning.first_seed, tuning.first_seed + tuning.seeds)
    judged = range(parameters.first_seed, parameters.first_seed + parameters.seeds)
    if tried.start < judged.stop and judged.start < tried.stop:
        raise UserError("tune_searchers.first_seed: the seeds overlap those of the comparison")


def _mean_regret(searches: Sequence[Search], best: float, budget: int) -> float:
    """Return the mean over searches of the mean regret over the budget, in nats."""
    curves = [
        regret_curve([(rise.evaluation, rise.reward) for rise in search.improvements], best, budget)
        for search in searches
    ]
    return float(np.mean(curves))
