"""Accuracy or error against a target, and whether a row loses more than a margin to the baseline."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sustainable.core.errors import UserError
from sustainable.reporting.judging import verdict_if
from sustainable.statistics import Estimate, mean_interval, share_interval

Measure = Literal["accuracy", "mean absolute error"]


@dataclass(frozen=True)
class Quality:
    """How good the outputs of one row are, and the paired difference from the baseline's."""

    measure: Measure
    value: float
    difference: Estimate | None  # value minus the baseline's, over examples; None for the baseline itself
    verdict: str  # non-inferiority at the margin; empty for the baseline


def scores(outputs: np.ndarray, target: np.ndarray, threshold: float) -> tuple[Measure, np.ndarray]:
    """Return the score of each example [n]: 1 for a correct class, or the absolute error of numbers.

    A target of integers holds classes. Outputs of integers are classes already; of several columns the
    largest is the class; one column is class 1 above `threshold`. Raises `UserError` if the target does not
    fit.
    """
    if target.dtype.kind == "f":
        if outputs.size != target.size:
            shapes = f"{list(target.shape)} for outputs {list(outputs.shape)}"
            raise UserError(f"target: {shapes}: give one number for each output, or integers for classes")
        errors = np.abs(outputs.reshape(target.shape).astype(float) - target)
        return "mean absolute error", errors.reshape(len(errors), -1).mean(axis=1)
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    classes = classes_of(outputs, threshold)
    if classes.shape != target.shape:
        shapes = f"{list(target.shape)} for outputs {list(outputs.shape)}"
        raise UserError(f"target: classes {shapes}: give one class for each example")
    return "accuracy", (classes == target).astype(float)


def classes_of(outputs: np.ndarray, threshold: float) -> np.ndarray:
    """Return the class that `outputs` [n] or [n, classes] choose."""
    if outputs.dtype.kind != "f":
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
    if outputs.ndim >= 2 and outputs.shape[1] > 1:
        largest: np.ndarray = outputs.argmax(axis=1)
        return largest
    above: np.ndarray = (outputs.reshape(len(outputs), -1)[:, 0] > threshold).astype(int)
    return above


def judge_quality(
    own: np.ndarray,
    baseline: np.ndarray,
    measure: Measure,
    margin: float,
    bootstrap: tuple[float, int, int],
) -> Quality:
    """Compare the scores [n] of a row with the baseline's, paired by example.

    Not inferior: the interval of the loss lies below the margin. If no example changes, the interval is
    Wilson's for a change in none of n. `margin`: points of accuracy as a share, or
    a share of the baseline's mean absolute error.
    """
    sign, allowed = (1.0, margin) if measure == "accuracy" else (-1.0, margin * float(baseline.mean()))
    paired = own - baseline
    low, high = mean_interval(paired, *bootstrap)
    if measure == "accuracy" and not paired.any():  # nothing to resample, yet few examples prove little
        high = share_interval(0, len(paired), bootstrap[0])[1]
        low = -high
    difference = Estimate(float(paired.mean()), low, high, len(paired))
    worst, best = sorted((sign * low, sign * high))
    verdict = verdict_if(worst >= -allowed, best < -allowed)
    return Quality(measure, float(own.mean()), difference, verdict)
