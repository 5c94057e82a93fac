"""Why hosts differ: what each reaches per precision and runtime, as a share of its own ceilings.

A ceiling is the highest rate of operations of a core in one precision. Only benchmarks of this run measure it
(`sustainable.measuring.roofline`), in fp32, int8 and, where the processor has the instructions, in bf16.
Otherwise it is estimated by the highest rate that any candidate reached on the host in that precision. The
true ceiling is not lower, so a share of an estimate is an upper bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sustainable.reporting.forecasting.transfer import TARGET, searched

REFERENCE = "fp32"
DESCRIBED = ("vendor", "family", "model", "stepping", "cpu", "isa")
Target = tuple[str, str]  # precision, runtime


@dataclass(frozen=True)
class Reached:
    """The highest rate of a precision and runtime on a host, over networks and batch sizes."""

    to_fp32: float  # relative to the highest rate in fp32 on the host, so that hosts can be compared
    of_ceiling: float | None  # share of the ceiling of its precision; None if this rate is its only estimate


@dataclass(frozen=True)
class TargetReach:
    """What one precision and runtime reaches on every host that measured it."""

    precision: str
    runtime: str
    by_host: Mapping[str, Reached]


def target_reach(
    tables: Mapping[str, pd.DataFrame], sizes: Sequence[int], measured: Mapping[str, Mapping[str, float]]
) -> list[TargetReach]:
    """Relate the highest rates to the host's highest in fp32, and to its ceilings.

    `tables`: candidates by host. `measured`: FLOP/s of the measured ceilings, by host and precision.
    """
    found: dict[Target, dict[str, Reached]] = {}
    for host, table in tables.items():
        rates = highest_rates(table, sizes)
        known, estimated = valid_ceilings(rates, measured.get(host, {})), estimated_ceilings(rates)
        for (precision, runtime), rate in rates.items():
            sets_it = precision not in known and rate == estimated[precision]
            share = None if sets_it else rate / (estimated | known)[precision]
            reached = Reached(rate / estimated[REFERENCE], share)
            found.setdefault((precision, runtime), {})[host] = reached
    return [TargetReach(*target, by_host) for target, by_host in sorted(found.items())]


def highest_rates(table: pd.DataFrame, sizes: Sequence[int]) -> dict[Target, float]:
    """Return the highest FLOP/s of every precision and runtime, over networks and batch sizes.

    Operations are those of the dense network in fp32: those of int8 count as one each, too.
    """
    rows = searched(table)
    times_s = rows[[f"cpu_time_ms_batch_{size}" for size in sizes]].min(axis=1) / 1000
    highest = (rows["flops"] / times_s).groupby(level=TARGET).max().reset_index()
    found = highest.itertuples(index=False, name=None)
    return {(str(precision), str(runtime)): float(rate) for precision, runtime, rate in found}


def estimated_ceilings(rates: Mapping[Target, float]) -> dict[str, float]:
    """Return the highest rate of every precision."""
    return {
        precision: max(rate for (own, _), rate in rates.items() if own == precision) for precision, _ in rates
    }


def valid_ceilings(rates: Mapping[Target, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Return the measured ceilings that no candidate exceeds; one that is exceeded is none."""
    highest = estimated_ceilings(rates)
    return {name: rate for name, rate in measured.items() if rate >= highest.get(name, float("inf"))}


def same_host(here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether two descriptions of this run's hosts name the same CPU, as far as they were recorded."""
    return all(here.get(key) == there.get(key) for key in DESCRIBED)
