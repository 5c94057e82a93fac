"""`make tamper`: does `make verify` see it? A copy of the artifact is damaged in one place after another.

Two kinds of forger: a careless one changes a file; a thorough one then also rewrites every hash that the
project keeps of it (`forgery.reseal`), so that tier T0 finds nothing and what was changed must contradict
something.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.verification.tamper import forgery
from sustainable.verification.items import Item
from sustainable.verification.place import REFERENCE, SUMS, Place
from sustainable.verification.tiers.shipped import PARTS, Part

COPIED = (
    "stages", "paper", "data/raw", "data/reference", "data/metrics", "params.yaml", "dvc.yaml", "dvc.lock",
    "requirements.txt",
)  # fmt: skip
ROWS = (
    "benchmark/published.csv", "benchmark/remeasured.csv", "benchmark/audited.csv", "benchmark/policies.csv",
    "benchmark/workload.csv", "benchmark/memory.csv", "benchmark/published.hits.csv",
    "benchmark/remeasured.hits.csv", "benchmark/audited.hits.csv", "search/candidates.csv",
    "search/improvements.csv", "search/repairs.csv", "search/published/actions.csv", "policies/returns.csv",
    "training/audited/narrow.csv",
)  # fmt: skip
"""Tables from which claims and printed numbers come."""
FEW = 6
"""How many of a long list of alike files are tried."""


@dataclass(frozen=True)
class Attack:
    """One forgery: `damage` is done to a copy of the project, and then, perhaps, every hash is rewritten."""

    kind: str
    target: str
    damage: Callable[[Path], object]
    resealed: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.target}" + (", every hash rewritten" if self.resealed else "")


def attacks(root: Path, seed: int) -> list[Attack]:
    """Every forgery that is tried on the project in `root`."""
    place = Place(root)
    files = [f"{REFERENCE}/{name}" for name in place.shipped_files()]
    found = [_on("one byte", path, partial(forgery.flip, seed=f"{seed} {path}")) for path in _flipped(place)]
    found += [_on("file removed", path, Path.unlink) for path in _some(files)]
    extra = f"{REFERENCE}/benchmark/extra.csv"
    found += [_on("file added", extra, lambda path: path.write_text("configuration\n"))]
    found += [*_rows(seed), *_manifest(place), *_settings()]
    for claim in place.manifest["claims"]:
        found.append(Attack("verdict edited", claim, partial(forgery.turn_verdict, claim=claim), True))
    for path in (path for path in files if path.endswith(".tex")):
        found.append(_on("printed number edited", path, partial(forgery.edit_digit, seed=str(seed)), True))
    for path in _some([path for path in files if path.endswith(".safetensors")]):
        found.append(_on("one weight edited", path, forgery.flip_last, True))
    return found


def _on(kind: str, path: str, change: Callable[[Path], object], resealed: bool = False) -> Attack:
    """An attack on one file."""
    return Attack(kind, path, partial(_changed, path, change), resealed)


def _changed(path: str, change: Callable[[Path], object], root: Path) -> None:
    change(root / path)


def _some(names: Sequence[str]) -> list[str]:
    """A few of many, over the whole list."""
    return list(names[:: max(1, len(names) // FEW)])


def _flipped(place: Place) -> Iterator[str]:
    """Every shipped file, the sources, and some of the code and the templates."""
    yield from (f"{REFERENCE}/{name}" for name in [*place.shipped_files(), SUMS])
    yield from (*place.manifest["sources"], "dvc.lock", "paper/claims.json", "data/metrics/benchmark.json")
    yield from _some(sorted({path for stage in place.lock.values() for path in stage.code if "." in path}))
    templates = (place.root / "paper/templates").iterdir()
    yield from _some(sorted(path.relative_to(place.root).as_posix() for path in templates))


def _rows(seed: int) -> Iterator[Attack]:
    kinds = (
        ("row dropped", forgery.drop_row),
        ("row added", forgery.add_row),
        ("number edited", forgery.edit_number),
    )
    for path in (f"{REFERENCE}/{name}" for name in ROWS):
        for kind, change in kinds:
            for resealed in (False, True):
                yield _on(kind, path, partial(change, seed=f"{seed} {path}"), resealed)


def _manifest(place: Place) -> Iterator[Attack]:
    """Entries of the manifest, with its own hash rewritten."""
    entries = place.artifacts
    shipped = [path for path, entry in entries.items() if entry["shipped"]]
    must = [path for path, entry in entries.items() if entry["tier"] != "none"]
    changes: tuple[tuple[str, list[str], Callable[[str, dict[str, Any]], object]], ...] = (
        ("entry removed from the manifest", list(entries), lambda path, all_: all_.pop(path)),
        ("tier lowered in the manifest", must, lambda path, all_: all_[path].update(tier="none")),
        ("no longer shipped, says the manifest", shipped, lambda path, all_: all_[path].update(shipped=None)),
    )
    for kind, paths, change in changes:
        for path in _some(paths):
            damage = partial(forgery.edit_manifest, change=partial(change, path))
            yield Attack(kind, path, damage, True)


def _settings() -> Iterator[Attack]:
    tolerances = f"{REFERENCE}/tolerances.json"
    yield _on("tolerances widened", tolerances, forgery.widen, True)
    for path, old, new in (
        ("stages/sustainable/verification/verify.yaml", "margin: 0.25", "margin: 9.0"),
        ("params.yaml", "minimum_blocks: 12", "minimum_blocks: 1"),
        ("params.yaml", "equivalence_margin: 0.02", "equivalence_margin: 0.9"),
    ):
        change = partial(forgery.substitute, old=old, new=new)
        yield _on(f"parameter edited ({new})", path, change, True)


def copy_of(root: Path, folder: Path) -> None:
    """What `make verify` reads, in another folder."""
    for name in COPIED:
        source, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


@contextmanager
def damaged(folder: Path, attack: Attack) -> Iterator[None]:
    """The copy in `folder` with one forgery, and whole again afterwards."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        attack.damage(folder)
        if attack.resealed:
            forgery.reseal(folder)
        yield
    finally:
        for path in [path for path in folder.rglob("*") if path.is_file() and path not in before]:
            path.unlink()
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)


class Watch:
    """`make verify`'s checks of a copy, one part after another until one fails. A part whose files are as
    they were at an earlier look is not looked at again: its items are those of then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[str, str], list[Item]] = {}

    def look(self) -> list[Item]:
        """The items that failed, of the first part that has any."""
        for part in PARTS:
            failed = [item for item in self.items(part) if item.status == "FAIL"]
            if failed:
                return failed
        return []

    def items(self, part: Part) -> list[Item]:
        key = (part.name, self.state(part))
        if key not in self.known:
            self.known[key] = part.items(self.folder)
        return self.known[key]

    def state(self, part: Part) -> str:
        """One hash of all files that a part reads."""
        names = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        relative = {path.relative_to(self.folder).as_posix(): path for path in names}
        read = {
            name: file_sha256(path)
            for name, path in relative.items()
            if any(fnmatch(name, pattern) for pattern in part.read)
        }
        return fingerprint(read)
