"""Hashes of artifacts by what they hold: the same table or the same weights, however the file is written."""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256


def content_sha256(path: Path) -> str:
    """SHA-256 of an artifact's content: a CSV's cells (numbers by value), a JSON's value, the tensors of a
    safetensors file (as `artifact.tensors.tensors_sha256` counts them); of other files the bytes.
    Raises `UserError` when the file cannot be read as what its name says."""
    try:
        return HASHES.get(path.suffix, file_sha256)(path)
    except (OSError, ValueError, csv.Error, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())}); restore it") from None


def table_sha256(path: Path) -> str:
    """Of the header and the rows of a CSV; 1.0 and 1.00 are one number, and line ends do not count."""
    hashed = hashlib.sha256()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            hashed.update(json.dumps([_value(cell) for cell in row]).encode() + b"\n")
    return hashed.hexdigest()


def _value(cell: str) -> str:
    """A number in its shortest form, other text as it is. A hash of digits alone stays text: as a number it
    would lose digits."""
    try:
        return repr(float(cell)) if len(cell) < 32 else cell
    except ValueError:
        return cell


def json_sha256(path: Path) -> str:
    """Of a JSON value, whatever the order of its keys and its white space."""
    value = json.loads(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def weights_sha256(path: Path) -> str:
    """Of names, types, shapes and values of tensors."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    return hashlib.sha256(save(tensors)).hexdigest()


HASHES: dict[str, Callable[[Path], str]] = {
    ".csv": table_sha256,
    ".json": json_sha256,
    ".safetensors": weights_sha256,
}
