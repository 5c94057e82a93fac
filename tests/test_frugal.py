import numpy as np
import pytest

from sustainable.core.errors import UserError
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.frugal import frugal_predictions, frugal_probabilities, logistic_last_day


def windows(previous, target, features=2, seed=0) -> Windows:
    """Windows of 3 days whose last day tells, with noise, what follows."""
    inputs = np.random.default_rng(seed).normal(size=(len(target), 3, features)).astype(np.float32)
    inputs[:, -1, 0] += 2 * np.array(target)
    return Windows(inputs, np.array(target), np.array(previous), np.arange(len(target)))


TRAIN = windows(previous=[0, 0, 0, 0, 1, 1, 1], target=[0, 0, 0, 1, 1, 1, 0])
PART = windows(previous=[0, 1, 0], target=[1, 0, 0], seed=1)


def test_rules_by_hand():
    said = frugal_predictions(TRAIN, PART)
    assert said["majority"].tolist() == [0, 0, 0]  # 3 of 7 were wet
    assert said["persistence"].tolist() == [0, 1, 0]
    assert set(said["logistic_last_day"].tolist()) <= {0, 1}


def test_frequencies_by_hand():
    given = frugal_probabilities(TRAIN, PART)
    assert given["majority"].tolist() == [3 / 7] * 3
    assert given["persistence"].tolist() == [1 / 4, 2 / 3, 1 / 4]
    assert list(given) == list(frugal_predictions(TRAIN, PART))
    assert {(values.dtype, values.shape) for values in given.values()} == {(np.dtype(np.float64), (3,))}


def test_the_regression_is_one_wherever_it_comes_from():
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, 200)
    train, part = windows(rng.integers(0, 2, 200), target), windows(target, 1 - target, seed=3)
    weights, bias = logistic_last_day(train)
    by_hand = 1 / (1 + np.exp(-(part.inputs[:, -1].astype(np.float64) @ weights + bias)[:, 0]))
    given = frugal_probabilities(train, part)["logistic_last_day"]
    assert (weights.dtype, weights.shape, bias.shape) == (np.float64, (2, 1), (1,))
    assert np.allclose(by_hand, given, atol=1e-6)
    assert ((given > 0.5) == frugal_predictions(train, part)["logistic_last_day"]).all()
    assert weights[0] > 1 > abs(weights[1])  # the first feature tells, the second is noise


def test_persistence_without_a_wet_day_to_learn_from_is_refused():
    with pytest.raises(UserError, match="no training window ends on a wet day"):
        frugal_probabilities(windows([0, 0, 0], [0, 1, 0]), PART)


def test_sequences_of_three_classes_have_no_day_before():
    rng = np.random.default_rng(4)
    target = np.repeat([0, 1, 2], [20, 30, 10])
    inputs = rng.normal(size=(60, 4, 1)).astype(np.float32)
    inputs[np.arange(60), target, 0] += (
        9  # the step that stands out is the class, so the last step tells nothing
    )
    train = Windows(inputs, target, None, np.arange(60))
    said, given = frugal_predictions(train, train), frugal_probabilities(train, train)
    assert list(said) == list(given) == ["majority", "logistic_last_day", "logistic_window"]
    assert set(said["majority"]) == {1}
    assert given["majority"][0].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 6])
    assert (
        (said["logistic_window"] == target).mean() > 0.95 > 0.7 > (said["logistic_last_day"] == target).mean()
    )
    assert all(np.allclose(one.sum(axis=1), 1.0) for one in given.values())
