"""Evaluation of a policy's variants: the list of variants, the stopping rule, and one row per episode."""

from itertools import count
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from sustainable.policies.compression.evaluation import (
    UNCOMPRESSED,
    CompressParameters,
    evaluate_variants,
    precise_enough,
    prepare_from_rollouts,
    variants_of,
)
from sustainable.policies.compression.static_int8 import QATParameters
from sustainable.policies.compression.variants import Variant
from sustainable.policies.policy import Actor, ActorArchitecture, Policy


def parameters(**changes: Any) -> CompressParameters:
    values: dict[str, Any] = {
        "states": 64,
        "qat": QATParameters(steps=3, batch_size=16, learning_rate=1e-3),
        "others": [Variant("ptdq"), Variant("qat")],
        "shares": [0.25, 0.5],
        "episodes_minimum": 2,
        "episodes_maximum": 4,
        "return_interval": 0.5,
        "confidence": 0.95,
        "seed": 5,
    }
    return CompressParameters(**values | changes)


def policy() -> Policy:
    torch.manual_seed(0)
    return Policy(Actor(ActorArchitecture(4, 2, (8, 8), "tanh")).eval(), "CartPole-v1", "PPO", 1, 0)


def test_every_variant_is_listed_once_and_the_uncompressed_policy_first():
    names = [variant.name for variant in variants_of(parameters())]
    assert names[:3] == ["none", "ptdq", "qat"]
    assert names[3:] == [
        f"{way}_{share}"
        for way in ("unstructured_l1", "structured_l1", "structured_l2")
        for share in (25, 50)
    ]
    assert len(variants_of(parameters(others=[Variant("ptdq"), Variant("ptdq")]))) == 8


def test_the_stopping_rule_needs_a_narrow_interval():
    # mean 10, standard deviation sqrt(2): with two values Student's half width is 12.706
    assert not precise_enough([9.0, 11.0], 2, 12.70, 0.95)
    assert precise_enough([9.0, 11.0], 2, 12.71, 0.95)


def test_the_stopping_rule_needs_the_minimum_of_episodes():
    assert not precise_enough([1.0, 1.0], 3, 1e9, 0.95)
    assert precise_enough([1.0, 1.0, 1.0], 3, 0.0, 0.95)


def test_all_variants_run_the_same_episodes_and_the_uncompressed_policy_all_of_them(tmp_path):
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    section, trained = parameters(), policy()
    prepared = prepare_from_rollouts(trained, environment, count(900), section, tmp_path)
    rows = evaluate_variants(trained, prepared, environment, 0.0, section, tmp_path)
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(row)
    assert list(by_variant) == [variant.name for variant in variants_of(section)]
    assert len(by_variant[UNCOMPRESSED.name]) == 4
    for episodes in by_variant.values():
        assert 2 <= len(episodes) <= 4
        assert episodes[0]["return_known"] or len(episodes) == 4
        assert [row["episode_seed"] for row in episodes] == list(range(5, 5 + len(episodes)))
        assert len({row["weights_sha256"] for row in episodes}) == 1
    assert len({episodes[0]["weights_sha256"] for episodes in by_variant.values()}) == len(by_variant)
    assert rows == evaluate_variants(trained, prepared, environment, 0.0, section, tmp_path)


def test_calibration_states_come_from_rollouts_of_the_policy(tmp_path):
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    prepared = prepare_from_rollouts(policy(), environment, count(900), parameters(), tmp_path)
    low, high = prepared.ranges[0].tolist()
    assert -3.0 < low < 0.0 < high < 3.0  # a pole that stands is neither far away nor fast
    assert np.isfinite(prepared.losses).all()


@pytest.mark.parametrize("change", [{"episodes_minimum": 1}, {"shares": [1.0]}, {"others": []}])
def test_parameters_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="1 validation error"):
        parameters(**change)
