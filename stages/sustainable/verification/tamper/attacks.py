"""`make tamper`: does `make verify` notice? A copy of the artifact is damaged in one place after another.

There are two kinds of forger. A careless one changes a file. A thorough one then rewrites every hash that the
project keeps of it (`forgery.reseal`), so that the change must contradict something else. The copy is a
release (`forgery.release`): nothing in it is stale, and a stale item counts as a failure.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from sustainable.core.files import read_json, write_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.verification.export.witness import CRATE, WITNESS
from sustainable.verification.items import Item, strictly
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, Place
from sustainable.verification.rerender import TRACKED
from sustainable.verification.tamper import forgery
from sustainable.verification.tiers.shipped import MECHANISMS, Mechanism

READ_BY_VERIFY = (
    "stages", "paper", "data/raw", "data/reference", "data/metrics", "params.yaml", "dvc.yaml", "dvc.lock",
    "requirements.txt", "CITATION.cff",
)  # fmt: skip
ROW_TABLES = (
    "benchmark/published.csv", "benchmark/remeasured.csv", "benchmark/audited.csv", "benchmark/policies.csv",
    "benchmark/workload.csv", "benchmark/memory.csv", "benchmark/published.hits.csv",
    "benchmark/remeasured.hits.csv", "benchmark/audited.hits.csv", "search/candidates.csv",
    "search/improvements.csv", "search/repairs.csv", "search/published/actions.csv", "policies/returns.csv",
    "training/audited/narrow.csv",
)  # fmt: skip
"""Tables from which claims and printed numbers come."""
FEW = 6
"""How many of a long list of similar files are tried."""
SPLITS = "data/processed/published/windows.safetensors"


@dataclass(frozen=True)
class Attack:
    """One forgery of a copy of the project."""

    kind: str
    target: str
    damage: Callable[[Path], object]
    """What is done to the copy, given its folder."""
    resealed: bool = False
    """Whether every hash is rewritten afterwards."""

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.target}" + (", every hash rewritten" if self.resealed else "")


def attacks(root: Path, seed: int) -> list[Attack]:
    """Every forgery that is tried on the project in `root`."""
    place = Place(root)
    files = [f"{REFERENCE}/{name}" for name in place.shipped_files()]
    found = [
        _on(f"one byte of {what}", path, partial(forgery.flip, seed=f"{seed} {path}"))
        for what, path in _flipped(place)
    ]
    found += [_on("file removed", path, Path.unlink) for path in _some(files)]
    extra = f"{REFERENCE}/benchmark/extra.csv"
    found += [_on("file added", extra, lambda path: path.write_text("configuration\n"))]
    found += [*_rows(seed), *_manifest(place), *_settings(), *_single(seed)]
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
    """A few of many, spread over the whole list."""
    return list(names[:: max(1, len(names) // FEW)])


def one_of_each_kind(root: Path, seed: int) -> list[Attack]:
    """One forgery of every kind."""
    found: dict[tuple[str, bool], Attack] = {}
    for attack in attacks(root, seed):
        found.setdefault((attack.kind, attack.resealed), attack)
    return list(found.values())


def _flipped(place: Place) -> Iterator[tuple[str, str]]:
    """Every shipped file, the sources, and some of the code and the templates, each with what it is."""
    yield from (("a shipped file", f"{REFERENCE}/{name}") for name in [*place.shipped_files(), SUMS])
    yield from (("a source", name) for name in place.manifest["sources"])
    yield from (("a tracked copy", name) for name in TRACKED)
    declared = {place.root / path for stage in place.declared.values() for path in stage.code}
    code = {file for path in declared for file in (path.rglob("*") if path.is_dir() else [path])}
    names = {file.relative_to(place.root).as_posix() for file in code if file.suffix in (".py", ".j2")}
    for what, folder in (("code", "stages/"), ("a template", "paper/")):
        for name in _some(sorted(name for name in names if name.startswith(folder))):
            if (place.root / name).stat().st_size:
                yield what, name


def _rows(seed: int) -> Iterator[Attack]:
    kinds = (
        ("row dropped", forgery.drop_row),
        ("row added", forgery.add_row),
        ("number edited", forgery.edit_number),
    )
    for path in (f"{REFERENCE}/{name}" for name in ROW_TABLES):
        for kind, change in kinds:
            for resealed in (False, True):
                yield _on(kind, path, partial(change, seed=f"{seed} {path}"), resealed)


def _manifest(place: Place) -> Iterator[Attack]:
    """Edit entries of the manifest, and rewrite every hash."""
    entries = place.artifacts
    shipped = [path for path, entry in entries.items() if entry["shipped"]]
    must = [path for path, entry in entries.items() if entry["tier"] != "none"]
    changes: tuple[tuple[str, list[str], Callable[[str, dict[str, Any]], object]], ...] = (
        ("entry removed from the manifest", list(entries), lambda path, all_: all_.pop(path)),
        ("tier lowered in the manifest", must, lambda path, all_: all_[path].update(tier="none")),
        (
            "marked as not shipped in the manifest",
            shipped,
            lambda path, all_: all_[path].update(shipped=None),
        ),
    )
    for kind, paths, change in changes:
        for path in _some(paths):
            damage = partial(forgery.edit_artifacts, change=partial(change, path))
            yield Attack(kind, path, damage, True)


def _settings() -> Iterator[Attack]:
    margin = partial(forgery.substitute, old="margin: 0.25", new="margin: 9.0")
    yield _on("margin widened", "stages/sustainable/verification/verify.yaml", margin, True)
    for old, new in (
        ("minimum_blocks: 12", "minimum_blocks: 1"),
        ("equivalence_margin: 0.02", "equivalence_margin: 0.9"),
    ):
        yield _on(
            f"parameter edited ({new})", "params.yaml", partial(forgery.substitute, old=old, new=new), True
        )
        damage = partial(forgery.edit_parameter, old=old, new=new)
        yield Attack(f"parameter edited ({new}), lock and hashes rewritten", "params.yaml", damage)


def _single(seed: int) -> Iterator[Attack]:
    """One forgery for each mechanism that the long lists do not reach."""
    entry = f"{REFERENCE}/{MANIFEST}"
    for path, change, left in (
        (f"{REFERENCE}/{WITNESS}", forgery.edit_hash, (WITNESS,)),
        (f"{REFERENCE}/{CRATE}", forgery.edit_hash, (CRATE,)),
        (entry, partial(_other_hash, "data/benchmark/audited.csv", "sha256"), ()),
    ):
        kind = f"hash edited in {Path(path).name}, other hashes rewritten"
        yield Attack(kind, path, partial(_described, path, change, left))
    yield _on("hash of the splits edited", entry, partial(_other_hash, SPLITS, "content"), True)
    yield Attack(
        "verdict edited in the manifest only", "C1", partial(forgery.turn_manifest_verdict, claim="C1"), True
    )
    yield Attack("input edited in the lock", "shrink", partial(forgery.edit_input, stage="shrink"), True)
    yield Attack("other version pinned", "numpy", partial(forgery.pin_another_version, package="numpy"), True)
    summary = f"{REFERENCE}/metrics/benchmark.json"
    yield _on("summary edited", summary, partial(forgery.edit_digit, seed=str(seed)), True)
    yield Attack("oracle edited, everything rendered again", "C3", forgery.edit_oracle)
    yield Attack("reason edited", "A1", forgery.edit_reason, True)
    yield Attack("number typed into a template, page and lock rewritten", "paper.tex.j2", forgery.type_number)
    yield Attack("other figure rendered", "shipped/figures", forgery.draw_another_figure)


def _described(path: str, change: Callable[[Path], object], left: Sequence[str], root: Path) -> None:
    change(root / path)
    forgery.rewrite_descriptions(root, left)


def _other_hash(artifact: str, key: str, path: Path) -> None:
    manifest = read_json(path)
    manifest["artifacts"][artifact][key] = manifest["artifacts"][artifact][key][::-1]
    write_json(path, manifest)


def released_copy(root: Path, folder: Path) -> None:
    """Copy what `make verify` reads to `folder`, as a release."""
    for name in READ_BY_VERIFY:
        source, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    forgery.release(folder)


@contextmanager
def attacked(folder: Path, attack: Attack) -> Iterator[None]:
    """Apply one forgery to the copy in `folder`; restore the copy afterwards."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folders = {path for path in folder.rglob("*") if path.is_dir()}
    try:
        attack.damage(folder)
        if attack.resealed:
            forgery.reseal(folder)
        yield
    finally:
        for path in [path for path in folder.rglob("*") if path.is_file() and path not in before]:
            path.unlink()
        for path in [path for path in folder.rglob("*") if path.is_dir() and path not in folders]:
            shutil.rmtree(path, ignore_errors=True)
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)


class Watch:
    """Runs the mechanisms of `make verify` on a copy. A mechanism whose files have been seen before, byte by
    byte, is not run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[str, str], list[Item]] = {}

    def first_failures(self, count: int) -> dict[str, Item]:
        """The first failing item of the first mechanisms that have one; the others are not run."""
        failing: dict[str, Item] = {}
        for mechanism, items in zip(MECHANISMS, self._failures(), strict=True):
            if items:
                failing[mechanism.name] = items[0]
            if len(failing) == count:
                break
        return failing

    def _failures(self) -> Iterator[list[Item]]:
        place, hashes = Place(self.folder), self._hashes()
        for mechanism in MECHANISMS:
            key = (mechanism.name, _state(mechanism, hashes))
            if key not in self.known:
                items = strictly(mechanism.items(place))
                self.known[key] = [item for item in items if item.status == "FAIL"]
            yield self.known[key]

    def _hashes(self) -> dict[str, str]:
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): file_sha256(path) for path in files}


def _state(mechanism: Mechanism, hashes: dict[str, str]) -> str:
    """One hash of all files that a mechanism reads."""
    return fingerprint(
        {name: digest for name, digest in hashes.items() if any(fnmatch(name, one) for one in mechanism.read)}
    )
