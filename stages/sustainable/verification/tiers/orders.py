"""Tier T3 across kinds of CPU: orders of CPU time that must hold on every host, as verify.yaml declares them.

Each order says that some configurations cost more than the baseline, less, or the same (within the margin of
T3). On one host's rows the interval of the mean log ratio decides, after each seed's mean is subtracted. The
item is `ok` if the interval lies wholly on the declared side, `FAIL` if wholly on another, and otherwise
undecided.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_rows
from sustainable.statistics import Estimate
from sustainable.verification.items import Item, Origin, compared, passed
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import HOSTS, SETTINGS, Place
from sustainable.verification.tiers import statistical
from sustainable.verification.tiers.integrity import shipped_name
from sustainable.verification.tiers.statistical import MEASURED, Margin, MeasuredTable, mean_interval

Side = Literal["more", "less", "the same"]


@dataclass(frozen=True)
class Order:
    """What configurations of a table cost, relative to the baseline of their block."""

    table: str
    configurations: Sequence[str]
    costs: Side
    reason: str
    """The mechanism that does not depend on the kind of CPU."""
    batch_size: int | None = None
    """The batch size at which the order is declared; None: all."""


def declared_orders(root: Path) -> list[Order]:
    """The orders of verify.yaml; raises `UserError` if one is malformed."""
    tables = {measured.path for measured in MEASURED}
    try:
        orders = [Order(**entry) for entry in read_yaml(root / SETTINGS)["orders"]]
    except (KeyError, TypeError):
        raise UserError(f"{SETTINGS}: orders are missing or malformed; restore the file from git") from None
    for order in orders:
        if order.table not in tables or order.costs not in get_args(Side):
            raise UserError(f"{SETTINGS}: orders: {order.table}, {order.costs}: unknown; restore it from git")
    return orders


def check_shipped(place: Place) -> Iterator[Item]:
    """Check the declared orders on the shipped rows, and on those of every other host."""
    declared = read_yaml(place.root / SETTINGS)
    margin = Margin(float(declared["margin"]), float(declared["confidence"]))
    for measured in MEASURED:
        shipped, file = place.reference / shipped_name(measured.path), Path(measured.path).name
        others = [folder / file for folder in sorted((place.root / HOSTS).glob("*"))]
        for path in [shipped, *(path for path in others if path.is_file())]:
            yield from check_table(place, measured, path, margin, "shipped")


def check_table(
    place: Place, measured: MeasuredTable, path: Path, margin: Margin, origin: Origin
) -> Iterator[Item]:
    """Check the orders that are declared for a table on the rows in `path`."""
    orders = [order for order in declared_orders(place.root) if order.table == measured.path]
    if not orders:
        return
    rows = read_rows(path, ("configuration", measured.block, measured.value, *measured.by))
    groups = list(statistical.log_ratios_to_baseline(rows, measured).groupby([*measured.by, "configuration"]))
    shown = path.relative_to(place.root).as_posix()
    for order in orders:
        for (*key, configuration), group in groups:
            sizes = set(group["batch_size"]) if order.batch_size is not None else {None}
            if configuration in order.configurations and sizes == {order.batch_size}:
                name = " ".join([f"{shown}:", *map(str, key), str(configuration)])
                yield check_order(f"{name} costs {order.costs}", group, order.costs, margin, origin)


def check_order(name: str, group: pd.DataFrame, costs: Side, margin: Margin, origin: Origin) -> Item:
    """Check one order; undecided if flagged windows decide it."""
    clean = group[~group["flagged"]]
    sides = [side_of(mean_interval(rows, margin.confidence), costs, margin) for rows in (group, clean)]
    found = mean_interval(group, margin.confidence)
    text = f"{_ratio(found)} times the baseline" if found else "too few blocks for an interval"
    if sides[0] != sides[1] or sides[0] is None:
        flagged = f"; {len(group) - len(clean)} flagged windows" if len(clean) < len(group) else ""
        return Item("T3", name, "skipped", origin, f"undecided: {text}{flagged}")
    if sides[0]:
        return passed("T3", name, origin, text)
    advice = "measure again on an idle machine; if it stays, this kind of CPU contradicts the artifact"
    return compared("T3", name, origin, f"costs {costs}", text, advice=advice)


def side_of(found: Estimate | None, costs: Side, margin: Margin) -> bool | None:
    """Whether a mean log ratio lies wholly on the declared side, or wholly off it; None if neither."""
    if found is None:
        return None
    limit = math.log1p(margin.ratio)
    low, high = {"more": (0.0, math.inf), "less": (-math.inf, 0.0), "the same": (-limit, limit)}[costs]
    if low < found.low and found.high < high:
        return True
    return False if found.high < low or found.low > high else None


def _ratio(found: Estimate) -> str:
    ratios = (math.exp(value) for value in (found.estimate, found.low, found.high))
    return "{:.3f} [{:.3f}, {:.3f}]".format(*ratios)
