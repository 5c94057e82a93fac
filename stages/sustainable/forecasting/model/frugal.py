"""Frugal reference forecasters, which a GRU must beat to be worth its energy."""

from typing import TYPE_CHECKING

import numpy as np

from sustainable.core.errors import UserError
from sustainable.forecasting.data import Windows

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def frugal_predictions(train: Windows, test: Windows) -> dict[str, np.ndarray]:
    """Return the predictions [n] in {0, 1} of each forecaster for the windows of `test`.

    `majority` predicts the more frequent class of the training set, `persistence` that tomorrow is like
    today, and `logistic_last_day` is a logistic regression on the last day of the window.
    """
    majority = int(train.target.mean() >= 0.5)
    return {
        "majority": np.full(len(test), majority),
        "persistence": test.previous,
        "logistic_last_day": _fit_last_day(train).predict(test.inputs[:, -1]),
    }


def frugal_probabilities(train: Windows, part: Windows) -> dict[str, np.ndarray]:
    """Return each forecaster's probabilities [n] float64 that the day after each window of `part` is wet.

    `majority` is the share of wet days in the training set. `persistence` is the training frequency of a wet
    day after a day like today. `logistic_last_day` is the regression of `frugal_predictions`. For the first
    two, a threshold of 0.5 need not give the predictions of `frugal_predictions`: a rule is not a frequency.
    Raises `UserError` if no training window ends on a wet day, or none on a dry day.
    """
    return {
        "majority": np.full(len(part), train.target.mean()),
        "persistence": _wet_after(train)[part.previous],
        "logistic_last_day": _fit_last_day(train).predict_proba(part.inputs[:, -1])[:, 1].astype(np.float64),
    }


def logistic_last_day(train: Windows) -> tuple[np.ndarray, float]:
    """Return the weights [features] float64 and the bias of the regression `logistic_last_day`.

    The day after a window whose last day is x is wet with probability 1 / (1 + exp(-(x @ weights + bias))).
    """
    model = _fit_last_day(train)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def _fit_last_day(train: Windows) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression  # here: it takes seconds, and few stages fit

    return LogisticRegression(max_iter=1000).fit(train.inputs[:, -1], train.target)


def _wet_after(train: Windows) -> np.ndarray:
    """Return the training frequency of a wet day [2] after a dry day and after a wet day."""
    days = np.bincount(train.previous, minlength=2)
    if not days.all():
        kind = ("dry", "wet")[int(np.argmin(days))]
        raise UserError(
            f"no training window ends on a {kind} day, but persistence needs one; change split in preprocess"
        )
    return np.bincount(train.previous, weights=train.target, minlength=2) / days
