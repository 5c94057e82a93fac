"""Open files that somebody else may have written: every shipped or foreign file is read through here.

A file is data, so reading one may only succeed or raise `UserError`: it must be a regular file, inside the
folder that it belongs to, of bounded size; JSON and YAML are bounded in depth, values and aliases.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from sustainable.core.errors import UNPRINTABLE, UserError, printable

DOCUMENT_BYTES = 16 * 2**20
"""More than any JSON or YAML file may take: the largest shipped one takes 0.5 MiB."""
TABLE_BYTES = 512 * 2**20
"""More than any table may take: a million rows of the widest one."""
PART_BYTES = 2**22
"""How much of a table is in memory at once while its characters are checked."""
FILE_BYTES = 4 * 2**30
"""More than any file may take."""
DEPTH = 64
"""More levels than any JSON or YAML file may nest."""
YAML_VALUES = 250_000
"""More values than a YAML file may hold once its aliases are replaced; the lock holds 14,000."""
DIGITS = 64
"""More digits than any number may have. (A generator's state of 128 bits has 39.)"""
SHIPPED = ("data/reference", "data/hosts", "data/actors")
"""Folders whose files are shipped or sent: a link in them must not lead out."""

SETTINGS = (".yaml", ".lock", ".cff")
"""Suffixes of files that no stage makes."""


def existing(path: Path) -> Path:
    """Return `path`; raises `UserError`, which says how to make it, if the file is missing."""
    if not path.is_file():
        remedy = "`git checkout` restores it" if _shipped(path) else "`dvc repro` makes it"
        raise UserError(f"{path}: missing; {remedy}")
    return path


def damaged(path: Path, what: str) -> UserError:
    """Return the error for a file that cannot be read, with what to do."""
    is_ours = _shipped(path) or path.suffix in SETTINGS
    remedy = "restore it from git" if is_ours else "delete it and run `dvc repro` to make it again"
    return UserError(f"{path}: {what}; {remedy}")


def one_line(error: Exception) -> str:
    """Return the message of an exception without line breaks."""
    return " ".join(str(error).split())


def _shipped(path: Path) -> str | None:
    """Return the folder of `SHIPPED` that `path` names, with what stands before it; None if in none."""
    text = path.as_posix()
    for folder in SHIPPED:
        before, found, _ = f"/{text}".rpartition(f"/{folder}/")
        if found:
            return f"{before}/{folder}"[1:] if before else folder
    return None


@contextmanager
def opened(path: Path, limit: int = FILE_BYTES) -> Iterator[BufferedReader]:
    """Open a regular file of at most `limit` bytes for reading.

    Raises `UserError` for anything else: a folder, a fifo or a device (none is waited for), a file that is
    too large, and a link that leads out of a shipped folder. A missing file stays a `FileNotFoundError`.
    """
    refuse_outside(path)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, "not a regular file")
        if status.st_size > limit:
            raise damaged(path, f"too large ({status.st_size:,} bytes; the limit is {limit:,})")
        yield file


def read_bytes(path: Path, limit: int = DOCUMENT_BYTES) -> bytes:
    """Return the content of a regular file of at most `limit` bytes (see `opened`)."""
    with opened(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # it has grown since
        raise damaged(path, f"too large (the limit is {limit:,} bytes)")
    return content


def parts_of(path: Path, file: BufferedReader, limit: int) -> Iterator[bytes]:
    """Yield the content of an open file in parts of whole lines. Raises `UserError` beyond `limit` bytes."""
    while part := file.read(PART_BYTES):
        yield part + file.readline(limit)
        if file.tell() > limit:  # it has grown since it was opened
            raise damaged(path, f"too large (the limit is {limit:,} bytes)")


def read_text(path: Path, limit: int = DOCUMENT_BYTES) -> str:
    """Return the UTF-8 text of a file (see `opened`), with plain line ends as `Path.read_text` gives them."""
    try:
        text = read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, f"not UTF-8 text ({one_line(error)})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def refuse_outside(path: Path) -> None:
    """Raise `UserError` if `path` names a file of a shipped folder, but a link in it leads elsewhere."""
    folder = _shipped(path)
    if folder is None:
        return
    name = next(one for one in SHIPPED if folder.endswith(one))
    project = Path(folder.removesuffix(name) or ".").resolve()
    if not path.resolve().is_relative_to(project / name):
        raise damaged(path, "it leads out of its folder")


def plain_path(name: Any) -> str:
    """Return a relative path that another file names; raises `ValueError` for `..`, `//` and the like."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or "/".join(parts) != name or ".." in parts or name[0] == "/" or UNPRINTABLE.search(name):
        raise ValueError(f"{str(name)[:100]!r} is not a plain relative path")
    return str(name)


def contained(folder: Path, name: str) -> Path:
    """Return the path of the file that another file names, relative to `folder`.

    Raises `UserError` unless the name is plain and what it names lies in `folder`, links followed.
    """
    try:
        path = folder / plain_path(name)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; restore the file that names it from git") from None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path}: it leads out of its folder; restore it from git")
    return path


def parsed_json(text: str) -> Any:
    """Parse JSON. Raises `ValueError` for what is not JSON (NaN, a key twice), too deep, or unprintable."""
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_number,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError(f"nested more than {DEPTH} levels") from None
    check_values(value)
    return value


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"key {name[:60]!r} occurs twice")
        content[name] = value
    return content


def parsed_yaml(text: str) -> Any:
    """Parse YAML into plain values. Raises `ValueError` if it is malformed, too deep or too large.

    Aliases count as what they stand for. The parser is asked for events first, because PyYAML's loader in C
    overflows its stack on deep nesting.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(text, loader)
        value = loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from None
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:  # such as the number 0b_
        raise ValueError(f"{type(error).__name__}: {one_line(error)}") from None
    check_values(value)
    return value


def _check_events(text: str, loader: Any) -> None:
    """Raise `ValueError` if the YAML in `text` is too deep, holds too many values, or names types."""
    levels = [Level()]
    anchors: dict[str, Level] = {}
    event: Any
    for event in yaml.parse(text, Loader=loader):
        if getattr(event, "tag", None):
            raise ValueError(f"line {event.start_mark.line + 1}: a tag ({str(event.tag)[:40]}); remove it")
        if isinstance(event, yaml.CollectionStartEvent):
            levels.append(Level(anchor=event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = levels.pop()
            closed = Level(closed.values + 1, closed.depth + 1, closed.anchor)
            levels[-1].hold(closed)
            anchors |= {closed.anchor: closed} if closed.anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"an alias of itself or of nothing: {str(event.anchor)[:60]!r}")
            levels[-1].hold(anchors[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            levels[-1].hold(Level(1))
            anchors |= {event.anchor: Level(1)} if event.anchor else {}
        if len(levels) > DEPTH or levels[-1].depth + len(levels) > DEPTH:
            raise ValueError(f"nested more than {DEPTH} levels")
        if sum(level.values for level in levels) > YAML_VALUES:
            raise ValueError(f"more than {YAML_VALUES:,} values, aliases replaced")


class Level:
    """What a collection of a YAML file holds so far."""

    def __init__(self, values: int = 0, depth: int = 0, anchor: str | None = None) -> None:
        self.values = values
        """Values in it, at any depth, aliases replaced."""
        self.depth = depth
        """Levels below it."""
        self.anchor = anchor

    def hold(self, inner: "Level") -> None:
        """Count a value in this collection."""
        self.values += inner.values
        self.depth = max(self.depth, inner.depth)


def check_values(value: Any) -> None:
    """Raise `ValueError` for parsed values that are nested too deep, too large, or unprintable."""
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} levels")
        if isinstance(one, dict):
            left += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, list | tuple):
            left += [(inner, depth + 1) for inner in one]
        elif isinstance(one, str) and (found := UNPRINTABLE.search(one)):
            raise ValueError(f"the control character {found[0]!r} in {printable(one[:60])!r}")
        elif isinstance(one, int) and abs(one) >= 10**DIGITS:
            raise ValueError(f"a number of more than {DIGITS} digits")
