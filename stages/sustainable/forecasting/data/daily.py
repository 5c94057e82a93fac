"""Daily tables: schema, scaling, windows and splits. Pure functions over arrays.

The path, the columns, the target and the split come from params.yaml, so another CSV needs other parameters
and no other code. Ours is Seattle, 2012 to 2015 (see data/raw/README.md).
"""

import csv
import re
from dataclasses import dataclass as plain_dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo
from pydantic import field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT, Share
from sustainable.core.reading import one_line, read_bytes
from sustainable.forecasting.data.windows import PART_NAMES, Windows, scale_min_max, stratified_split

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
MOST_BYTES = 2**26
"""More than any data set may take."""
MISSING = ("", "NA", "NaN", "nan", "null")
"""What a cell without a value holds, unless the target's `known` values name it."""
COMPLETE = "give a complete file (restore it from git if it is one of this project)"
SKIP_HINT = "fill it, or set gaps to skip: then the windows that touch the day are left out"


def _iso_date(value: Any) -> date:
    """Parse YYYY-MM-DD only; pydantic and `fromisoformat` also take seconds since 1970, and weeks."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise PydanticCustomError("iso_date", 'a quoted date is needed, such as "2013-12-31"')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("iso_date", "there is no such day in the calendar") from None


IsoDate = Annotated[date, BeforeValidator(_iso_date)]


@dataclass(frozen=True, config=STRICT)
class ValueTarget:
    """A day is positive if the text in `column` is one of `positive`."""

    column: Name
    known: Names  # any other text in the column is an error
    positive: Names

    @field_validator("positive")
    @classmethod
    def _must_be_known(cls, positive: list[str], info: ValidationInfo) -> list[str]:
        if unknown := [text for text in positive if text not in info.data.get("known", positive)]:
            raise PydanticCustomError("unknown", "{text} is not among known", {"text": repr(unknown[0])})
        return positive


@dataclass(frozen=True, config=STRICT)
class ThresholdTarget:
    """A day is positive if the number in `column` is greater than `above`."""

    column: Name
    above: float  # in the column's unit


def _kind_of_target(target: Any) -> str:
    by_number = isinstance(target, dict) and "above" in target
    return "by number" if by_number or isinstance(target, ThresholdTarget) else "by text"


DayTarget = Annotated[
    Annotated[ValueTarget, Tag("by text")] | Annotated[ThresholdTarget, Tag("by number")],
    Discriminator(_kind_of_target),
]


@dataclass(frozen=True, config=STRICT)
class RandomSplit:
    """A random split with equal class shares, as published."""

    method: Literal["random_stratified"]
    test_share: Share  # of all windows
    validation_share: Share  # of the windows that the test leaves
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, config=STRICT)
class ChronologicalSplit:
    """Training first, then validation, then test."""

    method: Literal["chronological"]
    train_until: IsoDate  # last day of training
    validation_until: IsoDate  # last day of validation

    @model_validator(mode="after")
    def _must_be_in_order(self) -> "ChronologicalSplit":
        if self.train_until >= self.validation_until:
            raise PydanticCustomError(
                "order",
                "train_until ({train}) must be earlier than validation_until ({validation})",
                {"train": self.train_until.isoformat(), "validation": self.validation_until.isoformat()},
            )
        return self


@dataclass(frozen=True, config=STRICT)
class DailyParameters:
    """How the rows of a daily CSV become windows."""

    layout: Literal["daily"]  # one row per day
    date: Name  # the column of days
    window_days: Annotated[int, Field(ge=1, le=365)]
    features: Names
    target: DayTarget
    split: Annotated[RandomSplit | ChronologicalSplit, Field(discriminator="method")]
    scaled_over: Literal["all_rows", "training_rows"]  # all_rows leaks test rows, as published
    rows: dict[Name, str] = Field(default_factory=dict)  # column: text; keeps only rows with these texts
    gaps: Literal["refuse", "skip"] = "refuse"
    """What to do if a day has no row, or a cell without a value: refuse the table, or skip every window that
    touches the day, as an input or as the day to forecast."""

    @field_validator("features")
    @classmethod
    def _must_differ(cls, features: list[str]) -> list[str]:
        if len(set(features)) < len(features):
            raise PydanticCustomError("twice", "a column is listed twice")
        return features

    @field_validator("scaled_over")
    @classmethod
    def _must_have_training_rows(cls, scaled_over: str, info: ValidationInfo) -> str:
        if scaled_over == "training_rows" and isinstance(info.data.get("split"), RandomSplit):
            message = "a random split leaves no rows to training only; set split.method to chronological"
            raise PydanticCustomError("no_training_rows", message)
        return scaled_over


@plain_dataclass(frozen=True)
class Table:
    """Consecutive days, one per row."""

    first: date
    features: np.ndarray  # [rows, features] float64; NaN on a missing day
    positive: np.ndarray  # [rows] in {0, 1}; 0 on a missing day

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def missing(self) -> np.ndarray:
        """Whether a day has no row, or a cell without a value [rows]."""
        missing: np.ndarray = np.isnan(self.features).any(axis=1)
        return missing


def preprocess_daily(path: Path, parameters: DailyParameters) -> tuple[dict[str, Windows], dict[str, Any]]:
    """Cut a daily CSV into scaled windows by part, and describe them.

    The description holds the number of windows and the share of wet days by part, the rows of the table, the
    scale by feature, and how many windows share a row with training. If gaps are skipped, also the missing
    days, and the windows that touch one.
    """
    table = read_daily_table(path, parameters)
    scaled, minimum, span = scale_min_max(table.features, rows_to_scale_over(table, parameters))
    every = make_windows(scaled, table.positive, parameters.window_days)
    windows = every.take(whole_windows(table, parameters.window_days))
    parts = split_windows(windows, table, parameters)
    ranges = zip(parameters.features, minimum.tolist(), span.tolist(), strict=True)
    gaps = {"days": int(table.missing.sum()), "windows": len(every) - len(windows)}
    return parts, {
        **({"skipped": gaps} if parameters.gaps == "skip" else {}),
        **{
            name: {"windows": len(part), "wet_share": float(part.target.mean())}
            for name, part in parts.items()
        },
        "rows": len(table),
        "scale": {name: {"minimum": low, "range": width} for name, low, width in ranges},
        "shared_rows": leaks(parts, parameters.window_days),
    }


def read_daily_table(path: Path, parameters: DailyParameters) -> Table:
    """Read and check the CSV: one row per day, finite numbers, known values of the target.

    Only the columns that `parameters` names are needed. The table has every day from the first to the last
    (see `DailyParameters.gaps`). Raises `UserError` with the line (the header is line 1) and the column of
    the first fault.
    """
    rows, target = read_text(path), parameters.target
    needed = list(dict.fromkeys([parameters.date, *parameters.rows, *parameters.features, target.column]))
    for column in needed:
        if (found := list(rows.columns).count(column)) != 1:
            what = "is missing" if found == 0 else f"is there {found} times"
            raise UserError(
                f"{path}: line 1: column {column!r} {what} (needed: {', '.join(needed)}; "
                f"there: {', '.join(map(str, rows.columns)):.200})"
            )
    if rows.empty:
        raise UserError(f"{path}: line 2: there are no rows; {COMPLETE}")
    for column, text in parameters.rows.items():
        rows = rows[rows[column] == text]
        if rows.empty:
            raise UserError(
                f"{path}: column {column!r}: no row holds {text!r}; see preprocess: rows.{column}"
            )
    days = _check_dates(path, rows[parameters.date], parameters.gaps)
    filled = _filled_rows(path, rows, parameters)
    places = np.array([(day - days[0]).days for day in days])
    features = np.full((places[-1] + 1, len(parameters.features)), np.nan)
    positive = np.zeros(len(features), dtype=np.int64)
    rows, places = rows[filled], places[filled]
    features[places] = np.column_stack([check_numbers(path, rows[column]) for column in parameters.features])
    positive[places] = _label(path, rows[target.column], target)
    return Table(days[0], features, positive)


def _filled_rows(path: Path, rows: pd.DataFrame, parameters: DailyParameters) -> np.ndarray:
    """Return the rows in which every needed cell has a value [rows].

    Raises `UserError` for the first that has none if gaps are refused, and if no row is left.
    """
    filled = np.ones(len(rows), dtype=bool)
    known = getattr(parameters.target, "known", ())
    for column in dict.fromkeys([*parameters.features, parameters.target.column]):
        values = set(known) if column == parameters.target.column else set()
        empty = rows[column].isin(set(MISSING) - values).to_numpy()
        if empty.any() and parameters.gaps == "refuse":
            cell = rows[column][empty]
            what = f"the value is missing (found {cell.iloc[0]!r}); {SKIP_HINT}"
            raise column_fault(path, cell.index[0], column, what)
        filled &= ~empty
    if not filled.any():
        raise UserError(f"{path}: every row has a cell without a value; nothing is left to forecast")
    return filled


def read_text(path: Path) -> pd.DataFrame:
    """Read the cells as text; the index is the line in the file."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; name a file that is there, or restore it from git") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _encoding_fault(path, content, error.start) from None
    try:
        header, *rows = list(csv.reader(text.splitlines())) or [[]]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table ({one_line(error)}); {COMPLETE}") from None
    if not header:
        raise UserError(f"{path}: line 1: the file is empty; {COMPLETE}")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {line}: {len(row)} columns, the header has {len(header)}")
    return pd.DataFrame(rows, columns=header, index=range(2, len(rows) + 2), dtype=object)


def _encoding_fault(path: Path, content: bytes, position: int) -> UserError:
    before = content[:position].decode("utf-8-sig", errors="ignore")
    cells = before.rpartition("\n")[2].split(",")  # roughly: a comma may also stand in quotes
    # The header itself may be what is damaged (UTF-16, say): its readable letters still name the column.
    line_1 = content.partition(b"\n")[0].decode("utf-8-sig", errors="ignore").replace("\0", "").strip()
    header = line_1.split(",")
    name = header[min(max(len(cells) - 1, 0), len(header) - 1)]
    return column_fault(path, before.count("\n") + 1, name, "not UTF-8; save the file with that encoding")


def _check_dates(path: Path, dates: pd.Series, gaps: str) -> list[date]:
    """Return the days; raises `UserError` unless each is later than the one before.

    If gaps are refused, it must be the next day.
    """
    days: list[date] = []
    expected = None
    for line, text in dates.items():
        try:
            day = date.fromisoformat(text)
        except (TypeError, ValueError):
            raise column_fault(path, line, dates.name, f"{text!r} is not a date (YYYY-MM-DD)") from None
        if expected is not None and day < expected:
            raise column_fault(
                path, line, dates.name, f"{text} repeats or goes back; {expected} was expected"
            )
        if expected is not None and day > expected and gaps == "refuse":
            what = f"there is a gap: {expected} was expected, found {text}; {SKIP_HINT}"
            raise column_fault(path, line, dates.name, what)
        days.append(day)
        expected = day + timedelta(days=1)
    return days


def check_numbers(path: Path, texts: pd.Series) -> np.ndarray:
    """Return a column as float64 [rows]; raises `UserError` for the first cell that is no finite number."""
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise column_fault(path, texts.index[bad[0]], texts.name, f"{texts.iloc[bad[0]]!r} is not a number")
    return numbers


def _label(path: Path, texts: pd.Series, target: ValueTarget | ThresholdTarget) -> np.ndarray:
    """Return 1 for each positive day and 0 for the others [rows]."""
    if isinstance(target, ThresholdTarget):
        return (check_numbers(path, texts) > target.above).astype(np.int64)
    unknown = texts[~texts.isin(target.known)]
    if len(unknown):
        what = f"{unknown.iloc[0]!r} is none of {', '.join(target.known)}"
        raise column_fault(path, unknown.index[0], texts.name, what)
    return np.asarray(texts.isin(target.positive), dtype=np.int64)


def column_fault(path: Path, line: Any, column: Any, what: str) -> UserError:
    """Return the error for a cell."""
    return UserError(f"{path}: line {line}, column {column!r}: {what}")


def rows_to_scale_over(table: Table, parameters: DailyParameters) -> np.ndarray:
    """Return the rows that the scale is fitted on: all of them, or those of training; no missing day.

    Raises `UserError` if none is left.
    """
    stop = len(table)
    if parameters.scaled_over == "training_rows" and isinstance(parameters.split, ChronologicalSplit):
        stop = rows_of_parts(table, parameters.split)["train"].stop
    rows = np.flatnonzero(~table.missing[:stop])
    if not rows.size:
        raise UserError("preprocess: split.train_until: every day of training is missing; move it")
    return rows


def whole_windows(table: Table, days: int) -> np.ndarray:
    """Return the windows of `days` days, as `make_windows` makes them, that touch no missing day.

    Raises `UserError` if there is none.
    """
    before = np.concatenate([[0], np.cumsum(table.missing)])  # missing days before each row
    whole = np.flatnonzero(before[days + 1 :] == before[: -days - 1])
    if not whole.size:
        raise UserError(
            f"preprocess: window_days: every window of {days} days with a next day touches a missing day"
        )
    return whole


def make_windows(features: np.ndarray, positive: np.ndarray, days: int) -> Windows:
    """Make all windows of `days` rows that have a next day, in time order.

    `features` [rows, features], `positive` [rows] in {0, 1}; there are rows - days windows. Raises
    `UserError` if that is less than one.
    """
    count = len(features) - days
    if count < 1:
        raise UserError(
            f"preprocess: window_days: {len(features)} rows give no window of {days} days with a next day"
        )
    starts = np.arange(count)
    inputs = features[starts[:, None] + np.arange(days)].astype(np.float32)
    return Windows(inputs, positive[days:].copy(), positive[days - 1 : -1].copy(), starts)


def split_windows(windows: Windows, table: Table, parameters: DailyParameters) -> dict[str, Windows]:
    """Split `windows`, made from all rows of `table`, into train, validation and test.

    Raises `UserError` if a part is empty or holds only one class.
    """
    split = parameters.split
    if isinstance(split, RandomSplit):
        index = stratified_split(windows.target, split.test_share, split.validation_share, split.seed)
    else:
        index = chronological_split(windows.first_day, parameters.window_days, rows_of_parts(table, split))
    parts = {name: windows.take(chosen) for name, chosen in index.items()}
    for name, part in parts.items():
        if len(np.unique(part.target)) < 2:
            kind = "positive" if part.target[0] else "negative"
            raise UserError(
                f"preprocess: target: every day to forecast in {name} is {kind}; nothing to learn"
            )
    return parts


def rows_of_parts(table: Table, split: ChronologicalSplit) -> dict[str, range]:
    """Return the rows of train, validation and test; raises `UserError` if a date leaves one without rows."""
    last = table.first + timedelta(days=len(table) - 1)
    for key, until in (("train_until", split.train_until), ("validation_until", split.validation_until)):
        if not table.first <= until < last:
            raise UserError(
                f"preprocess: split.{key}: {until} must be a day of the data before the last"
                f" (they are {table.first} to {last})"
            )
    ends = [(until - table.first).days + 1 for until in (split.train_until, split.validation_until)]
    return dict(zip(PART_NAMES, (range(*pair) for pair in pairwise([0, *ends, len(table)])), strict=True))


def chronological_split(first_day: np.ndarray, days: int, parts: dict[str, range]) -> dict[str, np.ndarray]:
    """Return the windows that lie wholly in each part: all their `days` rows and the target's row.

    `first_day` [n] is the row at which each window begins; windows that cross a boundary are in no part.
    Raises `UserError` if a part gets none.
    """
    split = {}
    for name, rows in parts.items():
        split[name] = np.flatnonzero((first_day >= rows.start) & (first_day + days < rows.stop))
        if not split[name].size:
            raise UserError(
                f"preprocess: split: the {len(rows)} rows of {name} hold no window of {days} days with"
                " a next day; move train_until or validation_until, or lower window_days"
            )
    return split


def leaks(parts: dict[str, Windows], days: int) -> dict[str, int]:
    """Count the windows of each other part that share a row, input or target, with a window of `train`.

    A window of `days` days that begins at row r has the rows r to r + days; the last is its target's. A scale
    fitted on rows outside training is not counted here.
    """
    rows = {name: part.first_day[:, None] + np.arange(days + 1) for name, part in parts.items()}
    train = rows.pop("train")
    return {name: int(np.isin(used, train).any(axis=1).sum()) for name, used in rows.items()}
