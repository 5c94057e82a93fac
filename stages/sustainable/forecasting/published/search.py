"""The published search: PPO looks for the best of the 16 published compressions."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass
from stable_baselines3 import PPO

from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import Forecaster
from sustainable.forecasting.published.agent import (
    AgentParameters,
    Episodes,
    first_best,
    learning_curve,
    train_agent,
)
from sustainable.forecasting.published.environment import IdleEnv, SustainableAIAgentEnv
from sustainable.forecasting.published.evaluation import EvaluationParameters, Evaluator, as_row, tied_best
from sustainable.forecasting.published.reward import RewardParameters, published_reward, reward_terms

CURVE_INTERVAL_STEPS = 100


@dataclass(frozen=True, config=STRICT)
class DiscoveryParameters:
    """Repetitions of the search with other seeds."""

    seeds: Annotated[int, Field(ge=1, le=10_000)]
    first_seed: Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, config=STRICT)
class SearchParameters:
    """The section rl_search of params.yaml."""

    evaluation: EvaluationParameters  # which windows the reward is computed on
    reward: RewardParameters
    agent: AgentParameters
    discovery: DiscoveryParameters


class SearchResult(NamedTuple):
    """What the search leaves, ready to be written."""

    actions: list[dict[str, Any]]  # one row per action, with the terms of its reward
    discovery: list[dict[str, int]]  # one row per seed: the action that its search would have reported
    curve: list[dict[str, float]]  # the learning curve
    best: dict[str, Any]
    cost: dict[str, Any]


def search_as_published(
    model: Forecaster, part: Windows, parameters: SearchParameters, metering: MeterParameters
) -> SearchResult:
    """Evaluate every action once on the windows of `part`, then train the agent on these results.

    Each action is deterministic, so that looking its result up gives the agent the same rewards as evaluating
    it again.
    """
    meter = choose_meter(metering).make()
    meter.start()
    start = time.perf_counter()
    evaluator = Evaluator(model, part, parameters.evaluation)
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
    terms = [reward_terms(candidate.metrics, parameters.reward) for candidate in evaluated]
    return SearchResult(
        [as_row(action, candidate, terms[action]) for action, candidate in enumerate(evaluated)],
        repeat_search(environment, parameters, max(map(sum, terms))),
        learning_curve(episodes, CURVE_INTERVAL_STEPS),
        describe_best(agent, environment, episodes, [sum(each) for each in terms]),
        cost | {"evaluation_s": evaluation_s} | agent_speed(episodes, parameters.agent),
    )


def repeat_search(
    environment: SustainableAIAgentEnv, parameters: SearchParameters, best: float
) -> list[dict[str, int]]:
    """Repeat the search with other seeds; see `first_best`."""
    repeated = parameters.discovery
    seeds = range(repeated.first_seed, repeated.first_seed + repeated.seeds)
    return [
        first_best(environment, parameters.agent, seed, best)
        for seed in progress(seeds, "repeating", repeated.seeds)
    ]


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
        "best_seen": action_and_reward(episodes.actions[first], rewards)
        | {"first_sampled_at_step": first, "updates_before": first // agent.n_steps},
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
