"""One claim decided here: what its rule reads is made anew, the rest of the shipped run is laid beside it.

Which stages that takes is not listed but follows from dvc.yaml and from what is shipped: those that make what
decides the claim, and those that make what they read, where that is not shipped.
"""

import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.verification.folders import COPIED, copy, copy_project, merge, replaceable, repro
from sustainable.verification.lock import Stage, inside, read_lock, read_yaml

REFERENCE, CLAIMS, REPORT = "data/reference", "claims.json", "report"
STATE = "claim.json"
HIT_TABLES = {name: f"data/benchmark/{name}.hits.csv" for name in ("published", "remeasured", "audited")}
ROWS = {name: f"data/benchmark/{name}.csv" for name in (*HIT_TABLES, "policies", "workload", "memory")}
TABLE, RETURNS = "data/policies/table.json", "data/policies/returns.csv"
NO_WINDOWS: dict[str, Any] = {"cells": {"PPO": [], "TRPO": []}}
TWO_POLICIES = {"cells": {"PPO": ["SimulatedWorkload-v0"], "TRPO": ["Hopper-v5"]}}
"""The one that acts at several doses, and the one whose memory is read."""
FEWEST = ["baseline", "baseline_twin"]
TWO_DOSES = {"doses_us": [0.0, 500.0], "configurations": FEWEST, "window_s": 0.05, "timed_steps": 10}
MEMORY_ALONE = {"train_policies": TWO_POLICIES, "benchmark_policies": NO_WINDOWS | {"workload": TWO_DOSES}}
DOSES_ALONE = {
    "train_policies": TWO_POLICIES,
    "benchmark_policies": NO_WINDOWS | {"memory": {"repeats": 2, "configurations": FEWEST}},
}


@dataclass(frozen=True)
class Evidence:
    """What a claim's rule reads: `decides` is made here; `besides` as well where a stage that runs makes it,
    and is as shipped otherwise. `cut`: changes of params.yaml under which the stages measure what decides
    exactly as they always do, and leave out the rest."""

    decides: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    cut: Mapping[str, Any] = field(default_factory=dict)


PUBLISHED = (ROWS["published"], HIT_TABLES["published"])
BOTH = (*PUBLISHED, ROWS["remeasured"], HIT_TABLES["remeasured"])
AUDITED = (ROWS["audited"], HIT_TABLES["audited"], "data/benchmark/audited.conditions.json")
ACTING = Evidence((ROWS["policies"],), (TABLE, RETURNS))
EPISODES = Evidence((RETURNS,), (TABLE, ROWS["policies"]))
EVIDENCE = {
    "A1": Evidence(PUBLISHED),
    "A2": Evidence(BOTH),
    "A3": Evidence(BOTH),
    "A4": Evidence(("data/search/published/actions.csv",)),
    "A5": Evidence(("data/search/published/best_action.json",)),
    "C1": Evidence(AUDITED),
    "C2": Evidence(AUDITED),
    "C3": Evidence(("data/search/improvements.csv", "data/search/choices.json")),
    "C4": Evidence(("data/search/candidates.csv",)),
    "C5": Evidence(AUDITED),
    "B1": ACTING,
    "B2": ACTING,
    "B3": Evidence((ROWS["memory"],), cut=MEMORY_ALONE),
    "B4": Evidence((ROWS["policies"], ROWS["memory"]), (TABLE, RETURNS)),
    **{f"F{number}": ACTING for number in (1, 2, 4, 6, 7, 8, 11)},
    "F3": EPISODES,
    "F5": EPISODES,
    "F9": Evidence((ROWS["workload"],), cut=DOSES_ALONE),
    "F10": Evidence((ROWS["policies"], ROWS["workload"]), (TABLE, RETURNS)),
    **{f"F{number}": Evidence() for number in range(12, 17)},  # no row of this pipeline tells
}


def evidence_of(claim: str) -> Evidence:
    """What a claim rests on; raises `UserError`, listing the claims, for an unknown one."""
    if claim not in EVIDENCE:
        known = sorted(EVIDENCE, key=lambda name: (name[0], int(name[1:])))
        raise UserError(f"{claim!r} is no claim; there are {', '.join(known)}")
    return EVIDENCE[claim]


@dataclass(frozen=True)
class Shipped:
    """The project's folder `root`, with the run that it ships."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / REFERENCE

    @cached_property
    def pipeline(self) -> dict[str, Stage]:
        """Every stage, in order, with the paths that it reads and makes."""
        own = self.folder / "dvc.lock"
        return read_lock(own if own.is_file() else self.root / "dvc.lock")

    @cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        return read_claims(self.folder / CLAIMS)

    def holds(self, output: str) -> bool:
        """Whether an output of the pipeline is shipped, whole."""
        return output.startswith("data/") and self.of(output).exists()

    def of(self, output: str) -> Path:
        """Where the shipped copy of an output lies."""
        return self.folder / Path(output).relative_to("data")

    @cached_property
    def outputs(self) -> list[str]:
        """All outputs that are shipped."""
        return [out for stage in self.pipeline.values() for out in stage.outputs if self.holds(out)]


def read_claims(path: Path) -> dict[str, dict[str, Any]]:
    """A claims.json by the claims' names; raises `UserError` when it is none."""
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(one, dict) and "id" in one for one in found):
        raise UserError(f"{path}: no list of claims; restore it from git or from the release")
    return {str(one["id"]): one for one in found}


def stages_of(decides: Collection[str], shipped: Shipped) -> list[str]:
    """The stages, in order, that make the outputs `decides` from what is shipped and what is in git."""
    pipeline = shipped.pipeline
    wanted, chosen = list(decides), set[str]()
    while wanted:
        path = wanted.pop()
        for name, stage in pipeline.items():
            made = [out for out in stage.outputs if inside(out, path) or inside(path, out)]
            needed = path in decides or not all(shipped.holds(out) for out in made)
            if made and needed and name not in chosen:
                chosen.add(name)
                wanted.extend(stage.inputs)
    return [name for name in pipeline if name in chosen]


@dataclass(frozen=True)
class Plan:
    """What is run for a claim: the stages and, last, the report."""

    claim: str
    evidence: Evidence
    stages: Sequence[str]

    @property
    def steps(self) -> list[str]:
        return [*self.stages, REPORT]


def plan_of(claim: str, shipped: Shipped) -> Plan:
    """What a claim needs; raises `UserError` for an unknown one."""
    evidence = evidence_of(claim)
    return Plan(claim, evidence, stages_of(evidence.decides, shipped))


def origins(plan: Plan, shipped: Shipped) -> dict[str, str]:
    """What the claim and the stages that run for it read, by path: `shipped` or `recomputed here`."""
    pipeline = shipped.pipeline
    made = [out for name in plan.stages for out in pipeline[name].outputs]
    if plan.evidence.cut:  # of a cut stage the other outputs are not taken
        made = [out for out in made if out in plan.evidence.decides or not shipped.holds(out)]
    read = [path for name in plan.stages for path in pipeline[name].data]
    found = {}
    for path in [*plan.evidence.decides, *plan.evidence.besides, *read]:
        here = [out for out in made if inside(out, path) or inside(path, out)]
        known = here or any(inside(out, path) or inside(path, out) for out in shipped.outputs)
        if known:
            found[path] = "recomputed here" if here else "shipped"
    return found


@dataclass
class State:
    """How far a claim's folder is: the stages that are done, and the wall seconds of every one, over all
    `sittings`. `identity` is of all that was copied into the folder. `foretold` as it was at the start."""

    identity: str
    foretold: list[dict[str, Any]]
    sittings: int = 0
    done: list[str] = field(default_factory=list)
    wall_s: dict[str, float] = field(default_factory=dict)


class ClaimFolder:
    """The folder in which a claim's stages run."""

    def __init__(self, shipped: Shipped, folder: Path, plan: Plan) -> None:
        self.shipped, self.folder, self.plan = shipped, folder, plan

    def earlier(self) -> State | None:
        """How far an earlier run of the same files has come; None where there is none."""
        try:
            state = State(**read_json(self.folder / STATE))
        except (UserError, TypeError):
            return None
        return state if state.identity == self.identity() else None

    def identity(self) -> str:
        """Of the project's files, the shipped results and the stages that run on them."""
        hashed = {str(path): file_sha256(path) for path in sorted(self._sources())}
        return fingerprint([hashed, self.plan.steps, asdict(self.plan.evidence)])

    def _sources(self) -> Iterator[Path]:
        names = [self.shipped.root / name for name in COPIED]
        for path in [*names, *(self.shipped.of(out) for out in self.shipped.outputs)]:
            for file in path.rglob("*") if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts:
                    yield file

    def begin(self, foretold: list[dict[str, Any]]) -> State:
        """Make the folder anew: the project, and every shipped result in its place. Raises `UserError` for
        one that holds something else."""
        if not replaceable(self.shipped.root, self.folder):
            raise UserError(f"{self.folder}: not the folder of an earlier run; move it away")
        copy_project(self.shipped.root, self.folder)
        self.lay()
        if self.plan.evidence.cut:
            parameters = read_yaml(self.folder / "params.yaml")
            merge(parameters, self.plan.evidence.cut)
            write_text(self.folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False))
        state = State(self.identity(), foretold)
        self.note(state)
        return state

    def lay(self, but: Collection[str] = ()) -> None:
        """Put the shipped outputs in their places, `but` those."""
        for output in self.shipped.outputs:
            if output not in but:
                copy(self.shipped.of(output), self.folder / output)

    def run(self, state: State) -> None:
        """Run what is not done yet, one stage after the other."""
        state.sittings += 1
        for step in self.plan.steps:
            if step in state.done:
                continue
            if step == REPORT and self.plan.evidence.cut:  # all but what decides is as shipped
                copy(self.shipped.root / "params.yaml", self.folder / "params.yaml")
                self.lay(but=self.plan.evidence.decides)
            self._step(step, state)

    def _step(self, step: str, state: State) -> None:
        print(f"\n{self.plan.claim}: {step}", flush=True)
        start = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL} if step == REPORT else {}  # it tells every claim's verdict
        try:
            status = repro(self.folder, "-s", "-f", step, **quiet).returncode
        finally:
            state.wall_s[step] = state.wall_s.get(step, 0.0) + time.perf_counter() - start
            self.note(state)
        if status != 0:
            raise UserError(
                f"stage {step} failed (see above); the same command goes on with it, --fresh starts anew"
            )
        state.done.append(step)
        self.note(state)

    def note(self, state: State) -> None:
        write_json(self.folder / STATE, asdict(state))

    def found(self) -> dict[str, Any]:
        """The claim as its rule decides it here."""
        return read_claims(self.folder / "paper" / CLAIMS)[self.plan.claim]
