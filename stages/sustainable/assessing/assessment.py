"""`assess`: assess a model from a notebook or a program."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from sustainable.assessing.examples import read_arrays
from sustainable.assessing.model import from_module
from sustainable.assessing.rows import first_examples
from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows
from sustainable.reporting.declaration import Claim

STAGES = Path(__file__).resolve().parents[2]
"""The folder that a process needs on its path."""


@dataclass(frozen=True)
class Assessment:
    """A finished assessment."""

    folder: Path
    rows: pd.DataFrame  # one row per window
    claims: list[Claim]

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def assess(
    model: "str | Path | nn.Module",
    inputs: "Path | str | np.ndarray | Mapping[str, np.ndarray]",
    target: "Path | str | np.ndarray | None" = None,
    variants: "Mapping[str, str | Path | nn.Module] | None" = None,
    out: "Path | str" = "assess",
    **options: Any,
) -> Assessment:
    """Assess a model from a notebook; the measurement runs in a process of its own.

    Args:
        model: A file (.pt2, TorchScript or ONNX), or a module, which is exported with torch.export.
        inputs: Example inputs [n, ...]: a file, an array, or arrays by the names of the inputs.
        target: Classes [n] as integers, or numbers [n, ...].
        variants: Other versions of the model, by name.
        out: The folder of the report.
        options: Those of `python -m sustainable.tools.assess`, such as `thorough=True` or `rate=10`.

    Raises `UserError` with the one-line reason if the model cannot be assessed.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = _saved_inputs(inputs, folder)
    named = {"--model": _saved_model(model, "baseline", arrays, folder), "--inputs": str(arrays)}
    if target is not None:
        named["--target"] = str(_saved_target(target, folder))
    words = [word for pair in named.items() for word in pair]
    for name, variant in (variants or {}).items():
        words += ["--variant", f"{name}={_saved_model(variant, name, arrays, folder)}"]
    _run_tool(["--out", str(folder), *words, *_option_words(options)])
    claims = [Claim(**entry) for entry in read_json(folder / "claims.json")]
    return Assessment(folder, read_rows(folder / "rows.csv", ()), claims)


def _option_words(options: Mapping[str, Any]) -> list[str]:
    """Return keyword arguments as words of the command line; True is a flag, and False says nothing."""
    words: list[str] = []
    for option, value in options.items():
        flag = f"--{option.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)] if value is not False else []
    return words


def _run_tool(words: list[str]) -> None:
    """Run the tool in a process of its own; raises `UserError` with its last line if it fails."""
    command = [sys.executable, "-m", "sustainable.tools.assess", *words]
    paths = os.pathsep.join(filter(None, [str(STAGES), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(lines[-1] if lines else "the process was killed")


def _saved_inputs(inputs: Any, folder: Path) -> Path:
    if isinstance(inputs, str | Path):
        return Path(inputs)
    arrays = inputs if isinstance(inputs, Mapping) else {"arr_0": inputs}
    path = folder / "inputs.npz"
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(path, **named)
    return path


def _saved_target(target: Any, folder: Path) -> Path:
    if isinstance(target, str | Path):
        return Path(target)
    path = folder / "target.npy"
    np.save(path, np.asarray(target))
    return path


def _saved_model(model: Any, name: str, inputs: Path, folder: Path) -> str:
    if not isinstance(model, nn.Module):
        return str(model)
    batch = first_examples(list(read_arrays(inputs).values()))
    made = from_module(model, name, name, batch)
    if made.program is None:
        raise UserError(f"{name}: torch.export cannot trace the module: {made.no_program}")
    path = folder / f"{name}.pt2"
    torch.export.save(made.program, path)
    return str(path)
