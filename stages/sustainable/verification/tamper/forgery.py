"""What a forger does to a file, and how a thorough one covers it up."""

import csv
import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256
from sustainable.verification.content import content_sha256
from sustainable.verification.export.witness import CRATE, WITNESS, write_witness
from sustainable.verification.lock import md5_of
from sustainable.verification.manifest import declared_of, declared_tiers
from sustainable.verification.place import MANIFEST, REFERENCE, Place
from sustainable.verification.rerender import TRACKED, rerender, with_recorded_inputs, write_lock, write_sums
from sustainable.verification.tiers.integrity import shipped_name

RESULTS = (
    "cpu_time_per_step_us", "cpu_time_ms_batch_64", "cpu_time_ms", "process_rss_bytes", "episode_return",
    "reward", "test_accuracy_difference", "validation_loss", "baseline",
)  # fmt: skip
"""The columns that a forger would edit; the first one that a table has counts."""


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
    """Remove a row."""
    rows = _table(path)
    del rows[_random_row(rows, seed)]
    _write_table(path, rows)


def add_row(path: Path, seed: str) -> None:
    """Repeat a row."""
    rows = _table(path)
    index = _random_row(rows, seed)
    rows.insert(index, rows[index])
    _write_table(path, rows)


def edit_number(path: Path, seed: str) -> None:
    """Improve the result in one row."""
    rows = _table(path)
    index, column = _random_row(rows, seed), _column(rows)
    rows[index][column] = improved(rows[index][column])
    _write_table(path, rows)


def improved(cell: str) -> str:
    """Halve a number; swap 0 and 1."""
    return {"0": "1", "1": "0"}.get(cell) or repr(float(cell) / 2)


def _column(rows: Sequence[Sequence[str]]) -> int:
    return next(rows[0].index(name) for name in RESULTS if name in rows[0])


def _random_row(rows: Sequence[Sequence[str]], seed: str) -> int:
    """A random row that has a result."""
    column = _column(rows)
    return random.Random(seed).choice([n for n, row in enumerate(rows) if n and row[column]])


def _table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def turn_verdict(root: Path, claim: str) -> None:
    """Give a claim another verdict in claims.json and in the manifest."""
    verdict = ""
    for path in (root / REFERENCE / "claims.json", root / "paper/claims.json"):
        claims = read_json(path)
        entry = next(entry for entry in claims if entry["id"] == claim)
        verdict = entry["verdict"] = _turned(entry["verdict"])
        write_json(path, claims)
    _edit_manifest(root, lambda manifest: manifest["claims"][claim].update(verdict=verdict))


def turn_manifest_verdict(root: Path, claim: str) -> None:
    """Give a claim another verdict in the manifest only."""

    def change(manifest: dict[str, Any]) -> None:
        entry = manifest["claims"][claim]
        entry["verdict"] = _turned(entry["verdict"])

    _edit_manifest(root, change)


def _turned(verdict: str) -> str:
    return "refuted" if verdict == "confirmed" else "confirmed"


def edit_digit(path: Path, seed: str) -> None:
    """Change a random digit of a text."""
    text = path.read_text(encoding="utf-8")
    index = random.Random(seed).choice([n for n, letter in enumerate(text) if letter.isdigit()])
    write_text(path, f"{text[:index]}{(int(text[index]) + 1) % 10}{text[index + 1 :]}")


def edit_hash(path: Path) -> None:
    """Change the last SHA-256 of a text."""
    text = path.read_text(encoding="utf-8")
    last = re.findall(r"\b[0-9a-f]{64}\b", text)[-1]
    write_text(path, text.replace(last, last[::-1]))


def substitute(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a text by `new`; raises `ValueError` if there is none."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path.name}: {old!r} not found")
    write_text(path, text.replace(old, new, 1))


def edit_artifacts(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the manifest's artifacts."""
    _edit_manifest(root, lambda manifest: change(manifest["artifacts"]))


def _edit_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / REFERENCE / MANIFEST
    manifest = read_json(path)
    change(manifest)
    write_json(path, manifest)


def edit_input(root: Path, stage: str) -> None:
    """Let both copies of dvc.lock say that a stage read other data."""
    md5 = next(iter(Place(root).lock[stage].data.values()))
    text = (root / REFERENCE / "dvc.lock").read_text(encoding="utf-8")
    before, name, after = text.partition(f"\n  {stage}:\n")
    for lock in (root / REFERENCE / "dvc.lock", root / "dvc.lock"):
        write_text(lock, before + name + after.replace(md5, "0" * len(md5), 1))
    derive_entries(root)


def pin_another_version(root: Path, package: str) -> None:
    """Pin another version of a package, and renew the manifest's hash of requirements.txt."""
    path = root / "requirements.txt"
    text = path.read_text(encoding="utf-8")
    write_text(path, re.sub(rf"(?m)^{re.escape(package)}==.*$", f"{package}==0.0.1", text))
    digest = file_sha256(path)
    _edit_manifest(root, lambda manifest: manifest["sources"].update({"requirements.txt": digest}))


def edit_oracle(root: Path) -> None:
    """Give the oracle a higher reward, and render everything that follows from it again."""
    path = root / REFERENCE / "search/choices.json"
    choices = read_json(path)
    choices["choices"]["oracle"]["reward"] += 0.001
    write_json(path, choices)
    reseal(root)
    release(root)  # with the inputs that the stage report then has
    rerender(root)
    release(root)


def edit_reason(root: Path) -> None:
    """Edit the reason of a claim."""
    path = root / REFERENCE / "claims.json"
    claims = read_json(path)
    claims[0]["reason"] += " The effect is large."
    write_json(path, claims)


def draw_another_figure(root: Path) -> None:
    """Put a figure where `make tables` renders one."""
    write_text(root / "shipped/figures/accuracy.png", "another figure")


def type_number(root: Path) -> None:
    """Type a number into the paper's template and its page, and record the template as the one that ran."""
    template, page = root / "paper/templates/paper.tex.j2", root / REFERENCE / "paper/paper.tex"
    text = page.read_text(encoding="utf-8")
    lines = template.read_text(encoding="utf-8").splitlines()
    plain = next(line for line in lines if line[:1].isalpha() and text.count(f"\n{line}\n") == 1)
    for path in (template, page):
        substitute(path, f"\n{plain}\n", f"\n{plain} It saves 99 percent.\n")
    release(root)


def edit_parameter(root: Path, old: str, new: str) -> None:
    """Edit params.yaml, and record the edited file as the one that the stages ran with."""
    substitute(root / "params.yaml", old, new)
    release(root)


def release(root: Path) -> None:
    """Make a copy of the project a release, in which nothing is stale.

    The lock then says that the shipped rows were made by this checkout's code and parameters, and every hash
    agrees with it.
    """
    citation = root / "CITATION.cff"
    write_text(citation, re.sub(r"(?m)^(version: .*?)\.dev$", r"\1", citation.read_text(encoding="utf-8")))
    place = Place(root)
    stages = {
        name: replace(with_recorded_inputs(place, stage), outputs=place.lock[name].outputs)
        for name, stage in place.declared.items()
    }
    write_lock(place.reference / "dvc.lock", stages, place.artifacts, root)
    shutil.copyfile(place.reference / "dvc.lock", root / "dvc.lock")
    derive_entries(root)
    sources = {name: file_sha256(root / name) for name in place.manifest["sources"]}
    _edit_manifest(root, lambda manifest: manifest.update(sources=sources))
    reseal(root)


def derive_entries(root: Path) -> None:
    """Derive again what the manifest's entries say of their stages."""
    place, tiers = Place(root), declared_tiers(root)
    entries = {
        path: entry | declared_of(path, place.lock[entry["stage"]], tiers)
        for path, entry in place.artifacts.items()
    }
    _edit_manifest(root, lambda manifest: manifest.update(artifacts=entries))


def reseal(root: Path) -> None:
    """Rewrite every hash as a thorough forger would: manifest, lock, descriptions, sums, tracked copies."""
    place = Place(root)
    _reseal_manifest(place)
    _reseal_lock(place)
    rewrite_descriptions(root)


def rewrite_descriptions(root: Path, left: Sequence[str] = ()) -> None:
    """Rewrite the hashes in repro.yaml, the RO-Crate (unless in `left`) and `SHA256SUMS`."""
    reference = root / REFERENCE
    digests = {
        digest: file_sha256(reference / path)
        for path, digest in Place(root).sums().items()
        if (reference / path).is_file() and path not in (WITNESS, CRATE)
    }
    changed = {old: new for old, new in digests.items() if old != new}
    if changed and WITNESS not in left:
        with suppress(UserError):  # forged rows may lack a number that repro.yaml needs
            write_witness(reference, reference / WITNESS)
    if CRATE not in left:
        old = Place(root).sums()[WITNESS]
        crate = (reference / CRATE).read_text(encoding="utf-8")
        for before, after in {**changed, old: file_sha256(reference / WITNESS)}.items():
            crate = crate.replace(before, after)
        write_text(reference / CRATE, crate)
    write_sums(reference)


def _reseal_manifest(place: Place) -> None:
    manifest = place.manifest
    for path, entry in manifest["artifacts"].items():
        file = place.reference / shipped_name(path)
        if entry["shipped"] and file.is_file() and file_sha256(file) != entry["sha256"]:
            entry |= {"sha256": file_sha256(file), "md5": md5_of(file), "size": file.stat().st_size}
            entry["content"] = content_sha256(file)
            if path in TRACKED or path.startswith("data/metrics/"):
                shutil.copyfile(file, place.root / path)
    write_json(place.reference / MANIFEST, manifest)


def _reseal_lock(place: Place) -> None:
    """Renew the hashes of shipped outputs in both copies of dvc.lock."""
    text = (place.reference / "dvc.lock").read_text(encoding="utf-8")
    for stage in place.lock.values():
        for path, md5 in stage.outputs.items():
            shipped = place.reference / shipped_name(path)
            if shipped.exists():
                text = text.replace(md5, md5_of(shipped))
    for lock in (place.reference / "dvc.lock", place.root / "dvc.lock"):
        write_text(lock, text)
