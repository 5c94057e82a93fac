"""Damage files at random: what a reader gets may be anything, and its answer is a value or `UserError`."""

import csv
import io
import json
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml

from sustainable.core.errors import UserError

Damage = Callable[[bytes, Random], bytes]

TEXTS = (
    "", " ", "x", "0", "-1", "1e308", "-1e400", "nan", "inf", "-inf", "9" * 10_000, "0x" + "f" * 99, "True",
    "None", "1,2", '"', "'", "\\input{/etc/passwd}", "\\write18{id}", "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07", "\u202egnp", "\0", "../../../etc/passwd", "/dev/zero", "ä" * 300,
    "\ud83d\ude00",
    "%s%n", "{{ 7 * 7 }}", "2013-13-31", "1e5", "0.5", "idle", "baseline",
)  # fmt: skip
"""What a cell or a text becomes."""
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 7, 2**53 + 1, 10**30, 1e8, 10**8, 0.5, -0.0, 1e308, float("nan"), float("inf"), [], {},
    [[]], [1, "x", None], {"x": {"y": []}}, *TEXTS,
)  # fmt: skip
"""What a value of a JSON or YAML file becomes."""
DEEP = 300
UNREADABLE = (csv.Error, yaml.YAMLError)


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """Flip, cut, insert, repeat or recode bytes."""
    place, length = random.randrange(len(content) + 1), random.choice((1, 2, 8, 100, 10_000))
    way = random.randrange(8)
    before, after = content[:place], content[place:]
    if way == 0:
        return before + bytes([random.randrange(256)]) + after[1:]
    if way == 1:
        return before
    if way == 2:
        return before + random.randbytes(length) + after
    if way == 3:
        return before + after[length:]
    if way == 4:
        return before + after[:length] * random.choice((2, 3, 50)) + after[length:]
    if way == 5:
        codec = random.choice(("utf-16", "utf-32", "cp1252", "utf-8-sig"))
        return content.decode("utf-8", errors="replace").encode(codec, errors="replace")
    if way == 6:
        return before + random.choice(TEXTS).encode("utf-8", errors="surrogatepass") + after
    return content.replace(b"\n", random.choice((b"\r\n", b"\r", b"", b"\n\n")))


def damaged_table(content: bytes, random: Random) -> bytes:
    """Change cells, rows or columns of a CSV."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    line, column = random.randrange(len(rows)), random.randrange(len(rows[0]))
    way = random.randrange(9)
    if way <= 3:
        rows[random.randrange(1, len(rows))][column] = random.choice(TEXTS)
    elif way == 4:
        rows[line] = random.choice(([], rows[line] * 2, rows[line][:-1], [*rows[line], "x"]))
    elif way == 5:
        rows[line : line + random.choice((1, 1, 5, len(rows)))] = []
    elif way == 6:
        rows.insert(random.randrange(1, len(rows) + 1), list(rows[line]))
    elif way == 7:
        rows = [row[:column] + row[column + 1 :] for row in rows]
    else:
        text = random.choice((*TEXTS, rows[0][random.randrange(len(rows[0]))]))
        rows = [[*row[:column], text, *row[column + 1 :]] if not number or line % 2 else row
                for number, row in enumerate(rows)]  # fmt: skip
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode("utf-8", errors="surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with a key or an index in it."""
    found, left = [], [value]
    while left:
        one = left.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        found += [(one, key) for key in keys]
        left += [one[key] for key in keys]
    return found


def damaged_value(value: Any, random: Random) -> Any:
    """Change one value of parsed JSON or YAML: replace, remove, rename, repeat or nest it."""
    places = _places(value)
    if not places or random.random() < 0.02:
        return random.choice(VALUES)
    holder, key = random.choice(places)
    way = random.randrange(6)
    if way <= 2:
        holder[key] = random.choice(VALUES)
    elif way == 3:
        del holder[key]
    elif way == 4:
        nested: Any = holder[key]
        for _ in range(random.choice((1, 2, DEEP))):
            nested = [nested]
        holder[key] = nested
    elif isinstance(holder, dict):
        holder[random.choice(TEXTS)] = holder.pop(key)
    else:
        holder.extend(json.loads(json.dumps(holder[key])) for _ in range(random.choice((1, 5, 500))))
    return value


def damaged_json(content: bytes, random: Random) -> bytes:
    return json.dumps(damaged_value(json.loads(content), random)).encode()


def damaged_yaml(content: bytes, random: Random) -> bytes:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    value = json.loads(json.dumps(loader(content).get_single_data(), default=str))
    text = json.dumps(damaged_value(value, random))  # JSON is YAML, except for the words of infinity
    return text.replace("NaN", ".nan").replace("Infinity", ".inf").encode()


def damaged_tensors(content: bytes, random: Random) -> bytes:
    """Change the header of a safetensors file, with its length, or the values."""
    length = int.from_bytes(content[:8], "little")
    header, values = content[8 : 8 + length], content[8 + length :]
    way = random.randrange(6)
    if way == 0:
        return random.choice((2**63, 2**33, 0, length + 1, 10)).to_bytes(8, "little") + content[8:]
    if way == 1:
        place = random.randrange(max(1, len(values)))
        return content[: 8 + length] + values[:place] + random.randbytes(8) + values[place + 8 :]
    parsed = json.loads(header)
    description = parsed.get("__metadata__", {}).get("description")
    if way <= 3 and description:
        changed = json.dumps(damaged_value(json.loads(description), random))
        parsed["__metadata__"]["description"] = changed
    else:
        parsed = damaged_value(parsed, random)
    header = json.dumps(parsed).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + values


DAMAGES: dict[str, Damage] = {
    ".csv": damaged_table,
    ".json": damaged_json,
    ".yaml": damaged_yaml,
    ".lock": damaged_yaml,
    ".safetensors": damaged_tensors,
}
"""What knows a kind of file; others, and every third file, are damaged byte by byte."""


@dataclass(frozen=True)
class Reader:
    """A function that reads a file which may be damaged."""

    name: str
    original: Path
    """A file that it reads, or only the name of one that `make` writes."""
    read: Callable[[Path], Any]
    """Reads the damaged file, which has the original's name and lies in a folder with `beside`."""
    beside: Sequence[Path] = ()
    """Files that it reads from the same folder."""
    make: Callable[[Path], Any] | None = None


@dataclass
class Tried:
    """How a reader took damaged files."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    tracebacks: Counter[str] = field(default_factory=Counter)
    """By exception and place."""
    examples: dict[str, int] = field(default_factory=dict)
    """The seed of the first input of each."""


def damaged_copy(reader: Reader, content: bytes, seed: int) -> bytes:
    """Return the content of the reader's file, damaged once to three times."""
    random = Random(seed)
    known = DAMAGES.get(reader.original.suffix, damaged_bytes)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        damage = damaged_bytes if random.random() < 1 / 3 else known
        try:
            content = damage(content, random)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, *UNREADABLE):
            content = damaged_bytes(content, random)  # no longer of its kind
    return content


def try_reader(reader: Reader, folder: Path, seeds: Sequence[int]) -> Tried:
    """Give a reader one damaged file per seed, in `folder`, and count its answers."""
    if reader.make is not None:
        reader.make(folder / reader.original.name)
    original, tried = (folder / reader.original).read_bytes(), Tried()
    for path in reader.beside:
        (folder / path.name).write_bytes(path.read_bytes())
    target = folder / reader.original.name
    target.write_bytes(original)
    reader.read(target)  # it must take the file as it is
    for seed in seeds:
        target.write_bytes(damaged_copy(reader, original, seed))
        tried.tried += 1
        try:
            reader.read(target)
            tried.read += 1
        except UserError as error:
            tried.refused += 1
            if "\n" in str(error):
                tried.tracebacks["a message of several lines"] += 1
                tried.examples.setdefault("a message of several lines", seed)
        except Exception as error:  # of any kind: it is what is looked for
            frames = traceback.extract_tb(error.__traceback__)
            place = ([frame for frame in frames if "sustainable" in frame.filename] or frames)[-1]
            where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            tried.tracebacks[where] += 1
            tried.examples.setdefault(where, seed)
    return tried
