"""The notebook's own rule: three findings, of which two validate the paradox."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINDINGS = ("size", "drop", "overhead")
"""Smaller models do not save energy; energy falls where performance drops; compression has an overhead."""


@dataclass(frozen=True)
class NotebookRule:
    """The numbers of the rule, as the notebook has them."""

    return_drop: float  # share of the baseline's return from which on performance has dropped
    share: float  # of the tests for which the first and the second finding must hold
    findings: int  # that validate the paradox


@dataclass(frozen=True)
class TestChange:
    """How a test differs from the baseline's, each as a share of it; NaN if the baseline's is 0."""

    test: str
    size: float
    energy: float  # net of the idle host's
    gross: float  # energy with that of the idle host
    performance: float
    policy_time: float
    steps: float


@dataclass(frozen=True)
class Outcome:
    """What the rule says of one experiment."""

    findings: Mapping[str, bool]
    validated: bool
    smaller: int  # tests with a smaller model: without any, the first finding holds for nothing


def changes(tests: Sequence[Mapping[str, Any]]) -> list[TestChange]:
    """Compare every test with the first, on the numbers that the notebook uses.

    `tests` are rows of one experiment in order.
    """
    columns = ("size_bytes", "total_net_j", "total_gross_j", "return_counted", "policy_s", "steps")
    first = tests[0]
    return [
        TestChange(str(test["test"]), *(_relative(float(test[name]), float(first[name])) for name in columns))
        for test in tests[1:]
    ]


def _relative(value: float, baseline: float) -> float:
    return value / baseline - 1 if baseline else math.nan


def judge(found: Sequence[TestChange], rule: NotebookRule) -> Outcome:
    """Apply the rule; comparisons with NaN are false, as in the notebook."""
    smaller = [one for one in found if one.size < 0]
    costlier = [one for one in smaller if one.energy > 0]
    dropped = [one for one in found if one.performance < -rule.return_drop]
    cheaper = [one for one in dropped if one.energy < 0]
    findings = {
        "size": len(costlier) >= rule.share * len(smaller),
        "drop": bool(cheaper) and len(cheaper) >= rule.share * len(dropped),
        "overhead": any(one.policy_time > 0 for one in found),
    }
    return Outcome(findings, sum(findings.values()) >= rule.findings, len(smaller))
