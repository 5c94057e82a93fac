"""Tier T2: how far numbers may be off, column by column, and whether they are.

A tolerance is `FACTOR` times the largest difference that was measured between runs of the same code with the
determinism pins and without (stages/tolerances.py). It is derived anew whenever it is read, so that nobody
can widen one alone. Imports no torch: verifying must be quick.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sustainable.core.errors import UserError
from sustainable.core.files import read_json

FACTOR = 10.0
"""How many times the largest difference is tolerated: other CPUs differ by more than one CPU's kernels."""

TENSORS = "tensors"
"""The column that all tensors of a file are; its tolerance is one for all of them."""

FORECASTS, HITS = "forecasts", "*.hits.csv"
"""The column that all columns of such a table are (1: the forecast is right); the share that flips counts."""

IGNORED = ("cpu_time_*", "log_cpu_time", "*sha256")
"""Columns without numbers to recompute: measured times are another tier's, hashes the exact one's."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "history.csv": ("seed", "epoch"),
    "narrow.csv": ("method", "seed", "width_0", "width_1"),
    "candidates.csv": (
        "family",
        "width_0",
        "width_1",
        "masked_share",
        "scope",
        "precision",
        "runtime",
    ),
    "actions.csv": ("action",),
    "curve.csv": ("step",),
    "improvements.csv": ("searcher", "seed", "evaluation"),
    "repairs.csv": ("seed", "variant"),
    "*.hits.csv": ("training_seed", "first_day"),
    "learning.csv": ("environment", "algorithm", "seed", "step"),
    "returns.csv": ("environment", "algorithm", "seed", "variant", "episode"),
}
"""What tells the rows of a table apart, by file name; the rows of any other table are taken by position."""

Cells = dict[str, dict[str, str]]
"""Column -> place in the file -> what is printed there; an empty cell is missing."""


@dataclass(frozen=True)
class Difference:
    """What was found in one column, or in the structure of a file.

    `rows`: how many values were compared. `largest`: the largest absolute difference, for a column of 0 and 1
    the share of rows that differ, for text and structure None; `where` it is. `tolerance`: what is allowed;
    without one everything must be equal. `problem`: what is wrong besides numbers, or "".
    """

    column: str
    rows: int
    largest: float | None
    where: str
    tolerance: float | None
    within: bool
    problem: str = ""

    @property
    def line(self) -> str:
        """One line about it."""
        if self.problem:
            return f"{self.column}: {self.problem} (at {self.where})"
        allowed = f"{self.tolerance:.2g} allowed" if self.tolerance else "none allowed"
        return f"{self.column}: {self.largest:.2g} off at {self.where}, {allowed} ({self.rows} values)"


@dataclass(frozen=True)
class Pair:
    """One column of two files side by side: numbers [n] (float64, no NaN), and `place` of the i-th.

    `unit`: one of the last printed digit; `whole`: integers. `declared`: the column that its tolerance is
    declared for, which many may share: of `FORECASTS` the share of rows that differ counts."""

    column: str
    expected: np.ndarray
    found: np.ndarray
    place: Callable[[int], str]
    unit: float
    whole: bool
    declared: str

    def largest(self) -> tuple[float, float, str]:
        """The largest difference, the same as a share of the column's largest number, and where it is."""
        if not len(self.expected):
            return 0.0, 0.0, ""
        off = np.abs(self.found - self.expected)
        at = int(off.argmax())
        if self.declared == FORECASTS:
            share = float((off > 0).mean())
            return share, share, self.place(at)
        scale = float(np.abs(self.expected).max()) or 1.0
        return float(off[at]), float(off[at]) / scale, self.place(at)


def derive(largest: float, relative: float, unit: float, whole: bool) -> float | None:
    """The tolerance of a column whose largest measured difference is `largest`.

    `FACTOR` times that, and at least `unit`, one of the last printed digit; 0 for whole numbers that never
    differed; None, because no tolerance fits, where it would be as large as the column's numbers themselves:
    `relative` is the largest difference as a share of them.
    """
    if largest == 0 and whole:
        return 0.0
    return None if FACTOR * relative >= 1 else max(FACTOR * largest, unit)


def tolerances_of(path: Path) -> dict[str, dict[str, float | None]]:
    """Tolerances by pattern of artifact and column, from what stages/tolerances.py has written.

    Each is derived again from the differences that were measured. Raises `UserError` when the file is
    missing, damaged, or states another tolerance, another factor or another largest difference than follows.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; restore it from git")
    document = read_json(path)
    try:
        if document["settings"]["factor"] != FACTOR:
            raise _disagrees(path, "settings.factor", document["settings"]["factor"], FACTOR)
        return {
            pattern: {
                column: _derived(path, f"{pattern}: {column}", entry)
                for column, entry in table["columns"].items()
            }
            for pattern, table in document["tables"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__} at {error}"
        raise UserError(f"{path}: no table of tolerances ({reason}); restore it from git") from None


def _derived(path: Path, what: str, entry: Mapping[str, Any]) -> float | None:
    for name in ("largest", "relative"):
        follows = max(float(run[name]) for run in entry["runs"])
        if entry[name] != follows:
            raise _disagrees(path, f"{what}: {name}", entry[name], follows)
    tolerance = derive(entry["largest"], entry["relative"], float(entry["unit"]), bool(entry["whole"]))
    if entry["tolerance"] != tolerance:
        raise _disagrees(path, f"{what}: tolerance", entry["tolerance"], tolerance)
    return tolerance


def _disagrees(path: Path, what: str, stated: Any, derived: Any) -> UserError:
    return UserError(
        f"{path}: {what}: {stated} is stated, {derived} follows from what was measured; "
        f"restore it from git, or run `python stages/tolerances.py --out {path}` to measure again"
    )


def tolerances_for(
    artifact: str, tolerances: Mapping[str, Mapping[str, float | None]]
) -> Mapping[str, float | None] | None:
    """The columns' tolerances of one artifact (its path in the project); None where none were measured."""
    return next((columns for pattern, columns in tolerances.items() if fnmatch(artifact, pattern)), None)


def compare_numeric(
    expected: Path,
    found: Path,
    tolerances: Mapping[str, float | None],
    ignored: Collection[str] = IGNORED,
) -> list[Difference]:
    """Compare two CSV, JSON or safetensors artifacts: an entry for every column, and one for every difference
    in structure (rows, columns, keys, shapes that are missing or too many). What fails comes first, then what
    differs.

    `tolerances`: by column (of JSON: the keys, with `*` for numbers among them; of weights `TENSORS`, of
    hits `FORECASTS`); a column without one must be equal, and so must text. `ignored`: patterns of columns
    that are left out. Raises `UserError` for a file that is missing or cannot be read.
    """
    pairs, problems = side_by_side(expected, found, ignored)
    judged = [_judged(pair, tolerances) for pair in pairs]
    return problems + sorted(judged, key=lambda one: (one.within, not one.largest))


def _judged(pair: Pair, tolerances: Mapping[str, float | None]) -> Difference:
    tolerance = tolerances.get(pair.declared)
    largest, _, where = pair.largest()
    within = largest <= (tolerance or 0.0)
    return Difference(pair.column, len(pair.expected), largest, where, tolerance, within)


def side_by_side(
    expected: Path, found: Path, ignored: Collection[str] = IGNORED
) -> tuple[list[Pair], list[Difference]]:
    """The numeric columns of two artifacts, and what else differs; errors as in `compare_numeric`."""
    if expected.suffix == ".safetensors":
        return _tensors_side_by_side(expected, found)
    read = {".csv": read_table, ".json": read_document}.get(expected.suffix)
    if read is None:
        raise UserError(f"{expected}: neither CSV, JSON nor safetensors: it holds no numbers to compare")
    ours, theirs = (_without(read(path), ignored) for path in (expected, found))
    keys = keys_of(expected.name)
    pairs, problems = [], _structure(ours, theirs)
    for column in (name for name in ours if name in theirs and name not in keys):
        places = [place for place in ours[column] if place in theirs[column]]
        cells = [(ours[column][place], theirs[column][place]) for place in places]
        pair = _numeric(column, places, cells, FORECASTS if fnmatch(expected.name, HITS) else column)
        if pair:
            pairs.append(pair)
        problems += _unequal(column, places, cells, numeric=pair is not None)
    return pairs, problems


def keys_of(name: str) -> tuple[str, ...]:
    """The columns that tell the rows of a table apart; none for a file that `KEYS` does not know."""
    return next((keys for pattern, keys in KEYS.items() if fnmatch(name, pattern)), ())


def read_table(path: Path) -> Cells:
    """The cells of a CSV by column and row; a row is named by its keys."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    if any(len(row) != len(header) for row in rows):
        raise _unreadable(path, "rows of different lengths")
    keys = [index for index, name in enumerate(header) if name in keys_of(path.name)]
    labels = list(_distinct(", ".join(f"{header[i]} {row[i]}" for i in keys) or "row" for row in rows))
    return {
        name: {label: row[index] for label, row in zip(labels, rows, strict=True)}
        for index, name in enumerate(header)
    }


def _distinct(labels: Iterator[str]) -> Iterator[str]:
    """Labels that occur again are numbered."""
    seen: dict[str, int] = {}
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        yield label if seen[label] == 1 and label != "row" else f"{label} {seen[label]}"


class _Number(str):
    """A number of a JSON file as it is printed."""


def read_document(path: Path) -> Cells:
    """The leaves of a JSON file by column: the keys on the way to it, with `*` for numbers among them."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    cells: Cells = {}
    for place, leaf in _leaves(content, ()):
        column = ".".join("*" if re.fullmatch(r"\d+", key) else key for key in place)
        missing = leaf is None
        printed = leaf if isinstance(leaf, _Number) else "" if missing else json.dumps(leaf)
        cells.setdefault(column, {})[".".join(place)] = printed
    return cells


def _leaves(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*place, str(key)))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*place, str(index)))
    else:
        yield place, value


def _without(cells: Cells, ignored: Collection[str]) -> Cells:
    def kept(column: str) -> bool:
        last = column.rpartition(".")[2]
        return not any(fnmatch(last, pattern) for pattern in ignored)

    return {column: values for column, values in cells.items() if kept(column)}


def _structure(ours: Cells, theirs: Cells) -> list[Difference]:
    """Columns and rows that one of them lacks; a column that is missing takes its rows along."""
    problems = []
    for what, mine, other in (("missing", ours, theirs), ("not expected", theirs, ours)):
        for column in (name for name in mine if name not in other):
            problems.append(_problem(column, f"this column is {what}", "the whole file", len(mine[column])))
        shared = [name for name in mine if name in other]
        lost = dict.fromkeys(place for name in shared for place in mine[name] if place not in other[name])
        if lost:
            count = f"{len(lost)} {'row' if len(lost) == 1 else 'rows'} {what}"
            problems.append(_problem("rows", count, next(iter(lost)), len(lost)))
    return problems


def _problem(column: str, problem: str, where: str, rows: int) -> Difference:
    return Difference(column, rows, None, where, None, False, problem)


def _numeric(
    column: str, places: Sequence[str], cells: Sequence[tuple[str, str]], declared: str
) -> Pair | None:
    """The cells as numbers, those aside of which one is missing; None for a column of text."""
    printed = [text for pair in cells for text in pair if text]
    if not printed or any(_number(text) is None for text in printed):
        return None
    there = [(place, pair) for place, pair in zip(places, cells, strict=True) if all(pair)]
    ours, theirs = (np.array([float(pair[side]) for _, pair in there], np.float64) for side in (0, 1))
    names = [place for place, _ in there]
    whole = all(re.fullmatch(r"-?\d+", text) for text in printed)
    if declared == FORECASTS:  # a share of so many
        return Pair(column, ours, theirs, names.__getitem__, 1 / max(1, len(ours)), False, declared)
    unit = np.spacing(np.abs(ours).max(initial=0.0))  # printed in full: the last digit of a float
    return Pair(column, ours, theirs, names.__getitem__, float(unit), whole, declared)


def _number(text: str) -> float | None:
    """A finite number of ordinary length (a hash of digits alone is none)."""
    try:
        value = float(text) if len(text) < 32 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _unequal(
    column: str, places: Sequence[str], cells: Sequence[tuple[str, str]], numeric: bool
) -> list[Difference]:
    """Text that is not equal, and numbers that only one side has."""
    bad = [
        place
        for place, (ours, theirs) in zip(places, cells, strict=True)
        if (not ours) != (not theirs) or (not numeric and ours != theirs)
    ]
    what = "are there on one side alone" if numeric else "differ"
    return [_problem(column, f"{len(bad)} of {len(places)} {what}", bad[0], len(places))] if bad else []


def _tensors_side_by_side(expected: Path, found: Path) -> tuple[list[Pair], list[Difference]]:
    (ours, about), (theirs, about_theirs) = read_arrays(expected), read_arrays(found)
    problems, pairs = [], []
    if about != about_theirs:
        problems.append(_problem("description", f"{about_theirs}, expected {about}", "the metadata", 1))
    for name in sorted(ours.keys() | theirs.keys()):
        problem = _tensor_problem(ours.get(name), theirs.get(name))
        if problem:
            problems.append(_problem(f"{TENSORS}/{name}", problem, name, 0))
        else:
            pairs.append(_tensor_pair(name, ours[name], theirs[name]))
    return pairs, problems


def _tensor_problem(mine: np.ndarray | None, other: np.ndarray | None) -> str:
    """Why two tensors cannot be compared number by number, or ""."""
    if mine is None or other is None:
        return "this tensor is not expected" if mine is None else "this tensor is missing"
    if (mine.shape, mine.dtype) != (other.shape, other.dtype):
        return f"{other.dtype}{list(other.shape)}, expected {mine.dtype}{list(mine.shape)}"
    same = (np.isfinite(mine) == np.isfinite(other)).all()
    return "" if same else "numbers that are not finite on one side alone"


def _tensor_pair(name: str, ours: np.ndarray, theirs: np.ndarray) -> Pair:
    whole = not np.issubdtype(ours.dtype, np.floating)
    finite = np.isfinite(ours)
    first, second = (np.where(finite, values, 0).astype(np.float64).ravel() for values in (ours, theirs))
    largest = np.abs(first).max(initial=0.0)
    unit = 1.0 if whole else float(np.spacing(ours.dtype.type(largest)))

    def place(index: int) -> str:
        return f"{name}[{', '.join(str(int(i)) for i in np.unravel_index(index, ours.shape))}]"

    return Pair(f"{TENSORS}/{name}", first, second, place, unit, whole, TENSORS)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors of a safetensors file as arrays, and its metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}
    except (OSError, SafetensorError, TypeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, why: Any) -> UserError:
    return UserError(f"{path}: cannot be read ({' '.join(str(why).split())}); restore it, or make it again")
