"""Windows: what the forecasters of study A read. Storing, scaling and splitting them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sustainable.core.errors import UserError
from sustainable.core.reading import damaged, one_line
from sustainable.core.tensors import read_tensors, write_tensors

PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Windows:
    """What forecasters read, and what they are to say: windows of days, or whole sequences."""

    inputs: np.ndarray  # [n, days, features] float32; a step of a sequence takes the place of a day
    target: np.ndarray  # [n]: the class, from 0; of days: 1 if the day after the window is positive (wet)
    previous: np.ndarray | None  # [n] in {0, 1}: positive on the last day of the window; None for sequences
    first_day: np.ndarray  # [n]: the row at which the window begins, or which holds the sequence

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: np.ndarray) -> "Windows":
        """Return the windows at `index`, in its order."""
        previous = None if self.previous is None else self.previous[index]
        return Windows(self.inputs[index], self.target[index], previous, self.first_day[index])

    @property
    def classes(self) -> int:
        """Number of classes, if each of them occurs here."""
        return int(self.target.max()) + 1


def as_tensors(part: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [n, days, features] float32, and target [n]: float32 for two classes, else int64."""
    target = torch.from_numpy(part.target)
    return torch.from_numpy(part.inputs), target if part.classes > 2 else target.float()


FIELDS = ("inputs", "target", "previous", "first_day")


def save_windows(path: Path, parts: dict[str, Windows]) -> None:
    """Store parts such as train and test as `train.inputs`, `train.target` and so on."""
    arrays = {f"{part}.{field}": getattr(parts[part], field) for part in parts for field in FIELDS}
    present = {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}
    write_tensors(path, present)


def load_windows(path: Path) -> dict[str, Windows]:
    """Load the stored parts by name; raises `UserError` if the file is missing or damaged."""
    tensors, _ = read_tensors(path)
    parts = sorted({name.split(".")[0] for name in tensors})
    try:
        return {part: _stored(part, tensors) for part in parts}
    except KeyError as error:
        raise UserError(f"{path}: {error} is missing; run `dvc repro preprocess` again") from None
    except (TypeError, ValueError) as error:
        raise damaged(path, f"not windows ({one_line(error)[:200]})") from None


def _stored(part: str, tensors: Mapping[str, torch.Tensor]) -> Windows:
    previous = tensors.get(f"{part}.previous")
    needed = {field: tensors[f"{part}.{field}"].numpy() for field in FIELDS if field != "previous"}
    inputs = needed["inputs"]
    if inputs.ndim != 3 or inputs.dtype != np.float32 or not np.isfinite(inputs).all():
        raise ValueError(f"{part}.inputs: finite float32 [n, days, features] are needed")
    if any(len(array) != len(inputs) or array.ndim != 1 for array in (needed["target"], needed["first_day"])):
        raise ValueError(f"{part}: one target and one first day per window are needed")
    return Windows(previous=None if previous is None else previous.numpy(), **needed)


def scale_min_max(
    values: np.ndarray, rows: slice | np.ndarray = slice(None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale each column of `values` [rows, features] so that its span over `rows` becomes [0, 1].

    Returns the scaled values, and the minima and ranges [features]. Values outside `rows` may leave [0, 1]. A
    column that is constant over `rows` has range 0: its minimum is subtracted, and it is not scaled.
    """
    minimum, span = values[rows].min(axis=0), np.ptp(values[rows], axis=0)
    return (values - minimum) / np.where(span > 0, span, 1.0), minimum, span


def stratified_split(
    target: np.ndarray, test_share: float, validation_share: float, seed: int
) -> dict[str, np.ndarray]:
    """Return the indices of train, validation and test for a random split with equal class shares.

    `validation_share` is of what the test leaves. Overlapping windows land on both sides: this is
    the published protocol, and it leaks.
    """
    from sklearn.model_selection import train_test_split  # here: it takes seconds, and few stages split

    everything = np.arange(len(target))
    try:
        rest, test = train_test_split(everything, test_size=test_share, random_state=seed, stratify=target)
        train, validation = train_test_split(
            rest, test_size=validation_share, random_state=seed, stratify=target[rest]
        )
    except ValueError as error:
        raise UserError(f"preprocess: split: the windows cannot be split: {error}") from None
    return {"train": train, "validation": validation, "test": test}
