"""Statistics of returns and costs, on values computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sustainable.policies.returns import (
    amdahl,
    interquartile_mean,
    logarithmic_mean,
    normalised_return,
    split_log_ratio,
    stratified_iqm,
    survival,
)

positive = st.floats(1e-3, 1e3)


def test_the_interquartile_mean_drops_a_quarter_at_either_end():
    assert interquartile_mean([1000, 2, 3, 4, 5, 6, 7, -1000]) == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert interquartile_mean([4.0]) == 4.0
    assert interquartile_mean([1, 2, 9]) == pytest.approx(4)  # a quarter of three is none


def test_the_stratified_interval_resamples_seeds_and_episodes():
    groups = [[10.0, 11.0, 12.0, 13.0], [20.0, 21.0, 22.0, 23.0]]
    estimate = stratified_iqm(groups, resamples=400, seed=1)
    assert estimate.n == 2
    assert estimate.estimate == interquartile_mean(np.concatenate(groups))
    assert estimate.low < 12.5  # both draws were the first seed
    assert estimate.high > 20.5
    assert stratified_iqm(groups, resamples=400, seed=1) == estimate
    assert any(stratified_iqm(groups, resamples=400, seed=seed) != estimate for seed in range(2, 12))


def test_equal_returns_have_no_spread():
    estimate = stratified_iqm([[500.0] * 5] * 3, resamples=100)
    assert (estimate.estimate, estimate.low, estimate.high) == (500, 500, 500)


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_interval_lies_within_the_returns(groups):
    estimate = stratified_iqm(groups, resamples=20)
    values = np.concatenate(groups)
    assert values.min() - 1e-6 <= estimate.low <= estimate.high <= values.max() + 1e-6


def test_missing_returns_are_an_error():
    for groups in ([], [[1.0], []]):
        with pytest.raises(ValueError, match="at least one return"):
            stratified_iqm(groups)


def test_normalised_returns_count_from_a_random_policy():
    assert normalised_return(-150, -150, -1200) == 1  # negative returns, as of a pendulum
    assert normalised_return(-1200, -150, -1200) == 0
    assert normalised_return(-255, -150, -1200) == pytest.approx(0.9)
    assert normalised_return(-100, -150, -1200) > 1
    assert math.isnan(normalised_return(8, 5, 10))  # the baseline is worse than chance


def test_survival_counts_models_at_the_bar():
    estimate = survival([0.95, 0.9, 0.89, -3.0, math.nan], 0.9)
    assert (estimate.estimate, estimate.n) == (0.5, 4)
    assert estimate.low < 0.5 < estimate.high
    assert survival([math.nan]) is None


def test_a_change_splits_into_length_and_parts():
    before, after = {"policy": 16.0, "environment": 30.0}, {"policy": 46.0, "environment": 30.0}
    split = split_log_ratio({"steps": 100} | after, {"steps": 200} | before)
    assert split["length"] == pytest.approx(math.log(0.5))
    assert split["step"] == pytest.approx(math.log(76 / 46))
    assert split["environment"] == 0
    assert split["policy"] == pytest.approx(split["step"])
    assert split["total"] == pytest.approx(math.log(0.5 * 76 / 46))


def test_episodes_split_one_by_one():
    after = {"steps": np.array([100, 200, 50]), "policy": np.array([46.0, 16.0, 3.0])}
    before = {"steps": np.array([200, 200, 25]), "policy": np.array([23.0, 16.0, 3.0])}
    split = split_log_ratio(after, before)
    assert split["length"] == pytest.approx(np.log([0.5, 1, 2]))
    assert split["policy"] == pytest.approx(np.log([2, 1, 1]))
    assert split["total"] == pytest.approx(np.log([1, 1, 2]))


@pytest.mark.parametrize("wrong", [{"policy": 0.0}, {"policy": -1.0}, {"steps": 0.0}])
def test_only_positive_costs_and_lengths_can_be_split(wrong):
    before = {"steps": np.array([10.0]), "policy": np.array([2.0])}
    with pytest.raises(FloatingPointError):
        split_log_ratio(before | {name: np.array([value]) for name, value in wrong.items()}, before)


@given(positive, positive, positive, positive, st.floats(-1e-4, 1e-4))
def test_the_parts_of_a_split_add_up(policy, environment, other, steps, rest):
    before = {"policy": policy, "environment": environment, "rest": rest}
    after = {"policy": other, "environment": policy, "rest": -rest}
    split = split_log_ratio({"steps": steps} | after, {"steps": 10.0} | before)
    assert sum(split[name] for name in before) == pytest.approx(split["step"], abs=1e-9)
    assert split["length"] + split["step"] == pytest.approx(split["total"])


def test_the_logarithmic_mean_lies_between():
    assert logarithmic_mean(2, 1) == pytest.approx(1 / math.log(2))
    assert logarithmic_mean(3, 3) == 3


def test_amdahl_by_hand():
    assert amdahl(0.5, 2) == 0.75
    assert amdahl(0.2, 1e12) == pytest.approx(0.8)  # nothing saves more than the share
    assert amdahl(0.4, 0.5) == pytest.approx(1.4)
    assert amdahl(0, 10) == amdahl(1, 1) == 1
    for share, speed_up in ((1.1, 2), (-0.1, 2), (0.5, 0)):
        with pytest.raises(ValueError, match="share lies in"):
            amdahl(share, speed_up)
