"""The rule about the size of a claimed effect, Fieller's interval, and the agreement of two timings."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sustainable.reporting.forecasting.retest import retest_correlation
from sustainable.reporting.sizes import ratio_of_means, verdict_on_effect
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Ratio, ratio_of_logs

TWIN = Ratio(1.0, 1 / 1.01, 1.01, 20)
"""A noise floor of ln 1.01."""


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        # a claimed ratio of 0.81: within 0.81^1.5 = 0.729 and 0.81^0.5 = 0.9, after widening by 1 %
        (0.74, 0.89, CONFIRMED),
        (0.725, 0.89, INCONCLUSIVE),
        (0.74, 0.895, INCONCLUSIVE),  # inside, but not with the noise floor
        (0.60, 0.71, REFUTED),  # larger than claimed by more than half of it
        (0.92, 0.95, REFUTED),  # a saving, but less than half of the claimed one
        (0.905, 0.95, INCONCLUSIVE),  # outside, but not with the noise floor
        (1.02, 1.05, REFUTED),
        (0.50, 1.20, INCONCLUSIVE),  # a wide interval never confirms
    ],
)
def test_the_verdict_on_a_size_by_hand(low, high, verdict):
    assert verdict_on_effect(Ratio(math.sqrt(low * high), low, high, 20), TWIN, 0.81, 0.5) == verdict
    mirrored = Ratio(1 / math.sqrt(low * high), 1 / high, 1 / low, 20)
    assert verdict_on_effect(mirrored, TWIN, 1 / 0.81, 0.5) == verdict


def test_a_size_without_interval_or_with_an_end_below_zero():
    assert verdict_on_effect(None, None, 2.0, 0.5) == INCONCLUSIVE
    assert verdict_on_effect(Ratio(1.0, -0.5, 3.0, 5), None, 2.0, 0.5) == INCONCLUSIVE
    assert verdict_on_effect(Ratio(0.5, -0.5, 1.2, 5), None, 2.0, 0.5) == REFUTED


@pytest.mark.parametrize(
    ("times", "noise", "least_confirmed", "least_refuted"),
    [
        (1.0, 0.01, 0.99, 0.0),  # the claim is true
        (2.5, 0.01, 0.0, 0.99),
        (0.0, 0.01, 0.0, 0.99),
        (1.0, 0.05, 0.0, 0.0),  # with more noise the rows cannot tell, but they are hardly ever wrong
        (2.5, 0.05, 0.0, 0.0),
        (0.5, 0.01, 0.0, 0.0),  # at the border neither verdict is certain
    ],
)
def test_how_often_the_size_is_judged_right(times, noise, least_confirmed, least_refuted):
    """20 blocks, of which the true effect is so many times the claimed saving of 4.3 %."""
    rng, claimed = np.random.default_rng(0), 0.957
    logs = times * math.log(claimed) + noise * rng.standard_normal((200, 20))
    twins = noise * rng.standard_normal((200, 20))
    verdicts = [
        verdict_on_effect(ratio_of_logs(own), ratio_of_logs(twin), claimed, 0.5)
        for own, twin in zip(logs, twins, strict=True)
    ]
    confirmed, refuted = (verdicts.count(verdict) / 200 for verdict in (CONFIRMED, REFUTED))
    print(f"{times} times the claim: {confirmed:.1%} confirmed, {refuted:.1%} refuted")
    assert confirmed >= least_confirmed
    assert refuted >= least_refuted
    assert (refuted if times == 1.0 else confirmed) <= 0.05


def test_fiellers_interval_by_hand():
    """Equal variances of the means, v: the ends solve (a - r b)^2 = t^2 v (1 + r^2)."""
    values, reference = [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]
    found = ratio_of_means(values, reference, 0.5)
    assert (found.estimate, found.n) == (2.0, 6)
    # at the ratio 2: (v + 4 v)^2 / (v^2 / 2 + 16 v^2 / 2) = 50 / 17 degrees of freedom
    square = stats.t.ppf(0.75, 50 / 17) ** 2 / 3
    for end in (found.low, found.high):
        assert (4 - 2 * end) ** 2 == pytest.approx(square * (1 + end**2))
    assert found.low < 2 < found.high


def test_a_ratio_of_means_may_be_exact_or_unknown():
    assert ratio_of_means([0.6] * 3, [0.3] * 2).low == pytest.approx(2.0)
    assert ratio_of_means([0.6], [0.3, 0.4]) is None
    assert ratio_of_means([0.6, 0.7], [0.0, 0.0]) is None
    assert ratio_of_means([0.6, 0.7], [-0.3, 0.4]) is None  # its mean may be 0


@pytest.mark.parametrize(("n", "others"), [(3, 20), (20, 20), (3, 3)])
def test_fiellers_interval_covers(n, others):
    """Means 0.6 and 0.3 with a spread of 0.05: at least 92 % of intervals hold the ratio of 2."""
    rng = np.random.default_rng(0)
    draws = ((rng.normal(0.6, 0.05, n), rng.normal(0.3, 0.05, others)) for _ in range(500))
    found = [ratio_of_means(*pair) for pair in draws]
    share = sum(one is None or one.low <= 2.0 <= one.high for one in found) / 500
    print(f"{n} and {others} seeds: {share:.1%}")
    assert 0.92 <= share <= 0.99


def timed(times, error):
    return pd.DataFrame({"cpu_time_ms_batch_1": times, "cpu_time_se_batch_1": error})


def test_two_timings_agree_as_far_as_the_noise_allows():
    times = np.exp(np.random.default_rng(0).standard_normal(400))
    assert retest_correlation(timed(times, 0.0), 1) == 1.0
    # log times have the variance 1 and noise 1/9: values correlate by 1 / (1 + 1/9) = 0.9, and the ranks of
    # normal values by (6 / pi) arcsin(0.9 / 2) = 0.891
    assert retest_correlation(timed(times, times / 3), 1) == pytest.approx(0.891, abs=0.02)
    assert abs(retest_correlation(timed(np.ones(400), 0.1), 1)) < 0.02
    assert retest_correlation(timed(np.ones(400), 0.0), 1) == 0.0


def test_an_unknown_noise_is_no_noise_of_zero():
    table = timed(np.ones(5), [0.1, 0.1, np.nan, 0.1, 0.1])
    assert retest_correlation(table, 1) is None
    assert retest_correlation(table.drop(columns="cpu_time_se_batch_1"), 1) is None
    ranged = pd.DataFrame({"cpu_time_ms_batch_1": [1.0, 2.0, 3.0], "cpu_time_range_batch_1": 0.001})
    assert retest_correlation(ranged, 1) == 1.0
