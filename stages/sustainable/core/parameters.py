"""params.yaml: one section a stage and protocol, each parsed into a frozen dataclass."""

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sustainable.core.errors import UserError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For `pydantic.dataclasses.dataclass(frozen=True, config=STRICT)`: no unknown key, no coercion."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A parameter that is a share, between 0 and 1 exclusive."""

SHARED = ("benchmarks", "csv", "metering", "profile", "protocols")
PROFILES = ("paper", "full", "smoke")


def read_profile(path: Path) -> str:
    """`paper`, `full` or `smoke`: what the run is for; it is written into every measured row."""
    profile = _read(path)["profile"]
    if profile not in PROFILES:
        raise UserError(f"{path}: profile: {profile!r} is none of {', '.join(PROFILES)}")
    return str(profile)


def read_protocols(path: Path) -> list[str]:
    """The protocols that the pipeline runs, in the order of the paper."""
    protocols = _read(path)["protocols"]
    if not isinstance(protocols, list) or not protocols:
        raise UserError(f"{path}: protocols: a list of names is needed, found {protocols!r}")
    return [str(protocol) for protocol in protocols]


def read_section(path: Path, stage: str, kind: Any, protocol: str | None = None) -> Any:
    """The parameters of one stage (under one protocol) as `kind`: a pydantic dataclass, or a union of some.

    Raises `UserError`, naming the key, for one that is unknown, missing, of the wrong type or out
    of range.
    """
    section, name = _read(path)[stage], stage
    if protocol is not None:
        name = f"{stage}.{protocol}"
        if not isinstance(section, dict) or protocol not in section:
            raise UserError(f"{path}: {name}: this section is missing")
        section = section[protocol]
    try:  # as JSON, where strictness still lets nested sections become dataclasses
        return TypeAdapter(kind).validate_json(json.dumps(section, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(name, error)}") from None


def _read(path: Path) -> dict[str, Any]:
    """The file's sections: the shared ones, and one for each stage of the dvc.yaml beside it."""
    content = _mapping(path)
    allowed = {*SHARED, *_mapping(path.with_name("dvc.yaml")).get("stages", {})}
    for key in [*sorted(content.keys() - allowed, key=str), *sorted(allowed - content.keys())]:
        what = "unknown section" if key in content else "this section is missing"
        raise UserError(f"{path}: {key}: {what} (there are: {', '.join(sorted(allowed))})")
    return content


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: sections are needed, found {type(content).__name__}")
    return content


def _first_problem(section: str, error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = ".".join([section, *(str(part) for part in problem["loc"])])
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: this key is missing"
        case "float_type" if isinstance(problem["input"], str):
            return f"{key}: {problem['input']!r} is text, not a number (write 1.0e-4, not 1e-4)"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]} (found {problem['input']!r})"
