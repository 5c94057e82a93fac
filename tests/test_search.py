import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env

from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import Architecture, WeatherGRU, correct
from sustainable.forecasting.published import evaluation as candidates
from sustainable.forecasting.published.agent import (
    AgentParameters,
    Episodes,
    first_best,
    learning_curve,
    train_agent,
)
from sustainable.forecasting.published.environment import IdleEnv, SustainableAIAgentEnv
from sustainable.forecasting.published.evaluation import (
    EvaluationParameters,
    Evaluator,
    as_row,
    evaluation_part,
    tied_best,
)
from sustainable.forecasting.published.reward import (
    Metrics,
    RewardParameters,
    RewardTerms,
    published_reward,
    reward_terms,
)

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


SCORED = EvaluationParameters(split="test", windows=20, batch_size=16, baseline_windows="split")


def windows(count):
    rng = np.random.default_rng(0)
    inputs, target = rng.random((count, 5, 3), dtype=np.float32), rng.integers(0, 2, count)
    return Windows(inputs, target, target, np.arange(count))


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
        (Metrics(0.75, 0.05, 0.0, 0.0, acted=False), -0.5),  # the penalty is added to what else is paid
        (Metrics(50 / 64, 50 / 64 - 0.686411, 1.0, 1.0), 3.4484),  # the best published reward
        (Metrics(0.7, 0.0, 0.0, 0.0), 0.0),  # pruned, and nothing happened
        (Metrics(0.69, -0.01, 1.0, 1.0), 2.5 - 10 * 0.01),
        (Metrics(0.71, 0.01, 0.0, 0.0), 0.1),  # a gain in accuracy is paid
        (Metrics(0.5, -0.2, 1.0, 1.0), -7.5),  # under the floor: the whole scale is lost
        (Metrics(0.0, 0.0, 0.0, 0.0, failed=True), -10.0),
    ],
)
def test_the_reward_by_hand(metrics, reward):
    assert published_reward(metrics, WEIGHTS) == pytest.approx(reward, abs=5e-5)
    assert sum(reward_terms(metrics, WEIGHTS)) == published_reward(metrics, WEIGHTS)


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


def test_more_windows_than_the_split_has_are_refused():
    with pytest.raises(UserError, match=r"rl_search.published.evaluation.windows: 20 windows.*split has 19"):
        evaluation_part({"test": windows(19)}, SCORED, "rl_search.published")


def test_the_first_maximum_is_that_of_the_whole_training():
    """The shortened search reports what `train_agent` has first seen with the best reward."""
    _, episodes = train_agent(environment(), AGENT, silent=True)
    best = max(episodes.rewards)
    step = episodes.rewards.index(best)
    found = first_best(environment(), AGENT, AGENT.seed, best)
    assert found == {
        "seed": AGENT.seed,
        "action": episodes.actions[step],
        "step": step,
        "updates": step // AGENT.steps_per_update,
    }


def test_a_reward_that_never_comes_is_no_action():
    found = first_best(environment(), AGENT, 0, 1000.0)
    assert (found["action"], found["step"]) == (-1, AGENT.timesteps - 1)


def test_ties_are_all_named():
    assert tied_best([0.0, 2.5, -1.0, 2.5]) == [1, 3]


def test_evaluation_of_real_compressions_and_of_a_failing_one(monkeypatch):
    torch.manual_seed(0)
    model = WeatherGRU(Architecture(3, 6, 2, 0.0)).eval()
    part = windows(30)
    evaluator = Evaluator(model, part, SCORED)
    still, pruned, quantized = (evaluator.evaluate(action) for action in (0, 5, 8))
    assert not still.metrics.acted
    right = correct(model, torch.from_numpy(part.inputs), torch.from_numpy(part.target), 16).double()
    assert evaluator.baseline.accuracy == float(right.mean())  # of all 30 windows
    assert pruned.metrics.accuracy == float(right[:20].mean())  # of the first 20
    assert pruned.metrics.accuracy_change == pytest.approx(float(right[:20].mean() - right.mean()))
    assert (pruned.metrics.parameter_reduction, pruned.metrics.flops_reduction) == (0.0, 0.0)
    assert (quantized.metrics.parameter_reduction, quantized.metrics.flops_reduction) == (1.0, 1.0)
    row = as_row(8, quantized, RewardTerms(flops=1.5, parameters=1.0))
    assert (row["reward"], row["reward_flops"], row["reward_inaction"]) == (2.5, 1.5, 0.0)
    assert (row["name"], row["proxy_parameters"], row["parameters"]) == ("Q", 0, pruned.account.parameters)

    def fails(*_):
        raise CompressionError("no")

    monkeypatch.setattr(candidates, "compress_forecaster", fails)
    failed = evaluator.evaluate(8)
    assert failed.metrics.failed
    assert as_row(8, failed, RewardTerms(error=-10.0))["parameters"] is None
