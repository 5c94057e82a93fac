import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Ratio,
    noise_floor,
    paired_ratio,
    summarise,
    verdict_on_ratio,
    weakest,
)

positive = st.lists(st.floats(0.1, 10), min_size=3, max_size=12)


def test_summaries_by_hand():
    summary = summarise([1.0, 3.0, float("nan")])
    assert (summary.mean, summary.std, summary.n) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert summarise([float("nan")]).mean is None
    assert summarise([5.0]).std is None


def test_a_constant_ratio_has_no_spread():
    ratio = paired_ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    assert (ratio.estimate, ratio.low, ratio.high, ratio.n) == (
        pytest.approx(2.0),
        pytest.approx(2.0),
        pytest.approx(2.0),
        3,
    )


def test_the_geometric_mean_by_hand_and_missing_pairs():
    ratio = paired_ratio([1.0, 4.0, 7.0], [1.0, 1.0, float("nan")])
    assert (ratio.estimate, ratio.n) == (pytest.approx(2.0), 2)
    assert paired_ratio([1.0, float("nan")], [1.0, 1.0]) is None


@given(positive, st.floats(0.01, 100))
def test_the_interval_contains_the_estimate_and_ignores_the_unit(values, unit):
    reference = list(reversed(values))
    one = paired_ratio(values, reference, resamples=200)
    other = paired_ratio([unit * v for v in values], [unit * r for r in reference], resamples=200)
    assert one.low <= one.estimate * (1 + 1e-9)
    assert one.high >= one.estimate * (1 - 1e-9)
    assert other.estimate == pytest.approx(one.estimate)


def test_the_interval_is_the_same_twice_and_narrows_with_confidence():
    rng = np.random.default_rng(0)
    values, reference = rng.lognormal(size=20), rng.lognormal(size=20)
    wide, again = (paired_ratio(values, reference, 0.95, seed=1) for _ in range(2))
    narrow = paired_ratio(values, reference, 0.5, seed=1)
    assert wide == again
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_noise_floor_is_the_farther_end():
    assert noise_floor(Ratio(1.0, 0.9, 1.05, 10)) == pytest.approx(math.log(1 / 0.9))


@pytest.mark.parametrize(
    ("ratio", "claimed", "verdict"),
    [
        (Ratio(0.5, 0.4, 0.6, 10), "lower", CONFIRMED),
        (Ratio(0.5, 0.4, 0.6, 10), "higher", REFUTED),
        (Ratio(1.5, 1.4, 1.6, 10), "higher", CONFIRMED),
        (Ratio(1.5, 1.4, 1.6, 10), "lower", REFUTED),
        (Ratio(0.95, 0.9, 1.01, 10), "lower", INCONCLUSIVE),  # the interval contains 1
        (Ratio(0.98, 0.97, 0.99, 10), "lower", INCONCLUSIVE),  # within what the control does by itself
    ],
)
def test_verdicts_need_certainty_and_more_than_noise(ratio, claimed, verdict):
    assert verdict_on_ratio(ratio, Ratio(1.0, 0.97, 1.03, 10), claimed) == verdict


def test_a_claim_is_as_good_as_its_weakest_part():
    assert weakest([CONFIRMED, CONFIRMED]) == CONFIRMED
    assert weakest([CONFIRMED, INCONCLUSIVE]) == INCONCLUSIVE
    assert weakest([INCONCLUSIVE, NOT_TESTABLE]) == NOT_TESTABLE
    assert weakest([NOT_TESTABLE, REFUTED]) == REFUTED
