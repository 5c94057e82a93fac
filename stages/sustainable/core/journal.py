"""Rows that are saved as they are measured, so that a killed benchmark loses none."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


class RowJournal:
    """JSON lines: first the identity of the work, then one row per line, each on disk before the next.

    A journal with another identity is discarded. A line that a crash has cut is dropped.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        lines = _whole_lines(path)
        if lines and lines[0] == {"identity": identity}:
            self.rows = lines[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        content = [{"identity": identity}, *self.rows]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")
        temporary.replace(path)

    def append(self, row: dict[str, Any]) -> None:
        """Append one row, and wait until it is on disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def discard(self) -> None:
        """Remove the file, after its rows have been written elsewhere."""
        self.path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    with suppress(json.JSONDecodeError):
        for line in text.splitlines(keepends=True):
            content = json.loads(line)
            if not line.endswith("\n") or not isinstance(content, dict):
                break
            lines.append(content)
    return lines
