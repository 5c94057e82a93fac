"""Study B's teaching notebook: what its rule says as published, with nothing compressed, and repaired."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.files import read_rows
from sustainable.core.schema import Table
from sustainable.policies.published.rule import FINDINGS, TestChange, NotebookRule, Outcome, changes, judge
from sustainable.policies.returns import share_of
from sustainable.reporting.parameters import ReportParameters
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, student_interval

PUBLISHED, CONTROL = "published", "nothing compressed"
COMPONENTS = ("cpu", "ram", "total")
TEST_COLUMNS = (
    "arm", "seed", "test", "method", "intensity", "size_bytes", "sparsity", "episodes_counted", "steps",
    "return_counted", "return_mean", "policy_s", "environment_s", "duration_s", "evidence",
    *(f"{name}_{kind}" for name in COMPONENTS for kind in ("idle_w", "gross_j", "net_j", "peak_w")),
)  # fmt: skip
POWER_COLUMNS = ("arm", "test", "idle_w", "time_s", "total")
METERED = tuple(name for name in TEST_COLUMNS if name.endswith(("_w", "_j")))
"""Columns that are empty where the meter gave no sample: a smoke run's tests are short."""
TESTS = Table(TEST_COLUMNS, empty=METERED, key=("arm", "seed", "test"))
POWER = Table(POWER_COLUMNS)


@dataclass(frozen=True)
class NotebookRun:
    """The rows of the notebook's stage: one per test, and one per sample of each arm's first experiment."""

    tests: pd.DataFrame
    power: pd.DataFrame


@dataclass(frozen=True)
class ArmLine:
    """What the notebook's rule says in one arm."""

    arm: str
    outcomes: Sequence[Outcome]  # one per seed
    validated: Estimate | None  # share of the seeds, with Wilson's interval
    idle_above: int  # tests whose net energy is not above 0
    tests: int

    @property
    def seeds(self) -> int:
        return len(self.outcomes)

    def holding(self, finding: str) -> int:
        """Return for how many seeds a finding holds."""
        return sum(one.findings[finding] for one in self.outcomes)

    @property
    def vacuous(self) -> int:
        """For how many seeds the first finding holds only because no model is smaller."""
        return sum(one.findings["size"] and not one.smaller for one in self.outcomes)


@dataclass(frozen=True)
class TestLine:
    """Changes of one test relative to the baseline's: means over seeds."""

    arm: str
    test: str
    changes: Mapping[str, Estimate | None]  # by the fields of `TestChange`


@dataclass(frozen=True)
class Notebook:
    """Everything that the notebook's rows say."""

    arms: Mapping[str, ArmLine]
    tests: Sequence[TestLine]
    first: Mapping[str, pd.DataFrame]  # rows of each arm's first experiment
    power: pd.DataFrame
    evidence: Mapping[str, str]  # class of the energy, by arm


def read_notebook(folder: Path) -> NotebookRun:
    """Read the rows; raises `UserError` for a missing file or column."""
    return NotebookRun(
        tests=read_rows(folder / "notebook.csv", TESTS),
        power=read_rows(folder / "notebook.power.csv", POWER),
    )


def summarise_notebook(run: NotebookRun, rule: NotebookRule, parameters: ReportParameters) -> Notebook:
    """Apply the notebook's rule to every experiment, and average its changes over seeds."""
    arms, lines, first = {}, [], {}
    for arm, rows in run.tests.groupby("arm", sort=False):
        experiments = [rows_of_experiment(own) for _, own in rows.groupby("seed")]
        found = [changes(own) for own in experiments]
        outcomes = [judge(own, rule) for own in found]
        share = share_of(sum(one.validated for one in outcomes), len(outcomes), parameters.confidence)
        idle = int((rows["total_net_j"] <= 0).sum())
        arms[str(arm)] = ArmLine(str(arm), outcomes, share, idle, len(rows))
        lines += _test_lines(str(arm), found, parameters.confidence)
        first[str(arm)] = rows[rows["seed"] == rows["seed"].min()]
    evidence = {str(arm): str(rows["evidence"].iloc[0]) for arm, rows in run.tests.groupby("arm")}
    return Notebook(arms, lines, first, run.power, evidence)


def rows_of_experiment(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the tests of one experiment in order."""
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _test_lines(arm: str, found: Sequence[Sequence[TestChange]], confidence: float) -> list[TestLine]:
    lines = []
    for same in zip(*found, strict=True):
        values = {name: [getattr(one, name) for one in same] for name in asdict(same[0]) if name != "test"}
        means = {
            name: student_interval([one for one in own if math.isfinite(one)], confidence)
            for name, own in values.items()
        }
        lines.append(TestLine(arm, same[0].test, means))
    return lines


def judge_notebook(notebook: Notebook) -> tuple[str, str, dict[str, Any]]:
    """Return the verdict on whether the notebook validates anything, its reason, and the values.

    A rule that also validates the paradox when nothing is compressed cannot have found it in compression.
    """
    published, control = notebook.arms[PUBLISHED].validated, notebook.arms[CONTROL].validated
    verdict = INCONCLUSIVE
    if control is not None and control.low > 0.5:
        verdict = REFUTED
    elif published is not None and control is not None and published.low > 0.5 > control.high:
        verdict = CONFIRMED
    return verdict, _reason(notebook), {name: _values(line) for name, line in notebook.arms.items()}


def _reason(notebook: Notebook) -> str:
    said = [
        f"{line.arm} {sum(one.validated for one in line.outcomes)} of {line.seeds}"
        for line in notebook.arms.values()
    ]
    vacuous, published = notebook.arms[PUBLISHED].vacuous, notebook.arms[PUBLISHED]
    return (
        f"Seeds for which its rule prints CONFIRMED: {'; '.join(said)}. As published, its first finding "
        f"holds without a single smaller model in {vacuous} of {published.seeds}; its third holds if one of "
        "the tests is slower by any amount."
    )


def _values(line: ArmLine) -> dict[str, Any]:
    return {
        "seeds": line.seeds,
        "validated": line.validated and asdict(line.validated),
        "vacuous": line.vacuous,
        **{name: line.holding(name) for name in FINDINGS},
    }
