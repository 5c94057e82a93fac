"""What a disturbed run must have in common with an undisturbed one.

Results that do not depend on the clock must be the same. Measured tables must have the same rows, none lost
and none doubled: a row is named by its design (configuration, block, seed), not by what was measured.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.verification.content import content_sha256
from sustainable.verification.lock import files_in

COSTS = ("data/metrics/*_cost.json", "*.conditions.json")
"""Files that describe this very run: its cost and its host. They must be readable."""
DESIGN = {
    "data/benchmark/*.hits.csv": (),
    "data/benchmark/notebook.power.csv": None,
    "data/benchmark/notebook.csv": ("arm", "seed", "test", "method", "intensity", "parameters"),
    "data/benchmark/memory.csv": ("environment", "algorithm", "network", "configuration", "repeat"),
    "data/benchmark/*.csv": (
        "dose_us", "environment", "algorithm", "configuration", "batch_size", "training_seed", "block",
        "position", "weights_sha256",
    ),
    "data/search/*/candidates.csv": (
        "family", "width_0", "width_1", "masked_share", "precision", "runtime", "weights_sha256",
        "validation_accuracy", "validation_log_loss",
    ),
}  # fmt: skip
"""The columns that name a row of a measured table, by the first pattern that matches; those that a table
lacks are left out. Without columns, the table must be the same; None: a trace of samples over time, whose
number depends on the clock."""
ABOUT_POLICIES = ("data/policies/learning.csv", "data/policies/table.json")
"""A policy that is trained on from a checkpoint begins new episodes, so that it does not end with the weights
of an undisturbed training (see `policies.learning.training`). Its files, and these tables of all policies,
are then not compared."""


@dataclass(frozen=True)
class Difference:
    """How a disturbed run differs from an undisturbed one."""

    lost: int = 0
    doubled: int = 0
    problem: str | None = None
    """The first other difference."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.problem)

    def __str__(self) -> str:
        rows = f"{self.lost} rows lost, {self.doubled} doubled" if self.lost or self.doubled else None
        return "; ".join(part for part in (rows, self.problem) if part)


def difference(undisturbed: Path, folder: Path, outputs: Sequence[str], resumed: Sequence[str]) -> Difference:
    """Compare `outputs`, which are files or folders, in two folders.

    `resumed` are the policies that were trained on, as `environment/algorithm/seed_n`; see `ABOUT_POLICIES`.
    """
    lost = doubled = 0
    problem: str | None = None
    changed = tuple(f"data/models/policies/{policy}." for policy in resumed)
    for output in outputs:
        expected, found = ({*_files(place, output)} for place in (undisturbed, folder))
        if expected != found:
            other = sorted(expected ^ found)[0]
            problem = problem or f"{other}: {'missing' if other in expected else 'left behind'}"
        for name in sorted(expected & found):
            if name.startswith(changed) or (changed and name in ABOUT_POLICIES):
                continue
            one = _compare(name, undisturbed / name, folder / name)
            lost, doubled, problem = lost + one.lost, doubled + one.doubled, problem or one.problem
    return Difference(lost, doubled, problem)


def _files(place: Path, output: str) -> Iterator[str]:
    path = place / output
    if path.is_dir():
        yield from (f"{output}/{name}" for name in files_in(path))
    elif path.is_file():
        yield output
        yield from (f"{Path(output).parent}/{one.name}" for one in path.parent.glob(f".{path.name}.*"))


def _compare(name: str, expected: Path, found: Path) -> Difference:
    """Compare one file."""
    columns = next((names for pattern, names in DESIGN.items() if fnmatch(name, pattern)), ())
    try:
        if columns is None or any(fnmatch(name, pattern) for pattern in COSTS):
            content_sha256(found)
            return Difference()
        if not columns:
            same = content_sha256(expected) == content_sha256(found)
            return Difference() if same else Difference(problem=f"{name}: not as in the undisturbed run")
        before, after = (row_names(path, columns) for path in (expected, found))
    except UserError as error:
        return Difference(problem=str(error))
    return Difference(sum((before - after).values()), sum((after - before).values()))


def row_names(path: Path, columns: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Return how often each row of a CSV occurs, as `columns` name it."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Counter(tuple(str(row.get(column)) for column in columns) for row in rows)
