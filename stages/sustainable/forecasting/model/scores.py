"""How good forecasts are: pure functions of probabilities and of what happened."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss, log_loss

BINS = 10
"""Into how many bins of equal count the calibration error sorts the forecasts."""

CLIP = 1e-6
"""Log-loss takes probabilities as at least this, and as at most 1 - this: a wrong certainty would cost
infinity, and here costs 13.8 nats."""


@dataclass(frozen=True)
class Scores:
    """What `score` found for `n` forecasts.

    `accuracy` and `balanced_accuracy` (the mean of the classes' recalls) judge the decision at 0.5:
    higher is better. `log_loss` (nats), `brier` (mean squared error) and `calibration_error`, all of
    the probability: lower is better.
    """

    n: int
    accuracy: float
    balanced_accuracy: float
    log_loss: float
    brier: float
    calibration_error: float


@dataclass(frozen=True)
class Bin:
    """Some forecasts that lie close together: their mean, how often it came true, how many they are."""

    mean_forecast: float
    observed_share: float
    count: int


def score(probability: np.ndarray, target: np.ndarray) -> Scores:
    """The scores of `probability` [n] that `target` [n] in {0, 1} is 1.

    A forecast says 1 where `probability > 0.5`. Probabilities are clipped to [CLIP, 1 - CLIP] for
    the log-loss alone. Raises `ValueError` when there is no forecast, or one that is no probability,
    and when `target` does not hold both classes: the balanced accuracy would have no meaning.
    """
    probability, target = _checked(probability, target)
    if len(np.unique(target)) != 2:
        raise ValueError("the target must hold both classes")
    said = (probability > 0.5).astype(np.int64)
    return Scores(
        n=len(target),
        accuracy=float(accuracy_score(target, said)),
        balanced_accuracy=float(balanced_accuracy_score(target, said)),
        log_loss=float(log_loss(target, np.clip(probability, CLIP, 1 - CLIP))),
        brier=float(brier_score_loss(target, probability)),
        calibration_error=calibration_error(probability, target),
    )


def calibration_error(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of `probability` [n] for `target` [n] over bins of equal count:
    |mean forecast - observed share| of each bin of `reliability`, weighted by the bin's count."""
    rows = reliability(probability, target, bins)
    off = sum(row.count * abs(row.mean_forecast - row.observed_share) for row in rows)
    return float(off / len(target))


def reliability(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The forecasts `probability` [n] for `target` [n] in {0, 1}, sorted into `bins` of equal count,
    lowest first.

    Equal forecasts stay in one bin, else the order of the rows would decide: with ties the counts
    differ, and there may be fewer bins (one, where the forecast is always the same).
    """
    probability, target = _checked(probability, target)
    if bins < 1:
        raise ValueError("at least one bin is needed")
    below = np.searchsorted(np.sort(probability), probability)  # how many forecasts are lower
    member = below * bins // len(probability)
    return [
        Bin(float(probability[inside].mean()), float(target[inside].mean()), int(inside.sum()))
        for inside in (member == number for number in np.unique(member))
    ]


def _checked(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of their own kind; float64, so that a clip at 1 - 1e-6 is one."""
    probability, target = np.asarray(probability, dtype=np.float64), np.asarray(target)
    if probability.ndim != 1 or probability.shape != target.shape or not len(target):
        raise ValueError(f"shapes {probability.shape} and {target.shape}: [n] and [n] are needed, n >= 1")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a forecast is not between 0 and 1")
    if not np.isin(target, (0, 1)).all():
        raise ValueError("a target is neither 0 nor 1")
    return probability, target.astype(np.int64)
