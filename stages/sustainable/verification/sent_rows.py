"""Rows that somebody sends from another machine: checked, and taken into `data/hosts`.

A sender runs `make reproduce` in a checkout of this version and sends `dvc.lock` and the files of at least
one benchmark: that of the policies, or of an audited task. Tables of candidates are taken, too. The lock says
which code and parameters measured the rows, and has their MD5. Nothing here can prove that a sender was
honest; what is checked is that the rows are whole, comparable and new.
"""

import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sustainable.core.documents import AuditedConditions
from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_json
from sustainable.core.hashing import fingerprint
from sustainable.energy.meter import EVIDENCE, STAMPED
from sustainable.measuring.cpu import UNKNOWN, kind_of
from sustainable.reporting.forecasting.audited import peak_rates, refuse_above_peak
from sustainable.reporting.forecasting.hosts import baselines
from sustainable.reporting.forecasting.run import HITS, MEASURED
from sustainable.reporting.host_folders import CONDITIONS, DESCRIPTION, POLICIES, read_host
from sustainable.reporting.measured_rows import IDLE
from sustainable.reporting.policies.hosts import equal_cells
from sustainable.reporting.policies.run import CELL, read_windows
from sustainable.verification.items import Item, none_wrong
from sustainable.verification.lock import Stage, differences, files_in, md5_of, read_lock, read_yaml
from sustainable.verification.place import HOSTS, SETTINGS, TASKS, Place
from sustainable.verification.tiers.statistical import CANDIDATE_KEYS

TABLES = ("policies.csv", "workload.csv")
CANDIDATES = ("candidates.csv", "candidates.conditions.json")
BENCHMARKS = {"benchmark_policies": (*TABLES, f"{POLICIES}.{CONDITIONS}")} | {
    f"benchmark@{task}": (f"{task}.csv", f"{task}.hits.csv", f"{task}.{CONDITIONS}") for task in TASKS
}
"""The files of a host by the stage that measures them. A sender needs those of one stage."""
GROUPS = BENCHMARKS | {f"candidates@{task}": tuple(f"{task}.{name}" for name in CANDIDATES) for task in TASKS}
"""`BENCHMARKS`, and the tables that may be sent beside them."""
PLACES = {name: f"benchmark/{name}" for names in BENCHMARKS.values() for name in names} | {
    f"{task}.{name}": f"search/{task}/{name}" for task in TASKS for name in CANDIDATES
}
"""Where a file of a host lies in a run."""
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
    """By name, as in `PLACES`: all of a stage, or none."""
    stages: Mapping[str, Stage]
    """The stages that measured the rows, as dvc.lock recorded them."""

    @property
    def conditions(self) -> dict[str, Path]:
        """The files that describe the host, by name."""
        return {name: path for name, path in self.files.items() if name.endswith(CONDITIONS)}


def take_host(root: Path, folder: Path, name: str | None = None) -> Path:
    """Check the rows in `folder` and take them into `data/hosts`; returns the new folder.

    It is named after the kind of CPU, unless `name` is given. Raises `UserError`, and writes nothing, if the
    rows are damaged, of other code or models, no evidence, or if the name is taken.
    """
    place, sent = Place(root), find_sent(folder)
    refuse_other_code(place, sent)
    refuse_other_rows(place, sent)
    host = checked_host(next(iter(sent.conditions.values())))
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
    places = {name: known[0] / path for name, path in PLACES.items()}
    present = {name for name, path in places.items() if path.is_symlink() or path.exists()}
    names = {stage: own for stage, own in GROUPS.items() if present & {*own}}
    if not names.keys() & BENCHMARKS.keys():
        raise UserError(f"{known[0]}: no benchmark's rows; send those of {', '.join(BENCHMARKS)}, or of one")
    files = {name: places[name] for own in names.values() for name in own}
    for path in (*files.values(), folder / LOCK):
        refuse_irregular(folder, path)
    lock = read_lock(folder / LOCK)
    for stage, own in names.items():
        _refuse_unlocked(folder, lock, stage, {PLACES[name]: files[name] for name in own})
    return Sent(files, {stage: lock[stage] for stage in names})


def _refuse_unlocked(folder: Path, lock: Mapping[str, Stage], stage: str, files: Mapping[str, Path]) -> None:
    """Raise `UserError` unless `lock` records the stage and the MD5 of its files, which lie in `data`."""
    if stage not in lock:
        raise UserError(
            f"{folder / LOCK}: it does not record {stage}, so its code is unknown; run that stage"
        )
    for place, path in files.items():
        if lock[stage].outputs.get(f"data/{place}") != md5_of(path):
            raise UserError(f"{path}: damaged, it is not the file that {LOCK} records; send it again")


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
    limit = float(read_yaml(place.root / SETTINGS)["flagged_limit"])
    if TABLES[0] in sent.files:
        tables = dict(zip(TABLES, read_windows(sent.files[TABLES[0]].parent), strict=True))
        for name, rows in tables.items():
            shipped = read_rows(place.reference / PLACES[name], ())
            _refuse(sent.files[name], problems_of(rows, shipped, limit))
    for task in TASKS:
        if f"{task}.csv" in sent.files:
            _refuse_other_forecasters(place, sent, task, limit)
        if f"{task}.{CANDIDATES[0]}" in sent.files:
            _refuse_other_candidates(place, sent, task)
    _refuse_several_hosts(sent)
    _refuse_duplicates(place, sent)


def _refuse(path: Path, problems: Iterator[str]) -> None:
    if problem := next(problems, None):
        raise UserError(f"{path}: {problem}")


def _refuse_other_forecasters(place: Place, sent: Sent, task: str, flagged_limit: float) -> None:
    """Raise `UserError` unless a task's benchmark measured the shipped baselines, as evidence."""
    name = f"{task}.csv"
    rows, shipped = (read_rows(path, MEASURED) for path in (sent.files[name], place.reference / PLACES[name]))
    _refuse(sent.files[name], problems_of_task(rows, shipped, flagged_limit))
    hits = sent.files[f"{task}.hits.csv"]
    known = ["training_seed", "first_day"]
    own, others = (read_rows(path, HITS) for path in (hits, place.reference / PLACES[hits.name]))
    if not own[known].equals(others[known]):
        raise UserError(f"{hits}: other test windows than the shipped ones; measure with this version")
    conditions = read_json(sent.files[f"{task}.{CONDITIONS}"], AuditedConditions)
    refuse_above_peak(rows[rows["configuration"] != IDLE], peak_rates(conditions["frozen"]["roofline"]))


def problems_of_task(rows: pd.DataFrame, shipped: pd.DataFrame, flagged_limit: float) -> Iterator[str]:
    """What keeps a task's sent rows from being compared with the shipped ones, each with what to do."""
    if list(rows.columns) != list(shipped.columns):
        yield other_columns(rows, shipped)
        return
    yield from _no_evidence(rows, flagged_limit)
    if baselines(rows) != baselines(shipped):
        yield "other baselines (weights_sha256 differs); train with this version"
    yield from _implausible(rows, "cpu_time_ms", 1e3 * rows["cpu_time_s"], rows["loops"] * rows["windows"])


def _refuse_other_candidates(place: Place, sent: Sent, task: str) -> None:
    """Raise `UserError` unless a table of candidates timed the shipped networks."""
    path = sent.files[f"{task}.candidates.csv"]
    rows = read_rows(path, CANDIDATE_KEYS)
    shipped = read_rows(place.reference / f"search/{task}/candidates.csv", CANDIDATE_KEYS)
    if list(rows.columns) != list(shipped.columns):
        raise UserError(f"{path}: {other_columns(rows, shipped)}")
    weights = [_float_weights(table) for table in (rows, shipped)]
    if weights[0] != weights[1]:
        raise UserError(f"{path}: other candidates than the shipped ones; train with this version")
    times = rows.filter(like="cpu_time_ms_").apply(pd.to_numeric, errors="coerce")
    if (times[rows["refused"].isna()].isna() | (times <= 0)).any(axis=None):
        raise UserError(f"{path}: it has values that are no times; send the file again")


def _refuse_several_hosts(sent: Sent) -> None:
    """Raise `UserError` unless all rows were measured on one kind of CPU."""
    kinds = {path: kind_of(checked_host(path)) for path in sent.conditions.values()}
    first = next(iter(kinds))
    for path, kind in kinds.items():
        if kind != kinds[first]:
            problem = f"measured on {kind}, but {first.name} on {kinds[first]}"
            raise UserError(f"{path}: {problem}; send rows of one host")


def _float_weights(candidates: pd.DataFrame) -> set[tuple[Any, ...]]:
    """Candidates with their weights; without int8, whose weights are packed as a CPU's kernels want them."""
    table = candidates[candidates["precision"] != "int8"][[*CANDIDATE_KEYS, "weights_sha256"]]
    return set(table.astype(str).itertuples(index=False, name=None))


def problems_of(rows: pd.DataFrame, shipped: pd.DataFrame, flagged_limit: float) -> Iterator[str]:
    """What keeps sent rows from being compared with the shipped ones, each with what to do."""
    if list(rows.columns) != list(shipped.columns):
        yield other_columns(rows, shipped)
        return
    yield from _no_evidence(rows, flagged_limit)
    if set(rows["configuration"]) != set(shipped["configuration"]):
        unlike = sorted(set(rows["configuration"]) ^ set(shipped["configuration"]))
        yield f"other configurations than in the shipped table ({unlike[0]}); measure with this version"
    cells = set(shipped[CELL].itertuples(index=False, name=None))
    if set(rows[CELL].itertuples(index=False, name=None)) != cells:
        yield "other cells than in the shipped table; measure with this version"
    elif others := sorted(cells - equal_cells(rows, shipped)):
        yield f"other policies in {' '.join(others[0])} (weights_sha256 differs); train with this version"
    yield from _implausible(rows, "cpu_time_per_step_us", 1e6 * rows["cpu_time_s"], rows["steps"])


def other_columns(rows: pd.DataFrame, shipped: pd.DataFrame) -> str:
    unlike = sorted(set(rows.columns) ^ set(shipped.columns)) or ["their order"]
    return f"other columns than in the shipped table ({unlike[0]}); measure with this version"


def _no_evidence(rows: pd.DataFrame, flagged_limit: float) -> Iterator[str]:
    """Another profile, an unknown or replayed meter, or too many windows that something disturbed."""
    if set(rows["profile"]) != {"paper"}:
        yield f"rows of profile {min(map(str, rows['profile']))}, not evidence; send a run of profile paper"
    classes = set(rows[["cpu_evidence", "ram_evidence", "gpu_evidence"]].stack().dropna())
    unknown = sorted(map(str, classes - (EVIDENCE.keys() - STAMPED)))
    if unknown:
        yield f"evidence {unknown[0]!r} is no measurement; choose another meter (metering.meter)"
    flagged = rows["flags"].notna().mean()
    if flagged > flagged_limit:
        shares = f"{flagged:.1%} of the windows are flagged, more than {flagged_limit:.1%}"
        yield f"{shares}; measure on an idle machine"


def _implausible(rows: pd.DataFrame, name: str, total: pd.Series, count: pd.Series) -> Iterator[str]:
    """Times per unit in the column `name` that are none, or not `total` / `count`; idle rows have none."""
    acting = rows["configuration"] != IDLE
    each, time, units = (
        pd.to_numeric(values[acting], errors="coerce").to_numpy(float)
        for values in (rows[name], total, count)
    )
    if not (np.isfinite(each) & (each > 0)).all():
        yield f"{name} has values that are no times; send the file again"
    elif not np.allclose(each * units, time, rtol=1e-6):
        yield f"{name} contradicts cpu_time_s; send the file again"


def _refuse_duplicates(place: Place, sent: Sent) -> None:
    """Raise `UserError` if windows are the shipped ones, or those of a host that is here already."""
    for name in (own[0] for own in BENCHMARKS.values() if own[0] in sent.files):
        known = {"the shipped run": place.artifacts[f"data/{PLACES[name]}"]["md5"]}
        hosts = [folder for folder in host_folders(place.root) if (folder / name).exists()]
        known |= {folder.name: md5_of(folder / name) for folder in hosts}
        md5 = md5_of(sent.files[name])
        if same := next((host for host, other in known.items() if other == md5), None):
            raise UserError(f"{sent.files[name]}: these are the rows of {same}; nothing is to be added")


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
    """Check that each folder of `data/hosts` has the files that host.json describes, and no others."""
    for folder in host_folders(place.root):
        name = folder.relative_to(place.root).as_posix()
        read_host(folder)
        stated = read_json(folder / DESCRIPTION)["rows"]
        found = {file: md5_of(path) for file, path in files_in(folder).items() if file != DESCRIPTION}
        wrong = [f"{file} has changed" for file in stated if found.get(file) != stated[file]]
        wrong += [f"{file} is not described" for file in found.keys() - stated.keys()]
        wrong += _incomplete(stated.keys())
        advice, expected = f"`git checkout -- {name}`", f"{len(stated)} files as described"
        yield none_wrong("T0", name, "shipped", expected, sorted(wrong), advice=advice)


def _incomplete(files: Set[str]) -> Iterator[str]:
    """What a host's files lack: one benchmark at least, and each that is there whole."""
    if not any({*own} <= files for own in BENCHMARKS.values()):
        yield "no benchmark's rows"
    for own in map(set, BENCHMARKS.values()):
        if own & files:
            yield from (f"{file} is missing" for file in sorted(own - files))
