import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Estimate,
    Ratio,
    _holm_rows,
    break_even,
    crossed_difference,
    detectable_ratio,
    difference_interval,
    equivalence_p,
    false_refutations,
    holm,
    mcnemar_p,
    mean_interval,
    noise_floor,
    paired_log_ratios,
    paired_p,
    paired_ratio,
    power_to_pass,
    ranks_of,
    redundancy,
    sign_flip_p,
    student_ratio,
    summarise_values,
    verdict_on_family,
    verdict_on_ratio,
    weakest,
)

positive = st.lists(st.floats(0.1, 10), min_size=3, max_size=12)


def test_summaries_by_hand():
    summary = summarise_values([1.0, 3.0, float("nan")])
    assert (summary.mean, summary.std, summary.n) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert summarise_values([float("nan")]).mean is None
    assert summarise_values([5.0]).std is None


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


def test_log_ratios_skip_missing_values():
    assert paired_log_ratios([math.e, 1.0, float("nan")], [1.0, float("nan"), 1.0]).tolist() == [
        pytest.approx(1.0)
    ]


def coverage(draw, truth, n, simulations=2000):
    rng = np.random.default_rng(7)
    inside = 0
    for seed in range(simulations):
        low, high = mean_interval(draw(rng, n), 0.95, 999, seed)
        inside += low <= truth <= high
    return inside / simulations


def test_an_interval_that_claims_95_percent_covers_93_to_97():
    assert 0.93 <= coverage(lambda rng, n: rng.normal(0.1, 1.0, n), 0.1, 20) <= 0.97


def test_the_interval_covers_with_few_and_with_skewed_values():
    assert 0.93 <= coverage(lambda rng, n: rng.normal(0.0, 1.0, n), 0.0, 12) <= 0.97
    assert 0.93 <= coverage(lambda rng, n: rng.exponential(1.0, n), 1.0, 20) <= 0.97


def test_the_permutation_test_keeps_its_level_on_a_a_data():
    rng = np.random.default_rng(3)
    rejected = np.mean([sign_flip_p(rng.normal(0, 1, 12), 499, seed) <= 0.05 for seed in range(2000)])
    assert 0.04 <= rejected <= 0.06


def test_the_permutation_test_by_hand():
    # all eight sign patterns of three equal values: only +++ and --- are as extreme
    assert sign_flip_p(np.array([1.0, 1.0, 1.0])) == pytest.approx(2 / 8)
    assert sign_flip_p(np.zeros(5)) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_paired_p_by_hand():
    rows = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    expected = [stats.ttest_1samp(rows[0], 0.0).pvalue, 1.0, 0.0]
    assert paired_p(rows) == pytest.approx(expected)
    assert paired_p(np.array([[5.0]])).tolist() == [1.0]  # one value says nothing


LOWER, HIGHER = [-1.0, -1.1, -0.9, -1.0], [1.0, 1.1, 0.9, 1.0]
UNSURE = [-1.0, 1.0, -1.1, 1.0]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([LOWER, LOWER], CONFIRMED),
        ([LOWER, UNSURE], INCONCLUSIVE),  # every one has to be lower
        ([LOWER, HIGHER], REFUTED),  # one that is higher is enough
        ([UNSURE, UNSURE], INCONCLUSIVE),
        ([[1.0], [1.0]], INCONCLUSIVE),
    ],
)
def test_the_verdict_on_a_family(rows, verdict):
    judged = verdict_on_family(np.array(rows))
    assert judged.verdict == verdict
    assert judged.adjusted == pytest.approx(holm(list(paired_p(np.array(rows)))))


def test_a_family_needs_more_than_one_comparison_alone():
    """p is 0.04: enough for a single test, but not for one of two."""
    higher = np.array([1.0, 2.0, 0.5, 3.0, 0.2, 1.4, -0.1, -0.3])
    assert 0.025 < paired_p(higher[None])[0] < 0.05
    assert verdict_on_family(higher[None]).verdict == REFUTED
    assert verdict_on_family(np.stack([higher, np.zeros(8)])).verdict == INCONCLUSIVE


def test_equal_candidates_are_seldom_refuted():
    values = np.random.default_rng(0).exponential(size=40)
    share = false_refutations(values, rivals=5, simulations=400)
    assert share.n == 400
    assert share.low <= share.estimate <= share.high
    assert share.estimate < 0.05
    assert false_refutations(values, rivals=5, simulations=400) == share
    assert false_refutations(np.ones(10), rivals=2, simulations=5).estimate == 0.0


def test_rows_are_adjusted_as_by_holm():
    rows = np.array([[0.01, 0.04, 0.03], [0.5, 0.001, 0.5], [0.9, 0.8, 0.7]])
    expected = [multipletests(row, method="holm")[1].tolist() for row in rows]
    assert _holm_rows(rows).tolist() == [pytest.approx(row) for row in expected]


def test_ranks_by_hand():
    assert ranks_of(np.array([[0.1, 0.3, 0.1], [3.0, 2.0, 1.0]])).tolist() == [[1.5, 3.0, 1.5], [3, 2, 1]]


def test_equivalence_needs_closeness_and_precision():
    rng = np.random.default_rng(0)
    assert equivalence_p(rng.normal(0, 0.005, 20), 0.02) < 0.001
    assert equivalence_p(rng.normal(0, 0.1, 20), 0.02) > 0.05
    assert equivalence_p(rng.normal(0.1, 0.005, 20), 0.02) > 0.95
    assert equivalence_p(np.zeros(4), 0.02) == 0.0
    assert equivalence_p(np.full(4, 0.1), 0.02) == 1.0
    logs = np.array([0.01, -0.01, 0.02, 0.0])
    bound, error = math.log1p(0.05), logs.std(ddof=1) / 2
    upper = stats.t.cdf((logs.mean() - bound) / error, 3)  # the harder side: the mean is above 0
    assert equivalence_p(logs, 0.05) == pytest.approx(upper)


def test_the_detectable_effect_of_twenty_blocks():
    logs = np.array([0.1, -0.1] * 10)
    std = logs.std(ddof=1)
    solved = TTestPower().solve_power(nobs=20, alpha=0.05, power=0.8)  # 0.66 standard deviations
    assert detectable_ratio(logs) == pytest.approx(math.expm1(solved * std), rel=0.02)
    assert detectable_ratio(logs[:2]) is None
    assert detectable_ratio(np.zeros(5), np.zeros(5)) == 0.0
    # without noise of its own, only the floor counts: |mean| + 2.093 standard errors of the twin, at 80 %
    assert detectable_ratio(np.zeros(20), logs) == pytest.approx(
        math.expm1(3.39 * std / math.sqrt(20)), rel=0.02
    )


DESIGNS, BLOCKS = 2000, 20


def block_noise(kind, rng):
    """ln CPU time [blocks, 3 configurations], without any effect; a tenth of a percent to a few percent."""
    noise = {
        "normal": lambda: rng.normal(0, 0.01, (BLOCKS, 3)),
        "t3": lambda: 0.01 * rng.standard_t(3, (BLOCKS, 3)),
        "drift": lambda: drifting(rng),
    }[kind]()
    return noise + rng.normal(0, 0.02, (BLOCKS, 1))  # what a whole block has in common


def drifting(rng):
    """The machine slows down by 10 % over the run, and a block holds its configurations in random order."""
    places = np.arange(BLOCKS)[:, None] * 3 + np.argsort(rng.random((BLOCKS, 3)))
    return 0.1 * places / (3 * BLOCKS) + rng.normal(0, 0.01, (BLOCKS, 3))


def verdicts(kind, effect, seed, designs=DESIGNS):
    """The verdict on each simulated design, and the effect that the first one could detect."""
    rng, found, detectable = np.random.default_rng(seed), [], []
    for _ in range(designs):
        base, own, twin = np.exp(block_noise(kind, rng)).T
        ratio, control = student_ratio(own * math.exp(effect), base), student_ratio(twin, base)
        found.append(verdict_on_ratio(ratio, control, "higher"))
        detectable.append((paired_log_ratios(own, base), paired_log_ratios(twin, base)))
    return found, detectable


@pytest.mark.parametrize("kind", ["normal", "t3", "drift"])
def test_the_rule_finds_an_effect_in_equal_models_in_at_most_five_of_a_hundred(kind):
    found, _ = verdicts(kind, 0.0, seed=1)
    wrong = np.mean([verdict != INCONCLUSIVE for verdict in found])
    print(f"{kind}: {100 * wrong:.1f} % of {DESIGNS} A/A designs get a verdict")
    assert wrong <= 0.05


@pytest.mark.parametrize("kind", ["normal", "drift"])
def test_the_printed_effect_is_found_with_the_power_that_is_promised(kind):
    """The effect that the designs print, at their median, is found in four of five; the t test's is not."""
    _, designs = verdicts(kind, 0.0, seed=2, designs=200)
    printed = np.median([detectable_ratio(logs, twin) for logs, twin in designs])
    former = np.median([detectable_ratio(logs) for logs, _ in designs])
    power, less = (
        np.mean([v == CONFIRMED for v in verdicts(kind, math.log1p(effect), seed=3, designs=800)[0]])
        for effect in (printed, former)
    )
    print(f"{kind}: {100 * printed:.2f} % found with a power of {power:.2f}; t test: {less:.2f}")
    assert 0.75 <= power <= 0.85
    assert less < 0.75


def test_mcnemar_by_hand():
    one = np.array([True] * 6 + [False] * 4)
    other = np.array([False] * 5 + [True] + [False] * 3 + [True])
    # five windows only the one gets right, one only the other: two-sided binomial of 1 in 6
    assert mcnemar_p(one, other) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar_p(one, one) == 1.0
    estimate, low, high = difference_interval(one, other)
    assert (estimate, low < 0.4 < high) == (pytest.approx(0.4), True)


def test_break_even_by_hand():
    even = break_even(100.0, [1.0, 1.0, 1.0], [3.0, 3.0, 3.0])
    assert (even.inferences, even.low, even.high) == (50.0, 50.0, 50.0)
    assert "costs more" in break_even(1.0, [3.0] * 3, [1.0] * 3).reason
    unsure = break_even(1.0, [1.0, 3.0, 1.0, 3.0], [2.0] * 4)
    assert (unsure.inferences, unsure.reason) == (None, "not reached: the saving may be nothing")
    assert break_even(1.0, [1.0], [2.0]).reason == "too few readings"


def test_the_break_even_interval_contains_the_estimate():
    rng = np.random.default_rng(1)
    even = break_even(100.0, (1 + 0.1 * rng.standard_normal(20)).tolist(), [3.0] * 20)
    assert even.low < even.inferences < even.high


def test_energy_that_is_time_leaves_nothing():
    seconds = [1.0, 2.0, 3.0, 5.0]
    same = redundancy([10 * s for s in seconds], seconds)
    assert (same.r, same.left) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-9))
    assert redundancy([1.0, 2.0], [1.0, 2.0]) is None
    assert redundancy([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]) is None
    rng = np.random.default_rng(0)
    free = redundancy(rng.lognormal(0, 0.1, 500).tolist(), rng.lognormal(0, 0.1, 500).tolist())
    assert abs(free.r) < 0.15
    assert free.left == pytest.approx(0.1, rel=0.1)


def test_the_crossed_interval_by_hand():
    hits, reference = np.array([[1, 1, 0, 0], [1, 1, 1, 0]]), np.zeros((2, 4), dtype=int)
    found = crossed_difference(hits.astype(bool), reference.astype(bool))
    assert (found.estimate, found.n) == (0.625, 2)
    # means of rows 0.5 and 0.75, of columns 1, 1, 0.5, 0: variances of the mean 0.03125 / 2 and 0.229167 / 4
    rows, columns = 0.03125 / 2, 0.2291666667 / 4
    freedom = (rows + columns) ** 2 / (rows**2 / 1 + columns**2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(rows + columns)
    assert (found.low, found.high) == (pytest.approx(0.625 - half), pytest.approx(0.625 + half))


def test_the_crossed_interval_covers_where_units_vary():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        skill = rng.normal(0.0, 0.1, size=(5, 1))
        hits = rng.random((5, 200)) < 0.6 + skill
        found = crossed_difference(hits, rng.random((5, 200)) < 0.6)
        covered += found.low <= 0.0 <= found.high
    assert 0.92 < covered / 300 < 0.99


def test_equal_forecasters_differ_by_nothing():
    hits = np.ones((3, 5), dtype=bool)
    assert crossed_difference(hits, hits) == Estimate(0.0, 0.0, 0.0, 3)
    assert power_to_pass(Estimate(0.0, 0.0, 0.0, 3), 0.02) == 1.0


def test_the_power_of_a_gate_by_hand():
    # half-width 1.96 standard errors of 0.01: an equal model passes if its estimate exceeds -0.02 + 0.0196
    power = power_to_pass(Estimate(0.3, 0.3 - 0.019600, 0.3 + 0.019600, 5), 0.02)
    assert power == pytest.approx(stats.norm.cdf(0.04), abs=1e-3)
    assert power_to_pass(Estimate(0.0, -0.0001, 0.0001, 5), 0.02) == pytest.approx(1.0)
