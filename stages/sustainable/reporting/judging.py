"""Verdicts on an interval, by where the whole of it lies."""

from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate


def verdict_if(holds: bool, fails: bool) -> str:
    """The verdict on an interval that lies wholly where a claim holds, wholly where it fails, or neither."""
    return CONFIRMED if holds else REFUTED if fails else INCONCLUSIVE


def same_both_ways(verdict: str, clean: str) -> str:
    """The verdict on all rows if that without flagged windows is the same; otherwise inconclusive."""
    return verdict if verdict == clean else INCONCLUSIVE


def above(found: Estimate | None, bound: float) -> str:
    """Confirmed if the whole interval lies above the bound, refuted if below; inconclusive without one."""
    return INCONCLUSIVE if found is None else verdict_if(found.low > bound, found.high < bound)
