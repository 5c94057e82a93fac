"""Faults of what surrounds a program: its output, path and variables, the clock, and a second program."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sustainable.core.errors import CLOSED_PIPE
from sustainable.core.files import write_text
from sustainable.verification.faults.comparison import Difference
from sustainable.verification.faults.workshop import LIMIT_S, Ended, Workshop, run, surroundings, tail
from sustainable.verification.lock import files_in
from sustainable.verification.place import ROOT

SHORT = ("benchmark@step_order", "train_baseline@mnist1d")
"""A stage that measures and one that trains."""
ODD_FOLDER = "a folder with spaces, \u00e4\u00f6\u00fc and \u96ea"
BACK_S, A_YEAR_S = 86_400, 365 * 86_400
CLOCK = f"""
import time
real, real_ns = time.time, time.time_ns
first = real()
back = lambda: {BACK_S} if real() - first > 2 else 0
time.time = lambda: real() - back()
time.time_ns = lambda: real_ns() - back() * 10**9
"""
"""Python runs `sitecustomize` when it starts: after two seconds, its clock is set back by a day."""
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "HOME unset": {"HOME": None},
    "LANG=C": {"LANG": "C", "LC_ALL": "C"},
    "LANG=C without Python's UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "proxy variables set": dict.fromkeys(PROXIES, "127.0.0.1:9"),
}
"""Variables of the environment; None: unset. Nothing listens at the proxy's port."""


def checked(
    workshop: Workshop, stages: Sequence[str], environment: Mapping[str, str] | None = None
) -> Difference:
    """Run stages that must succeed and change nothing."""
    for stage in stages:
        workshop.restore(stage)
        found = workshop.check(stage, workshop.run(stage, environment))
        if found:
            return found
    return Difference()


def odd_environment(workshop: Workshop, changes: Mapping[str, str | None]) -> Difference:
    """Run two stages and the doctor with other variables."""

    def environment(folder: Path) -> dict[str, str]:
        changed: dict[str, str | None] = {**surroundings(folder), **changes}
        return {name: value for name, value in changed.items() if value is not None}

    doctor = run([sys.executable, "-m", "sustainable.tools.doctor"], ROOT, environment(ROOT))
    if doctor.status != 0:
        return Difference(problem=f"the doctor: {tail(doctor.errors)}")
    return checked(workshop, SHORT, environment(workshop.folder))


def odd_path(workshop: Workshop) -> Difference:
    """Run stages with DVC in a folder with an odd name."""
    with TemporaryDirectory(prefix="faults-") as scratch:
        odd = Workshop(workshop.undisturbed, Path(scratch) / ODD_FOLDER)
        shutil.copytree(workshop.folder, odd.folder, symlinks=True)
        for stage in SHORT:
            odd.restore(stage)
            ended = run([sys.executable, "-m", "dvc", "repro", "-s", "-f", stage], odd.folder)
            if found := odd.check(stage, ended):
                return found
    return Difference()


def odd_checkout(workshop: Workshop) -> Difference:
    """Run `make doctor` in a checkout with an odd name, which shares this interpreter."""
    with TemporaryDirectory(prefix="faults-") as scratch:
        folder = Path(scratch) / ODD_FOLDER
        folder.mkdir()
        for name in ("Makefile", "requirements.txt", "params.yaml", "dvc.yaml", "CITATION.cff"):
            shutil.copy2(ROOT / name, folder / name)
        for name in ("stages", "data/reference", "paper"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv").symlink_to(sys.prefix)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        ended = run(["make", "--old-file=.venv/ready", "doctor"], folder, kept)
    return Difference(problem=None if ended.status == 0 else f"make doctor: {tail(ended.errors)}")


def closed_pipe(workshop: Workshop, command: Sequence[str], folder: Path) -> Difference:
    """Close the pipe that a program prints to, as `| head -1` does."""
    process = subprocess.Popen(
        command, cwd=folder, env=surroundings(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode(errors="replace")
    ended = Ended(process.wait(LIMIT_S), "", errors)
    return Difference(problem=ended.refusal("the reader of the output has closed it", status=CLOSED_PIPE))


def closed_pipe_of_a_stage(workshop: Workshop, stage: str) -> Difference:
    """Close the pipe of a stage, and run it again."""
    workshop.restore(stage)
    closed = closed_pipe(workshop, workshop.command(stage), workshop.folder)
    found = workshop.check(stage, workshop.run(stage))
    return Difference(found.lost, found.doubled, closed.problem or found.problem)


def clock_set_back(workshop: Workshop) -> Difference:
    """Set the clock back while stages run, and date their inputs a year ahead."""
    with TemporaryDirectory(prefix="faults-") as scratch:
        write_text(Path(scratch) / "sitecustomize.py", CLOCK)
        ahead = time.time() + A_YEAR_S
        for path in files_in(workshop.folder / "data").values():
            os.utime(path, (ahead, ahead))
        environment = surroundings(workshop.folder)
        environment["PYTHONPATH"] = os.pathsep.join([scratch, environment["PYTHONPATH"]])
        return checked(workshop, SHORT, environment)


def two_at_once(workshop: Workshop, stage: str, command: Sequence[str], message: str) -> Difference:
    """Start a second program beside the first: one of them must be refused, and no row doubled."""
    workshop.restore(stage)
    folder = workshop.folder
    with ExitStack() as files:
        both, logs = [], [folder / "first.log", folder / "second.log"]
        for log in logs:
            output = files.enter_context(log.open("w"))
            both.append(
                subprocess.Popen(command, cwd=folder, env=surroundings(folder), stdout=output, stderr=output)
            )
            started = time.monotonic()
            while len(both) == 1 and time.monotonic() - started < LIMIT_S and not begun(folder, both[0]):
                time.sleep(0.1)
        statuses = [process.wait(LIMIT_S) for process in both]
    printed = [log.read_text(errors="replace") for log in logs]
    for log in logs:
        log.unlink()
    problem = None
    if statuses[0] != 0 or statuses[1] == 0:
        problem = f"exit statuses {statuses}: {tail(printed[0])} | {tail(printed[1])}"
    elif message not in printed[1] or "Traceback" in printed[1]:
        problem = f"not one clear line: {tail(printed[1])}"
    found = workshop.difference(stage)
    return Difference(found.lost, found.doubled, problem or found.problem)


def two_stages_at_once(workshop: Workshop) -> Difference:
    """Start a stage beside itself, which DVC would not do."""
    stage = "benchmark@step_order"
    message = "another process is measuring into this file"
    return two_at_once(workshop, stage, workshop.command(stage), message)


def begun(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the stage has begun to measure, or has ended."""
    journals = [path for path in folder.glob("data/checkpoints/step_order/*.jsonl") if path.stat().st_size]
    return bool(journals) or process.poll() is not None


def faults() -> dict[str, Callable[[Workshop], Difference]]:
    """Return the faults of surroundings by name."""
    named: dict[str, Callable[[Workshop], Difference]] = {
        name: partial(odd_environment, changes=changes) for name, changes in ENVIRONMENTS.items()
    }
    named["a path with spaces and other letters: stages"] = odd_path
    named["a path with spaces and other letters: make doctor"] = odd_checkout
    named["the clock set back by a day, inputs dated a year ahead"] = clock_set_back
    for stage in ("preprocess@mnist1d", "benchmark@step_order"):
        named[f"a closed pipe: {stage}"] = partial(closed_pipe_of_a_stage, stage=stage)
    for tool in ("doctor", "verify"):
        command = [sys.executable, "-m", f"sustainable.tools.{tool}"]
        named[f"a closed pipe: {tool}"] = partial(closed_pipe, command=command, folder=ROOT)
    repro = [sys.executable, "-m", "dvc", "repro", "-s", "-f", SHORT[0]]
    named["two `dvc repro` at once"] = partial(two_at_once, stage=SHORT[0], command=repro, message="lock")
    named["the same stage twice at once"] = two_stages_at_once
    return named
