"""Compressors and models that a user names: `module:function`, or an entry point of an installed package."""

import copy
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import nn

from sustainable.core.errors import UserError
from sustainable.core.files import one_line

GROUP = "sustainable.compressors"


def load_function(name: str) -> Callable[..., Any]:
    """Return the function that `module:function` names, or the entry point `name` of the group.

    Raises `UserError` if there is none.
    """
    if ":" not in name:
        known = {point.name: point for point in entry_points(group=GROUP)}
        if name not in known:
            listed = ", ".join(sorted(known)) or "none is installed"
            raise UserError(
                f"compressor {name!r}: neither module:function nor an entry point of {GROUP} ({listed})"
            )
        return _imported(name, known[name].load)
    module, _, function = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return _imported(name, lambda: getattr(importlib.import_module(module), function))


def _imported(name: str, load: Callable[[], Any]) -> Callable[..., Any]:
    try:
        loaded = load()
    except Exception as error:  # of any kind: it is the user's code
        raise UserError(
            f"{name}: cannot be imported: {type(error).__name__}: {one_line(error)[:200]}"
        ) from None
    if not callable(loaded):
        raise UserError(f"{name}: {type(loaded).__name__} is not a function")
    function: Callable[..., Any] = loaded
    return function


def build_module(name: str) -> nn.Module:
    """Return the `nn.Module` that `module:function` makes."""
    return _module_from(name, load_function(name))


def apply_compressor(name: str, module: nn.Module) -> nn.Module:
    """Return what a compressor makes of a copy of `module`."""
    return _module_from(name, load_function(name), copy.deepcopy(module))


def _module_from(name: str, function: Callable[..., Any], *arguments: Any) -> nn.Module:
    try:
        made = function(*arguments)
    except Exception as error:  # of any kind: it is the user's code
        raise UserError(f"{name}: failed: {type(error).__name__}: {one_line(error)[:200]}") from None
    if not isinstance(made, nn.Module):
        raise UserError(f"{name}: returned {type(made).__name__}; it must return an nn.Module")
    return made.eval()
