"""The accuracy gate: is a forecaster as accurate as the baseline, and can the gate tell at all?

A forecaster passes if its accuracy minus the baseline's lies above the negative margin with its whole
interval, over training seeds and test windows. A gate that everything passes shows nothing (assay
sensitivity): if a frugal forecaster passes, or a network that was broken on purpose, the task cannot tell a
good compression from a bad one, and the gate decides nothing there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.reporting.judging import verdict_if
from sustainable.reporting.measured_rows import BASELINE, TWIN
from sustainable.statistics import INCONCLUSIVE, Estimate

Role = Literal["deployment", "longer training", "frugal forecaster", "broken network"]
MUST_FAIL: tuple[Role, ...] = ("frugal forecaster", "broken network")
FRUGAL = ("logistic_last_day", "logistic_window", "majority", "persistence")
"""The frugal forecasters. Which of them a run has depends on its data and on its code."""
CONTINUED = "continued"
"""The baseline, trained on as long as a pruned network is fine-tuned."""
BROKEN = "broken_"
"""Configurations whose names begin so are controls that must fail."""
NOT_MODELS = ("training_seed", "first_day")


@dataclass(frozen=True)
class GateLine:
    """One forecaster at the gate."""

    key: str
    role: Role
    accuracy: float  # mean over training seeds
    difference: Estimate  # accuracy minus the baseline's, interval over training seeds and test windows
    passes: bool
    power: float  # probability that a forecaster equal to the baseline passes, given this interval's width


@dataclass(frozen=True)
class Gate:
    """All forecasters of a task at its gate."""

    margin: float
    lines: Mapping[str, GateLine]

    @property
    def wrongly_passing(self) -> list[str]:
        """Frugal forecasters and broken networks that pass: the gate cannot tell."""
        return [key for key, line in self.lines.items() if line.passes and line.role in MUST_FAIL]

    def verdict_on(self, key: str) -> str:
        """Return whether a deployment is non-inferior; inconclusive where the gate cannot tell."""
        if self.wrongly_passing:
            return INCONCLUSIVE
        line = self.lines[key]
        return verdict_if(line.passes, line.difference.high < -self.margin)


def summarise_gate(hits: pd.DataFrame, margin: float, confidence: float) -> Gate:
    """Send every forecaster of `hits`, one row per training seed and test window, through the gate."""
    base = hits_by_seed(hits, BASELINE)
    names = [name for name in hits.columns if name not in (*NOT_MODELS, BASELINE, TWIN)]
    return Gate(margin, {name: _line(name, hits, base, margin, confidence) for name in names})


def _line(name: str, hits: pd.DataFrame, base: np.ndarray, margin: float, confidence: float) -> GateLine:
    found = statistics.crossed_difference(hits_by_seed(hits, name), base, confidence)
    power = statistics.power_to_pass(found, margin, confidence)
    return GateLine(name, role_of(name), float(hits[name].mean()), found, found.low > -margin, power)


def role_of(name: str) -> Role:
    """Tell frugal forecasters and controls from deployments by their names."""
    if name in FRUGAL:
        return "frugal forecaster"
    if name == CONTINUED:
        return "longer training"
    return "broken network" if name.startswith(BROKEN) else "deployment"


def hits_by_seed(hits: pd.DataFrame, name: str) -> np.ndarray:
    """One column of hits as [seeds, windows] of bool."""
    table = hits.pivot(index="training_seed", columns="first_day", values=name)
    return np.asarray(table, dtype=bool)
