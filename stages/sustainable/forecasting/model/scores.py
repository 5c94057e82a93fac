"""Scores of forecasts: pure functions of probabilities and observations."""

from dataclasses import dataclass

import numpy as np

BINS = 10
"""Number of bins of equal count for the calibration error."""

PROBABILITY_CLIP = 1e-6
"""The log loss clips probabilities to [PROBABILITY_CLIP, 1 - PROBABILITY_CLIP]: a wrong forecast with
certainty then costs 13.8 nats instead of infinity."""


@dataclass(frozen=True)
class Scores:
    """Scores of `n` forecasts.

    For accuracies, higher is better; for the others, lower is better.
    """

    n: int
    accuracy: float  # share of correct decisions at a threshold of 0.5
    balanced_accuracy: float  # mean of the recalls of all classes
    log_loss: float  # mean negative log-likelihood of the observations, in nats
    brier: float  # mean squared error of the probability; of more than two, summed over the classes
    calibration_error: float  # expected calibration error (see `calibration_error`), of the decided class


@dataclass(frozen=True)
class Bin:
    """A bin of forecasts with similar probabilities."""

    mean_forecast: float
    observed_share: float  # share of observations that are 1
    count: int  # number of forecasts in the bin


def score(probability: np.ndarray, target: np.ndarray) -> Scores:
    """Score `probability` [n], the forecast that `target` [n] in {0, 1} is 1; or [n, classes], one per class.

    The decision is 1 if `probability > 0.5`, or the most probable class. Only the log loss clips the
    probabilities. Raises `ValueError` if there are no forecasts, if one is not a probability, or if `target`
    lacks a class, for which the balanced accuracy is undefined.
    """
    if np.ndim(probability) == 2:
        return _score_classes(np.asarray(probability, dtype=np.float64), np.asarray(target, dtype=np.int64))
    # here: sklearn takes seconds to load, and few processes score
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss, log_loss

    probability, target = _checked(probability, target)
    if len(np.unique(target)) != 2:
        raise ValueError("the target must hold both classes")
    decision = (probability > 0.5).astype(np.int64)
    return Scores(
        n=len(target),
        accuracy=float(accuracy_score(target, decision)),
        balanced_accuracy=float(balanced_accuracy_score(target, decision)),
        log_loss=float(log_loss(target, np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP))),
        brier=float(brier_score_loss(target, probability)),
        calibration_error=calibration_error(probability, target),
    )


def _score_classes(probability: np.ndarray, target: np.ndarray) -> Scores:
    """Score `probability` [n, classes]."""
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    n, classes = probability.shape
    if target.shape != (n,) or set(np.unique(target)) != set(range(classes)):
        raise ValueError(
            f"shapes {probability.shape} and {target.shape}: every class must occur, one per row"
        )
    if not ((probability >= 0).all() and np.allclose(probability.sum(axis=1), 1.0, atol=1e-5)):
        raise ValueError("the forecasts of a row are not probabilities")
    decision, given = probability.argmax(axis=1), probability[np.arange(n), target]
    return Scores(
        n=n,
        accuracy=float(accuracy_score(target, decision)),
        balanced_accuracy=float(balanced_accuracy_score(target, decision)),
        log_loss=float(-np.log(np.clip(given, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP)).mean()),
        brier=float(((probability - np.eye(classes)[target]) ** 2).sum(axis=1).mean()),
        calibration_error=calibration_error(np.minimum(probability.max(axis=1), 1.0), decision == target),
    )


def calibration_error(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error of `probability` [n] for `target` [n].

    It is the mean of |mean forecast - observed share| over the bins of `reliability`, weighted by their
    counts.
    """
    rows = reliability(probability, target, bins)
    error = sum(row.count * abs(row.mean_forecast - row.observed_share) for row in rows)
    return float(error / len(target))


def reliability(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Sort the forecasts `probability` [n] for `target` [n] in {0, 1} into `bins` of equal count, lowest
    first.

    Equal forecasts stay in one bin, because otherwise the order of the rows would decide. With ties, the
    counts therefore differ and there can be fewer bins: one if all forecasts are equal.
    """
    probability, target = _checked(probability, target)
    if bins < 1:
        raise ValueError("at least one bin is needed")
    below = np.searchsorted(np.sort(probability), probability)  # [n]: how many forecasts are lower
    member = below * bins // len(probability)
    return [
        Bin(float(probability[inside].mean()), float(target[inside].mean()), int(inside.sum()))
        for inside in (member == number for number in np.unique(member))
    ]


def _checked(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays of float64 and int64; in float32, 1 - 1e-6 would not be exact."""
    probability, target = np.asarray(probability, dtype=np.float64), np.asarray(target)
    if probability.ndim != 1 or probability.shape != target.shape or not len(target):
        raise ValueError(f"shapes {probability.shape} and {target.shape}: both must be [n], with n >= 1")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a forecast is not between 0 and 1")
    if not np.isin(target, (0, 1)).all():
        raise ValueError("a target is neither 0 nor 1")
    return probability, target.astype(np.int64)
