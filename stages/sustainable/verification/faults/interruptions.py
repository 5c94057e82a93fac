"""Kills and interruptions at random moments of every stage that trains or measures."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from sustainable.core.effort import LOG, latest_efforts
from sustainable.core.hashing import file_sha256
from sustainable.verification.faults.comparison import Difference, row_names
from sustainable.verification.faults.workshop import CHECKPOINTS, LIMIT_S, Workshop, Ended, surroundings, tail

PARTS = (
    "train_baseline@mnist1d", "shrink@mnist1d", "candidates@mnist1d", "rl_search@published",
    "layerwise_search", "tune_searchers@mnist1d", "compare_searchers@mnist1d", "confirm@mnist1d",
    "repair_search", "benchmark@step_order", "benchmark@step_windows", "train_policies",
    "compress_policies", "benchmark_policies", "notebook",
)  # fmt: skip
"""Every stage that trains or measures, on its shortest part; `benchmark` in both of its ways."""
WAYS = ("kill -9", "kill -9 of a worker", "SIGINT", "SIGINT to all")
"""Ctrl-C on a terminal interrupts the stage and its workers: all."""
FIRST_S = 0.3
"""CPU time of the earliest interruption: before, Python itself is starting."""
START_S = 4.0
"""CPU time of loading the libraries, which the recorded wall time of a stage leaves out."""
LOOK_S = 0.05
LEFT_BEHIND_S = 60.0
"""By then the workers of a killed stage must have ended; they look every second."""


@dataclass(frozen=True)
class Attempt:
    """One injected fault and what came of it."""

    name: str
    difference: Difference = field(default_factory=Difference)
    skipped: str | None = None

    @property
    def line(self) -> str:
        if self.skipped:
            return f"skipped  {self.name}: {self.skipped}"
        return f"FAIL     {self.name}: {self.difference}" if self.difference else f"ok       {self.name}"


@dataclass(frozen=True)
class Saved:
    """What a stage has saved at some moment."""

    rows: Mapping[str, Sequence[str]]
    """The whole lines of each journal, by its path."""
    records: Mapping[str, str]
    """The hash of each finished task's record, by its path."""


class Chain:
    """Interrupt one stage several times, each time after it was started again; then let it finish."""

    def __init__(self, workshop: Workshop, stage: str, chance: random.Random) -> None:
        self.workshop, self.stage, self.chance = workshop, stage, chance
        self.work_s = START_S + recorded_wall_s(workshop.undisturbed, stage)
        self.printed = ""

    def attempts(self, count: int) -> Iterator[Attempt]:
        """Interrupt the stage `count` times, and yield each with what came of it.

        The last before the stage ends carries what the finished outputs show. A stage that has ended before
        its interruption starts over.
        """
        self.workshop.restore(self.stage)
        before, last, made = Saved({}, {}), None, 0
        while made < count:
            ended, way, moment_s, left = self.interrupt()
            if way is None:
                difference = self.finished(ended, before)
                if last is not None or difference:
                    yield self.judged(last, difference)
                self.workshop.restore(self.stage)
                before, last, self.printed = Saved({}, {}), None, ""
                continue
            if last is not None:
                yield last
            made += 1
            after = saved(self.workshop.folder)
            problem = wrong_end(ended, way) or left or forgotten(before, after, ended.status == 0)
            last = Attempt(f"{self.stage}: {way} after {moment_s:.1f} CPU s", Difference(problem=problem))
            before = after
        yield self.judged(last, self.finished(self.workshop.run(self.stage), before))
        self.workshop.repair(self.stage)

    def judged(self, last: Attempt | None, difference: Difference) -> Attempt:
        """Return the last attempt with what the finished outputs show."""
        if last is None:
            return Attempt(f"{self.stage}: not interrupted", difference)
        if resumed := resumed_policies(self.printed):
            note = f"{len(resumed)} policies trained on from a checkpoint, their weights not compared"
            last = replace(last, name=f"{last.name} ({note})")
        return last if last.difference else replace(last, difference=difference)

    def finished(self, ended: Ended, before: Saved) -> Difference:
        """Compare the finished outputs; the rows that were saved before must be among them."""
        self.printed += ended.printed
        if ended.status != 0:
            return Difference(problem=f"failed when repeated: {tail(ended.errors)}")
        difference = self.workshop.difference(self.stage, resumed_policies(self.printed))
        lost = missing_rows(self.workshop, self.stage, before)
        return replace(difference, lost=difference.lost + lost)

    def interrupt(self) -> tuple[Ended, str | None, float, str | None]:
        """Start the stage, interrupt it at a random moment, and wait for its end.

        The moment is a CPU time, so that it does not depend on the load of the machine. Returns how the stage
        ended, the way (None if it had ended before), the moment, and what it left running.
        """
        folder = self.workshop.folder
        way, moment_s = self.chance.choice(WAYS), self.chance.uniform(FIRST_S, self.work_s)
        outputs = [folder / CHECKPOINTS / name for name in ("printed.log", "errors.log")]
        with outputs[0].open("w") as printed, outputs[1].open("w") as errors:
            process = subprocess.Popen(
                self.workshop.command(self.stage), cwd=folder, env=surroundings(folder), stdout=printed,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
            while process.poll() is None and cpu_s(process.pid) < moment_s:
                time.sleep(LOOK_S)
            done = send(process, way) if process.poll() is None else None
            status = wait_or_kill(process)
        ended = Ended(status, *(path.read_text(errors="replace") for path in outputs))
        self.printed += ended.printed if done else ""
        return ended, done, moment_s, left_running(process.pid)


def cpu_s(process: int) -> float:
    """Return the CPU time of a process and of those that it has started."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        for one in (psutil.Process(process), *psutil.Process(process).children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def send(process: subprocess.Popen[bytes], way: str) -> str:
    """Send the signal; return the way, which is `kill -9` if there is no worker to kill."""
    if way == "SIGINT":
        process.send_signal(signal.SIGINT)
    elif way == "SIGINT to all":
        os.killpg(process.pid, signal.SIGINT)
    else:
        workers = workers_of(process.pid) if way == "kill -9 of a worker" else []
        if workers:
            with suppress(psutil.NoSuchProcess):
                workers[0].kill()
            return way
        process.kill()
        return "kill -9"
    return way


def workers_of(process: int) -> list[psutil.Process]:
    """Return the worker processes of a stage."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process).children(recursive=True)
        return [one for one in children if "popen_loky_posix" in " ".join(one.cmdline())]
    return []


def wait_or_kill(process: subprocess.Popen[bytes]) -> int:
    """Return the exit status; a stage that does not end is killed."""
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def wrong_end(ended: Ended, way: str) -> str | None:
    """What is wrong with the end of an interrupted stage; None if nothing."""
    if way == "kill -9":
        return None if ended.status == -signal.SIGKILL else f"exit status {ended.status} after a kill"
    if ended.status == 0:  # the signal came when everything was done
        return None
    if way == "kill -9 of a worker":
        return ended.refusal("a worker process was killed", "run it again")
    if ended.status == -signal.SIGINT:  # while the libraries were loaded, or when everything was done
        return f"a traceback: {tail(ended.errors)}" if "Traceback" in ended.errors else None
    return ended.refusal("interrupted; run it again to resume", status=128 + signal.SIGINT)


def left_running(session: int) -> str | None:
    """Wait until no process of the session is left; name and end those that stay."""
    end = time.monotonic() + LEFT_BEHIND_S
    while (left := processes_of(session)) and time.monotonic() < end:
        time.sleep(0.2)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return f"{len(left)} processes stayed behind" if left else None


def processes_of(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def saved(folder: Path) -> Saved:
    """Return what journals and records hold now."""
    rows, records = {}, {}
    for path in sorted((folder / CHECKPOINTS).rglob("*")):
        if path.suffix == ".jsonl" and path.name != LOG.name:
            rows[str(path)] = whole_lines(path)
        elif path.suffix == ".json" and not path.name.startswith("."):
            records[str(path)] = file_sha256(path)
    return Saved(rows, records)


def whole_lines(path: Path) -> list[str]:
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def forgotten(before: Saved, after: Saved, done: bool) -> str | None:
    """What a restarted stage has thrown away of what was saved; when it is done, it has moved all."""
    if done:
        return None
    for path, lines in before.rows.items():
        if path in after.rows and list(after.rows[path])[: len(lines)] != list(lines):
            return f"{path}: of {len(lines)} saved rows {len(after.rows[path])} are left or changed"
    for path, digest in before.records.items():
        if after.records.get(path, digest) != digest:
            return f"{path}: a finished task was done again"
    return None


def missing_rows(workshop: Workshop, stage: str, before: Saved) -> int:
    """Return how many windows of the journals are not in the finished tables, by their wall time."""
    kept: set[str] = set()
    for output in workshop.stages[stage].outputs:
        if output.endswith(".csv"):
            kept |= {name for (name,) in row_names(workshop.folder / output, ["wall_time_s"])}
    if not kept - {"None"}:
        return 0  # its tables do not hold single windows
    rows = [json.loads(line) for lines in before.rows.values() for line in lines]
    return sum(repr(row["wall_time_s"]) not in kept for row in rows if "block" in row)


def resumed_policies(printed: str) -> list[str]:
    """Return the policies that were trained on from a checkpoint, as `environment/algorithm/seed_n`."""
    names = re.findall(r"^(\S+) (\S+) seed (\d+): resuming after", printed, re.MULTILINE)
    return sorted({f"{environment}/{algorithm}/seed_{seed}" for environment, algorithm, seed in names})


def recorded_wall_s(folder: Path, stage: str) -> float:
    """Return what a stage took in the undisturbed run, in seconds."""
    efforts = latest_efforts((folder / LOG).read_text(encoding="utf-8"))
    return float(next((one["wall_s"] for one in efforts if one["stage"] == stage), 30.0))
