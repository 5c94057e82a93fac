"""Where a saving comes from: the factor of each change between the baseline and a chosen deployment.

The changes are the runtime, the widths and the precision. Each is made on top of those before it, so a factor
depends on the order; two orders show by how much. CPU times are those of the candidates, which are timed side
by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

ORDERS = (("runtime", "widths", "precision"), ("widths", "runtime", "precision"))
COLUMNS = {"runtime": ["runtime"], "widths": ["width_0", "width_1"], "precision": ["precision"]}


@dataclass(frozen=True)
class Factor:
    """One change on the way from the baseline to the chosen deployment."""

    change: str
    to: str  # what it changes to
    cpu_time_ms: float  # of a forecast after the change
    factor: float  # CPU time before / after: above 1 the change saves


@dataclass(frozen=True)
class Waterfall:
    """All changes in one order, at one batch size."""

    batch_size: int
    order: tuple[str, ...]
    start_ms: float  # CPU time of a forecast of the baseline
    factors: Sequence[Factor]

    @property
    def whole(self) -> float:
        """CPU time of the baseline / that of the chosen deployment."""
        return self.start_ms / self.factors[-1].cpu_time_ms


def decompose(
    candidates: pd.DataFrame, baseline: Mapping[str, Any], chosen: Mapping[str, Any], sizes: Sequence[int]
) -> list[Waterfall]:
    """Decompose the saving of `chosen` against `baseline` at each batch size and in each of `ORDERS`.

    Both are keys of `candidates`. An order of which the table lacks a step (no such kernel on this host) is
    left out.
    """
    found = [_waterfall(candidates, baseline, chosen, size, order) for size in sizes for order in ORDERS]
    return [waterfall for waterfall in found if waterfall]


def _waterfall(
    candidates: pd.DataFrame,
    baseline: Mapping[str, Any],
    chosen: Mapping[str, Any],
    size: int,
    order: tuple[str, ...],
) -> Waterfall | None:
    now = {column: baseline[column] for change in order for column in COLUMNS[change]}
    before = start = _cpu_time_ms(candidates, now, size)
    factors = []
    for change in order:
        now |= {column: chosen[column] for column in COLUMNS[change]}
        after = _cpu_time_ms(candidates, now, size)
        if before is None or after is None:
            return None
        to = "x".join(str(now[column]) for column in COLUMNS[change])
        factors.append(Factor(change, to, after, before / after))
        before = after
    return Waterfall(size, order, start, factors) if start else None


def _cpu_time_ms(candidates: pd.DataFrame, point: Mapping[str, Any], size: int) -> float | None:
    rows = candidates[candidates["family"] != "masked"]
    for column, value in point.items():
        rows = rows[rows[column] == value]
    return None if rows.empty else float(rows[f"cpu_time_ms_batch_{size}"].iloc[0])
