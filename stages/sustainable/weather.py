"""The weather data set: schema, scaling, windows and splits. Pure functions over arrays.

Source: daily observations of Seattle, 2012 to 2015 (see data/raw/README.md).
"""

import csv
from dataclasses import dataclass as plain_dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.model_selection import train_test_split

from sustainable.artifact.errors import UserError
from sustainable.artifact.files import read_tensors, write_tensors
from sustainable.artifact.parameters import STRICT

NUMBERS = ("precipitation", "temp_max", "temp_min", "wind")
CONDITIONS = ("drizzle", "fog", "rain", "snow", "sun")
COLUMNS = ("date", *NUMBERS, "weather")

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class PreprocessParameters:
    """How rows become windows. `scaled_over: all_rows` leaks test rows into the scale, as published."""

    window_days: Annotated[int, Field(ge=1, le=365)]
    features: Annotated[list[Literal[NUMBERS]], Field(min_length=1)]  # type: ignore[valid-type]
    wet: Annotated[list[Literal[CONDITIONS]], Field(min_length=1)]  # type: ignore[valid-type]
    scaled_over: Literal["all_rows"]
    split: Literal["random_stratified"]
    test_share: Share
    validation_share: Share
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]


@plain_dataclass(frozen=True)
class Windows:
    """`inputs` [n, days, features] float32; `target` [n], `previous` [n] in {0, 1}: wet on the day
    after the window, and on its last day; `first_day` [n]: the row at which the window begins."""

    inputs: np.ndarray
    target: np.ndarray
    previous: np.ndarray
    first_day: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: np.ndarray) -> "Windows":
        """The windows at `index`, in its order."""
        return Windows(self.inputs[index], self.target[index], self.previous[index], self.first_day[index])


FIELDS = ("inputs", "target", "previous", "first_day")


def save_windows(path: Path, parts: dict[str, Windows]) -> None:
    """Store parts such as train and test as `train.inputs`, `train.target` and so on."""
    tensors = {
        f"{part}.{field}": torch.from_numpy(getattr(windows, field))
        for part, windows in parts.items()
        for field in FIELDS
    }
    write_tensors(path, tensors)


def load_windows(path: Path) -> dict[str, Windows]:
    """The stored parts by name; raises `UserError` when the file is missing or damaged."""
    tensors, _ = read_tensors(path)
    parts = sorted({name.split(".")[0] for name in tensors})
    try:
        return {part: Windows(*(tensors[f"{part}.{field}"].numpy() for field in FIELDS)) for part in parts}
    except KeyError as error:
        raise UserError(f"{path}: {error} is missing; run `dvc repro preprocess` again") from None


def read_weather(path: Path) -> pd.DataFrame:
    """Read and check the CSV: one row a day without gap, finite numbers, known conditions.

    Raises `UserError` with the line (the header is line 1) and the column of the first fault.
    """
    rows = _read_text(path)
    missing = [column for column in COLUMNS if column not in rows.columns]
    if missing:
        raise UserError(f"{path}: line 1: column {missing[0]!r} is missing (needed: {', '.join(COLUMNS)})")
    if rows.empty:
        raise UserError(f"{path}: line 2: there are no rows; restore the file from git")
    _check_dates(path, rows["date"])
    numbers = {column: _check_numbers(path, rows[column]) for column in NUMBERS}
    for line, condition in enumerate(rows["weather"], start=2):
        if condition not in CONDITIONS:
            raise _fault(path, line, "weather", f"{condition!r} is none of {', '.join(CONDITIONS)}")
    return pd.DataFrame({"date": rows["date"], **numbers, "weather": rows["weather"]})


def _read_text(path: Path) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; restore it from git") from None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = content[content.rfind(b"\n", 0, error.start) + 1 : error.start].count(b",")
        name = COLUMNS[min(column, len(COLUMNS) - 1)]
        raise _fault(path, line, name, "not UTF-8; save the file with that encoding") from None
    header, *rows = list(csv.reader(content.decode("utf-8-sig").splitlines())) or [[]]
    if not header:
        raise UserError(f"{path}: line 1: the file is empty; restore it from git")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {line}: {len(row)} columns, the header has {len(header)}")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _check_dates(path: Path, dates: pd.Series) -> None:
    expected = None
    for line, text in enumerate(dates, start=2):
        try:
            day = date.fromisoformat(text)
        except (TypeError, ValueError):
            raise _fault(path, line, "date", f"{text!r} is not a date (YYYY-MM-DD)") from None
        if expected is not None and day < expected:
            raise _fault(path, line, "date", f"{text} repeats or goes back; {expected} was expected")
        if expected is not None and day > expected:
            raise _fault(path, line, "date", f"there is a gap: {expected} was expected, found {text}")
        expected = day + timedelta(days=1)


def _check_numbers(path: Path, texts: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise _fault(path, int(bad[0]) + 2, str(texts.name), f"{texts.iloc[bad[0]]!r} is not a number")
    return numbers


def _fault(path: Path, line: int, column: str, what: str) -> UserError:
    return UserError(f"{path}: line {line}, column {column!r}: {what}")


def scale_min_max(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale each column of `values` [rows, features] to [0, 1]; also its minima and ranges [features].

    A constant column has range 0 and becomes 0.
    """
    minimum, span = values.min(axis=0), np.ptp(values, axis=0)
    return (values - minimum) / np.where(span > 0, span, 1.0), minimum, span


def make_windows(features: np.ndarray, wet: np.ndarray, days: int) -> Windows:
    """All windows of `days` rows that have a next day.

    `features` [rows, features], `wet` [rows] in {0, 1}; gives rows - days windows, in time order.
    Raises `UserError` when there are not more rows than `days`.
    """
    count = len(features) - days
    if count < 1:
        raise UserError(f"{len(features)} rows give no window of {days} days with a next day")
    starts = np.arange(count)
    inputs = features[starts[:, None] + np.arange(days)].astype(np.float32)
    return Windows(inputs, wet[days:].copy(), wet[days - 1 : -1].copy(), starts)


def stratified_split(
    target: np.ndarray, test_share: float, validation_share: float, seed: int
) -> dict[str, np.ndarray]:
    """Random split with equal class shares: indices of train, validation and test.

    `validation_share` is of what the test leaves. Overlapping windows land on both sides: this is
    the published protocol, and it leaks.
    """
    everything = np.arange(len(target))
    try:
        rest, test = train_test_split(everything, test_size=test_share, random_state=seed, stratify=target)
        train, validation = train_test_split(
            rest, test_size=validation_share, random_state=seed, stratify=target[rest]
        )
    except ValueError as error:
        raise UserError(f"the windows cannot be split: {error}") from None
    return {"train": train, "validation": validation, "test": test}
