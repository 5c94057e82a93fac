"""Frugal forecasters: what a GRU must beat to be worth its energy."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from sustainable.weather import Windows


def frugal_predictions(train: Windows, test: Windows) -> dict[str, np.ndarray]:
    """Predictions [n] in {0, 1} for the windows of `test`, by forecaster.

    `majority` says what was commoner in training, `persistence` that tomorrow is as today, and
    `logistic_last_day` is a logistic regression on the window's last day.
    """
    commoner = int(train.target.mean() >= 0.5)
    last_day = LogisticRegression(max_iter=1000).fit(train.inputs[:, -1], train.target)
    return {
        "majority": np.full(len(test), commoner),
        "persistence": test.previous,
        "logistic_last_day": last_day.predict(test.inputs[:, -1]),
    }
