"""Frugal forecasters: what a GRU must beat to be worth its energy."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from sustainable.core.errors import UserError
from sustainable.forecasting.data import Windows


def frugal_predictions(train: Windows, test: Windows) -> dict[str, np.ndarray]:
    """Predictions [n] in {0, 1} for the windows of `test`, by forecaster.

    `majority` says what was commoner in training, `persistence` that tomorrow is as today, and
    `logistic_last_day` is a logistic regression on the window's last day.
    """
    commoner = int(train.target.mean() >= 0.5)
    return {
        "majority": np.full(len(test), commoner),
        "persistence": test.previous,
        "logistic_last_day": _fit_last_day(train).predict(test.inputs[:, -1]),
    }


def frugal_probabilities(train: Windows, part: Windows) -> dict[str, np.ndarray]:
    """Probabilities [n] float64 that the day after each window of `part` is wet, by forecaster.

    `majority` gives the share of wet days in training, `persistence` how often a wet day followed in
    training on a day as today's, and `logistic_last_day` is the regression of `frugal_predictions`.
    At 0.5 the first two need not decide as they do there: a rule is not a frequency. Raises
    `UserError` when no window of training ends on a wet day, or none on a dry one.
    """
    return {
        "majority": np.full(len(part), train.target.mean()),
        "persistence": _wet_after(train)[part.previous],
        "logistic_last_day": _fit_last_day(train).predict_proba(part.inputs[:, -1])[:, 1].astype(np.float64),
    }


def logistic_last_day(train: Windows) -> tuple[np.ndarray, float]:
    """The regression of `logistic_last_day` as numbers: weights [features] float64, and the bias.

    A window whose last day is x is wet with probability 1 / (1 + exp(-(x @ weights + bias))).
    """
    model = _fit_last_day(train)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def _fit_last_day(train: Windows) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(train.inputs[:, -1], train.target)


def _wet_after(train: Windows) -> np.ndarray:
    """How often training saw a wet day [2] after a dry one, and after a wet one."""
    days = np.bincount(train.previous, minlength=2)
    if not days.all():
        kind = ("dry", "wet")[int(np.argmin(days))]
        raise UserError(
            f"no training window ends on a {kind} day; persistence needs some (see preprocess: split)"
        )
    return np.bincount(train.previous, weights=train.target, minlength=2) / days
