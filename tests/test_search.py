import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env

from sustainable.compression import CompressionError
from sustainable.forecasting.model.gru import Architecture, WeatherGRU
from sustainable.forecasting.published import evaluation as candidates
from sustainable.forecasting.published.agent import AgentParameters, Episodes, learning_curve, train_agent
from sustainable.forecasting.published.environment import IdleEnv, SustainableAIAgentEnv
from sustainable.forecasting.published.evaluation import Evaluator, as_row, tied_best
from sustainable.forecasting.published.reward import Metrics, RewardParameters, published_reward

WEIGHTS = RewardParameters(
    accuracy_scale=10.0,
    flops_scale=1.5,
    parameters_scale=1.0,
    inaction=-1.0,
    error=-10.0,
    accuracy_floor=0.95,
)
BASELINE = Metrics(0.7, 0.0, 0.0, 0.0, acted=False)
AGENT = AgentParameters(timesteps=256, steps_per_update=64, batch_size=32, seed=0)


def environment(calls=None):
    def evaluate(action):
        if calls is not None:
            calls.append(action)
        return Metrics(0.7, 0.0, action / 16, 0.0)

    return SustainableAIAgentEnv(16, BASELINE, evaluate, lambda m: published_reward(m, WEIGHTS))


@pytest.mark.parametrize(
    ("metrics", "reward"),
    [
        (Metrics(0.7, 0.0, 1.0, 1.0), 2.5),  # quantized, as the proxies see it: 1.5 + 1.0
        (Metrics(0.7, 0.0, 0.0, 0.0, acted=False), -1.0),
        (Metrics(0.7, 0.0, 0.0, 0.0), 0.0),  # pruned, and nothing happened
        (Metrics(0.69, -0.01, 1.0, 1.0), 2.5 - 10 * 0.01),
        (Metrics(0.71, 0.01, 0.0, 0.0), 0.0),  # a gain in accuracy is not paid
        (Metrics(0.5, -0.2, 1.0, 1.0), -7.5),  # under the floor: the whole scale is lost
        (Metrics(0.0, 0.0, 0.0, 0.0, failed=True), -10.0),
    ],
)
def test_the_reward_by_hand(metrics, reward):
    assert published_reward(metrics, WEIGHTS) == pytest.approx(reward)


@given(st.floats(0, 0.7), st.floats(0, 0.7), st.floats(0, 1), st.floats(0, 1))
def test_less_accuracy_never_pays(loss, more, parameters, flops):
    low, high = sorted((loss, more))
    rewards = [published_reward(Metrics(0.7 - x, -x, parameters, flops), WEIGHTS) for x in (low, high)]
    assert rewards[0] >= rewards[1]


def test_the_environments_pass_the_check():
    check_env(environment())
    check_env(IdleEnv(16))


def test_a_configuration_is_evaluated_once():
    calls = []
    env = environment(calls)
    train_agent(env, AGENT, silent=True)
    assert sorted(calls) == sorted(set(calls))
    assert env.step(np.int64(8))[1] == env.evaluate(8)[1] == pytest.approx(0.5)


def test_the_agent_learns_the_better_half_and_is_the_same_twice():
    parameters = AgentParameters(timesteps=3000, steps_per_update=256, batch_size=64, seed=3)
    env = SustainableAIAgentEnv(
        4, BASELINE, lambda a: Metrics(0.7, 0.0, float(a == 2), 0.0), lambda m: m.parameter_reduction
    )
    agent, episodes = train_agent(env, parameters, silent=True)
    assert int(agent.predict(env.reset()[0], deterministic=True)[0]) == 2
    assert np.mean(episodes.rewards[-256:]) > np.mean(episodes.rewards[:256])
    assert train_agent(env, parameters, silent=True)[1].actions == episodes.actions


def test_the_learning_curve_by_hand():
    curve = learning_curve(Episodes(actions=[1, 1, 2, 3, 3], rewards=[0.0, 1.0, 2.0, 4.0, 6.0]), 2)
    assert [row["step"] for row in curve] == [2, 4, 5]
    assert [row["mean_reward"] for row in curve] == [0.5, 3.0, 6.0]
    assert [row["commonest_share"] for row in curve] == [1.0, 0.5, 1.0]


def test_ties_are_all_named():
    assert tied_best([0.0, 2.5, -1.0, 2.5]) == [1, 3]


def test_evaluation_of_real_compressions_and_of_a_failing_one(monkeypatch):
    torch.manual_seed(0)
    model = WeatherGRU(Architecture(3, 6, 2, 0.0)).eval()
    inputs, target = torch.rand(30, 5, 3), torch.ones(30)
    evaluator = Evaluator(model, inputs, target, 16)
    still, pruned, quantized = (evaluator.evaluate(action) for action in (0, 5, 8))
    assert not still.metrics.acted
    assert pruned.metrics == Metrics(evaluator.baseline.accuracy, 0.0, 0.0, 0.0)
    assert (quantized.metrics.parameter_reduction, quantized.metrics.flops_reduction) == (1.0, 1.0)
    row = as_row(8, quantized, 2.5)
    assert (row["name"], row["proxy_parameters"], row["parameters"]) == ("Q", 0, pruned.account.parameters)

    def fails(*_):
        raise CompressionError("no")

    monkeypatch.setattr(candidates, "compress_forecaster", fails)
    failed = evaluator.evaluate(8)
    assert failed.metrics.failed
    assert as_row(8, failed, -10.0)["parameters"] is None
