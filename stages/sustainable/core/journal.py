"""Rows that are saved as they are measured, so that a killed benchmark loses none."""

import errno
import fcntl
import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import make_folder, sync_folder


class RowJournal:
    """JSON lines: first the identity of the work, then one row per line, each on disk before the next.

    A journal with another identity is discarded. A line that a crash has cut is dropped, with all after it.
    Raises `UserError` if another process is writing to the file: rows would be doubled.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        make_folder(path.parent)
        self._file = FileIO(path, "a+")
        _lock(self._file, path)
        lines, size = _whole_lines(self._file)
        if lines and lines[0] == {"identity": identity}:
            self.rows = lines[1:]
            self._file.truncate(size)
        else:
            self._file.truncate(0)
            self._write({"identity": identity})
        sync_folder(path.parent)

    def append(self, row: dict[str, Any]) -> None:
        """Append one row, and wait until it is on disk."""
        self._write(row)
        self.rows.append(row)

    def discard(self) -> None:
        """Remove the file, after its rows have been written elsewhere."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        content = memoryview((json.dumps(line, allow_nan=False) + "\n").encode())
        while content:  # a disk that becomes full takes a part, and raises at the next attempt
            content = content[self._file.write(content) :]
        os.fsync(self._file.fileno())


def _lock(file: FileIO, path: Path) -> None:
    """Keep other processes out until this one ends."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            problem = "another process is measuring into this file; wait until it has ended"
            raise UserError(f"{path}: {problem}") from None
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):  # a file system without locks
            raise


def _whole_lines(file: FileIO) -> tuple[list[dict[str, Any]], int]:
    """Return the lines up to the first that is cut or damaged, and the bytes that they take."""
    lines: list[dict[str, Any]] = []
    size = 0
    file.seek(0)
    for line in file.read().splitlines(keepends=True):
        try:
            content = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(content, dict):
            break
        lines.append(content)
        size += len(line)
    return lines, size
