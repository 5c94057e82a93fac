"""How long a claim will take here and how much memory, from what its stages took in the shipped run."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sustainable.core.effort import LOG
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.parallel import available_cores
from sustainable.verification.claim.runs import Plan
from sustainable.verification.folders import merge
from sustainable.verification.lock import read_yaml

EFFORT, CONDITIONS = "effort.json", "benchmark/policies.conditions.json"
WITNESS, WITNESS_COST = "train_baseline@published", "metrics/published/training_cost.json"
"""One seed, so one core: its forecast here over its CPU time there is how much slower this host is."""
MEASURING = ("benchmark", "benchmark_policies")
"""Stages that measure for as long as params.yaml says, on every host."""
SHARED = ("train_baseline@audited", "shrink", "compare_searchers", "train_policies", "compress_policies")
"""Stages that share their work out over the cores."""
DECLARED_MIB = 2000.0
"""For a stage of which nothing is shipped: what the README asks for."""
DVC_S = 5.0
"""What DVC takes to start and to hash, a stage."""


@dataclass(frozen=True)
class Effort:
    """Wall seconds and memory (MiB; see `artifact.effort`) of one stage."""

    stage: str
    wall_s: float
    memory_mib: float


def shipped_efforts(reference: Path) -> dict[str, Effort]:
    """What every stage took in the shipped run; empty where that is not shipped."""
    path = reference / EFFORT
    return _by_stage(read_json(path), path) if path.is_file() else {}


def found_efforts(folder: Path) -> dict[str, Effort]:
    """What the stages have taken that were run in `folder`; of one that ran twice, the last."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return _by_stage([json.loads(line) for line in lines if line.endswith("}")], path)


def _by_stage(entries: Any, path: Path) -> dict[str, Effort]:
    try:
        return {entry["stage"]: Effort(**entry) for entry in entries}
    except (TypeError, KeyError):
        raise UserError(f"{path}: no list of stages and what they took; restore it from git") from None


def forecast_here(project: Path) -> dict[str, float]:
    """Seconds by stage as `make doctor` foretells them, in a process of its own: it pins its libraries."""
    command = [sys.executable, str(project / "stages" / "doctor.py"), "--json", "--metrics"]
    command.append(str(project / "data" / "reference" / "metrics"))
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the speed of this host cannot be told: {last}")
    return {stage: 60 * minutes for stage, minutes in json.loads(done.stdout)["minutes"].items()}


def foretell(
    plan: Plan, reference: Path, here_s: Mapping[str, float], here_cores: int, params: Path
) -> list[Effort]:
    """What every step of a plan will take, from the shipped run in `reference`.

    `here_s`: `forecast_here`, which stands in for a stage of which nothing is shipped. What computes is
    scaled by the host's speed, what shares the cores by their number, and what measures not at all.
    """
    shipped = shipped_efforts(reference)
    slower = here_s[WITNESS] / float(read_json(reference / WITNESS_COST)["cpu_time_s"])
    cores = int(read_json(reference / CONDITIONS)["host"]["cores_logical"]) / here_cores
    cut = cut_shares(plan, params)
    found = []
    for step in plan.steps:
        known = shipped[step] if step in shipped else Effort(step, here_s[step], DECLARED_MIB)
        scale = cut.get(step, 1.0)
        if step in shipped and step.partition("@")[0] not in MEASURING:
            scale *= slower * (cores if step in SHARED else 1.0)
        found.append(Effort(step, known.wall_s * scale + DVC_S, known.memory_mib))
    return found


def cut_shares(plan: Plan, params: Path) -> dict[str, float]:
    """Which share of a stage's time its cut leaves, as `make doctor` counts it; `params`: params.yaml."""
    if not plan.evidence.cut:
        return {}
    whole, left = (_policies_s(params, cut) for cut in ({}, plan.evidence.cut))
    return {stage: left[stage] / whole[stage] for stage in plan.stages if stage in left}


def _policies_s(params: Path, cut: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of study B's stages under changed parameters."""
    from sustainable.policies.learning.recipes import PolicyTrainingParameters  # torch takes seconds to load
    from sustainable.policies.benchmark.deployments import PolicyBenchmarkParameters
    from sustainable.policies.durations import seconds_by_stage
    from sustainable.policies.compression.evaluation import CompressParameters

    parameters = read_yaml(params)
    merge(parameters, cut)
    kinds: list[tuple[str, Any]] = [
        ("train_policies", PolicyTrainingParameters),
        ("compress_policies", CompressParameters),
        ("benchmark_policies", PolicyBenchmarkParameters),
    ]
    training, compressing, measuring = (
        TypeAdapter(kind).validate_json(json.dumps(parameters[name])) for name, kind in kinds
    )
    return seconds_by_stage(training, compressing, measuring, available_cores())
