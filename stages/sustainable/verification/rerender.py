"""`make reference PAGES=1`: render claims, tables, figures and pages again from the shipped rows.

The rows stay as they were measured, and the lock keeps which code measured them; its entry of the stage
`report` becomes the code that rendered the pages. Everything is written, or nothing.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.verification.export.crate import write_crate
from sustainable.verification.export.witness import CRATE, WITNESS, write_witness
from sustainable.verification.folders import copy
from sustainable.verification.lock import Stage, comparable, files_in, inside, md5_of, read_yaml
from sustainable.verification.manifest import PAPER, claim_entries, declared_of, declared_tiers, entries_of
from sustainable.verification.manifest import measured_on
from sustainable.verification.packages import with_packages
from sustainable.verification.place import (
    HOST,
    MANIFEST,
    REFERENCE,
    REPORT,
    Place,
    read_claims,
    verdict_of_run,
)
from sustainable.verification.tiers import integrity
from sustainable.verification.tiers.integrity import recorded_md5, shipped_name

TRACKED = ("dvc.lock", "paper/claims.json", "data/metrics/benchmark.json", "data/metrics/headline.json")
"""Files outside the reference of which git tracks a copy."""


def rerender(root: Path, taking: bool = False, new_rules: Sequence[str] = ()) -> list[str]:
    """Render the pages of the reference again and renew their hashes; returns the files that changed.

    Raises `UserError`, and writes nothing, if a shipped row or weight does not have its recorded hash, if a
    verdict would change, or if this folder holds a run of its own. With `taking`, rows of that run have just
    been taken, and verdicts may change. The verdicts of `new_rules` may change too: claims whose rule is new.
    """
    place = Place(root)
    if place.has_own_run and not taking:
        raise UserError(
            f"{root / 'data/benchmark'}: a run of your own is here, and dvc.lock is that run's; "
            "render the pages in another checkout (`git worktree add`)"
        )
    refuse_changed_rows(place)
    new = root / f"{REFERENCE}.new"
    with TemporaryDirectory(prefix="pages-") as scratch:
        rendered = Path(scratch)
        render(place, rendered)
        if not taking:
            claims = place.reference / "claims.json", rendered / "paper/claims.json"
            refuse_other_verdicts(*claims, new_rules)
        stage = with_recorded_inputs(place, place.declared[REPORT])
        stage = replace(stage, outputs={path: md5_of(rendered / path) for path in stage.outputs})
        shutil.rmtree(new, ignore_errors=True)
        write_reference(place, new, rendered, stage)
    before, after = files_in(place.reference), files_in(new)
    same = {name for name in before.keys() & after if before[name].read_bytes() == after[name].read_bytes()}
    for path in TRACKED:
        copy(new / shipped_name(path), root / path)
    shutil.rmtree(place.reference)
    new.rename(place.reference)
    return sorted((before.keys() | after) - same)


def refuse_changed_rows(place: Place) -> None:
    """Raise `UserError` unless every shipped file that the report does not render has its recorded hashes."""
    checks = (integrity.check_entries, integrity.check_inputs)
    items = [item for check in checks for item in check(place) if item.stage != REPORT]
    for item in items:
        if item.status == "FAIL":
            raise UserError(f"{item.name}: expected {item.expected}, found {item.found}; {item.advice}")


def refuse_other_verdicts(shipped: Path, rendered: Path, new_rules: Sequence[str] = ()) -> None:
    """Raise `UserError` if a shipped claim is gone or has another verdict, except those of `new_rules`.

    New claims may be added. If the rows of other hosts have changed, only the verdict on this run's rows must
    be the same. A claim of `new_rules` must have another rule than the shipped one: the shipped
    rule cannot have come to another verdict on the same rows.
    """
    judged, known = read_claims(rendered), read_claims(shipped)
    for name in new_rules:
        if name not in judged or (name in known and judged[name]["rule"] == known[name]["rule"]):
            raise UserError(f"claim {name}: it has no new rule")
    for name, claim in known.items():
        now = judged.get(name, {"verdict": "no such claim"})
        same_hosts = now.get("hosts") == claim.get("hosts")  # others may turn the verdict over hosts
        before, found = (str(one["verdict"]) if same_hosts else verdict_of_run(one) for one in (claim, now))
        if found != before and name not in new_rules:
            raise UserError(
                f"claim {name}: {before} in {shipped}, {found} with this code; a verdict changes "
                f"only with a new run (`make reproduce`, then `make reference`) or a new rule (RULES={name})"
            )


def render(place: Place, folder: Path) -> None:
    """Run the report stage's command on the shipped rows: it reads the reference instead of `data`, and
    writes to `folder` what lies in an output or above one."""
    stage = place.declared[REPORT]
    script, *words = stage.command.split()[1:]
    command = [sys.executable, script]
    for word in words:
        written = any(inside(out, word) for out in stage.outputs)
        command.append(str(place.reference) if word == "data" else str(folder / word) if written else word)
    done = subprocess.run(command, cwd=place.root, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{script}: rendering failed ({last}); nothing was written")


def with_recorded_inputs(place: Place, stage: Stage) -> Stage:
    """A declared stage with the MD5 that the shipped run's data have."""
    inputs = {}
    for path, declared in stage.inputs.items():
        md5 = declared or recorded_md5(place.artifacts, path)
        if md5 is None and not (place.root / path).exists():
            problem = f"{stage.name} reads {path}, which the shipped run does not have"
            raise UserError(f"dvc.yaml: {problem}; run `make reproduce`")
        inputs[path] = md5 or md5_of(place.root / path)
    return replace(stage, inputs=inputs)


def write_reference(place: Place, folder: Path, rendered: Path, stage: Stage) -> None:
    """Write the whole reference to `folder`: measured files as they are, the others renewed."""
    shutil.copytree(place.reference, folder)
    manifest = renewed_manifest(place, rendered, {**place.lock, REPORT: stage})
    for path in shipped_pages(place.artifacts):
        (folder / shipped_name(path)).unlink(missing_ok=True)
    for path in shipped_pages(manifest["artifacts"]):
        copy(rendered / path, folder / shipped_name(path))
    write_lock(folder / "dvc.lock", {REPORT: stage}, manifest["artifacts"], place.root)
    write_json(folder / MANIFEST, manifest)
    host = read_json(folder / HOST) | {"measured_on": measured_on(folder)}
    write_json(folder / HOST, with_packages(host, [REPORT], place.root))
    write_descriptions(folder, manifest, place.root, published_on(folder))


def published_on(folder: Path) -> str:
    """The date of the reference in `folder`."""
    graph = read_json(folder / CRATE)["@graph"]
    return str(next(entry["datePublished"] for entry in graph if "datePublished" in entry))


def shipped_pages(artifacts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [path for path, entry in artifacts.items() if entry["stage"] == REPORT and entry["shipped"]]


def renewed_manifest(place: Place, rendered: Path, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The manifest with new entries of what the report rendered, and everything derived derived again."""
    tiers = declared_tiers(place.root)
    artifacts = {
        path: entry | declared_of(path, stages[entry["stage"]], tiers)
        for path, entry in place.artifacts.items()
        if entry["stage"] != REPORT
    } | entries_of(rendered, {REPORT: stages[REPORT]}, tiers)
    if PAPER not in artifacts:
        print(f"{PAPER}: no TeX here, so the manifest no longer lists the PDF")
    claims = claim_entries(rendered / "paper/claims.json")
    return place.manifest | {"artifacts": artifacts, "claims": claims}


def write_lock(
    path: Path,
    stages: Mapping[str, Stage],
    artifacts: Mapping[str, Any],
    root: Path,
    gone: Set[str] = frozenset(),
) -> None:
    """Replace the entries of `stages` in the dvc.lock at `path`, and remove those of `gone`."""
    document = read_yaml(path)
    for name in gone:
        del document["stages"][name]
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
    sizes = [int(entry["size"]) for name, entry in artifacts.items() if inside(name, path)]
    if not sizes:
        files = [root / path] if (root / path).is_file() else files_in(root / path).values()
        sizes = [file.stat().st_size for file in files]
    folder = {"nfiles": len(sizes)} if md5.endswith(".dir") else {}
    return {"path": path, "hash": "md5", "md5": md5, "size": sum(sizes), **folder}


def write_descriptions(folder: Path, manifest: Mapping[str, Any], project: Path, published: str) -> None:
    """Write repro.yaml and the RO-Crate of the reference in `folder`."""
    write_witness(folder, folder / WITNESS)
    write_crate(folder, manifest["artifacts"], folder / CRATE, project=project, published=published)
