"""Claim B5: which kind of algorithm's policies keep their return under dynamic quantization."""

from dataclasses import fields
from itertools import product

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from judging import PARAMETERS, analysis_of
from sustainable.policies.returns import share_of
from sustainable.reporting.policies.claims import split_claim
from sustainable.reporting.policies.returns import Split, mean_outcomes, split_by_algorithm
from sustainable.reporting.policies.summary import Policies
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, difference_of_shares

HOPPER, CHEETAH = "Hopper-v5", "HalfCheetah-v5"


def rows_of(policies):
    """Two episodes of each policy (environment, algorithm, seed, return, return under PTDQ)."""
    rows = []
    for environment, algorithm, seed, plain, quantized in policies:
        own = {"environment": environment, "algorithm": algorithm, "seed": seed}
        own |= {"norm": None, "share": 0.0, "steps": 10, "size_bytes": 1}
        for method, mean in (("none", plain), ("ptdq", quantized)):
            for moved in (-1.0, 1.0):
                rows.append(own | {"variant": method, "method": method, "episode_return": mean + moved})
    return mean_outcomes(pd.DataFrame(rows))


def split_of(on_policy, off_policy):
    """A split of 12 policies each, of which so many keep their return."""
    policies = [
        (environment, algorithm, seed, 100.0, 90.0 if count < kept else 89.0)
        for kept, algorithms in ((on_policy, ("PPO", "TRPO")), (off_policy, ("SAC", "TD3")))
        for count, (environment, algorithm, seed) in enumerate(
            product((HOPPER, CHEETAH), algorithms, (1, 2, 3))
        )
    ]
    return split_by_algorithm(rows_of(policies), "ptdq", 0.95)


def verdict_on(split):
    return judged_on(split).verdict


def judged_on(split):
    policies = Policies(**dict.fromkeys(field.name for field in fields(Policies)) | {"split": split})
    return split_claim.judge(analysis_of(policies=policies, parameters=PARAMETERS))


def test_shares_are_counted_by_policy_with_nine_tenths_of_the_raw_return():
    split = split_of(on_policy=12, off_policy=3)
    assert (split.on_policy.estimate, split.on_policy.n) == (1.0, 12)
    assert (split.off_policy.estimate, split.off_policy.n) == (0.25, 12)
    assert split.environments == [CHEETAH, HOPPER]
    assert split.difference.estimate == 0.75


def test_only_environments_with_both_kinds_count():
    policies = [(HOPPER, "PPO", 1, 10.0, 10.0), (HOPPER, "SAC", 1, 10.0, 1.0), ("A", "PPO", 1, 10.0, 1.0)]
    split = split_by_algorithm(rows_of(policies), "ptdq", 0.95)
    assert split.environments == [HOPPER]
    assert (split.on_policy.estimate, split.on_policy.n) == (1.0, 1)
    assert split_by_algorithm(rows_of([("A", "PPO", 1, 10.0, 1.0)]), "ptdq", 0.95) is None


def test_a_negative_return_is_kept_if_it_falls_by_at_most_a_tenth_of_its_size():
    policies = [(HOPPER, "PPO", 1, -100.0, -110.0), (HOPPER, "SAC", 1, -100.0, -111.0)]
    split = split_by_algorithm(rows_of(policies), "ptdq", 0.95)
    assert (split.on_policy.estimate, split.off_policy.estimate) == (1.0, 0.0)


@pytest.mark.parametrize(("first", "second"), [((12, 12), (3, 12)), ((6, 12), (6, 12)), ((2, 9), (7, 15))])
def test_the_interval_is_newcombes(first, second):
    found = difference_of_shares(share_of(*first), share_of(*second))
    expected = confint_proportions_2indep(*first, *second, compare="diff", method="newcomb")
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kept", "parts", "verdict"),
    [
        ((12, 2), (CONFIRMED, CONFIRMED, CONFIRMED), CONFIRMED),  # 2 of 12: [0.05, 0.45]
        ((12, 3), (CONFIRMED, INCONCLUSIVE, CONFIRMED), INCONCLUSIVE),  # 3 of 12: [0.09, 0.53]
        ((12, 8), (CONFIRMED, INCONCLUSIVE, CONFIRMED), INCONCLUSIVE),  # difference +0.33 [+0.02, +0.61]
        ((12, 10), (CONFIRMED, REFUTED, INCONCLUSIVE), REFUTED),  # difference +0.17 [-0.10, +0.45]
        ((12, 12), (CONFIRMED, REFUTED, REFUTED), REFUTED),  # difference 0 [-0.24, +0.24]
        ((2, 12), (REFUTED, REFUTED, REFUTED), REFUTED),
    ],
)
def test_each_part_of_the_statement_is_judged(kept, parts, verdict):
    found = judged_on(split_of(*kept))
    assert found.parts == dict(zip(("PPO and TRPO", "SAC and TD3", "difference"), parts, strict=True))
    assert found.verdict == verdict


def test_too_few_policies_decide_nothing():
    policies = [(HOPPER, name, seed, 1.0, 1.0) for name in ("PPO", "SAC") for seed in range(5)]
    assert verdict_on(split_by_algorithm(rows_of(policies), "ptdq", 0.95)) == INCONCLUSIVE
    assert verdict_on(None) == INCONCLUSIVE


def test_error_rates_of_the_rule():
    """With equal shares it is seldom confirmed; with the published shares the difference is seldom missed."""
    rng = np.random.default_rng(5)
    verdicts = {
        pair: [
            judged_on(Split(on, off, difference_of_shares(on, off), [HOPPER, CHEETAH])).parts["difference"]
            for on, off in (
                [share_of(int(n), 12) for n in drawn] for drawn in rng.binomial(12, pair, (400, 2))
            )
        ]
        for pair in ((0.8, 0.8), (1.0, 0.3))
    }
    assert verdicts[0.8, 0.8].count(CONFIRMED) / 400 < 0.03
    assert verdicts[1.0, 0.3].count(CONFIRMED) / 400 > 0.95
    assert verdicts[1.0, 0.3].count(REFUTED) == 0
