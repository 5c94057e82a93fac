"""Read and write artifacts: whole or not at all, and never as code.

Rows are CSV, weights and windows safetensors (see `tensors`), the rest JSON with sorted keys.
"""

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.errors import UserError


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
    for other in path.parent.glob(f".{escape(path.name)}.*"):
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
    """Write a CSV with the columns of the first row; a missing value is an empty cell."""
    with replacing(path) as temporary:
        pd.DataFrame(list(rows), dtype=object).to_csv(temporary, index=False, lineterminator="\n")


def read_json(path: Path) -> Any:
    """Parse a JSON artifact; raises `UserError` if it is missing or damaged."""
    try:
        return json.loads(existing(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, f"not valid JSON ({one_line(error)})") from None


def read_rows(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV artifact; raises `UserError` if it is damaged, has no rows, or lacks one of `columns`."""
    try:
        rows = pd.read_csv(existing(path))
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise damaged(path, f"not a CSV table ({one_line(error)})") from None
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise damaged(path, f"column {missing[0]!r} is missing")
    if rows.empty:
        raise damaged(path, "it has no rows")
    return rows


def existing(path: Path) -> Path:
    """Return `path`; raises `UserError`, which says how to make it, if the file is missing."""
    if not path.is_file():
        shipped = "data/reference/" in path.as_posix()
        remedy = "`git checkout` restores it" if shipped else "`dvc repro` makes it"
        raise UserError(f"{path}: missing; {remedy}")
    return path


def one_line(error: Exception) -> str:
    """Return the message of an exception without line breaks."""
    return " ".join(str(error).split())


def damaged(path: Path, what: str) -> UserError:
    """Return the error for an artifact that cannot be read."""
    return UserError(f"{path}: {what}; delete it and run `dvc repro` to make it again")
