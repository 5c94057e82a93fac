"""One claim decided here: the files that decide it are computed again, the rest of the shipped run is copied.

The stages that run are not listed anywhere. They follow from the pipeline and from what is shipped: those
that make the files that decide the claim, and those that make what they read if that is not shipped.
"""

import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.reporting.claims import declaration_of
from sustainable.reporting.declaration import Declaration
from sustainable.verification.folders import COPIED, copy, copy_project, merge, replaceable, repro
from sustainable.verification.lock import Stage, inside, read_lock, read_yaml
from sustainable.verification.place import REFERENCE, Place

CLAIMS, REPORT = "claims.json", "report"
STATE = "claim.json"


@dataclass(frozen=True)
class Shipped:
    """The project's folder `root`, with the run that it ships."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.place.reference

    @cached_property
    def place(self) -> Place:
        return Place(self.root)

    @cached_property
    def pipeline(self) -> dict[str, Stage]:
        """Every stage, in order, with the paths that it reads and makes."""
        own = self.folder / "dvc.lock"
        return read_lock(own if own.is_file() else self.root / "dvc.lock")

    @cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        return claims_by_id(self.folder / CLAIMS)

    def check(self) -> None:
        """Raise `UserError` for a missing shipped file: without it, unnecessary stages would run."""
        missing = [name for name in self.place.sums() if not (self.folder / name).is_file()]
        if missing:
            path = f"{REFERENCE}/{missing[0]}"
            raise UserError(f"{path} is missing; restore it: git checkout -- {path}")

    def changed(self) -> list[str]:
        """The shipped files that have changed since they were shipped, by path in the project."""
        files = {self.folder / name: digest for name, digest in self.place.sums().items()}
        changed = [
            path for path, digest in files.items() if not path.is_file() or file_sha256(path) != digest
        ]
        return [path.relative_to(self.root).as_posix() for path in changed]

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


def claims_by_id(path: Path) -> dict[str, dict[str, Any]]:
    """The content of a claims.json by claim; raises `UserError` if it is not a list of claims."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(one, dict) and "id" in one for one in content):
        raise UserError(f"{path}: not a list of claims; restore it from git or from the release")
    return {str(claim["id"]): claim for claim in content}


def stages_of(outputs: Collection[str], shipped: Shipped) -> list[str]:
    """The stages, in order, that make `outputs` from what is shipped and what is in git."""
    pipeline = shipped.pipeline
    wanted, chosen = list(outputs), set[str]()
    while wanted:
        path = wanted.pop()
        for name, stage in pipeline.items():
            made = [out for out in stage.outputs if inside(out, path) or inside(path, out)]
            needed = path in outputs or not all(shipped.holds(out) for out in made)
            if made and needed and name not in chosen:
                chosen.add(name)
                wanted.extend(stage.inputs)
    return [name for name in pipeline if name in chosen]


@dataclass(frozen=True)
class ClaimPlan:
    """What runs for a claim: the stages and, last, the report."""

    declaration: Declaration
    stages: Sequence[str]

    @property
    def claim(self) -> str:
        return self.declaration.id

    @property
    def steps(self) -> list[str]:
        return [*self.stages, REPORT]


def plan_of(claim: str, shipped: Shipped) -> ClaimPlan:
    """What a claim needs; raises `UserError` for an unknown one."""
    declaration = declaration_of(claim)
    return ClaimPlan(declaration, stages_of(declaration.decided_by, shipped))


def origins(plan: ClaimPlan, shipped: Shipped) -> dict[str, str]:
    """Where each file comes from that the claim and its stages read: `shipped` or `recomputed here`."""
    pipeline = shipped.pipeline
    made = [out for name in plan.stages for out in pipeline[name].outputs]
    if plan.declaration.cut:  # a cut stage's other outputs are not used
        made = [out for out in made if out in plan.declaration.decided_by or not shipped.holds(out)]
    read = [path for name in plan.stages for path in pipeline[name].data]
    by_path = {}
    for path in [*plan.declaration.decided_by, *plan.declaration.also_reads, *read]:
        here = [out for out in made if inside(out, path) or inside(path, out)]
        known = here or any(inside(out, path) or inside(path, out) for out in shipped.outputs)
        if known:
            by_path[path] = "recomputed here" if here else "shipped"
    return by_path


@dataclass
class State:
    """How far the run in a claim's folder is."""

    identity: str
    """Hash of everything that was copied into the folder."""
    forecast: list[dict[str, Any]]
    """What each step was expected to take (`Effort`), at the start."""
    sittings: int = 0
    done: list[str] = field(default_factory=list)
    wall_s: dict[str, float] = field(default_factory=dict)
    """Wall seconds by step, over all sittings."""


class ClaimFolder:
    """The folder in which a claim's stages run."""

    def __init__(self, shipped: Shipped, folder: Path, plan: ClaimPlan) -> None:
        self.shipped, self.folder, self.plan = shipped, folder, plan

    def earlier(self) -> State | None:
        """How far an earlier run on the same files has come; None if there is none."""
        try:
            state = State(**read_json(self.folder / STATE))
        except (UserError, TypeError):
            return None
        return state if state.identity == self.identity() else None

    def identity(self) -> str:
        """Hash of the project's files, of the shipped results, and of what runs on them."""
        hashed = {str(path): file_sha256(path) for path in sorted(self._sources())}
        declared = self.plan.declaration
        return fingerprint([hashed, self.plan.steps, declared.decided_by, declared.also_reads, declared.cut])

    def _sources(self) -> Iterator[Path]:
        names = [self.shipped.root / name for name in COPIED]
        for path in [*names, *(self.shipped.of(out) for out in self.shipped.outputs)]:
            for file in path.rglob("*") if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts:
                    yield file

    def begin(self, forecast: list[dict[str, Any]]) -> State:
        """Set up the folder: the project, and every shipped result in its place. Raises `UserError` if the
        folder holds something else."""
        if not replaceable(self.shipped.root, self.folder):
            raise UserError(
                f"{self.folder}: not the folder of an earlier run; move it away, or name another: --folder"
            )
        copy_project(self.shipped.root, self.folder)
        self.copy_shipped()
        if self.plan.declaration.cut:
            parameters = read_yaml(self.folder / "params.yaml")
            merge(parameters, self.plan.declaration.cut)
            write_text(self.folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False))
        state = State(self.identity(), forecast)
        self.note(state)
        return state

    def copy_shipped(self, skipped: Collection[str] = ()) -> None:
        """Copy the shipped outputs to their places, except those that are `skipped`."""
        for output in self.shipped.outputs:
            if output not in skipped:
                copy(self.shipped.of(output), self.folder / output)

    def run(self, state: State) -> None:
        """Run what is not done yet, one stage after the other."""
        state.sittings += 1
        for step in self.plan.steps:
            if step in state.done:
                continue
            if step == REPORT and self.plan.declaration.cut:  # only what decides comes from here
                copy(self.shipped.root / "params.yaml", self.folder / "params.yaml")
                self.copy_shipped(skipped=self.plan.declaration.decided_by)
            self._step(step, state)

    def _step(self, step: str, state: State) -> None:
        print(f"\n{self.plan.claim}: {step}", flush=True)
        start = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL} if step == REPORT else {}  # it prints every claim's verdict
        try:
            status = repro(self.folder, "-s", "-f", step, **quiet).returncode
        finally:
            state.wall_s[step] = state.wall_s.get(step, 0.0) + time.perf_counter() - start
            self.note(state)
        if status != 0:
            raise UserError(self._failure(step))
        state.done.append(step)
        self.note(state)

    def _failure(self, step: str) -> str:
        changed = self.shipped.changed()
        if changed:
            restore = f"git checkout -- {' '.join(changed)}"
            return f"stage {step} failed (see above); shipped files have changed, restore them: {restore}"
        return f"stage {step} failed (see above); the same command continues with it, --fresh starts over"

    def note(self, state: State) -> None:
        write_json(self.folder / STATE, asdict(state))

    def judged(self) -> dict[str, Any]:
        """The claim as it was judged here."""
        return claims_by_id(self.folder / "paper" / CLAIMS)[self.plan.claim]
