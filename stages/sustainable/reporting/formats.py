"""How numbers are printed: by the tables, the templates' filters, and the reasons of claims.

Every function takes the value first and returns text; a missing value prints as `MISSING`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from sustainable.energy.meter import COUNTER
from sustainable.statistics import Estimate, Summary

MISSING = "n/a"
SMALLEST_P = 0.001


def fixed(value: float | None, digits: int) -> str:
    """Print a number with `digits` decimals."""
    return MISSING if value is None else f"{value:.{digits}f}"


NO_DIGIT, ONE_DIGIT, TWO_DIGITS, THREE_DIGITS, FOUR_DIGITS = (partial(fixed, digits=n) for n in range(5))


def grouped(value: float) -> str:
    """Print a whole number with thousands separators: `35,574,272`."""
    return f"{round(value):,}"


def percent(share: float | None) -> str:
    """Print `1.3 %` for 0.013."""
    return MISSING if share is None else f"{100 * share:.1f} %"


def ceiling_share(share: float | None) -> str:
    """Print a share of a ceiling; None means that the ceiling is not comparable with the row."""
    return "ceiling not comparable" if share is None else percent(share)


def declared_percent(share: float) -> str:
    """Print `90 %` for 0.9: a declared share, with no more digits than it was declared with."""
    return f"{100 * share:g} %"


def p_value(p: float | None) -> str:
    """Print three decimals, and below 0.001 only the bound."""
    if p is None:
        return MISSING
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def significant(value: float | None) -> str:
    """Print three significant digits without an exponent: `0.00412`."""
    if value is None or value == 0:
        return MISSING if value is None else "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def interval_text(
    found: Estimate | None,
    digits: int | None = 3,
    *,
    sign: bool = False,
    as_percent: bool = False,
    three_significant: bool = False,
) -> str:
    """Print an estimate with its interval: `0.402 [0.395, 0.411]`.

    Args:
        found: None prints as `MISSING`.
        digits: Decimals. None chooses fewer decimals the larger the numbers are: `3,120 [2,980, 3,210]`.
        sign: Print a plus sign as well: `+0.010 [-0.020, +0.041]`.
        as_percent: `85 % [64 %, 95 %]` for shares.
        three_significant: Three significant digits for each number: `0.0102 [0.0100, 0.0105]`.
    """
    if found is None:
        return MISSING
    if digits is None:
        largest = max(abs(found.low), abs(found.high))
        digits = 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 1 else 4
    plus, unit, factor = "+" if sign else "", " %" if as_percent else "", 100 if as_percent else 1
    estimate, low, high = (
        significant(value) if three_significant else f"{factor * value:{plus},.{digits}f}{unit}"
        for value in (found.estimate, found.low, found.high)
    )
    return f"{estimate} [{low}, {high}]"


small_ratio_text = partial(interval_text, three_significant=True)
"""For a ratio that may be far below 1."""
coarse_text, fine_text, any_size_text = (partial(interval_text, digits=n) for n in (2, 4, None))
difference_text = partial(interval_text, sign=True)
share_text = partial(interval_text, digits=0, as_percent=True)


def signed_text(found: Estimate | None) -> str:
    """Print an estimate without its interval: `+0.010`."""
    return MISSING if found is None else f"{found.estimate:+.3f}"


def span_text(ends: Sequence[int]) -> str:
    """Print `8`, or `1 to 8` if the ends differ."""
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"


def ends_text(ends: Sequence[float]) -> str:
    """Print `0.298`, or `0.298 to 0.627` if the ends differ."""
    low, high = (fixed(value, 3) for value in ends)
    return low if low == high else f"{low} to {high}"


def spread_text(summary: Summary, digits: int) -> str:
    """Print mean ± standard deviation."""
    if summary.mean is None:
        return MISSING
    return f"{summary.mean:.{digits}f} ± {fixed(summary.std, digits)}"


def parts_text(claim: Any) -> str:
    """The verdicts on the parts of a claim: `bytes: confirmed; cost of a step: inconclusive`."""
    return "; ".join(f"{name}: {verdict}" for name, verdict in claim.parts.items())


def words(key: str) -> str:
    """Print a key as words: `logistic_last_day` becomes `logistic last day`."""
    return key.replace("_", " ")


def estimated(evidence: str) -> str:
    """Name the class of evidence of an energy: `counter`, or `an estimate (modelled-load)`."""
    return evidence if evidence == COUNTER else f"an estimate ({evidence})"
