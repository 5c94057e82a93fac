"""`make tamper`: does `make verify` notice? A copy of the artifact is damaged in one place after another.

There are three kinds of forger. A careless one changes a file. A thorough one then rewrites every hash that
the project keeps of it (`forgery.reseal`), so that the change must contradict something else. One who also
makes everything agree, or silences the verifier, is left to a reader who knows the root hash and uses
`sha256sum`. Nothing in the copy is stale (`forgery.release`), and a stale item counts as a failure.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from sustainable.core.files import write_text
from sustainable.core.hashing import fingerprint
from sustainable.verification.export.witness import CRATE, WITNESS
from sustainable.verification.folders import copy
from sustainable.verification.items import Item, strictly
from sustainable.verification.lock import files_in
from sustainable.verification.listed import LIST, NOT_RUN, START, digest, root_hash, scan
from sustainable.verification.place import MANIFEST, REFERENCE, TASKS, Place
from sustainable.verification.rerender import TRACKED
from sustainable.verification.sent_rows import host_folders
from sustainable.verification.tamper import forgery
from sustainable.verification.tamper.attack import Attack, on_file, some
from sustainable.verification.tamper.structure import structural
from sustainable.verification.tiers.integrity import write_list
from sustainable.verification.tiers.shipped import MANIFEST_FILE, MECHANISMS

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
MANY = 120
FEW = 6
"""How many of a long list of similar files are tried."""
SPLITS = "data/processed/published/windows.safetensors"


def attacks(root: Path, seed: int) -> list[Attack]:
    """Every forgery that is tried on the project in `root`."""
    place = Place(root)
    names = list(scan(root))
    files = [f"{REFERENCE}/{name}" for name in place.shipped_files]
    weights = [path for path in files if path.endswith(".safetensors")]
    pages = [path for path in files if path.endswith(".tex")]
    flip, turn, digit = forgery.flip, forgery.turn_verdict, forgery.edit_digit
    return [
        *_flipped(root, names, seed),
        *(on_file("file removed", path, Path.unlink) for path in some(files, FEW)),
        on_file("file added", f"{REFERENCE}/benchmark/extra.csv", write_text, content="configuration\n"),
        *_rows(seed),
        *_manifest(place),
        *_settings(),
        *_single(seed),
        *_hosts(place, seed),
        *structural(names, seed),
        *(Attack("verdict edited", one, partial(turn, claim=one), True) for one in place.manifest["claims"]),
        *(on_file("printed number edited", path, digit, True, seed=str(seed)) for path in pages),
        *(on_file("one weight edited", path, flip, True, seed="") for path in some(weights, FEW)),
    ]


def one_of_each_kind(root: Path, seed: int) -> list[Attack]:
    found: dict[tuple[str, bool], Attack] = {}
    for attack in attacks(root, seed):
        found.setdefault((attack.kind, attack.resealed), attack)
    return list(found.values())


def _flipped(root: Path, names: Sequence[str], seed: int) -> Iterator[Attack]:
    """One byte of every shipped file, of the tracked copies, of the list, and of some of all other files."""
    shipped = [name for name in names if name.startswith(f"{REFERENCE}/")]
    others = [name for name in names if name not in shipped and (root / name).stat().st_size]
    drawn = random.Random(seed).sample(others, MANY)
    for what, paths in (("a shipped file", shipped), ("a tracked copy", TRACKED), ("the list", [LIST])):
        for path in paths:
            yield on_file(f"one byte of {what}", path, forgery.flip, seed=f"{seed} {path}")
    for path in drawn:
        yield on_file(f"one byte in {path.partition('/')[0]}", path, forgery.flip, seed=f"{seed} {path}")


def _rows(seed: int) -> Iterator[Attack]:
    for path in (f"{REFERENCE}/{name}" for name in ROW_TABLES):
        for kind in ("row dropped", "row added", "number edited"):
            for resealed in (False, True):
                yield on_file(kind, path, forgery.edit_row, resealed, seed=f"{seed} {path}", how=kind)


def _manifest(place: Place) -> Iterator[Attack]:
    entries = place.artifacts
    shipped = [path for path, entry in entries.items() if entry["shipped"]]
    must = [path for path, entry in entries.items() if entry["tier"] != "none"]
    for kind, paths, change in (
        ("entry removed from the manifest", list(entries), None),
        ("tier lowered in the manifest", must, {"tier": "none"}),
        ("marked as not shipped in the manifest", shipped, {"shipped": None}),
    ):
        for path in some(paths, FEW):
            yield Attack(kind, path, partial(forgery.edit_entry, artifact=path, change=change), True)


def _settings() -> Iterator[Attack]:
    settings = "stages/sustainable/verification/verify.yaml"
    wider = partial(on_file, path=settings, change=forgery.substitute, old="margin: 0.25", new="margin: 9.0")
    yield wider("margin widened")
    yield wider("margin widened, list rewritten", then=write_list, seen_by="outside")
    turned = partial(forgery.substitute, old="costs: more", new="costs: less")
    yield on_file("declared order turned, list rewritten", settings, turned, then=write_list)
    for old, new in (
        ("minimum_blocks: 12", "minimum_blocks: 1"),
        ("equivalence_margin: 0.02", "equivalence_margin: 0.9"),
    ):
        kind, edit = "parameter edited", partial(forgery.substitute, old=old, new=new)
        yield on_file(kind, "params.yaml", edit, True)
        yield on_file(f"{kind}, lock and hashes rewritten", "params.yaml", edit, then=forgery.release)


def _single(seed: int) -> Iterator[Attack]:
    """One forgery for each mechanism that the long lists do not reach."""
    for name in (WITNESS, CRATE):
        kind = f"hash edited in {name}, other hashes rewritten"
        left = partial(forgery.rewrite_descriptions, left=[name])
        yield on_file(kind, f"{REFERENCE}/{name}", forgery.edit_hash, then=left)
    kind = f"hash edited in {MANIFEST}, other hashes rewritten"
    rows = partial(forgery.reverse_hash, artifact="data/benchmark/weather.csv", key="sha256")
    yield Attack(kind, MANIFEST_FILE, rows, then=forgery.rewrite_descriptions)
    splits = partial(forgery.reverse_hash, artifact=SPLITS, key="content")
    turned = partial(forgery.turn_verdict, claim="C1", files=())
    typed = partial(forgery.type_sentence, text="It saves 99 percent.")
    shrink, oracle = "shrink@weather", partial(forgery.edit_oracle, task="weather")
    summary, figure = f"{REFERENCE}/metrics/benchmark.json", "shipped/figures/accuracy.png"
    yield from (
        Attack("hash of the splits edited", MANIFEST_FILE, splits, True),
        Attack("verdict edited in the manifest only", "C1", turned, True),
        Attack("input edited in the lock", shrink, partial(forgery.edit_input, stage=shrink), True),
        Attack("other version pinned", "numpy", partial(forgery.pin_another_version, package="numpy"), True),
        on_file("summary edited", summary, forgery.edit_digit, True, seed=str(seed)),
        Attack("oracle edited, everything rendered again", "C3", oracle),
        Attack("reason edited", "A1", lambda root: forgery.edit_reason(root / forgery.CLAIMS[0]), True),
        Attack(
            "number typed into a template, page and lock rewritten",
            "introduction.tex.j2",
            typed,
            then=forgery.release,
        ),
        Attack("other figure rendered", "shipped/figures", lambda root: write_text(root / figure, "another")),
    )


def _hosts(place: Place, seed: int) -> Iterator[Attack]:
    """A description of this host; results of other hosts, edited by a careless forger and by one who rewrites
    every hash."""
    table = "mnist1d"
    yield Attack("host of a table edited", table, partial(forgery.edit_cpu, table=table), True)
    for folder in host_folders(place.root):
        kind, edit = "number edited in another host's rows", partial(forgery.edit_host, host=folder.name)
        yield Attack(kind, folder.name, partial(edit, seed=str(seed)))
        kind += ", every hash rewritten"
        yield Attack(kind, folder.name, partial(edit, seed=str(seed)), then=forgery.release)
        kind = "hash edited in another host's description, other hashes rewritten"
        described = partial(forgery.reverse_host_hash, host=folder.name)
        yield Attack(kind, folder.name, described, then=forgery.release)


def released_copy(root: Path, folder: Path) -> None:
    """Copy the project's files to `folder`, with nothing stale."""
    for name in scan(root):
        copy(root / name, folder / name)
    write_list(folder)
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
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for path, content in before.items():
            if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
                path.unlink(missing_ok=True)
                path.write_bytes(content)


def by_sha256sum(folder: Path, known: str) -> dict[str, str]:
    """What two commands show a reader who runs no code of the project, and knows the root hash."""
    for name, options in (("sha256sum --check", ("--check", "--quiet", "--strict")), ("root hash", ())):
        command = ["sha256sum", *options, LIST]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        first = (done.stdout or done.stderr).partition("\n")[0]
        if done.returncode or (not options and first.split()[0] != known):
            return {name: first}
    return {}


def at_the_start(folder: Path) -> dict[str, str]:
    """What the first step of `make verify` says, as a reader starts it in a forged folder."""
    command = [sys.executable, "-I", "-B", str(folder / START), "--strict"]
    variables = os.environ | {"PYTHONPATH": str(folder / "stages")}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    return (
        {"start": done.stderr.partition("\n")[0]} if done.returncode == 1 and NOT_RUN in done.stderr else {}
    )


def _sha256(path: Path) -> str:
    status = path.stat()
    return digest(str(path), status.st_mtime_ns, status.st_size, status.st_ino)


class Watch:
    """Runs the mechanisms of `make verify` on a copy. A mechanism whose files have been seen before, byte by
    byte, is not run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root_hash = root_hash(folder)
        self.known: dict[tuple[str, str], Item | None] = {}

    def noticed(self, attack: Attack, count: int) -> dict[str, str]:
        """What notices a forgery that was applied: at most `count` mechanisms, each with its first item."""
        if attack.seen_by == "outside":
            return by_sha256sum(self.folder, self.root_hash)
        if attack.seen_by == "start":
            return at_the_start(self.folder)
        return {name: item.name for name, item in self.first_failures(count).items()}

    def first_failures(self, count: int) -> dict[str, Item]:
        """The first failing item of the first mechanisms that have one; the others are not run."""
        place, failing = Place(self.folder), dict[str, Item]()
        hashes = {name: _sha256(path) for name, path in files_in(self.folder).items()} | scan(self.folder)
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
