"""A finished smoke run, and a copy of it in which stages are disturbed and run again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import write_text
from sustainable.verification.faults.comparison import Difference, difference
from sustainable.verification.folders import COPIED, copy
from sustainable.verification.lock import Stage, declared_stages, read_yaml

CHECKPOINTS = "data/checkpoints"
LIMIT_S = 3600.0
"""A stage of the smoke run that takes longer hangs."""


class Skip(Exception):  # noqa: N818  (no error)
    """This host cannot test a fault; the message says why."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    status: int
    printed: str
    errors: str

    def refusal(self, *parts: str, status: int = 1) -> str | None:
        """What is wrong with a refusal, which must be one clear line that holds all `parts`; None if
        nothing."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        if self.status != status:
            return f"exit status {self.status}, not {status}: {tail(self.errors)}"
        if "Traceback" in self.errors or len(lines) != 1:
            return f"not one line: {tail(self.errors)}"
        missing = [part for part in parts if part not in lines[0]]
        return f"{missing[0]!r} is missing in: {lines[0]}" if missing else None


@dataclass(frozen=True)
class Workshop:
    """`undisturbed` is a folder with a finished smoke run; `folder` a copy, which is disturbed."""

    undisturbed: Path
    folder: Path

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages with their commands and outputs, by name."""
        return declared_stages(
            self.folder, read_yaml(self.folder / "dvc.yaml"), read_yaml(self.folder / "params.yaml")
        )

    def restore(self, stage: str) -> None:
        """Make the folder as it was before `stage` ran: without its outputs and its checkpoints."""
        for output in self.stages[stage].outputs:
            remove(self.folder / output)
        remove(self.folder / CHECKPOINTS)
        shutil.copytree(self.undisturbed / CHECKPOINTS, self.folder / CHECKPOINTS)

    def repair(self, stage: str) -> None:
        """Put the outputs of the undisturbed run back, which later stages read."""
        self.restore(stage)
        for output in self.stages[stage].outputs:
            copy(self.undisturbed / output, self.folder / output)

    def command(self, stage: str) -> list[str]:
        return [sys.executable, *self.stages[stage].command.split()[1:]]

    def run(self, stage: str, environment: Mapping[str, str] | None = None, **options: Any) -> Ended:
        """Run a stage to its end."""
        return run(self.command(stage), self.folder, environment, **options)

    def difference(self, stage: str, resumed: Sequence[str] = ()) -> Difference:
        """Compare the outputs of a stage with those of the undisturbed run."""
        outputs = self.stages[stage].outputs
        return difference(self.undisturbed, self.folder, list(outputs), resumed)

    def check(self, stage: str, ended: Ended) -> Difference:
        """Compare after a run that had to succeed."""
        if ended.status != 0:
            return Difference(problem=f"{stage} failed when repeated: {tail(ended.errors)}")
        return self.difference(stage)


def make_workshop(root: Path, undisturbed: Path, folder: Path) -> Workshop:
    """Copy a finished smoke run to `folder`, with the code of the checkout `root`.

    Raises `UserError` if `undisturbed` holds no finished smoke run.
    """
    if not (undisturbed / "paper/report.html").is_file():
        raise UserError(f"{undisturbed}: no finished smoke run; `make smoke` makes one in .smoke")
    parameters = read_yaml(undisturbed / "params.yaml")
    if parameters.get("profile") != "smoke":
        raise UserError(f"{undisturbed}: not a smoke run: its profile is {parameters.get('profile')}")
    shutil.copytree(undisturbed, folder, symlinks=True)
    for name in COPIED:
        if name != "params.yaml":
            copy(root / name, folder / name)
    write_text(folder / ".dvc/config.local", "[core]\n    no_scm = true\n")
    return Workshop(undisturbed, folder)


def run(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
    stdout: Any = subprocess.PIPE,
    **options: Any,
) -> Ended:
    """Run a program in `folder` with only the variables of `environment`, by default those of this process
    (see `surroundings`)."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=surroundings(folder) if environment is None else dict(environment),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=limit_s,
        check=False,
        **options,
    )
    return Ended(done.returncode, done.stdout or "", done.stderr)


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment for programs of the copy in `folder`: its code, and this interpreter first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder / "stages"), "PYTHONDONTWRITEBYTECODE": "1"}


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tail(text: str) -> str:
    """Return the last lines of a program's errors, as one line."""
    return " / ".join(text.strip().splitlines()[-3:])[-400:] or "nothing was printed"
