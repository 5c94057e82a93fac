"""Where a saving comes from: the factor of each change between the baseline and a chosen deployment.

The changes are the runtime, the widths and the precision. Each is made on top of those before it, so a factor
depends on the order; two orders show by how much. The benchmark measures every step in the same blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from sustainable import statistics
from sustainable.reporting.measured_rows import BASELINE, TWIN, by_block
from sustainable.reporting.forecasting.searching import OURS
from sustainable.statistics import Ratio

WIDTHS_ALONE, WITHOUT_PRECISION = "chosen_widths", "chosen_fp32"
"""Configurations between the baseline and the choice: its widths, and then also its runtime."""


@dataclass(frozen=True)
class Factor:
    """One change on the way from the baseline to the chosen deployment."""

    change: str
    to: str  # the deployment after it
    changed: bool  # whether that is another deployment; if not, the factor is noise
    factor: Ratio | None  # CPU time before / after, over training seeds: above 1 the change saves
    share: float  # CPU time after it / that of the baseline


@dataclass(frozen=True)
class Waterfall:
    """All changes in one order, at one batch size."""

    batch_size: int
    order: tuple[str, ...]
    factors: Sequence[Factor]
    whole: Ratio | None  # CPU time of the baseline / that of the chosen deployment

    @property
    def changes(self) -> list[Factor]:
        """The factors of those steps that change the deployment."""
        return [factor for factor in self.factors if factor.changed]


def decompose(
    models: pd.DataFrame, names: Mapping[str, str], sizes: Sequence[int], confidence: float
) -> list[Waterfall]:
    """Decompose the saving of the step-by-step PPO's choice at each batch size and in both orders.

    `models` are the measured rows; `names` are those of deployments (`32x16 bf16 openvino`), by
    configuration. Empty if the steps were not measured.
    """
    if not {WIDTHS_ALONE, WITHOUT_PRECISION} <= names.keys():
        return []
    runtime = names[OURS].split()[-1]
    full = f"{names[BASELINE].split()[0]} fp32 {runtime}"
    runtime_alone = next((key for key, name in names.items() if name == full and key != TWIN), None)
    orders = {
        ("runtime", "widths", "precision"): runtime_alone,
        ("widths", "runtime", "precision"): WIDTHS_ALONE,
    }
    return [
        _waterfall(models, names, size, order, [BASELINE, first, WITHOUT_PRECISION, OURS], confidence)
        for size in sizes
        for order, first in orders.items()
        if first is not None
    ]


def _waterfall(
    models: pd.DataFrame,
    names: Mapping[str, str],
    size: int,
    order: tuple[str, ...],
    steps: Sequence[str],
    confidence: float,
) -> Waterfall:
    rows = models[models["batch_size"] == size]
    own = {key: by_block(rows, key) for key in steps}
    seeds = own[BASELINE]["training_seed"]
    times = {key: cells["cpu_time_ms"] for key, cells in own.items()}
    ratio = partial(statistics.ratio_over_units, units=seeds, confidence=confidence)
    factors = []
    for change, before, after in zip(order, steps, steps[1:], strict=False):
        share = ratio(times[after], times[BASELINE])
        factor = ratio(times[before], times[after])
        changed = names[after] != names[before]
        factors.append(Factor(change, names[after], changed, factor, share.estimate if share else 1.0))
    return Waterfall(size, order, factors, ratio(times[BASELINE], times[steps[-1]]))
