"""Rows that somebody sends from another machine: checked, and taken into `data/hosts`.

A sender runs `make reproduce` in a checkout of this version and sends `dvc.lock`, the three files of
`benchmark_policies` and, if possible, the tables of candidates. The lock says which code and parameters
measured the rows, and has their MD5. Nothing here can prove that a sender was honest; what is checked is that
the rows are whole, comparable and new.
"""

import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_json
from sustainable.core.hashing import fingerprint
from sustainable.energy.meter import EVIDENCE, STAMPED
from sustainable.measuring.cpu import UNKNOWN, kind_of
from sustainable.reporting.measured_rows import IDLE
from sustainable.reporting.policies.hosts import CONDITIONS, DESCRIPTION, equal_cells, read_description
from sustainable.reporting.policies.run import CELL, read_windows
from sustainable.verification.items import Item, none_wrong
from sustainable.verification.lock import Stage, differences, files_in, md5_of, read_lock, read_yaml
from sustainable.verification.place import HOSTS, SETTINGS, TASKS, Place
from sustainable.verification.tiers.statistical import CANDIDATE_KEYS

STAGE = "benchmark_policies"
TABLES = ("policies.csv", "workload.csv")
FILES = (*TABLES, CONDITIONS)
PLACES = {name: (f"benchmark/{name}", STAGE) for name in FILES} | {
    f"{task}.{name}": (f"search/{task}/{name}", f"candidates@{task}")
    for task in TASKS
    for name in ("candidates.csv", "candidates.conditions.json")
}
"""Where a file of a host lies in a run, and the stage that makes it. Those not in `FILES` may be missing."""
LOCK = "dvc.lock"
LIMIT_BYTES = 16 * 2**20
"""More than any sent file may take: the shipped ones take less than 1 MiB."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
PLAIN_TEXT = re.compile(r"[A-Za-z0-9 ()@.,:_/+-]{1,100}")
"""What a text that pages print may consist of."""


@dataclass(frozen=True)
class Sent:
    """A folder with the rows of another machine, whose files are regular and bounded."""

    files: Mapping[str, Path]
    """By name: those of `FILES`, and others of `PLACES`."""
    stages: Mapping[str, Stage]
    """The stages that measured the rows, as dvc.lock recorded them."""


def take_host(root: Path, folder: Path, name: str | None = None) -> Path:
    """Check the rows in `folder` and take them into `data/hosts`; returns the new folder.

    It is named after the kind of CPU, unless `name` is given. Raises `UserError`, and writes nothing, if the
    rows are damaged, of other code or policies, no evidence, or if the name is taken.
    """
    place, sent = Place(root), find_sent(folder)
    refuse_other_code(place, sent)
    refuse_other_rows(place, sent)
    host = checked_host(sent.files[CONDITIONS])
    target = root / HOSTS / checked_name(name or kind_of(host), host)
    if target.exists():
        raise UserError(f"{target}: this name is taken; choose another with NAME=...")
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        for file, path in sent.files.items():
            shutil.copyfile(path, new / file)
        write_json(new / DESCRIPTION, description_of(sent, host))
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target


def find_sent(folder: Path) -> Sent:
    """Find the files in a sent folder, or in a checkout. Raises `UserError` if one is missing or changed."""
    known = [part for part in (folder, folder / "data") if (part / "benchmark").is_dir()]
    if not known:
        problem = "it has neither the folder benchmark nor data/benchmark"
        raise UserError(f"{folder}: {problem}; name a checkout after `make reproduce`, or its files")
    places = {name: known[0] / path for name, (path, _) in PLACES.items()}
    tasks = {name.partition(".")[0] for name, path in places.items() if name not in FILES and path.exists()}
    files = {name: path for name, path in places.items() if name in FILES or name.partition(".")[0] in tasks}
    for path in (*files.values(), folder / LOCK):
        refuse_irregular(folder, path)
    lock = read_lock(folder / LOCK)
    for name, path in files.items():
        stage = PLACES[name][1]
        if stage not in lock:
            raise UserError(
                f"{folder / LOCK}: it does not record {stage}, so its code is unknown; run that stage"
            )
        if lock[stage].outputs.get(f"data/{PLACES[name][0]}") != md5_of(path):
            raise UserError(f"{path}: damaged, it is not the file that {LOCK} records; send it again")
    return Sent(files, {PLACES[name][1]: lock[PLACES[name][1]] for name in files})


def refuse_irregular(folder: Path, path: Path) -> None:
    """Raise `UserError` unless `path` is a regular file in `folder`, of a plausible size."""
    try:
        status = path.lstat()
    except OSError:
        raise UserError(f"{path}: missing; send it with the others") from None
    if not stat.S_ISREG(status.st_mode) or folder.resolve() not in path.resolve().parents:
        raise UserError(f"{path}: not a regular file of this folder; send a copy of the file")
    if not 0 < status.st_size <= LIMIT_BYTES:
        raise UserError(f"{path}: {status.st_size} bytes; at least 1 and at most {LIMIT_BYTES} are accepted")


def refuse_other_code(place: Place, sent: Sent) -> None:
    """Raise `UserError` unless the code and parameters of the shipped rows, or of this checkout, measured."""
    for name, stage in sent.stages.items():
        found = [differences(stages[name], stage) for stages in (place.lock, place.declared)]
        if all(found):
            problem = f"{name}: measured by other code than the shipped rows ({found[0][0]})"
            raise UserError(f"{LOCK}: {problem}; measure with a checkout of this version")


def refuse_other_rows(place: Place, sent: Sent) -> None:
    """Raise `UserError` unless the rows can be compared with the shipped ones: table, models, evidence."""
    folder = sent.files[TABLES[0]].parent
    tables = dict(zip(TABLES, read_windows(folder), strict=True))
    limit = float(read_yaml(place.root / SETTINGS)["flagged_limit"])
    for name, rows in tables.items():
        shipped = read_rows(place.reference / "benchmark" / name, ())
        problem = next(problems_of(rows, shipped, limit), None)
        if problem:
            raise UserError(f"{sent.files[name]}: {problem}")
    for task in TASKS:
        if f"{task}.candidates.csv" in sent.files:
            _refuse_other_candidates(place, sent, task)
    _refuse_duplicates(place, sent)


def _refuse_other_candidates(place: Place, sent: Sent, task: str) -> None:
    """Raise `UserError` unless a table of candidates timed the shipped networks, on the same host."""
    path = sent.files[f"{task}.candidates.csv"]
    rows = read_rows(path, CANDIDATE_KEYS)
    shipped = read_rows(place.reference / f"search/{task}/candidates.csv", CANDIDATE_KEYS)
    if list(rows.columns) != list(shipped.columns):
        raise UserError(f"{path}: other columns than in the shipped table; measure with this version")
    weights = [_float_weights(table) for table in (rows, shipped)]
    if weights[0] != weights[1]:
        raise UserError(f"{path}: other candidates than the shipped ones; train with this version")
    times = rows.filter(like="cpu_time_ms_").apply(pd.to_numeric, errors="coerce")
    if (times[rows["refused"].isna()].isna() | (times <= 0)).any(axis=None):
        raise UserError(f"{path}: it has values that are no times; send the file again")
    kinds = [
        kind_of(checked_host(sent.files[name])) for name in (f"{task}.candidates.conditions.json", CONDITIONS)
    ]
    if kinds[0] != kinds[1]:
        raise UserError(f"{path}: timed on {kinds[0]}, but the policies on {kinds[1]}; send rows of one host")


def _float_weights(candidates: pd.DataFrame) -> set[tuple[Any, ...]]:
    """Candidates with their weights; without int8, whose weights are packed as a CPU's kernels want them."""
    table = candidates[candidates["precision"] != "int8"][[*CANDIDATE_KEYS, "weights_sha256"]]
    return set(table.astype(str).itertuples(index=False, name=None))


def problems_of(rows: pd.DataFrame, shipped: pd.DataFrame, flagged_limit: float) -> Iterator[str]:
    """What keeps sent rows from being compared with the shipped ones, each with what to do."""
    if list(rows.columns) != list(shipped.columns):
        unlike = sorted(set(rows.columns) ^ set(shipped.columns)) or ["their order"]
        yield f"other columns than in the shipped table ({unlike[0]}); measure with this version"
        return
    if set(rows["profile"]) != {"paper"}:
        yield f"rows of profile {min(map(str, rows['profile']))}, not evidence; send a run of profile paper"
    if set(rows["configuration"]) != set(shipped["configuration"]):
        unlike = sorted(set(rows["configuration"]) ^ set(shipped["configuration"]))
        yield f"other configurations than in the shipped table ({unlike[0]}); measure with this version"
    cells = set(shipped[CELL].itertuples(index=False, name=None))
    if set(rows[CELL].itertuples(index=False, name=None)) != cells:
        yield "other cells than in the shipped table; measure with this version"
    elif others := sorted(cells - equal_cells(rows, shipped)):
        yield f"other policies in {' '.join(others[0])} (weights_sha256 differs); train with this version"
    yield from _implausible(rows)
    flagged = rows["flags"].notna().mean()
    if flagged > flagged_limit:
        shares = f"{flagged:.1%} of the windows are flagged, more than {flagged_limit:.1%}"
        yield f"{shares}; measure on an idle machine"


def _implausible(rows: pd.DataFrame) -> Iterator[str]:
    """Unknown or replayed evidence, and times that are none or contradict each other."""
    classes = set(rows[["cpu_evidence", "ram_evidence", "gpu_evidence"]].stack().dropna())
    unknown = sorted(map(str, classes - (EVIDENCE.keys() - STAMPED)))
    if unknown:
        yield f"evidence {unknown[0]!r} is no measurement; choose another meter (metering.meter)"
    acting = rows[rows["configuration"] != IDLE]
    per_step, time_s, steps = (
        pd.to_numeric(acting[name], errors="coerce").to_numpy(float)
        for name in ("cpu_time_per_step_us", "cpu_time_s", "steps")
    )
    if not (np.isfinite(per_step) & (per_step > 0)).all():
        yield "cpu_time_per_step_us has values that are no times; send the file again"
    elif not np.allclose(per_step * steps, 1e6 * time_s, rtol=1e-6):
        yield "cpu_time_per_step_us is not cpu_time_s / steps; send the file again"


def _refuse_duplicates(place: Place, sent: Sent) -> None:
    """Raise `UserError` if the windows are the shipped ones, or those of a host that is here already."""
    md5 = md5_of(sent.files[TABLES[0]])
    known = {"the shipped run": place.artifacts[f"data/benchmark/{TABLES[0]}"]["md5"]}
    known |= {folder.name: md5_of(folder / TABLES[0]) for folder in host_folders(place.root)}
    same = next((name for name, other in known.items() if other == md5), None)
    if same:
        raise UserError(f"{sent.files[TABLES[0]]}: these are the rows of {same}; nothing is to be added")


def checked_host(conditions: Path) -> dict[str, Any]:
    """The described host; raises `UserError` if a page could not print it, or its kind contradicts itself."""
    content = read_json(conditions)
    host = content.get("host") if isinstance(content, dict) else None
    if not isinstance(host, dict):
        raise UserError(f"{conditions}: it describes no host; measure with this version")
    for key in ("cpu", "isa", "vendor", "hypervisor"):
        value = host.get(key)
        if not (value is None and key in ("vendor", "hypervisor")) and not PLAIN_TEXT.fullmatch(str(value)):
            raise UserError(f"{conditions}: host: {key} is {str(value)[:60]!r}, not a plain text; correct it")
    caches = host.get("caches_kib")
    if caches is not None and not _are_sizes(caches):
        raise UserError(f"{conditions}: host: caches_kib are not sizes in KiB by name; correct it")
    if host.get("kind", kind_of(host)) != kind_of(host):
        raise UserError(f"{conditions}: host: kind {host['kind']!r}, but its numbers say {kind_of(host)}")
    return host


def _are_sizes(caches: Any) -> bool:
    return isinstance(caches, dict) and all(
        PLAIN_TEXT.fullmatch(name) and type(size) is int and size > 0 for name, size in caches.items()
    )


def checked_name(name: str, host: Mapping[str, Any]) -> str:
    """Check a folder's name. Raises `UserError` for another text, or without a name for an unknown kind."""
    if name == UNKNOWN:
        cpu = f"{host['cpu']}: family and model are not recorded, so the kind of CPU is unknown"
        raise UserError(f"{cpu}; choose a name for the folder with NAME=...")
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r}: not a name for a folder; use at most 40 of a-z, 0-9 and -")
    return name


def description_of(sent: Sent, host: Mapping[str, Any]) -> dict[str, Any]:
    """The content of host.json: kind of CPU, hashes of code and parameters, and the MD5 of the files."""
    return {
        "kind": kind_of(host),
        "noted_by_hand": {},
        "measured_by": {
            name: {"code": fingerprint(stage.code), "parameters": fingerprint(dict(stage.parameters))}
            for name, stage in sent.stages.items()
        },
        "rows": {name: md5_of(path) for name, path in sent.files.items()},
    }


def host_folders(root: Path) -> list[Path]:
    """The folders of other hosts' rows, in order."""
    return sorted(path for path in (root / HOSTS).glob("*") if path.is_dir())


def check_hosts(place: Place) -> Iterator[Item]:
    """Check that each folder of `data/hosts` has its files, as host.json describes them, and no others."""
    for folder in host_folders(place.root):
        name = folder.relative_to(place.root).as_posix()
        read_description(folder)
        stated = read_json(folder / DESCRIPTION)["rows"]
        found = {file: md5_of(path) for file, path in files_in(folder).items() if file != DESCRIPTION}
        wrong = [f"{file} has changed" for file in {*FILES, *stated} if found.get(file) != stated.get(file)]
        wrong += [f"{file} is not described" for file in found.keys() - stated.keys()]
        advice, expected = f"`git checkout -- {name}`", f"{len(stated)} files as described"
        yield none_wrong("T0", name, "shipped", expected, sorted(wrong), advice=advice)
