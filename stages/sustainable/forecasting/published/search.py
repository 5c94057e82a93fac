"""The published search: PPO looks for the best of the 16 published compressions."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from pydantic.dataclasses import dataclass
from stable_baselines3 import PPO
from torch import Tensor

from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration
from sustainable.forecasting.model.gru import Forecaster
from sustainable.forecasting.published.agent import AgentParameters, Episodes, learning_curve, train_agent
from sustainable.forecasting.published.environment import IdleEnv, SustainableAIAgentEnv
from sustainable.forecasting.published.evaluation import EvaluationParameters, Evaluator, as_row, tied_best
from sustainable.forecasting.published.reward import RewardParameters, published_reward

CURVE_INTERVAL_STEPS = 100


@dataclass(frozen=True, config=STRICT)
class SearchParameters:
    """The section rl_search of params.yaml."""

    evaluation: EvaluationParameters  # which windows the reward is computed on
    reward: RewardParameters
    agent: AgentParameters


class SearchResult(NamedTuple):
    """What the search leaves, ready to be written."""

    actions: list[dict[str, Any]]  # one row per action, with its reward
    curve: list[dict[str, float]]  # the learning curve
    best: dict[str, Any]
    cost: dict[str, Any]


def search_as_published(
    model: Forecaster, inputs: Tensor, target: Tensor, parameters: SearchParameters, metering: MeterParameters
) -> SearchResult:
    """Evaluate every action once, then train the agent on these results.

    `inputs` [n, days, features] and `target` [n] are the windows that the reward is computed on. Each action
    is deterministic, so that looking its result up gives the agent the same rewards as evaluating it again.
    """
    meter = choose_meter(metering).make()
    meter.start()
    start = time.perf_counter()
    evaluator = Evaluator(model, inputs, target, parameters.evaluation.batch_size)
    evaluated = [
        evaluator.evaluate(action) for action in progress(range(ACTION_COUNT), "evaluating", ACTION_COUNT)
    ]
    evaluation_s = time.perf_counter() - start
    environment = SustainableAIAgentEnv(
        ACTION_COUNT,
        evaluator.baseline,
        evaluate=lambda action: evaluated[action].metrics,
        reward=lambda metrics: published_reward(metrics, parameters.reward),
    )
    agent, episodes = train_agent(environment, parameters.agent)
    cost = total_cost([asdict(meter.stop())])
    rewards = [environment.evaluate(action)[1] for action in range(ACTION_COUNT)]
    rows = enumerate(zip(evaluated, rewards, strict=True))
    return SearchResult(
        [as_row(action, candidate, reward) for action, (candidate, reward) in rows],
        learning_curve(episodes, CURVE_INTERVAL_STEPS),
        describe_best(agent, environment, episodes, rewards),
        cost | {"evaluation_s": evaluation_s} | agent_speed(episodes, parameters.agent),
    )


def describe_best(
    agent: PPO, environment: SustainableAIAgentEnv, episodes: Episodes, rewards: Sequence[float]
) -> dict[str, Any]:
    """Describe the trained policy's action, and the best one seen (the published study's choice)."""
    policy_action = int(agent.predict(environment.reset()[0], deterministic=True)[0])
    seen = max(episodes.rewards)
    first = episodes.rewards.index(seen)
    ties = tied_best(list(rewards))
    return {
        "policy": action_and_reward(policy_action, rewards),
        "best_seen": action_and_reward(episodes.actions[first], rewards) | {"first_seen_at_step": first + 1},
        "best_reward": max(rewards),
        "actions_sharing_best_reward": ties,
        "ties": len(ties),
        "actions": len(rewards),
        "is_tie": len(ties) > 1,
    }


def action_and_reward(action: int, rewards: Sequence[float]) -> dict[str, Any]:
    configuration = Configuration.of_action(action)
    return {"action": action, "name": configuration.name, "reward": rewards[action], **asdict(configuration)}


def agent_speed(episodes: Episodes, parameters: AgentParameters) -> dict[str, float]:
    """Return PPO's steps per second, and those on an environment that does nothing (measured now)."""
    _, idle = train_agent(IdleEnv(ACTION_COUNT), parameters, silent=True)
    here, alone = (len(run.actions) / run.seconds for run in (episodes, idle))
    return {"steps_per_s": here, "idle_steps_per_s": alone, "share_of_idle_speed": here / alone}
