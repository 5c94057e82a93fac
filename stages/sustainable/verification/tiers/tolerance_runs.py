"""The runs that tolerances are measured from: the pipeline's own stages, cut down, with pins and without."""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.core.hashing import fingerprint
from sustainable.core.parameters import SHARED_SECTIONS
from sustainable.measuring.process import PINNED, THREAD_VARIABLES
from sustainable.verification.tiers.tolerances import Difference, Pair, derive, side_by_side

Step = tuple[str, str]
"""A stage, and the protocol or benchmark that it is run for (or "")."""

STEPS: tuple[Step, ...] = (
    ("preprocess", "published"),
    ("preprocess", "audited"),
    ("compare_searchers", ""),  # on the shipped table, which this run's own replaces afterwards
    ("train_policies", ""),
    ("compress_policies", ""),
    ("train_baseline", "published"),
    ("rl_search", "published"),
    ("benchmark", "published"),
    ("train_baseline", "audited"),
    ("shrink", ""),
    ("candidates", ""),
    ("benchmark", "audited"),
)
WITHOUT_PINS = ("candidates", "benchmark")
"""Stages that run without the pins anyway, because they measure."""

MADE: Mapping[str, tuple[str, ...]] = {
    "preprocess": ("data/metrics/*/preprocess.json",),
    "train_baseline": (
        "data/metrics/*/baseline.json",
        "data/training/*/history.csv",
        "data/models/*/baseline/*.safetensors",
    ),
    "shrink": ("data/training/*/narrow.csv", "data/models/*/narrow/*.safetensors"),
    "candidates": ("data/search/candidates.csv",),
    "benchmark": ("data/benchmark/*.hits.csv",),
    "rl_search": ("data/search/published/*.csv", "data/search/published/best_action.json"),
    "compare_searchers": ("data/search/improvements.csv", "data/search/choices.json"),
    "train_policies": (
        "data/policies/learning.csv",
        "data/policies/table.json",
        "data/models/policies/*.safetensors",
    ),
    "compress_policies": ("data/policies/returns.csv",),
}
"""Patterns of what a stage makes that holds recomputed numbers."""

PATTERNS = tuple(pattern for patterns in MADE.values() for pattern in patterns)


@dataclass(frozen=True)
class Way:
    """One way to run `stages` for `parts`. `pinned`: those that train; `scored_pinned`: those of
    `WITHOUT_PINS`. `models_of`: the way whose models are scored, where they are not its own."""

    name: str
    pinned: bool
    threads: int = 1
    scored_pinned: bool = False
    models_of: str | None = None
    stages: tuple[str, ...] = tuple(MADE)
    parts: tuple[str, ...] = ("published", "audited", "")

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps in order."""
        return tuple(step for step in STEPS if step[0] in self.stages and step[1] in self.parts)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The artifacts that it makes."""
        return tuple(pattern for stage in self.stages for pattern in MADE[stage])


EXPECTED = Way("pinned", pinned=True)
OTHERS = (
    Way("unpinned", pinned=False),
    Way(
        "unpinned, 2 threads",
        pinned=False,
        threads=2,
        stages=("preprocess", "train_baseline", "rl_search"),
        parts=("published",),
    ),
    Way(
        "same models, other kernels",
        pinned=False,
        scored_pinned=True,
        models_of="pinned",
        stages=("candidates", "benchmark", "rl_search", "compress_policies"),
    ),
)


def run_all(root: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Run every step of every way that has not been run, in `folder`; gives CPU seconds by way and step.

    A folder of other code or other parameters is made anew. Raises `UserError` when a step fails, and for a
    folder that is none of this kind.
    """
    prepare(root, folder)
    taken: dict[str, dict[str, float]] = {}
    for way in (EXPECTED, *OTHERS):
        place = folder / _folder_name(way)
        if not place.exists():
            _copy(folder / (way.models_of or "project"), place)
        for step in way.steps:
            taken.setdefault(way.name, {})[" ".join(step).strip()] = _run_once(way, step, place)
    return taken


def _copy(source: Path, place: Path) -> None:
    """Whole or not at all; what was done in `source` is not done in the copy."""
    unfinished = place.with_name(f".{place.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns("done"))
    unfinished.rename(place)


def _folder_name(way: Way) -> str:
    return way.name.replace(",", "").replace(" ", "_")


def prepare(root: Path, folder: Path) -> None:
    """Put a copy of the project with the changed parameters into `folder`/project, unless it is there."""
    identity = _identity(root)
    mark = folder / "identity.json"
    if mark.is_file() and read_json(mark) == identity:
        print(f"going on in {folder}", flush=True)
        return
    if folder.exists() and any(folder.iterdir()) and not mark.is_file():
        raise UserError(f"{folder}: not a folder of such runs; name another with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "project"
    for name in ("stages", "data/raw"):
        shutil.copytree(root / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "dvc.yaml", project / "dvc.yaml")
    shutil.copy(root / "data/reference/search/candidates.csv", _made(project / "data/search/candidates.csv"))
    text = yaml.safe_dump(parameters(root), sort_keys=False)
    (project / "params.yaml").write_text(text, encoding="utf-8")
    write_json(mark, identity)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _identity(root: Path) -> str:
    """Of all that the runs depend on: code, commands, parameters and data."""
    sections = {*SHARED_SECTIONS, *(stage for stage, _ in STEPS)}
    used = {name: value for name, value in parameters(root).items() if name in sections}
    hashed = hashlib.sha256(fingerprint(used).encode())
    own = ("stages/sustainable/reporting", "stages/sustainable/verification", "stages/tolerances.py")
    files = sorted(path.relative_to(root) for path in (root / "stages").rglob("*.py"))
    others = ("dvc.yaml", "data/raw/seattle-weather.csv", "data/reference/search/candidates.csv")
    files += [Path(name) for name in others]
    for name in files:
        if not str(name).startswith(own):
            hashed.update(f"{name}\n".encode() + (root / name).read_bytes())
    return hashed.hexdigest()


def parameters(root: Path) -> dict[str, Any]:
    """params.yaml with what the runs change."""
    content = _read(root / "params.yaml")
    _merge(content, changes(root))
    return content


def changes(root: Path) -> dict[str, Any]:
    """What the runs change in params.yaml."""
    return _read(root / "stages/sustainable/verification/tiers/tolerances.yaml")


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put `changes` into `base`, section by section; every key must be there already."""
    for key, value in changes.items():
        if key not in base:
            raise UserError(
                f"stages/sustainable/verification/tiers/tolerances.yaml: {key}: params.yaml has no such key"
            )
        if isinstance(value, dict) and isinstance(base[key], dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _run_once(way: Way, step: Step, place: Path) -> float:
    """Run a step unless it was; gives the CPU seconds that it took. Its output goes to a log."""
    stage, part = step
    mark = place / "done" / f"{stage}_{part}.json"
    if mark.is_file():
        return float(read_json(mark))
    pinned = way.scored_pinned if stage in WITHOUT_PINS else way.pinned
    words = command(place, stage, part)
    own = place / "stages/sustainable/verification/tiers/otherwise.py"
    options = ["pinned" if pinned else "unpinned", str(way.threads)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    log = _made(place / "done" / f"{stage}_{part}.log")
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [sys.executable, str(own.resolve()), *options, *words],
            cwd=place,
            env=_environment(pinned),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{way.name}: {stage} {part} failed ({last}); see {log}, and run this again to go on")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{way.name}: {stage} {part}: {time.perf_counter() - start:.0f} s, CPU {taken:.0f} s", flush=True)
    write_json(mark, taken)
    return taken


def command(place: Path, stage: str, part: str) -> list[str]:
    """The words of a stage's command as dvc.yaml has it, without the interpreter."""
    body = _read(place / "dvc.yaml")["stages"][stage]
    text = str(body.get("do", body)["cmd"]).replace("${item.protocol}", part).replace("${key}", part)
    for name, value in _read(place / "params.yaml")["benchmarks"].get(part, {}).items():
        text = text.replace(f"${{item.{name}}}", value)
    return text.split()[1:]


def _environment(pinned: bool) -> dict[str, str]:
    """Without what an earlier process has pinned; `artifact.determinism` pins in the process itself."""
    gone = () if pinned else (*PINNED, *THREAD_VARIABLES)
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    return kept | {"OMP_WAIT_POLICY": "PASSIVE"}  # a thread that waits for the other costs no CPU time


def measure(folder: Path) -> dict[str, Any]:
    """The tables of the result: by pattern and column the largest difference of every way from the pinned
    one, and the differences that are none of numbers."""
    tables: dict[str, Any] = {pattern: {"columns": {}, "other": []} for pattern in PATTERNS}
    for way in OTHERS:
        for pattern, name, pairs, problems in _compared(folder, way):
            table = tables[pattern]
            for pair in pairs:
                _note(table["columns"], way.name, name, pair)
            table["other"] += [f"{way.name}: {name}: {problem.line}" for problem in problems]
    for table in tables.values():
        for entry in table["columns"].values():
            _summarise(entry)
    return {pattern: table for pattern, table in tables.items() if table["columns"] or table["other"]}


def _compared(folder: Path, way: Way) -> Iterator[tuple[str, str, list[Pair], list[Difference]]]:
    """Every artifact of a way beside the pinned one."""
    ours, theirs = folder / EXPECTED.name, folder / _folder_name(way)
    names = sorted(str(path.relative_to(ours)) for path in (ours / "data").rglob("*") if path.is_file())
    for name in names:
        pattern = next((pattern for pattern in way.patterns if fnmatch(name, pattern)), None)
        if pattern and (theirs / name).is_file():  # not of a step that this way leaves out
            yield pattern, name, *side_by_side(ours / name, theirs / name)


def _note(columns: dict[str, Any], way: str, name: str, pair: Pair) -> None:
    """Add one file's column to what is known of it."""
    entry = columns.setdefault(pair.declared, {"unit": 0.0, "whole": True, "runs": {}})
    largest, relative, where = pair.largest()
    entry["unit"], entry["whole"] = max(entry["unit"], pair.unit), entry["whole"] and pair.whole
    run = entry["runs"].setdefault(way, {"largest": 0.0, "relative": 0.0, "values": 0, "where": None})
    if largest > run["largest"]:
        run |= {"largest": largest, "where": f"{name}: {pair.column}: {where}"}
    run["relative"] = max(relative, run["relative"])
    run["values"] += len(pair.expected)


def _summarise(entry: dict[str, Any]) -> None:
    """The largest of all runs, and the tolerance that follows."""
    runs = [{"run": way} | run for way, run in entry["runs"].items()]
    entry["runs"] = runs
    entry["largest"] = max(run["largest"] for run in runs)
    entry["relative"] = max(run["relative"] for run in runs)
    entry["values"] = sum(run["values"] for run in runs)
    entry["tolerance"] = derive(entry["largest"], entry["relative"], entry["unit"], entry["whole"])
