"""Frugal reference forecasters, which a GRU must beat to be worth its energy."""

from typing import TYPE_CHECKING

import numpy as np

from sustainable.core.errors import UserError
from sustainable.forecasting.data.windows import Windows

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def frugal_predictions(train: Windows, test: Windows) -> dict[str, np.ndarray]:
    """Return the predicted classes [n] int64 of each forecaster for the windows of `test`.

    `majority` predicts the most frequent class of the training set, `persistence` that tomorrow is like
    today (only for days), `logistic_last_day` is a logistic regression on the last day of the window (or the
    last step of the sequence), and `logistic_window` one on all of it.
    """
    shares = np.bincount(train.target)
    majority = len(shares) - 1 - int(np.argmax(shares[::-1]))  # of equally frequent classes, the last
    return {
        "majority": np.full(len(test), majority),
        **({} if test.previous is None else {"persistence": test.previous}),
        "logistic_last_day": _fit_last_day(train).predict(test.inputs[:, -1]),
        "logistic_window": _fit(flat(train), train).predict(flat(test)),
    }


def frugal_probabilities(train: Windows, part: Windows) -> dict[str, np.ndarray]:
    """Return each forecaster's probabilities float64 for the windows of `part`.

    They are [n], of a wet day after the window, for days, and [n, classes] for more classes than two.
    `majority` gives the shares of the training set. `persistence` is the training frequency of a wet day
    after a day like today. The regressions are those of `frugal_predictions`. For the first two, a threshold
    of 0.5 need not give the predictions of `frugal_predictions`: a rule is not a frequency. Raises
    `UserError` if no training window ends on a wet day, or none on a dry day.
    """
    shares = np.tile(np.bincount(train.target) / len(train), (len(part), 1))
    last = _fit_last_day(train).predict_proba(part.inputs[:, -1])
    whole = _fit(flat(train), train).predict_proba(flat(part))
    return {
        "majority": _of_wet(shares),
        **({} if part.previous is None else {"persistence": _wet_after(train)[part.previous]}),
        "logistic_last_day": _of_wet(last),
        "logistic_window": _of_wet(whole),
    }


def _of_wet(given: np.ndarray) -> np.ndarray:
    """Reduce probabilities [n, 2] to those of class 1 [n]; keep those of more classes."""
    return (given[:, 1] if given.shape[1] == 2 else given).astype(np.float64)


def flat(part: Windows) -> np.ndarray:
    """Return every window as one row of numbers [n, days * features]."""
    return part.inputs.reshape(len(part), -1)


def logistic_last_day(train: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights [features, logits] and biases [logits] float64 of `logistic_last_day`.

    For two classes there is one logit: the day after a window whose last day is x is wet with probability
    1 / (1 + exp(-(x @ weights + bias))).
    """
    model = _fit_last_day(train)
    return model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)


def logistic_window(train: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights [days * features, logits] and biases [logits] float64 of `logistic_window`."""
    model = _fit(flat(train), train)
    return model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)


def _fit_last_day(train: Windows) -> "LogisticRegression":
    return _fit(train.inputs[:, -1], train)


def _fit(inputs: np.ndarray, train: Windows) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression  # here: it takes seconds, and few stages fit

    return LogisticRegression(max_iter=1000).fit(inputs, train.target)


def _wet_after(train: Windows) -> np.ndarray:
    """Return the training frequency of a wet day [2] after a dry day and after a wet day."""
    if train.previous is None:
        raise ValueError("sequences have no day before")
    days = np.bincount(train.previous, minlength=2)
    if not days.all():
        kind = ("dry", "wet")[int(np.argmin(days))]
        raise UserError(
            f"no training window ends on a {kind} day, but persistence needs one; change split in preprocess"
        )
    return np.asarray(np.bincount(train.previous, weights=train.target, minlength=2) / days)
