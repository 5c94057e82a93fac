"""What the tables of study A share: columns, cells and notes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sustainable.reporting import formats
from sustainable.reporting.forecasting.summary import days_at_one_per_second
from sustainable.reporting.tables import Column, Spanning
from sustainable.statistics import BreakEven

FOUR = partial(formats.spread_text, digits=4)
EVEN_COLUMNS = (
    Column("Forecasts", format=formats.grouped),
    Column("Interval", format=lambda ends: " to ".join(map(formats.grouped, ends))),
)


def identical(what: str, line: Any, labels: Mapping[str, str]) -> str:
    """Say below a row that it repeats another; printed only where hashes are equal."""
    if not line.same_as:
        return ""
    return f"the same {what} as {labels[line.same_as]}: no difference between them is an effect"


def forecasts(even: BreakEven, days: bool) -> list[Any]:
    """The cells of a break-even, or the reason why there is none."""
    values: list[Any] = [even.inferences, (even.low, even.high)]
    values += [days_at_one_per_second(even)] if days else []
    return values if even.inferences else [Spanning(even.reason, len(values))]
