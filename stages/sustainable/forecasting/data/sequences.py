"""Labelled sequences: a CSV with one sequence per row. Pure functions over arrays.

Columns named by `label` and `part` hold the class and the part of the data (train, validation, test); all
others are the numbers of the sequence, in their order. Ours is MNIST-1D (see data/raw/README.md).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.forecasting.data.daily import Name, check_numbers, column_fault, read_text
from sustainable.forecasting.data.windows import PART_NAMES, Windows


@dataclass(frozen=True, config=STRICT)
class SequenceParameters:
    """How the rows of a CSV of labelled sequences become windows."""

    layout: Literal["sequences"]  # one row per sequence
    label: Name  # the column of the class
    classes: Annotated[
        list[Name], Field(min_length=2, max_length=1000)
    ]  # the texts in it, in the readout's order
    part: Name  # the column that says where a sequence belongs: train, validation or test
    features: Annotated[int, Field(ge=1)]  # numbers per step of a sequence

    @field_validator("classes")
    @classmethod
    def _must_differ(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise PydanticCustomError("twice", "a class is listed twice")
        return classes


def preprocess_sequences(
    path: Path, parameters: SequenceParameters
) -> tuple[dict[str, Windows], dict[str, Any]]:
    """Read the sequences, standardise them over the training part, and describe the parts.

    The description holds the sequences of every class by part, the rows, and the mean and standard deviation
    of the training numbers by feature. Raises `UserError` with the line and the column of the first fault.
    """
    rows = read_text(path)
    for column in (parameters.label, parameters.part):
        if column not in rows.columns:
            raise UserError(f"{path}: line 1: column {column!r} is missing")
    part, target = rows[parameters.part], _classes_of(path, rows[parameters.label], parameters.classes)
    values = _values(path, rows.drop(columns=[parameters.label, parameters.part]), parameters.features)
    members = {name: np.flatnonzero(part == name) for name in PART_NAMES}
    _refuse_incomplete(path, part, target, members, parameters.classes)
    scaled, mean, deviation = standardise(values, part == "train")
    every = Windows(scaled.astype(np.float32), target, None, np.arange(len(target)))
    return {name: every.take(index) for name, index in members.items()}, {
        **{
            name: {"windows": len(index), "of_class": np.bincount(target[index]).tolist()}
            for name, index in members.items()
        },
        "rows": len(target),
        "scale": {"mean": mean.tolist(), "deviation": deviation.tolist()},
        "shared_rows": dict.fromkeys(PART_NAMES[1:], 0),
    }


def standardise(values: np.ndarray, rows: np.ndarray | pd.Series) -> tuple[np.ndarray, ...]:
    """Give each feature of `values` [n, steps, features] the mean 0 and the deviation 1 over `rows` [n].

    Returns the scaled values, and the means and deviations [features] before. A feature that is constant over
    `rows` has the deviation 0: it becomes 0 there. Scaling to [0, 1] would leave noisy sequences almost
    constant, because single extremes set the range.
    """
    among = values[np.asarray(rows)]
    mean, deviation = among.mean(axis=(0, 1)), among.std(axis=(0, 1))
    return (values - mean) / np.where(deviation > 0, deviation, 1.0), mean, deviation


def _classes_of(path: Path, texts: pd.Series, classes: list[str]) -> np.ndarray:
    """Return the place in `classes` of every text [n] int64."""
    unknown = texts[~texts.isin(classes)]
    if len(unknown):
        raise column_fault(
            path, unknown.index[0], texts.name, f"{unknown.iloc[0]!r} is none of {', '.join(classes)}"
        )
    return np.asarray(texts.map({text: place for place, text in enumerate(classes)}), dtype=np.int64)


def _values(path: Path, columns: pd.DataFrame, features: int) -> np.ndarray:
    """Return the numbers [n, steps, features] float64."""
    count = columns.shape[1]
    if count == 0 or count % features:
        raise UserError(f"{path}: line 1: {count} columns of numbers do not make steps of {features}")
    numbers = np.column_stack([check_numbers(path, columns[name]) for name in columns])
    return numbers.reshape(len(columns), count // features, features)


def _refuse_incomplete(
    path: Path, part: pd.Series, target: np.ndarray, members: dict[str, np.ndarray], classes: list[str]
) -> None:
    """Raise `UserError` for an unknown part, and for a part that lacks a class."""
    unknown = part[~part.isin(PART_NAMES)]
    if len(unknown):
        what = f"{unknown.iloc[0]!r} is none of {', '.join(PART_NAMES)}"
        raise column_fault(path, unknown.index[0], part.name, what)
    for name, index in members.items():
        missing = [text for place, text in enumerate(classes) if place not in target[index]]
        if missing:
            raise UserError(f"{path}: no sequence of {name} has the class {missing[0]!r}; nothing to learn")
