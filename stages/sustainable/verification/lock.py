"""The pipeline as dvc.yaml declares it and dvc.lock records it. DVC itself takes seconds to load."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.reading import one_line, opened, parsed_yaml, plain_path, read_text

CODE_PREFIXES = ("stages/", "paper/templates", "paper/references.bib", "CITATION.cff")
"""Paths of inputs that are code or templates."""
FROM_GIT = "restore it from git"
PLACEHOLDER = re.compile(r"\$\{([\w.]+)\}")
MOST_STAGES = 500
"""More stages than any lock may have: their order takes time in the square of their number."""
NAMED_PARAMETERS = 5
"""How many changed parameters a line names."""


@dataclass(frozen=True)
class Stage:
    """A stage as it was run (from dvc.lock) or as it would run (from dvc.yaml)."""

    name: str
    command: str
    parameters: Mapping[str, Any]
    """By dotted key."""
    inputs: Mapping[str, str]
    """MD5 by path; DVC's MD5 of a folder ends in `.dir`."""
    outputs: Mapping[str, str]
    """As `inputs`."""

    @property
    def code(self) -> dict[str, str]:
        """The inputs that are code or templates: files, or whole folders."""
        return {path: md5 for path, md5 in self.inputs.items() if path.startswith(CODE_PREFIXES)}

    @property
    def data(self) -> dict[str, str]:
        """The other inputs."""
        return {path: md5 for path, md5 in self.inputs.items() if path not in self.code}


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; raises `UserError` when it is missing or damaged."""
    try:
        return parsed_yaml(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); {FROM_GIT}") from None


def read_lock(path: Path) -> dict[str, Stage]:
    """Read the stages of a dvc.lock, every stage after those whose outputs it reads."""
    try:
        return dict(_stages_in(read_text(path)))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); {FROM_GIT}") from None
    except LookupError as error:
        raise UserError(f"{path}: not a dvc.lock of this pipeline (at {error.args[0]}); {FROM_GIT}") from None


@lru_cache(maxsize=8)  # a project has several copies of its lock, and reads them often
def _stages_in(text: str) -> dict[str, Stage]:
    """Read a lock. Raises `ValueError` if it is not YAML, `LookupError` if a key is missing."""
    content = parsed_yaml(text)
    try:
        stages = [
            Stage(
                name=name,
                command=" ".join(body["cmd"].split()),
                parameters=comparable(body.get("params", {}).get("params.yaml", {})),
                inputs={plain_path(entry["path"]): str(entry["md5"]) for entry in body.get("deps", [])},
                outputs={plain_path(entry["path"]): str(entry["md5"]) for entry in body.get("outs", [])},
            )
            for name, body in content["stages"].items()
        ]
        if len(stages) > MOST_STAGES:
            raise ValueError(f"{len(stages)} stages, more than {MOST_STAGES}")
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise LookupError(str(error)) from None
    return {stage.name: stage for stage in in_order(stages)}


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """Sort stages so that each follows those that it reads from."""
    named = {stage.name: stage for stage in stages}
    places = {name: place for place, name in enumerate(named)}
    others = named.values()
    read = {stage.name: [other.name for other in others if reads(stage, other)] for stage in others}
    sorter = TopologicalSorter(read)
    try:
        sorter.prepare()
    except CycleError as error:
        raise UserError(f"dvc.lock: stages read from each other in a circle: {error.args[1][0]}") from None
    done: list[Stage] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        done += [named[name] for name in ready]
        sorter.done(*ready)
    return done


def reads(stage: Stage, other: Stage) -> bool:
    """Whether `stage` reads an output of `other`."""
    return any(inside(path, out) or inside(out, path) for path in stage.inputs for out in other.outputs)


def inside(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def upstream(stages: Mapping[str, Stage], name: str) -> list[str]:
    """The stage `name` and all stages that it depends on, in the pipeline's order."""
    wanted = {name}
    for stage in reversed(list(stages.values())):
        if any(reads(stages[follower], stage) for follower in wanted):
            wanted.add(stage.name)
    return [key for key in stages if key in wanted]


def made_by(stages: Mapping[str, Stage], path: str) -> str | None:
    """The stage that makes `path`, or None."""
    return next((name for name, one in stages.items() if any(inside(path, out) for out in one.outputs)), None)


def files_in(folder: Path) -> dict[str, Path]:
    """The files below `folder` by their path in it, in order, without Python's caches."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path for path in files}


def md5_of(path: Path) -> str:
    """MD5 of a file, or of a folder as DVC computes it: over the sorted list of its files and their MD5."""
    if path.is_dir():
        return folder_md5({name: md5_of(file) for name, file in files_in(path).items()})
    with opened(path) as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def folder_md5(files: Mapping[str, str]) -> str:
    """DVC's MD5 of a folder, from the MD5 of its files by path in it."""
    listed = json.dumps([{"md5": files[path], "relpath": path} for path in sorted(files)], sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


def value_at(parameters: Any, key: str) -> Any:
    """The value of a dotted key in nested mappings; raises `KeyError` if there is none."""
    for part in key.split("."):
        if not isinstance(parameters, Mapping):
            raise KeyError(key)
        parameters = parameters[part]
    return parameters


def comparable(value: Any) -> Any:
    """Convert text to numbers where possible, and dates to text.

    DVC writes 1e-06, which YAML 1.1 reads as text.
    """
    if isinstance(value, Mapping):
        return {key: comparable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def declared_stages(root: Path, pipeline: Any, parameters: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages that dvc.yaml declares, `matrix` and `foreach` expanded, with hashes of the present code.

    Hashes of data and outputs are left empty. Raises `UserError` if dvc.yaml is not this pipeline's.
    """
    md5 = cache(lambda path: md5_of(root / path) if (root / path).exists() else "missing")
    try:
        return {
            name + suffix: _declared(name + suffix, body.get("do", body), {**parameters, **context}, md5)
            for name, body in pipeline["stages"].items()
            for suffix, context in _variants(body, parameters)
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"dvc.yaml: not this pipeline's (at {error}); {FROM_GIT}") from None


def _declared(
    name: str, body: Mapping[str, Any], context: Mapping[str, Any], md5: Callable[[str], str]
) -> Stage:
    inputs = [filled(path, context) for path in body.get("deps", [])]
    outputs = [out for kind in ("outs", "metrics", "plots") for out in body.get(kind, [])]
    listed = body.get("params", [])
    if any(isinstance(key, Mapping) for key in listed):  # `params.yaml:` without keys means all of them
        parameters = {key: value for key, value in context.items() if key not in ("key", "item")}
    else:
        parameters = {key: value_at(context, key) for key in (filled(key, context) for key in listed)}
    return Stage(
        name=name,
        command=filled(body["cmd"], context),
        parameters=comparable(parameters),
        inputs={path: md5(path) if path.startswith(CODE_PREFIXES) else "" for path in inputs},
        outputs={filled(out if isinstance(out, str) else next(iter(out)), context): "" for out in outputs},
    )


def _variants(body: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[tuple[str, dict[str, Any]]]:
    """`@name` and the variables that it defines, for every variant of a stage."""
    if "matrix" in body:
        ((axis, values),) = body["matrix"].items()
        return [(f"@{value}", {"item": {axis: value}}) for value in _resolved(values, parameters)]
    if "foreach" in body:
        items = _resolved(body["foreach"], parameters)
        return [(f"@{key}", {"key": key, "item": item}) for key, item in items.items()]
    return [("", {})]


def _resolved(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Replace `${name}` by the parameter that it names, whatever its type."""
    match = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return value_at(parameters, match[1]) if match else value


def filled(text: str, context: Mapping[str, Any]) -> str:
    """`text` with every `${a.b}` replaced from `context`, and single spaces."""
    return " ".join(PLACEHOLDER.sub(lambda match: str(value_at(context, match[1])), text).split())


def differences(recorded: Stage, present: Stage) -> list[str]:
    """How `present` differs from the stage as it was run: command, code, inputs, outputs, parameters."""
    found = []
    if recorded.command != present.command:
        words = ([*stage.command.split(), "its end"] for stage in (recorded, present))
        old, new = next(pair for pair in zip(*words, strict=False) if pair[0] != pair[1])
        found.append(f"command: {old} -> {new}")
    found += _changed_paths("code", recorded.code, present.code)
    for kind, before, now in (
        ("inputs", recorded.data, present.data),
        ("outputs", recorded.outputs, present.outputs),
    ):
        found += _changed_paths(kind, dict.fromkeys(before, ""), dict.fromkeys(now, ""))
    before, now = leaves(recorded.parameters), leaves(present.parameters)
    keys = [key for key in {**before, **now} if before.get(key, "none") != now.get(key, "none")]
    changed = [f"{key} {before.get(key, 'none')} -> {now.get(key, 'none')}" for key in keys]
    if changed:
        more = f" and {len(changed) - NAMED_PARAMETERS} more" if len(changed) > NAMED_PARAMETERS else ""
        found.append("parameters: " + ", ".join(changed[:NAMED_PARAMETERS]) + more)
    return found


def _changed_paths(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    groups = {
        "changed": [path for path in before if path in now and before[path] != now[path]],
        "added": [path for path in now if path not in before],
        "removed": [path for path in before if path not in now],
    }
    first = next((f"{paths[0]} {how}" for how, paths in groups.items() if paths), None)
    numbers = ", ".join(f"{len(paths)} {how}" for how, paths in groups.items() if paths)
    return [f"{kind}: {first} ({numbers})"] if first else []


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    join = f"{prefix}." if prefix else ""
    return {key: leaf for name, one in value.items() for key, leaf in leaves(one, f"{join}{name}").items()}
