"""What a table holds: the types, ranges and units of its columns, and which cells may be empty.

The columns themselves are declared in `columns`. Writers and readers check against the same declaration.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["integer", "number", "text", "truth"]
LARGEST = 2.0**53
"""Integers beyond it are not exact as floating-point numbers."""
WORTH_NAMING = 1e5
"""Limits beyond it only bound what has to be computed."""
LONGEST_TEXT = 1000
"""More letters than any cell may have."""


@dataclass(frozen=True)
class Column:
    """What the cells of a column hold, in every table that has it."""

    kind: Kind
    meaning: str
    unit: str = ""
    low: float = -LARGEST
    high: float = LARGEST
    values: Sequence[str] = ()
    """The texts that may occur; any if none is named."""

    @property
    def limits(self) -> str:
        """Describe type, values and range in words, for the documentation."""
        if self.values:
            return "one of " + ", ".join(self.values)
        ends = [f"at least {self.low:g}" if abs(self.low) < WORTH_NAMING else ""]
        ends += [f"at most {self.high:g}" if abs(self.high) < WORTH_NAMING else ""]
        return ", ".join(filter(None, [{"truth": "True or False"}.get(self.kind, self.kind), *ends]))

    def fault(self, cells: pd.Series, may_be_empty: bool) -> str | None:
        """Return what is wrong with the first wrong cell, and its line in the file (the header is line 1)."""
        if self.kind == "text":  # names, hashes and reasons repeat, and the first of each is enough
            cells = cells.drop_duplicates()
        is_empty = cells.isna()
        if is_empty.any() and not may_be_empty:
            return f"line {_line(is_empty)}: the cell is empty"
        cells = cells[~is_empty] if is_empty.any() else cells
        wrong = {"text": self._wrong_text, "truth": _wrong_truth}.get(self.kind, self._wrong_number)(cells)
        if not wrong.any():
            return None
        place = int(wrong.to_numpy().argmax())
        return f"line {cells.index[place] + 2}: {str(cells.iloc[place])[:60]!r} is not {self._needed}"

    @property
    def _needed(self) -> str:
        article = "an" if self.limits.startswith("integer") else "a"
        is_named = self.values or self.kind == "truth"
        return self.limits if is_named else f"{article} {self.limits}"

    def _wrong_number(self, cells: pd.Series) -> pd.Series:
        numbers = cells
        if not pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells):
            numbers = pd.to_numeric(cells.where(~cells.map(_is_truth), "").astype(str), errors="coerce")
        values = numbers.to_numpy(dtype=float)
        right = np.isfinite(values) & (values >= self.low) & (values <= self.high)
        if self.kind == "integer":
            right &= values == np.round(values)
        is_text = pd.api.types.is_string_dtype(cells) and bool(right.all())
        return pd.Series(~right | is_text, index=cells.index)

    def _wrong_text(self, cells: pd.Series) -> pd.Series:
        is_text = cells.map(lambda cell: isinstance(cell, str) and 0 < len(cell) <= LONGEST_TEXT)
        return ~(is_text.astype(bool) & (cells.isin(self.values) if self.values else True))


def _is_truth(cell: object) -> bool:
    return isinstance(cell, bool | np.bool_)


def _wrong_truth(cells: pd.Series) -> pd.Series:
    """One wrong cell makes pandas read all cells as text."""
    if pd.api.types.is_bool_dtype(cells):
        return pd.Series(False, index=cells.index)
    wrong = ~cells.map(lambda cell: _is_truth(cell) or cell in ("True", "False")).astype(bool)
    return wrong if wrong.any() else ~cells.map(_is_truth).astype(bool)


def _line(is_wrong: pd.Series) -> int:
    """Return the line of the first wrong cell in the file."""
    return int(is_wrong.index[int(is_wrong.to_numpy().argmax())]) + 2


@dataclass(frozen=True)
class Table:
    """The columns that a reader needs of a table, and what holds for whole rows."""

    needed: Sequence[str]
    empty: Sequence[str] = ()
    """Those of `needed` whose cells may be empty. The cells of all other columns may."""
    filled: Sequence[str] = ()
    """Those of `empty` whose cells have values in the rows that `where` selects."""
    where: Callable[[pd.DataFrame], pd.Series] | None = None
    key: Sequence[str] = ()
    """Columns whose values occur together once."""
    others: Column | None = None
    """What columns hold that are not declared; None if that is not checked."""

    def fault(self, rows: pd.DataFrame, column_of: Callable[[str], Column | None]) -> str | None:
        """Return the first fault of a table, or None."""
        missing = [name for name in self.needed if name not in rows.columns]
        if missing:
            return f"column {missing[0]!r} is missing"
        return next(self._faults(rows, column_of), None)

    def _faults(self, rows: pd.DataFrame, column_of: Callable[[str], Column | None]) -> Iterator[str]:
        for name in rows.columns:
            column = column_of(name) or self.others
            may_be_empty = name not in self.needed or name in self.empty
            if column and (fault := column.fault(rows[name], may_be_empty)):
                yield f"column {name!r}: {fault}"
        if self.where is not None:
            selected = rows.loc[self.where(rows), list(self.filled)]
            for name in self.filled:
                if (is_empty := selected[name].isna()).any():
                    yield f"column {name!r}: line {_line(is_empty)}: the cell is empty"
        if self.key and (twice := rows.duplicated(list(self.key))).any():
            names = " and ".join(self.key)
            yield f"line {_line(twice)}: the values of {names} occur in an earlier line, too"
