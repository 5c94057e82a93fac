"""`make reference PAGES=1`: render claims, tables, figures and pages again from the shipped rows.

The rows stay as they were measured, and the lock keeps which code measured them; its entry of the stage
`report` becomes the code that rendered the pages. Everything is written, or nothing.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256
from sustainable.verification.export.crate import write_crate
from sustainable.verification.export.witness import CRATE, WITNESS, write_witness
from sustainable.verification.folders import copy
from sustainable.verification.lock import Stage, comparable, md5_of, read_yaml
from sustainable.verification.manifest import (
    PAPER,
    claim_entries,
    declared_of,
    declared_tiers,
    entry_of,
    made_files,
)
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, UNLISTED, Place
from sustainable.verification.tiers.integrity import (
    check_entries,
    check_inputs,
    check_sums,
    pins,
    recorded_md5,
    shipped_name,
)
from sustainable.verification.tiers.verdicts import read_claims

REPORT = "report"
TRACKED = ("dvc.lock", "paper/claims.json", "data/metrics/benchmark.json")
"""Files outside the reference of which git tracks a copy."""


def rerender(root: Path) -> list[str]:
    """Render the pages of the reference again and renew their hashes; returns the files that changed.

    Raises `UserError`, and writes nothing, if a shipped row or weight does not have its recorded hash, if a
    verdict would change, or if this folder holds a run of its own.
    """
    place = Place(root)
    refuse_own_run(place)
    refuse_changed_rows(place)
    new = root / f"{REFERENCE}.new"
    with TemporaryDirectory(prefix="pages-") as scratch:
        rendered = Path(scratch)
        render(place, rendered)
        refuse_other_verdicts(place.reference / "claims.json", rendered / "paper/claims.json")
        stage = rendered_stage(place, rendered)
        shutil.rmtree(new, ignore_errors=True)
        write_reference(place, new, rendered, stage)
    changed = changed_files(place.reference, new)
    copies = {path: new / shipped_name(path) for path in TRACKED}
    for path, source in copies.items():
        copy(source, root / path)
    shutil.rmtree(place.reference)
    new.rename(place.reference)
    return changed


def refuse_own_run(place: Place) -> None:
    if place.has_own_run:
        raise UserError(
            f"{place.root / 'data/benchmark'}: a run of your own is here, and dvc.lock is that run's; "
            "render the pages in another checkout (`git worktree add`)"
        )


def refuse_changed_rows(place: Place) -> None:
    """Raise `UserError` unless every shipped file that the report does not render has its recorded hashes."""
    rendered = {entry["shipped"] for entry in place.artifacts.values() if entry["stage"] == REPORT}
    described = {f"{REFERENCE}/{name}" for name in (MANIFEST, WITNESS, CRATE, "dvc.lock")}
    for item in check_sums(place):
        if item.name not in rendered | described and item.status == "FAIL":
            raise UserError(f"{item.name}: expected {item.expected}, found {item.found}; {item.advice}")
    for check in (check_entries, check_inputs):
        for item in check(place):
            if item.status == "FAIL" and item.stage != REPORT:
                raise UserError(f"{item.name}: expected {item.expected}, found {item.found}; {item.advice}")


def refuse_other_verdicts(shipped: Path, rendered: Path) -> None:
    """Raise `UserError` if a shipped claim is gone or has another verdict. New claims may be added."""
    verdicts = {str(claim["id"]): claim["verdict"] for claim in read_claims(rendered)}
    for claim in read_claims(shipped):
        found = verdicts.get(str(claim["id"]), "no such claim")
        if found != claim["verdict"]:
            raise UserError(
                f"claim {claim['id']}: {claim['verdict']} in {shipped}, {found} with this code; a verdict "
                "changes only with a new run: `make reproduce`, then `make reference`"
            )


def render(place: Place, folder: Path) -> None:
    """Run the report stage's command on the shipped rows; its outputs go to `folder`."""
    stage = place.declared[REPORT]
    script, *words = stage.command.split()[1:]
    done = subprocess.run(
        [sys.executable, script, *(_redirected(word, stage, place, folder) for word in words)],
        cwd=place.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{script}: rendering failed ({last}); nothing was written")


def _redirected(word: str, stage: Stage, place: Place, folder: Path) -> str:
    """Read from the reference instead of `data`; write to `folder` what lies in an output or above one."""
    if word == "data":
        return str(place.reference)
    if any(out == word or out.startswith(f"{word}/") for out in stage.outputs):
        return str(folder / word)
    return word


def rendered_stage(place: Place, rendered: Path) -> Stage:
    """The report stage as it was run just now."""
    stage = with_recorded_inputs(place, place.declared[REPORT])
    return replace(stage, outputs={path: md5_of(rendered / path) for path in stage.outputs})


def with_recorded_inputs(place: Place, stage: Stage) -> Stage:
    """A declared stage with the MD5 that the shipped run's data have."""
    inputs = {path: md5 or _recorded(place, stage, path) for path, md5 in stage.inputs.items()}
    return replace(stage, inputs=inputs)


def _recorded(place: Place, stage: Stage, path: str) -> str:
    md5 = recorded_md5(place.artifacts, path)
    if md5 is None and (place.root / path).is_file():
        return md5_of(place.root / path)
    if md5 is None:
        raise UserError(
            f"dvc.yaml: {stage.name} reads {path}, which the shipped run does not have; run `make reproduce`"
        )
    return md5


def write_reference(place: Place, folder: Path, rendered: Path, stage: Stage) -> None:
    """Write the whole reference to `folder`: measured files as they are, the others renewed."""
    shutil.copytree(place.reference, folder)
    stages = {**place.lock, REPORT: stage}
    manifest = renewed_manifest(place, rendered, stages)
    for path, entry in place.artifacts.items():
        if entry["stage"] == REPORT and entry["shipped"]:
            (folder / shipped_name(path)).unlink(missing_ok=True)
    for path, entry in manifest["artifacts"].items():
        if entry["stage"] == REPORT and entry["shipped"]:
            copy(rendered / path, folder / shipped_name(path))
    write_lock(folder / "dvc.lock", {REPORT: stage}, manifest["artifacts"], place.root)
    write_json(folder / MANIFEST, manifest)
    write_descriptions(folder, manifest, place.root, published_on(folder / CRATE))


def renewed_manifest(place: Place, rendered: Path, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The manifest with new entries of what the report rendered, and everything derived derived again."""
    tiers = declared_tiers(place.root)
    artifacts = {
        path: entry | declared_of(path, stages[entry["stage"]], tiers)
        for path, entry in place.artifacts.items()
        if entry["stage"] != REPORT
    }
    for path, stage in made_files(rendered, {REPORT: stages[REPORT]}):
        artifacts[path] = entry_of(rendered, path, stage, tiers)
    if PAPER not in artifacts:
        print(f"{PAPER}: no TeX here, so the manifest no longer lists the PDF")
    claims = claim_entries(rendered / "paper/claims.json")
    return place.manifest | {"artifacts": artifacts, "claims": claims, "sources": renewed_sources(place)}


def renewed_sources(place: Place) -> dict[str, str]:
    """Hashes of the sources. That of requirements.txt is kept if it pins other versions than the run had."""
    sources = {name: file_sha256(place.root / name) for name in place.manifest["sources"]}
    measured_with = read_json(place.reference / "host.json")["packages"]
    if pins((place.root / "requirements.txt").read_text(encoding="utf-8")) != measured_with:
        sources["requirements.txt"] = place.manifest["sources"]["requirements.txt"]
    return sources


def write_lock(path: Path, stages: Mapping[str, Stage], artifacts: Mapping[str, Any], root: Path) -> None:
    """Replace the entries of `stages` in the dvc.lock at `path`."""
    document = read_yaml(path)
    for name, stage in stages.items():
        document["stages"][name] = {
            "cmd": stage.command,
            "deps": [_lock_entry(*one, artifacts, root) for one in sorted(stage.inputs.items())],
            "params": {"params.yaml": comparable(dict(stage.parameters))},
            "outs": [_lock_entry(*one, artifacts, root) for one in sorted(stage.outputs.items())],
        }
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    write_text(path, yaml.dump(document, Dumper=dumper, sort_keys=False, width=110))


def _lock_entry(path: str, md5: str, artifacts: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """An input or output as DVC locks it."""
    sizes = [
        int(entry["size"]) for name, entry in artifacts.items() if name == path or name.startswith(path + "/")
    ]
    if not sizes:
        files = [root / path] if (root / path).is_file() else sorted((root / path).rglob("*"))
        sizes = [file.stat().st_size for file in files if file.is_file() and "__pycache__" not in file.parts]
    folder = {"nfiles": len(sizes)} if md5.endswith(".dir") else {}
    return {"path": path, "hash": "md5", "md5": md5, "size": sum(sizes), **folder}


def write_descriptions(folder: Path, manifest: Mapping[str, Any], project: Path, published: str) -> None:
    """Write repro.yaml, the RO-Crate and `SHA256SUMS` of the reference in `folder`."""
    write_witness(folder, folder / WITNESS)
    write_crate(folder, manifest["artifacts"], folder / CRATE, project=project, published=published)
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS` of the reference in `folder`."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(_files(folder))}
    lines = [f"{file_sha256(path)}  {name}\n" for name, path in files.items() if name not in UNLISTED]
    write_text(folder / SUMS, "".join(lines))


def published_on(crate: Path) -> str:
    """The date on which the shipped run was published, from its RO-Crate."""
    graph = read_json(crate)["@graph"]
    return str(next(entry["datePublished"] for entry in graph if "datePublished" in entry))


def changed_files(before: Path, after: Path) -> list[str]:
    """The files that differ between two folders, by path."""
    files = [{path.relative_to(folder).as_posix() for path in _files(folder)} for folder in (before, after)]
    return sorted(
        name
        for name in files[0] | files[1]
        if name not in files[0] & files[1] or (before / name).read_bytes() != (after / name).read_bytes()
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
