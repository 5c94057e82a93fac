"""The later version of the first source: zeros per layer, its reward, and its searchers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env

from sustainable.compression import CompressionError
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.layerwise.plan import (
    LayerPlan,
    PlanOutcome,
    PlanReward,
    accuracy_of,
    compress_by_plan,
)
from sustainable.forecasting.layerwise.search import (
    LayerwiseParameters,
    PlanTable,
    RepeatedAgent,
    equal_shares,
    search_layers,
)
from sustainable.forecasting.layerwise.searchers import (
    SAMPLERS,
    PlanEnv,
    SamplerParameters,
    Trace,
    plan_of,
    search_by_agent,
    search_by_sampler,
)
from sustainable.forecasting.model.gru import Architecture, LayeredGRU, WeatherGRU, layered
from sustainable.forecasting.published.agent import AgentParameters

REWARD = PlanReward(reduction_scale=3.0, accuracy_scale=20.0)
AGENT = AgentParameters(timesteps=40, steps_per_update=20, batch_size=20, seed=0)


def network():
    torch.manual_seed(0)
    return WeatherGRU(Architecture(3, 8, 2, 0.0)).eval()


def part(count, seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, count)
    return Windows(rng.random((count, 4, 3), dtype=np.float32), target, target, np.arange(count))


def better_with_zeros(plan):
    """An evaluation whose best plan zeroes all of layer 1 that may be zeroed, in int8."""
    return PlanOutcome(0.5, 0.0, plan.shares[1] + plan.quantization)


def test_each_layer_gets_its_share_of_zeros():
    pruned, sparsity = compress_by_plan(network(), LayerPlan((0.0, 0.95, 0.5), False))
    shares = {name: float((value == 0).double().mean()) for name, value in pruned.named_parameters()}
    assert shares["gru.weight_ih_l0"] == shares["gru.weight_hh_l0"] == shares["gru.bias_ih_l1"] == 0.0
    assert shares["gru.weight_ih_l1"] == shares["gru.weight_hh_l1"] == round(0.95 * 192) / 192
    assert shares["readout.weight"] == 0.5
    # 72 + 192 + 48 parameters in layer 0, 384 + 48 in layer 1, 8 + 1 in the readout
    assert sparsity == (2 * round(0.95 * 192) + 4) / 753


def test_the_published_plan_has_the_published_sparsity():
    model = WeatherGRU(Architecture(4, 256, 2, 0.0)).eval()
    assert compress_by_plan(model, LayerPlan((0.0, 0.95, 0.95), False))[1] == pytest.approx(0.627, abs=5e-4)
    assert compress_by_plan(model, LayerPlan((0.3, 0.3, 0.3), True))[1] == pytest.approx(0.298, abs=5e-4)


def test_the_model_itself_is_not_touched_and_another_kind_is_refused():
    model = network()
    compress_by_plan(model, LayerPlan((0.5, 0.5, 0.5), True))
    assert all(int((value == 0).sum()) == 0 for name, value in model.named_parameters() if "weight" in name)
    assert isinstance(layered(model), LayeredGRU)
    with pytest.raises(CompressionError, match="one stacked GRU"):
        compress_by_plan(layered(model), LayerPlan((0.5, 0.5, 0.5), False))


def test_the_reward_by_hand():
    assert REWARD.of(2 / 115, 0.298, quantized=True) == pytest.approx(3.347826)  # what the source's logs show
    assert REWARD.of(2 / 115, 0.7, quantized=True) == REWARD.of(2 / 115, 0.0, quantized=True)
    assert REWARD.of(0.0, 0.5, quantized=False) == 1.5


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_any_action_is_a_plan(values):
    plan = plan_of(np.array(values))
    assert all(0 <= share <= 0.95 for share in plan.shares)
    assert all(abs(20 * share - round(20 * share)) < 1e-9 for share in plan.shares)
    assert plan.quantization == (values[3] > 0.5)


def test_the_corners_of_the_space():
    assert plan_of(np.zeros(4)) == LayerPlan((0.0, 0.0, 0.0), False)
    assert plan_of(np.ones(4)) == LayerPlan((0.95, 0.95, 0.95), True)
    assert plan_of(np.ones(4)).name == "Z95/95/95+Q"
    assert len(set(equal_shares())) == 40


def test_the_answer_is_the_first_of_the_best_and_ties_are_counted():
    first, second, third = (LayerPlan((share, 0.0, 0.0), True) for share in (0.1, 0.2, 0.3))
    trace = Trace([first, second, third, second], [1.0, 2.0, 2.0, 2.0])
    assert (trace.chosen, trace.tied) == (second, 2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_asks_for_its_budget_and_repeats_itself(name):
    one, again = (search_by_sampler(name, 3, 12, better_with_zeros) for _ in range(2))
    assert len(one.plans) == 12
    assert one.plans == again.plans
    equal = all(len(set(plan.shares)) == 1 for plan in one.plans)
    assert equal == (name == "tpe_one_share")


def test_cmaes_leaves_its_random_start():
    """In four dimensions it samples from its own distribution, which moves to the better half."""
    trace = search_by_sampler("cmaes", 0, 120, better_with_zeros)
    assert np.mean(trace.rewards[-30:]) > np.mean(trace.rewards[:30]) + 0.2


def test_the_agent_asks_for_its_budget_and_repeats_itself():
    check_env(PlanEnv(better_with_zeros, Trace()))
    one, again = (search_by_agent(1, AGENT, better_with_zeros) for _ in range(2))
    assert len(one.plans) == AGENT.timesteps
    assert one.plans == again.plans


@pytest.mark.parametrize("quantization", [False, True])
def test_the_table_gives_what_the_compressed_network_does(quantization):
    model, validation = network(), part(60, 2)
    table = PlanTable(model, validation, REWARD)
    for shares in ((0.0, 0.0, 0.0), (0.5, 0.95, 0.0), (0.5, 0.95, 0.9), (0.2, 0.3, 0.4)):
        plan = LayerPlan(shares, quantization)
        compressed, sparsity = compress_by_plan(model, plan)
        outcome = table.evaluate(plan)
        assert (outcome.accuracy, outcome.sparsity) == (accuracy_of(compressed, validation), sparsity)


def test_every_search_has_a_row_and_every_plan_too():
    parameters = LayerwiseParameters(
        reward=REWARD,
        samplers=SamplerParameters(trials=4, seeds=2, first_seed=0),
        agents={"ppo": RepeatedAgent(1, AGENT)},
        published={"tpe": LayerPlan((0.3, 0.3, 0.3), True)},
    )
    rows, plans = search_layers(network(), part(20, 0), part(30, 1), parameters)
    assert [row["searcher"] for row in rows[:3]] == ["published_tpe", "random", "random"]
    assert len(rows) == 1 + 2 * len(SAMPLERS) + 1
    assert len(plans) == len({(p["share_0"], p["share_1"], p["share_readout"], p["int8"]) for p in plans})
