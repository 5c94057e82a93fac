"""`make tamper`: does `make verify` notice? A copy of the artifact is damaged in one place after another.

There are two kinds of forger. A careless one changes a file. A thorough one then rewrites every hash that the
project keeps of it (`forgery.reseal`), so that the change must contradict something else. The copy is a
release (`forgery.release`): nothing in it is stale, and a stale item counts as a failure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from sustainable.core.files import write_text
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.verification.export.witness import CRATE, WITNESS
from sustainable.verification.folders import copy
from sustainable.verification.items import Item, strictly
from sustainable.verification.lock import files_in
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, TASKS, Place
from sustainable.verification.rerender import TRACKED
from sustainable.verification.sent_rows import host_folders
from sustainable.verification.tamper import forgery
from sustainable.verification.tiers.shipped import MANIFEST_FILE, MECHANISMS

READ_BY_VERIFY = (
    "stages", "paper", "data/raw", "data/actors", "data/hosts", "data/reference", "data/metrics",
    "params.yaml", "dvc.yaml", "dvc.lock", "requirements.txt", "CITATION.cff",
)  # fmt: skip
ROW_TABLES = (
    "benchmark/published.csv", "benchmark/remeasured.csv", "benchmark/policies.csv", "benchmark/workload.csv",
    "benchmark/memory.csv", "benchmark/published.hits.csv", "benchmark/remeasured.hits.csv",
    "benchmark/step_windows.csv", "benchmark/layerwise.csv", "search/published/actions.csv",
    "search/published/discovery.csv", "search/layerwise/searches.csv", "search/weather/repairs.csv",
    "policies/returns.csv",
    *(f"benchmark/{task}.csv" for task in TASKS), *(f"benchmark/{task}.hits.csv" for task in TASKS),
    *(f"search/{task}/candidates.csv" for task in TASKS),
    *(f"search/{task}/improvements.csv" for task in TASKS),
    *(f"training/{task}/narrow.csv" for task in TASKS),
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
    then: Callable[[Path], object] | None = None
    """What else is done afterwards."""

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.target}" + (", every hash rewritten" if self.resealed else "")


def attacks(root: Path, seed: int) -> list[Attack]:
    """Every forgery that is tried on the project in `root`."""
    place = Place(root)
    files = [f"{REFERENCE}/{name}" for name in place.shipped_files]
    weights = [path for path in files if path.endswith(".safetensors")]
    pages = [path for path in files if path.endswith(".tex")]
    flip, turn, digit = forgery.flip, forgery.turn_verdict, forgery.edit_digit
    return [
        *(_on(f"one byte of {kind}", path, flip, seed=f"{seed} {path}") for kind, path in _flipped(place)),
        *(_on("file removed", path, Path.unlink) for path in _some(files)),
        _on("file added", f"{REFERENCE}/benchmark/extra.csv", write_text, content="configuration\n"),
        *_rows(seed),
        *_manifest(place),
        *_settings(),
        *_single(seed),
        *_hosts(place, seed),
        *(Attack("verdict edited", one, partial(turn, claim=one), True) for one in place.manifest["claims"]),
        *(_on("printed number edited", path, digit, True, seed=str(seed)) for path in pages),
        *(_on("one weight edited", path, flip, True, seed="") for path in _some(weights)),
    ]


def _on(
    kind: str, path: str, change: Callable[..., object], resealed: bool = False,
    then: Callable[[Path], object] | None = None, **how: str,
) -> Attack:  # fmt: skip
    return Attack(kind, path, lambda root: change(root / path, **how), resealed, then)


def _some(names: Sequence[str]) -> list[str]:
    """A few of many, spread over the whole list."""
    return list(names[:: max(1, len(names) // FEW)])


def one_of_each_kind(root: Path, seed: int) -> list[Attack]:
    found: dict[tuple[str, bool], Attack] = {}
    for attack in attacks(root, seed):
        found.setdefault((attack.kind, attack.resealed), attack)
    return list(found.values())


def _flipped(place: Place) -> Iterator[tuple[str, str]]:
    """Every shipped file, the sources, and some of the code and the templates, each with what it is."""
    yield from (("a shipped file", f"{REFERENCE}/{name}") for name in [*place.shipped_files, SUMS])
    yield from (("a source", name) for name in place.manifest["sources"])
    yield from (("a tracked copy", name) for name in TRACKED)
    declared = {place.root / path for stage in place.declared.values() for path in stage.code}
    code = {file for path in declared for file in (path.rglob("*") if path.is_dir() else [path])}
    names = sorted(file.relative_to(place.root).as_posix() for file in code if file.suffix in (".py", ".j2"))
    for what, folder in (("code", "stages/"), ("a template", "paper/")):
        for name in _some([name for name in names if name.startswith(folder)]):
            if (place.root / name).stat().st_size:
                yield what, name


def _rows(seed: int) -> Iterator[Attack]:
    for path in (f"{REFERENCE}/{name}" for name in ROW_TABLES):
        for kind in ("row dropped", "row added", "number edited"):
            for resealed in (False, True):
                yield _on(kind, path, forgery.edit_row, resealed, seed=f"{seed} {path}", how=kind)


def _manifest(place: Place) -> Iterator[Attack]:
    entries = place.artifacts
    shipped = [path for path, entry in entries.items() if entry["shipped"]]
    must = [path for path, entry in entries.items() if entry["tier"] != "none"]
    for kind, paths, change in (
        ("entry removed from the manifest", list(entries), None),
        ("tier lowered in the manifest", must, {"tier": "none"}),
        ("marked as not shipped in the manifest", shipped, {"shipped": None}),
    ):
        for path in _some(paths):
            yield Attack(kind, path, partial(forgery.edit_entry, artifact=path, change=change), True)


def _settings() -> Iterator[Attack]:
    settings = "stages/sustainable/verification/verify.yaml"
    yield _on("margin widened", settings, forgery.substitute, True, old="margin: 0.25", new="margin: 9.0")
    for old, new in (
        ("minimum_blocks: 12", "minimum_blocks: 1"),
        ("equivalence_margin: 0.02", "equivalence_margin: 0.9"),
    ):
        kind = f"parameter edited ({new})"
        yield _on(kind, "params.yaml", forgery.substitute, True, old=old, new=new)
        kind += ", lock and hashes rewritten"
        yield _on(kind, "params.yaml", forgery.substitute, then=forgery.release, old=old, new=new)


def _single(seed: int) -> Iterator[Attack]:
    """One forgery for each mechanism that the long lists do not reach."""
    for name in (WITNESS, CRATE):
        kind = f"hash edited in {name}, other hashes rewritten"
        left = partial(forgery.rewrite_descriptions, left=[name])
        yield _on(kind, f"{REFERENCE}/{name}", forgery.edit_hash, then=left)
    kind = f"hash edited in {MANIFEST}, other hashes rewritten"
    rows = partial(forgery.reverse_hash, artifact="data/benchmark/weather.csv", key="sha256")
    yield Attack(kind, MANIFEST_FILE, rows, then=forgery.rewrite_descriptions)
    splits = partial(forgery.reverse_hash, artifact=SPLITS, key="content")
    turned = partial(forgery.turn_verdict, claim="C1", files=())
    shrink, oracle = "shrink@weather", partial(forgery.edit_oracle, task="weather")
    summary, figure = f"{REFERENCE}/metrics/benchmark.json", "shipped/figures/accuracy.png"
    yield from (
        Attack("hash of the splits edited", MANIFEST_FILE, splits, True),
        Attack("verdict edited in the manifest only", "C1", turned, True),
        Attack("input edited in the lock", shrink, partial(forgery.edit_input, stage=shrink), True),
        Attack("other version pinned", "numpy", partial(forgery.pin_another_version, package="numpy"), True),
        _on("summary edited", summary, forgery.edit_digit, True, seed=str(seed)),
        Attack("oracle edited, everything rendered again", "C3", oracle),
        Attack("reason edited", "A1", lambda root: forgery.edit_reason(root / forgery.CLAIMS[0]), True),
        Attack(
            "number typed into a template, page and lock rewritten",
            "introduction.tex.j2",
            forgery.type_number,
        ),
        Attack("other figure rendered", "shipped/figures", lambda root: write_text(root / figure, "another")),
    )


def _hosts(place: Place, seed: int) -> Iterator[Attack]:
    """A result of another host, edited by a careless forger and by one who rewrites every hash."""
    for folder in host_folders(place.root):
        kind, edit = "number edited in another host's rows", partial(forgery.edit_host, host=folder.name)
        yield Attack(kind, folder.name, partial(edit, seed=str(seed)))
        kind += ", every hash rewritten"
        yield Attack(kind, folder.name, partial(edit, seed=str(seed)), then=forgery.release)


def released_copy(root: Path, folder: Path) -> None:
    """Copy what `make verify` reads to `folder`, as a release."""
    for name in READ_BY_VERIFY:
        copy(root / name, folder / name)
    forgery.release(folder)


@contextmanager
def attacked(folder: Path, attack: Attack) -> Iterator[None]:
    """Apply one forgery to the copy in `folder`; restore the copy afterwards."""
    there = set(folder.rglob("*"))
    before = {path: path.read_bytes() for path in there if path.is_file()}
    try:
        attack.damage(folder)
        if attack.resealed:
            forgery.reseal(folder)
        if attack.then:
            attack.then(folder)
        yield
    finally:
        for path in sorted({*folder.rglob("*")} - there, reverse=True):  # a folder after what it holds
            path.rmdir() if path.is_dir() else path.unlink()
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)


class Watch:
    """Runs the mechanisms of `make verify` on a copy. A mechanism whose files have been seen before, byte by
    byte, is not run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[str, str], Item | None] = {}

    def first_failures(self, count: int) -> dict[str, Item]:
        """The first failing item of the first mechanisms that have one; the others are not run."""
        place, failing = Place(self.folder), dict[str, Item]()
        hashes = {name: file_sha256(path) for name, path in files_in(self.folder).items()}
        for mechanism in MECHANISMS:
            read = {name for name in hashes if any(fnmatch(name, pattern) for pattern in mechanism.read)}
            key = mechanism.name, fingerprint({name: hashes[name] for name in read})
            if key not in self.known:
                items = strictly(mechanism.items(place))
                self.known[key] = next((item for item in items if item.status == "FAIL"), None)
            if (item := self.known[key]) is not None:
                failing[mechanism.name] = item
            if len(failing) == count:
                break
        return failing
