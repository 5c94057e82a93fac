"""`make reference STAGES="..."`: take the outputs of some stages into the reference, and leave the others.

The pages are then rendered again from all rows. Stages that are left keep their rows and their entry in the
lock; `make verify` calls them stale if their code has changed since, or if they read what was now made anew.
The manifest lists such inputs under `renewed`, with the MD5 that was read. Stages that dvc.yaml no longer has
are left out, with their outputs.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.verification.folders import copy
from sustainable.verification.lock import Stage, files_in, md5_of, read_lock
from sustainable.verification.manifest import declared_tiers, entries_of
from sustainable.verification.packages import with_packages
from sustainable.verification.place import HOST, MANIFEST, REFERENCE, Place
from sustainable.verification.rerender import rerender, write_lock
from sustainable.verification.tiers.integrity import recorded_md5, shipped_name


def take_stages(root: Path, names: Sequence[str], efforts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Take stages of the run in `root` into its reference, render the pages, and return the changed files.

    `efforts` are the latest of the run. Raises `UserError`, and leaves the reference as it was, if a stage
    has not been run, if its files differ from dvc.lock, or if its inputs are not those of the reference.
    """
    place, run = Place(root), read_lock(root / "dvc.lock")
    unknown = [name for name in names if name not in run]
    if unknown:
        raise UserError(f"{unknown[0]}: dvc.lock has no such stage; it has {', '.join(run)}")
    taken = {name: run[name] for name in names}
    refuse_changed(root, taken)
    new, old = root / f"{REFERENCE}.new", root / f"{REFERENCE}.old"
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    fill(place, new, taken, efforts)
    place.reference.rename(old)
    new.rename(place.reference)
    try:
        rerender(root, taking=True)
    except BaseException:
        shutil.rmtree(place.reference)
        old.rename(place.reference)
        raise
    before, after = files_in(old), files_in(place.reference)
    same = {name for name in before.keys() & after if before[name].read_bytes() == after[name].read_bytes()}
    shutil.rmtree(old)
    return sorted((before.keys() | after) - same)


def refuse_changed(root: Path, stages: Mapping[str, Stage]) -> None:
    """Raise `UserError` unless dvc.lock describes the files here."""
    for stage in stages.values():
        for path, md5 in {**stage.code, **stage.outputs}.items():
            if md5_of(root / path) != md5:
                problem = f"differs from what dvc.lock records for {stage.name}"
                raise UserError(f"{path}: {problem}; run `dvc repro -s {stage.name}` first")


def fill(
    place: Place, folder: Path, taken: Mapping[str, Stage], efforts: Sequence[Mapping[str, Any]]
) -> None:
    """Write the reference with the files of `taken` to `folder`."""
    shutil.copytree(place.reference, folder)
    gone = place.lock.keys() - place.declared.keys()
    before = {path: entry for path, entry in place.artifacts.items() if entry["stage"] in taken.keys() | gone}
    after = entries_of(place.root, taken, declared_tiers(place.root))
    for path in before:
        (folder / shipped_name(path)).unlink(missing_ok=True)
    for path, entry in after.items():
        if entry["shipped"]:
            copy(place.root / path, folder / shipped_name(path))
    artifacts = {path: entry for path, entry in place.artifacts.items() if path not in before} | after
    write_lock(folder / "dvc.lock", taken, artifacts, place.root, gone)
    latest = {one["stage"]: one for one in read_json(folder / "effort.json") if one["stage"] not in gone}
    latest |= {one["stage"]: one for one in efforts if one["stage"] in taken}
    write_json(folder / "effort.json", list(latest.values()))
    write_json(folder / HOST, with_packages(read_json(folder / HOST), taken, place.root, gone))
    read: dict[str, set[str]] = {}
    for name, stage in place.lock.items():
        for path, md5 in stage.data.items():
            if name not in taken.keys() | gone and recorded_md5(artifacts, path) not in (None, md5):
                read.setdefault(path, set()).add(md5)
    renewed = {path: sorted(found) for path, found in read.items()}
    manifest = place.manifest | {"artifacts": artifacts, "renewed": renewed}
    write_json(folder / MANIFEST, manifest)  # the descriptions need the claims, which `rerender` judges
