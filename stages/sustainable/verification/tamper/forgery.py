"""What a forger does to a file, and how a thorough one covers it up."""

import csv
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256
from sustainable.verification.content import content_sha256
from sustainable.verification.tiers.integrity import DESCRIPTIONS, shipped_name
from sustainable.verification.lock import md5_of
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, Place

RESULTS = (
    "cpu_time_per_step_us", "cpu_time_ms_batch_64", "cpu_time_ms", "process_rss_bytes", "episode_return",
    "reward", "test_accuracy_difference", "validation_loss", "baseline",
)  # fmt: skip
"""The columns that a forger would edit; the first that a table has."""


def flip(path: Path, seed: str) -> None:
    """Change one random byte."""
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(len(content))] ^= 1
    path.write_bytes(bytes(content))


def flip_last(path: Path) -> None:
    """Change one bit of the last number of the last tensor."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))


def drop_row(path: Path, seed: str) -> None:
    rows = _table(path)
    del rows[_place(rows, seed)]
    _write_table(path, rows)


def add_row(path: Path, seed: str) -> None:
    """One row once more."""
    rows = _table(path)
    place = _place(rows, seed)
    rows.insert(place, rows[place])
    _write_table(path, rows)


def edit_number(path: Path, seed: str) -> None:
    """A better result in one row."""
    rows = _table(path)
    place, column = _place(rows, seed), _column(rows)
    rows[place][column] = forged(rows[place][column])
    _write_table(path, rows)


def forged(cell: str) -> str:
    """Half of a number; the other one of 0 and 1."""
    return {"0": "1", "1": "0"}.get(cell) or repr(float(cell) / 2)


def _column(rows: Sequence[Sequence[str]]) -> int:
    return next(rows[0].index(name) for name in RESULTS if name in rows[0])


def _place(rows: Sequence[Sequence[str]], seed: str) -> int:
    """A random row with a result in it."""
    column = _column(rows)
    return random.Random(seed).choice([n for n, row in enumerate(rows) if n and row[column]])


def _table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def turn_verdict(root: Path, claim: str) -> None:
    """Another verdict, everywhere that it stands."""
    verdict = ""
    for path in (root / REFERENCE / "claims.json", root / "paper/claims.json"):
        claims = read_json(path)
        own = next(one for one in claims if one["id"] == claim)
        verdict = own["verdict"] = "refuted" if own["verdict"] == "confirmed" else "confirmed"
        write_json(path, claims)
    manifest = read_json(root / REFERENCE / MANIFEST)
    manifest["claims"][claim]["verdict"] = verdict
    write_json(root / REFERENCE / MANIFEST, manifest)


def edit_digit(path: Path, seed: str) -> None:
    """Another digit in a random place of a text."""
    text = path.read_text(encoding="utf-8")
    place = random.Random(seed).choice([n for n, letter in enumerate(text) if letter.isdigit()])
    write_text(path, f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}")


def widen(path: Path) -> None:
    """Every tolerance ten times as wide."""

    def wider(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: wider(one, name) for name, one in value.items()}
        return value * 10 if key == "tolerance" and isinstance(value, int | float) else value

    write_json(path, wider(read_json(path)))


def substitute(path: Path, old: str, new: str) -> None:
    """`new` for the first `old` of a text, which must be in it."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path.name}: {old!r} is not in it")
    write_text(path, text.replace(old, new, 1))


def edit_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """`change` the manifest's artifacts."""
    path = root / REFERENCE / MANIFEST
    manifest = read_json(path)
    change(manifest["artifacts"])
    write_json(path, manifest)


def reseal(root: Path) -> None:
    """Rewrite every hash as a thorough forger would: manifest, lock, descriptions, sums, tracked copies."""
    place = Place(root)
    old = place.sums()
    _reseal_manifest(place)
    _reseal_lock(place)
    for name in DESCRIPTIONS:
        text = (place.reference / name).read_text(encoding="utf-8")
        for path, digest in old.items():
            file = place.reference / path
            if file.is_file() and path not in DESCRIPTIONS:
                text = text.replace(digest, file_sha256(file))
        write_text(place.reference / name, text)
    lines = [f"{file_sha256(place.reference / name)}  {name}\n" for name in place.shipped_files()]
    write_text(place.reference / SUMS, "".join(lines))


def _reseal_manifest(place: Place) -> None:
    manifest = place.manifest
    for path, entry in manifest["artifacts"].items():
        file = place.reference / shipped_name(path)
        if entry["shipped"] and file.is_file():
            entry |= {"sha256": file_sha256(file), "md5": md5_of(file), "size": file.stat().st_size}
            entry["content"] = content_sha256(file)
            if (place.root / path).is_file():
                shutil.copyfile(file, place.root / path)
    write_json(place.reference / MANIFEST, manifest)


def _reseal_lock(place: Place) -> None:
    """The hashes of shipped outputs, in both copies of dvc.lock."""
    text = (place.reference / "dvc.lock").read_text(encoding="utf-8")
    for stage in place.lock.values():
        for path, md5 in stage.outputs.items():
            shipped = place.reference / shipped_name(path)
            if shipped.exists():
                text = text.replace(md5, md5_of(shipped))
    for copy in (place.reference / "dvc.lock", place.root / "dvc.lock"):
        write_text(copy, text)
