"""Hashes of artifacts by content: equal tables or weights have equal hashes, however the file is written."""

import csv
import hashlib
import io
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.core.reading import TABLE_BYTES, one_line, parsed_json, read_bytes, read_text
from sustainable.core.tensors import check_header


def content_sha256(path: Path) -> str:
    """SHA-256 of an artifact's content: the cells of a CSV (numbers by value), the value of a JSON file, the
    tensors of a safetensors file (as `core.tensors.tensors_sha256` hashes them); the bytes of other files.

    Raises `UserError` if the file cannot be read as what its suffix says.
    """
    try:
        return HASHES.get(path.suffix, file_sha256)(path)
    except (OSError, ValueError, csv.Error, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); restore it") from None


def table_sha256(path: Path) -> str:
    """Hash header and rows of a CSV; 1.0 and 1.00 are the same number, and line ends are ignored."""
    content = io.StringIO(read_bytes(path, TABLE_BYTES).decode("utf-8"), newline="")
    rows = [json.dumps([_value(cell) for cell in row]) for row in csv.reader(content)]
    return _sha256("".join(f"{row}\n" for row in rows).encode())


def _value(cell: str) -> str:
    """A number in its shortest form, other text unchanged. A hash that has only digits stays text: as a
    number it would lose digits."""
    try:
        return repr(float(cell)) if len(cell) < 32 else cell
    except ValueError:
        return cell


def safetensors_sha256(path: Path) -> str:
    """Hash names, types, shapes and values of tensors."""
    check_header(path)
    with safe_open(path, framework="numpy") as file:
        return _sha256(save({name: file.get_tensor(name) for name in sorted(file.keys())}))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


HASHES = {
    ".csv": table_sha256,
    ".json": lambda path: _sha256(json.dumps(parsed_json(read_text(path)), sort_keys=True).encode()),
    ".safetensors": safetensors_sha256,
}
