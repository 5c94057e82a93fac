"""One claim decided here: the files that decide it are computed again, the rest of the shipped run is copied.

The stages that run are not listed anywhere. They follow from the pipeline and from what is shipped: those
that make the files that decide the claim, and those that make what they read if that is not shipped.
"""

import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.reading import contained
from sustainable.reporting.claims import declaration_of
from sustainable.reporting.declaration import EXACT_COUNT, Declaration
from sustainable.statistics import CONFIRMED, REFUTED
from sustainable.verification.folders import COPIED, copy, copy_project, replaceable, repro
from sustainable.verification.lock import Stage, files_in, inside, read_lock
from sustainable.verification.place import REFERENCE, Place, read_claims, verdict_of_run
from sustainable.verification.tiers.integrity import sha256_or_none
from sustainable.verification.tiers.kinds import other_kinds

CLAIMS, REPORT = "claims.json", "report"
STATE = "claim.json"
REPRODUCED, CONTRADICTED, OPEN = 0, 1, 3
"""Exit statuses. An open verdict is not a contradiction, and not a pass either: a script that takes 0 for
"reproduced" must not be misled. (2 is argparse's.)"""


class Shipped(Place):
    """The project's folder `root`, with the run that it ships."""

    @cached_property
    def pipeline(self) -> dict[str, Stage]:
        """Every stage, in order, with the paths that it reads and makes."""
        own = self.reference / "dvc.lock"
        return read_lock(own if own.is_file() else self.root / "dvc.lock")

    @cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        return read_claims(self.reference / CLAIMS)

    def check(self) -> None:
        """Raise `UserError` for a missing shipped file: without it, unnecessary stages would run."""
        for name in self.sums:
            if not contained(self.reference, name).is_file():
                path = f"{REFERENCE}/{name}"
                raise UserError(f"{path} is missing; restore it: git checkout -- {path}")

    def changed(self) -> list[str]:
        """The shipped files that have changed since they were shipped, by path in the project."""
        files = {f"{REFERENCE}/{name}": digest for name, digest in self.sums.items()}
        return [path for path, digest in files.items() if sha256_or_none(self.root / path) != digest]

    def holds(self, output: str) -> bool:
        """Whether an output of the pipeline is shipped, whole."""
        return output.startswith("data/") and self.of(output).exists()

    def of(self, output: str) -> Path:
        """Where the shipped copy of an output lies; raises `UserError` if that is not in the reference."""
        return contained(self.reference, output.removeprefix("data/"))

    @cached_property
    def outputs(self) -> list[str]:
        return [out for stage in self.pipeline.values() for out in stage.outputs if self.holds(out)]


def stages_of(outputs: Collection[str], shipped: Shipped) -> list[str]:
    """The stages, in order, that make `outputs` from what is shipped and what is in git."""
    wanted, chosen = list(outputs), set[str]()
    while wanted:
        path = wanted.pop()
        for name, stage in shipped.pipeline.items():
            made = _overlapping(stage.outputs, path)
            needed = path in outputs or not all(shipped.holds(out) for out in made)
            if made and needed and name not in chosen:
                chosen.add(name)
                wanted.extend(stage.inputs)
    return [name for name in shipped.pipeline if name in chosen]


def _overlapping(outputs: Iterable[str], path: str) -> list[str]:
    """The outputs that lie in `path` or hold it."""
    return [out for out in outputs if inside(out, path) or inside(path, out)]


@dataclass(frozen=True)
class ClaimPlan:
    """What runs for a claim: the stages and, last, the report."""

    declaration: Declaration
    stages: Sequence[str]

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
    paths = dict.fromkeys([*plan.declaration.decided_by, *plan.declaration.also_reads, *read])
    return {
        path: "recomputed here" if _overlapping(made, path) else "shipped"
        for path in paths
        if _overlapping([*made, *shipped.outputs], path)
    }


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
        paths = [*(self.shipped.root / name for name in COPIED), *map(self.shipped.of, self.shipped.outputs)]
        files = [file for path in paths for file in (path, *files_in(path).values()) if file.is_file()]
        hashed, declared = {str(file): file_sha256(file) for file in files}, self.plan.declaration
        return fingerprint([hashed, self.plan.steps, declared.decided_by, declared.also_reads, declared.cut])

    def begin(self, forecast: list[dict[str, Any]]) -> State:
        """Set up the folder: the project, and every shipped result in its place. Raises `UserError` if the
        folder holds something else."""
        if not replaceable(self.shipped.root, self.folder):
            problem = f"{self.folder}: not the folder of an earlier run"
            raise UserError(f"{problem}; move it away, or name another: --folder")
        copy_project(self.shipped.root, self.folder, self.plan.declaration.cut)
        self.copy_shipped()
        state = State(self.identity(), forecast)
        self.note(state)
        return state

    def copy_shipped(self, skipped: Collection[str] = ()) -> None:
        """Copy the shipped outputs to their places, except those that are `skipped`."""
        for output in self.shipped.outputs:
            if output not in skipped:
                self.copy_data(output)

    def copy_data(self, output: str) -> None:
        """Copy a shipped output to its place below `data`, from where no code is ever loaded."""
        target = contained(self.folder, output)
        if not target.resolve().is_relative_to(self.folder.resolve() / "data"):
            raise UserError(f"dvc.lock: {output}: not in the folder data; restore the file from git")
        copy(self.shipped.of(output), target)

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
        print(f"\n{self.plan.declaration.id}: {step}", flush=True)
        start = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL} if step == REPORT else {}  # it prints every claim's verdict
        try:
            status = repro(self.folder, "-s", "-f", step, **quiet).returncode
            if status == 0:
                state.done.append(step)
        finally:
            state.wall_s[step] = state.wall_s.get(step, 0.0) + time.perf_counter() - start
            self.note(state)
        if status != 0:
            changed, failed = self.shipped.changed(), f"stage {step} failed (see above)"
            if changed:
                restore = f"git checkout -- {' '.join(changed)}"
                raise UserError(f"{failed}; shipped files have changed, restore them: {restore}")
            raise UserError(f"{failed}; the same command continues with it, --fresh starts over")

    def note(self, state: State) -> None:
        write_json(self.folder / STATE, asdict(state))

    def judged(self) -> dict[str, Any]:
        return read_claims(self.folder / "paper" / CLAIMS)[self.plan.declaration.id]

    def compared(self) -> tuple[int, str]:
        """Compare the verdict here with the shipped one, see `compare_verdicts`."""
        declaration, kinds = self.plan.declaration, None
        if declaration.host_dependent:
            kinds = other_kinds(self.shipped, declaration.decided_by, run=self.folder)
        shipped = self.shipped.claims[declaration.id]
        return compare_verdicts(shipped, self.judged(), declaration.host_dependent, kinds)


def compare_verdicts(
    shipped: Mapping[str, Any],
    here: Mapping[str, Any],
    host_dependent: str | None = None,
    kinds: str | None = None,
) -> tuple[int, str]:
    """Exit status, and a sentence that says whether the verdict here is the shipped one.

    `REPRODUCED`: it is. `CONTRADICTED`: it is the opposite, or differs for a claim that only counts. `OPEN`:
    one of the two runs could not decide, or a claim about a host has another verdict on another kind of CPU.
    `host_dependent` says why the verdict may depend on the host, and `kinds` how the two kinds of CPU differ.
    """
    expected, verdict = verdict_of_run(shipped), verdict_of_run(here)
    decided = (CONFIRMED, REFUTED)
    if verdict == expected:
        return REPRODUCED, f"reproduced: {verdict} here and in the shipped run"
    if host_dependent and kinds:
        return OPEN, (
            f"another kind of CPU ({kinds}): {verdict} here, {expected} in the shipped run. Both stand, "
            f"because {host_dependent}"
        )
    if here["evidence"] == EXACT_COUNT or (verdict in decided and expected in decided):
        return CONTRADICTED, f"contradicted: {verdict} here, {expected} in the shipped run"
    if expected in decided:
        return OPEN, f"undecided here: {verdict}; {expected} in the shipped run. {here['reason']}"
    if verdict in decided:
        return OPEN, f"decided here: {verdict}; undecided in the shipped run ({expected})"
    return OPEN, f"undecided in both: {verdict} here, {expected} in the shipped run"


def compare_values(shipped: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every value of a claim: its name, as shipped, as measured here; names with fewer dots come first."""
    ours, theirs = (dict(_flat(claim["values"])) for claim in (here, shipped))
    names = sorted(theirs.keys() | ours.keys(), key=lambda name: (name.count("."), name))
    return [(name, theirs.get(name, "none"), ours.get(name, "none")) for name in names]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Values by dotted name as text; an estimate and its interval are one value."""
    if isinstance(value, Mapping) and {"estimate", "low", "high"} <= value.keys():
        yield name, f"{_text(value['estimate'])} [{_text(value['low'])}, {_text(value['high'])}]"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
