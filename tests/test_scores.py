import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sustainable.forecasting.model.scores import (
    PROBABILITY_CLIP,
    Bin,
    Scores,
    calibration_error,
    reliability,
    score,
)

FORECAST = np.array([0.1, 0.5, 0.6, 0.9])
TARGET = np.array([0, 1, 0, 1])


@st.composite
def forecasts(draw):
    """Probabilities (some of them equal) and targets of both classes."""
    chances = st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0])
    pairs = draw(st.lists(st.tuples(chances, st.integers(0, 1)), min_size=2, max_size=60))
    pairs += [(draw(chances), 0), (draw(chances), 1)]
    probability, target = zip(*pairs, strict=True)
    return np.array(probability), np.array(target)


def test_scores_by_hand():
    found = score(FORECAST, TARGET)
    assert found == Scores(
        n=4,
        accuracy=0.5,  # 0.5 itself says dry: the second is wrong, and the third
        balanced_accuracy=0.5,
        log_loss=pytest.approx(-(2 * math.log(0.9) + math.log(0.5) + math.log(0.4)) / 4),
        brier=pytest.approx((0.01 + 0.25 + 0.36 + 0.01) / 4),
        calibration_error=pytest.approx((0.1 + 0.5 + 0.6 + 0.1) / 4),  # four forecasts, a bin each
    )


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    found = score(np.array([0.9, 0.9, 0.9, 0.9]), np.array([1, 1, 1, 0]))
    assert (found.accuracy, found.balanced_accuracy) == (0.75, 0.5)


def test_three_classes_by_hand():
    probability = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    found = score(probability, np.array([0, 1, 1, 2]))
    assert (found.n, found.accuracy) == (4, 0.75)
    assert found.balanced_accuracy == pytest.approx((1 + 0.5 + 1) / 3)
    assert found.log_loss == pytest.approx(-(math.log(0.7 * 0.8 * 0.3) + math.log(1 - 1e-6)) / 4)
    assert found.brier == pytest.approx((0.14 + 0.06 + 0.78 + 0.0) / 4)
    # four forecasts of the decided class, a bin each: 0.7 right, 0.8 right, 0.5 wrong, 1.0 right
    assert found.calibration_error == pytest.approx((0.3 + 0.2 + 0.5 + 0.0) / 4)
    with pytest.raises(ValueError, match="every class must occur"):
        score(probability, np.array([0, 1, 1, 1]))
    with pytest.raises(ValueError, match="are not probabilities"):
        score(probability / 2, np.array([0, 1, 1, 2]))


def test_a_wrong_certainty_costs_what_the_clip_says():
    found = score(np.array([0.0, 1.0]), np.array([1, 0]))
    assert found.log_loss == pytest.approx(-math.log(PROBABILITY_CLIP))
    assert found.brier == 1.0
    single = score(np.array([0.0, 1.0], dtype=np.float32), np.array([0, 1]))
    assert 0 < single.log_loss < 2 * PROBABILITY_CLIP


def test_reliability_by_hand():
    rows = reliability(np.array([0.9, 0.1, 0.7, 0.3]), np.array([1, 0, 0, 1]), bins=2)
    assert rows == [Bin(pytest.approx(0.2), 0.5, 2), Bin(pytest.approx(0.8), 0.5, 2)]
    assert calibration_error(np.array([0.9, 0.1, 0.7, 0.3]), np.array([1, 0, 0, 1]), 2) == pytest.approx(0.3)


def test_equal_forecasts_share_a_bin():
    constant = np.full(100, 0.25)
    target = np.arange(100) % 4 == 0
    assert reliability(constant, target) == [Bin(0.25, 0.25, 100)]
    assert calibration_error(constant, target) == 0.0


def test_distinct_forecasts_fill_bins_of_equal_count():
    rows = reliability(np.linspace(0, 1, 25), np.arange(25) % 2, bins=10)
    assert {row.count for row in rows} == {2, 3}
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("probability", "target", "message"),
    [
        ([], [], "shapes"),
        ([0.5], [0, 1], "shapes"),
        ([[0.5, 0.5]], [[0, 1]], "shapes"),
        ([0.5, 1.1], [0, 1], "between 0 and 1"),
        ([0.5, math.nan], [0, 1], "between 0 and 1"),
        ([0.5, 0.5], [0, 2], "neither 0 nor 1"),
        ([0.5, 0.5], [1, 1], "both classes"),
    ],
)
def test_what_is_no_forecast_is_refused(probability, target, message):
    with pytest.raises(ValueError, match=message):
        score(np.array(probability), np.array(target))


def test_no_bin_is_refused():
    with pytest.raises(ValueError, match="at least one bin"):
        reliability(FORECAST, TARGET, bins=0)


@given(forecasts(), st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_decides_nothing(pair, seed):
    probability, target = pair
    order = np.random.default_rng(seed).permutation(len(target))
    shuffled, found = score(probability[order], target[order]), score(probability, target)
    for name in ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error"):
        assert getattr(shuffled, name) == pytest.approx(getattr(found, name))


@given(forecasts())
def test_scores_keep_their_bounds(pair):
    found = score(*pair)
    assert 0 <= found.calibration_error <= math.sqrt(found.brier) + 1e-9  # Jensen, twice
    assert 0 <= found.brier <= 1
    assert 0 <= found.log_loss <= -math.log(PROBABILITY_CLIP) + 1e-9
    assert 0 <= found.balanced_accuracy <= 1


@given(forecasts(), st.integers(1, 20))
def test_every_forecast_is_in_one_bin(pair, bins):
    probability, target = pair
    rows = reliability(probability, target, bins)
    assert sum(row.count for row in rows) == len(target)
    assert len(rows) <= bins
    assert sum(row.count * row.mean_forecast for row in rows) == pytest.approx(probability.sum())
    assert sum(row.count * row.observed_share for row in rows) == pytest.approx(target.sum())
    assert [row.mean_forecast for row in rows] == sorted(row.mean_forecast for row in rows)
