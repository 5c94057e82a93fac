"""How long each stage takes here and how much memory it needs.

A forecast is what the stage took in the shipped run, times what the parameters ask for relative to the
shipped ones, times how much slower this host is.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from sustainable.core.effort import LOG, latest_efforts
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.parallel import available_cores
from sustainable.core.reading import read_text
from sustainable.verification.claim.workload import BATCH_SIZE, WORK, Params
from sustainable.verification.lock import read_lock
from sustainable.verification.place import ROOT

EFFORT = "effort.json"
REFERENCE_TRAINING = "train_baseline@published"
"""The training whose metered CPU time tells the speed of the shipped run's host. It runs on one core, so that
CPU time is also what its wall time would have been on an idle host."""
MEASURING = ("benchmark", "benchmark_policies", "notebook")
"""Stages that measure for as long as params.yaml says, on every host."""
DVC_S = 5.0
"""What DVC takes to start and to hash, per stage."""


@dataclass(frozen=True)
class Effort:
    """Wall seconds and peak memory (MiB, see `core.effort`) of one stage."""

    stage: str
    wall_s: float
    memory_mib: float


def shipped_efforts(reference: Path) -> dict[str, Effort]:
    """What every stage took in the shipped run, in the pipeline's order."""
    return _by_stage(read_json(reference / EFFORT), reference / EFFORT)


def recorded_efforts(folder: Path) -> dict[str, Effort]:
    """What the stages took that ran in `folder`; of a stage that ran twice, the last time."""
    path = folder / LOG
    try:
        return _by_stage(latest_efforts(read_text(path)) if path.is_file() else [], path)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a log of stages and what they took; delete it") from None


def _by_stage(entries: Any, path: Path) -> dict[str, Effort]:
    try:
        return {entry["stage"]: Effort(**entry) for entry in entries}
    except (TypeError, KeyError):
        raise UserError(f"{path}: not a list of stages and what they took; restore it from git") from None


def forecast_efforts(
    stages: Iterable[str], reference: Path, params: Params, slowdown: float, cores: int | None = None
) -> list[Effort]:
    """What `stages` will take here under the parameters `params`. `reference`: the shipped run's folder;
    `slowdown`: see `measure_slowdown`; `cores`: of this host, if not those of this process. For a part that
    the shipped run lacks, such as a new task, another part of the same stage stands in.

    Raises `UserError` for a stage of which effort.json lists no part.
    """
    shipped, before = shipped_efforts(reference), shipped_parameters(reference)
    cores, cores_before = cores or available_cores(), shipped_cores(reference)
    efforts = []
    for stage in stages:
        name, _, part = stage.partition("@")
        parts = [one for one in shipped if one.partition("@")[0] == name]
        known = stage if stage in shipped else next(iter(parts), "")
        if not known:
            advice = "restore the file from git, or run `make reproduce` and `make reference`"
            raise UserError(f"{reference / EFFORT}: stage {stage} is missing; {advice}")
        seconds = 1.0 if name in MEASURING else slowdown
        if name in WORK:
            known_part = known.partition("@")[2]
            seconds *= WORK[name](params, part, cores) / WORK[name](before, known_part, cores_before)
        idle_s = shipped[known].wall_s
        if known == REFERENCE_TRAINING:
            idle_s = min(idle_s, reference_cpu_s(reference))
        efforts.append(Effort(stage, seconds * idle_s + DVC_S, shipped[known].memory_mib))
    return efforts


def reference_cpu_s(reference: Path) -> float:
    """CPU seconds of the reference training in the shipped run."""
    return float(read_json(reference / "metrics/published/training_cost.json")["cpu_time_s"])


def shipped_parameters(reference: Path) -> Params:
    """params.yaml of the shipped run: the report depends on all of it."""
    return read_lock(reference / "dvc.lock")["report"].parameters


def shipped_cores(reference: Path) -> int:
    """Logical cores of the shipped run's host."""
    return int(read_json(reference / "host.json")["measured_on"]["policies"]["cores_logical"])


def measure_slowdown(reference: Path) -> float:
    """CPU seconds of a training step here over those in the shipped run; takes a few seconds."""
    metrics = reference / "metrics/published"
    windows = int(read_json(metrics / "preprocess.json")["train"]["windows"])
    epochs = sum(int(seed["epochs"]) for seed in read_json(metrics / "baseline.json")["seeds"].values())
    command = [sys.executable, "-m", "sustainable.verification.claim.calibration"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the speed of this host could not be measured: {last}")
    return float(done.stdout) * epochs * ceil(windows / BATCH_SIZE) / reference_cpu_s(reference)
