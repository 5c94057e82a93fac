"""The pipeline as dvc.yaml declares it and dvc.lock records it, read without DVC, which loads for seconds."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.errors import UserError

CODE = ("stages/", "paper/templates", "paper/references.bib")
"""Where inputs lie that are written, and not made by a stage."""


@dataclass(frozen=True)
class Stage:
    """A stage as it was run: parameters by their dotted key, inputs and outputs by path with their MD5 (of a
    folder, as DVC counts it, it ends in `.dir`)."""

    name: str
    command: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def code(self) -> dict[str, str]:
        """The inputs that are code or templates."""
        return {path: md5 for path, md5 in self.inputs.items() if path.startswith(CODE)}

    @property
    def data(self) -> dict[str, str]:
        """The other inputs."""
        return {path: md5 for path, md5 in self.inputs.items() if path not in self.code}


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; raises `UserError` when it is missing or damaged."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return loader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read ({problem}); restore it from git") from None


def read_lock(path: Path) -> dict[str, Stage]:
    """The stages of a dvc.lock, every stage after those whose outputs it reads."""
    content = read_yaml(path)
    try:
        found = [_stage(name, body) for name, body in content["stages"].items()]
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: no dvc.lock of this pipeline (at {error}); restore it from git") from None
    return {stage.name: stage for stage in in_order(found)}


def _stage(name: str, body: Mapping[str, Any]) -> Stage:
    return Stage(
        name=name,
        command=body["cmd"],
        parameters=comparable(body.get("params", {}).get("params.yaml", {})),
        inputs={entry["path"]: entry["md5"] for entry in body.get("deps", [])},
        outputs={entry["path"]: entry["md5"] for entry in body.get("outs", [])},
    )


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """Stages sorted so that each follows those that it reads from."""
    left, done = list(stages), []
    while left:
        ready = [stage for stage in left if not any(reads(stage, other) for other in left)]
        if not ready:
            raise UserError(f"dvc.lock: stages read from each other in a circle: {left[0].name}")
        done.extend(ready)
        left = [stage for stage in left if stage not in ready]
    return done


def reads(stage: Stage, other: Stage) -> bool:
    """Whether `stage` reads an output of `other`."""
    return any(inside(path, out) or inside(out, path) for path in stage.inputs for out in other.outputs)


def inside(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def upstream(stages: Mapping[str, Stage], name: str) -> list[str]:
    """The stages whose outputs lead to the stage `name`, and itself, in the pipeline's order."""
    wanted = {name}
    for stage in reversed(list(stages.values())):
        if any(reads(stages[follower], stage) for follower in wanted):
            wanted.add(stage.name)
    return [key for key in stages if key in wanted]


def made_by(stages: Mapping[str, Stage], path: str) -> str | None:
    """The stage that makes `path`."""
    return next((name for name, one in stages.items() if any(inside(path, out) for out in one.outputs)), None)


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes; of a folder, of the sorted list of its files and theirs, as DVC counts it."""
    if not path.is_dir():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return folder_md5({file.relative_to(path).as_posix(): md5_of(file) for file in files})


def folder_md5(files: Mapping[str, str]) -> str:
    """DVC's MD5 of a folder, from those of its files by their path in it."""
    listed = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return (
        hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    )


def value_at(parameters: Any, key: str) -> Any:
    """The value of a dotted key in nested mappings; `KeyError` when there is none."""
    for part in key.split("."):
        if not isinstance(parameters, Mapping):
            raise KeyError(key)
        parameters = parameters[part]
    return parameters


def comparable(value: Any) -> Any:
    """A parameter with its numbers as numbers: DVC writes 1e-06, which YAML 1.1 reads as text."""
    if isinstance(value, Mapping):
        return {key: comparable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def declared_commands(pipeline: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, str]:
    """The command of every stage that dvc.yaml declares, its `matrix` and `foreach` written out."""
    found = {}
    for name, body in pipeline["stages"].items():
        for suffix, context in _parts(body, parameters):
            command = body.get("do", body)["cmd"]
            found[name + suffix] = filled(command, {**parameters, **context})
    return found


def _parts(body: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """`@part` and the names that it defines, for every part of a stage."""
    if "matrix" in body:
        ((axis, values),) = body["matrix"].items()
        return [(f"@{value}", {"item": {axis: value}}) for value in _resolved(values, parameters)]
    if "foreach" in body:
        items = _resolved(body["foreach"], parameters)
        return [(f"@{key}", {"key": key, "item": item}) for key, item in items.items()]
    return [("", {})]


def _resolved(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`${name}` as the parameter that it names, whatever its type."""
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return value_at(parameters, match[1]) if match else value


def filled(text: str, context: Mapping[str, Any]) -> str:
    """`text` with every `${a.b}` replaced from `context`, and single spaces."""
    return " ".join(re.sub(r"\$\{([\w.]+)\}", lambda match: str(value_at(context, match[1])), text).split())
