"""params.yaml: one section per stage and protocol, each parsed into a frozen dataclass."""

import json
from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from functools import reduce
from itertools import combinations
from operator import getitem
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sustainable.core.errors import UserError
from sustainable.core.reading import one_line, parsed_yaml, read_text

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For `pydantic.dataclasses.dataclass(frozen=True, config=STRICT)`: no unknown key, no coercion."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A parameter that is a share, between 0 and 1 exclusive."""

SHARED_SECTIONS = ("benchmarks", "metering", "profile", "protocols", "searched_tables", "tasks")
BLOCKS_FOR_REUSE = ("windows",)
"""Sections whose values others take over by `<<`; nothing reads them, so they may be missing."""
PROFILES = ("paper", "full", "smoke")
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""How pydantic calls the error."""


def read_profile(path: Path) -> str:
    """Return `paper`, `full` or `smoke`, which is written into every measured row."""
    profile = _read(path)["profile"]
    if profile not in PROFILES:
        raise UserError(f"{path}: profile: {profile!r} is none of {', '.join(PROFILES)}")
    return str(profile)


def read_protocols(path: Path) -> dict[str, Path]:
    """Return the CSV of each protocol that the pipeline runs, relative to the project's folder."""
    protocols = _read(path)["protocols"]
    if not isinstance(protocols, dict) or not protocols:
        raise UserError(f"{path}: protocols: names with a csv each are needed, found {protocols!r}")
    for name, source in protocols.items():
        if not (isinstance(source, dict) and source.keys() == {"csv"} and isinstance(source["csv"], str)):
            problem = f"csv: the path of a CSV file is needed, found {source!r}"
            raise UserError(f"{path}: protocols.{name}: {problem}")
    return {str(name): Path(source["csv"]) for name, source in protocols.items()}


def read_tasks(path: Path) -> dict[str, str]:
    """Return the audited tasks, each with the task on whose table its searchers are tuned."""
    content = _read(path)
    tasks = content["tasks"]
    if not isinstance(tasks, dict) or not tasks:
        raise UserError(f"{path}: tasks: names with a tuned_on each are needed, found {tasks!r}")
    for name, task in tasks.items():
        if name not in content["protocols"]:
            raise UserError(f"{path}: tasks.{name}: protocols has no such name")
        others = [other for other in tasks if other != name]
        if not (isinstance(task, dict) and task.keys() == {"tuned_on"} and task["tuned_on"] in others):
            raise UserError(f"{path}: tasks.{name}: tuned_on: another task is needed, found {task!r}")
    return {str(name): str(task["tuned_on"]) for name, task in tasks.items()}


def refuse_unreadable(path: Path) -> None:
    """Raise `UserError` if a section is missing or unknown, or if DVC could not read a value."""
    for name, section in _read(path).items():
        _refuse_dates(path, name, section)


def read_section(path: Path, stage: str, kind: Any, protocol: str | None = None) -> Any:
    """Parse the parameters of one stage (under one protocol) into `kind`, a pydantic dataclass or a union.

    Raises `UserError`, naming the key, if a key is unknown, missing, of the wrong type or out of range.
    """
    section, name = _read(path)[stage], stage
    if protocol is not None:
        name = f"{stage}.{protocol}"
        if not isinstance(section, dict) or protocol not in section:
            raise UserError(f"{path}: {name}: this section is missing")
        section = section[protocol]
    _refuse_dates(path, name, section)
    try:  # as JSON, where strictness still lets nested sections become dataclasses
        return TypeAdapter(kind).validate_json(json.dumps(section, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(name, section, error)}") from None


def _read(path: Path) -> dict[str, Any]:
    """Return the sections: the shared ones, and one for each stage of the dvc.yaml beside the file."""
    content = _mapping(path)
    needed = {*SHARED_SECTIONS, *_mapping(path.with_name("dvc.yaml")).get("stages", {})}
    allowed = needed | set(BLOCKS_FOR_REUSE)
    for key in [*sorted(content.keys() - allowed, key=str), *sorted(needed - content.keys())]:
        what = "unknown section" if key in content else "this section is missing"
        raise UserError(f"{path}: {key}: {what} (there are: {', '.join(sorted(allowed))})")
    return content


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = parsed_yaml(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the project's folder") from None
    except ValueError as error:  # also for a date such as 2013-13-31
        raise UserError(f"{path}: not valid YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: sections are needed, found {type(content).__name__}")
    return content


def _refuse_dates(path: Path, key: str, value: Any) -> None:
    """Raise `UserError` for a date without quotes: YAML parses it, and DVC cannot store it in its lock."""
    if isinstance(value, date):
        raise UserError(f'{path}: {key}: write the date in quotes: "{value}"')
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_dates(path, f"{key}.{name}", inner)


def _first_problem(name: str, section: Any, error: ValidationError) -> str:
    """Describe the problem to repair first: of a key that is unknown and missing, the misspelling."""
    problems = error.errors(include_url=False)
    problem = problems[0]
    beside = [other for other in problems if other["loc"][:-1] == problem["loc"][:-1]]
    missing = [str(other["loc"][-1]) for other in beside if other["type"] == "missing"]
    if problem["type"] == "missing":
        problem = next((other for other in beside if other["type"] in UNKNOWN_KEY), problem)
    key = _key_of(name, section, problem)
    if problem["type"] in UNKNOWN_KEY:
        close = get_close_matches(str(problem["loc"][-1]), missing, n=1)
        advice = f"did you mean {close[0]}?" if close else "remove it or correct its name"
        return f"{key}: unknown key; {advice}"
    if problem["type"] == "missing":
        return f"{key}: this key is missing"
    if problem["type"] == "float_type" and isinstance(problem["input"], str):
        return f"{key}: {problem['input']!r} is text, not a number (write 1.0e-4, not 1e-4)"
    found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}{found}"


def _key_of(name: str, section: Any, problem: Any) -> str:
    """Return the key as the file has it; pydantic also names members of a union, which the file does not."""
    is_missing = problem["type"] == "missing"
    path = problem["loc"][:-1] if is_missing else problem["loc"]
    for size in range(len(path), -1, -1):
        for parts in reversed(list(combinations(path, size))):
            if _value_at(section, parts) == problem["input"]:
                last = problem["loc"][-1:] if is_missing else ()
                return ".".join(map(str, (name, *parts, *last)))
    return ".".join(map(str, (name, *problem["loc"])))


def _value_at(section: Any, parts: Sequence[str | int]) -> Any:
    try:
        return reduce(getitem, parts, section)
    except (KeyError, IndexError, TypeError):
        return None
