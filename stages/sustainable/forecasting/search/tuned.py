"""Settings that were tuned on the table of another task (see `tuning`)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sustainable.core.errors import UserError
from sustainable.core.documents import Tuned
from sustainable.core.files import read_json
from sustainable.forecasting.search.searchers import GROUPS, RANKED, SearchersParameters

WITHOUT_SETTINGS = ("random",)
Settings = Mapping[str, Any]


def tuned_names() -> list[str]:
    """Return the searchers that are tuned; ablations take the settings of the searcher that they vary."""
    return [name for name, group in GROUPS.items() if group == RANKED and name not in WITHOUT_SETTINGS]


def with_settings(parameters: SearchersParameters, name: str, settings: Settings) -> Any:
    """Return the parameters of a searcher with some settings replaced; raises `UserError` for a wrong one."""
    declared = getattr(parameters.searchers, name)
    try:  # as JSON, where strictness still takes a list for a tuple
        return TypeAdapter(type(declared)).validate_json(json.dumps(asdict(declared) | {**settings}))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, (name, *problem["loc"])))
        raise UserError(f"settings of searchers: {key}: {problem['msg']}") from None


def use_tuned(parameters: SearchersParameters, path: Path, task: str) -> tuple[SearchersParameters, str]:
    """Return the parameters with the settings of a file of `tune_all`, and the task on which it was tuned.

    Raises `UserError` if that is the task to be judged, or if a searcher's settings are missing.
    """
    content = read_json(path, Tuned)
    if content["task"] == task:
        raise UserError(f"{path}: tuned on {task!r}, the task to be judged; tune on another task's table")
    missing = sorted(set(tuned_names()) - content["settings"].keys())
    if missing:
        raise UserError(f"{path}: no settings of {missing[0]}; tune again")
    tuned = {name: with_settings(parameters, name, content["settings"][name]) for name in tuned_names()}
    return replace(parameters, searchers=replace(parameters.searchers, **tuned)), content["task"]
