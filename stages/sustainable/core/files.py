"""Read and write artifacts: whole or not at all, and never as code.

Rows are CSV, weights and windows safetensors (see `tensors`), the rest JSON with sorted keys.
"""

import csv
import errno
import fcntl
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from sustainable.core.columns import column_of
from sustainable.core.documents import problem_in
from sustainable.core.errors import UserError
from sustainable.core.reading import TABLE_BYTES, damaged, existing, one_line, parsed_json
from sustainable.core.reading import opened, parts_of, read_text
from sustainable.core.schema import Table

__all__ = ["damaged", "existing", "one_line"]  # also part of this module

MOST_COLUMNS, HEADER_BYTES = 512, 2**16
"""More columns than any table may have, and more bytes than its header may take."""
CONTROL = bytes({*range(32), 127} - set(b"\n\r\t"))
BEYOND_ASCII = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
"""With `CONTROL` the characters of `errors.UNPRINTABLE`, in UTF-8."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it at the end, or remove it after a failure.

    The file and its place in the folder are on disk when this returns: a power loss leaves the old file or
    the new one. What a killed process has left of the same file is removed.
    """
    make_folder(path.parent)
    remove_leftovers(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:  # the user knows `path`, not the temporary name
        raise OSError(error.errno, error.strerror, str(path)) from None
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX)  # says that this process is alive
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose processes were killed: nobody holds their locks any more."""
    for other in filter(Path.is_file, path.parent.glob(f".{escape(path.name)}.*")):
        with suppress(OSError), other.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on disk before anything is put into it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in `folder` are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and two spaces: the same value gives the same bytes. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV with the columns of the first row; a missing value is an empty cell.

    Raises `UserError`, and writes nothing, for a value that its column (see `core.columns`) does not allow.
    """
    content = pd.DataFrame(list(rows), dtype=object).to_csv(index=False, lineterminator="\n")
    if rows and (fault := Table(()).fault(pd.read_csv(io.StringIO(content), index_col=False), column_of)):
        raise UserError(f"{path}: not written: {fault}; this is a fault of what made the rows")
    write_text(path, content)


def read_json(path: Path, kind: Any = None) -> Any:
    """Parse a JSON artifact. Raises `UserError` if it is missing, damaged (see `core.reading`), or not of
    `kind`: a type of `core.documents`."""
    text = read_text(existing(path))
    try:
        value = parsed_json(text)
    except ValueError as error:
        raise damaged(path, f"not valid JSON ({one_line(error)[:200]})") from None
    if kind is not None and (problem := problem_in(value, kind)):
        raise damaged(path, problem)
    return value


def read_rows(path: Path, table: Table | Sequence[str]) -> pd.DataFrame:
    """Read a CSV artifact. Raises `UserError` if it is damaged, has no rows, lacks a column of `table`, or
    has a cell that its column (see `core.columns`) does not allow; names of columns allow empty cells."""
    with opened(existing(path), TABLE_BYTES) as file:
        _check_header(path, file.read(HEADER_BYTES).partition(b"\n")[0])
        file.seek(0)
        if any(map(_has_control_characters, parts_of(path, file, TABLE_BYTES))):
            raise damaged(path, "not a CSV table (it has control characters)")
        file.seek(0)
        rows = _parsed_rows(path, file)
    declared = table if isinstance(table, Table) else Table(table, empty=table)
    if fault := declared.fault(rows, column_of):
        raise damaged(path, fault)
    if rows.empty:
        raise damaged(path, "it has no rows")
    return rows


def _parsed_rows(path: Path, file: BinaryIO) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more cells than the header
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # types are checked later
            return pd.read_csv(file, index_col=False)
    except (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise damaged(path, f"not a CSV table ({one_line(error)[:200]})") from None


def _has_control_characters(lines: bytes) -> bool:
    plain = len(lines.translate(None, CONTROL)) == len(lines)
    return not plain or (not lines.isascii() and BEYOND_ASCII.search(lines) is not None)


def _check_header(path: Path, line: bytes) -> None:
    """Raise `UserError` for a header that is too long, has too many columns, or names one twice."""
    try:
        names = next(csv.reader([line.decode("utf-8")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, f"not a CSV table ({one_line(error)})") from None
    if len(line) == HEADER_BYTES or len(names) > MOST_COLUMNS:
        raise damaged(path, f"not a CSV table (more than {MOST_COLUMNS} columns)")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise damaged(path, f"column {twice[:60]!r} occurs twice")
    if line.count(b'"') % 2:
        raise damaged(path, "not a CSV table (the header takes several lines)")
