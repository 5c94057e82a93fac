"""Stage rl_search: PPO looks for the best of the 16 published compressions."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from pydantic.dataclasses import dataclass
from stable_baselines3 import PPO

from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import STRICT, read_section
from sustainable.core.progress import progress
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.model.gru import load_forecaster, trained_in
from sustainable.forecasting.published.agent import AgentParameters, Episodes, learning_curve, train_agent
from sustainable.forecasting.published.evaluation import (
    Evaluated,
    EvaluationParameters,
    Evaluator,
    as_row,
    evaluation_set,
    tied_best,
)
from sustainable.forecasting.published.environment import IdleEnv, SustainableAIAgentEnv
from sustainable.forecasting.published.reward import RewardParameters, published_reward
from sustainable.forecasting.data import load_windows

CURVE_INTERVAL_STEPS = 100


@dataclass(frozen=True, config=STRICT)
class SearchParameters:
    """What is rewarded, on which windows, and how the agent learns."""

    evaluation: EvaluationParameters
    reward: RewardParameters
    agent: AgentParameters


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "rl_search", SearchParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    inputs, target = evaluation_set(load_windows(arguments.windows), parameters.evaluation)
    model = load_forecaster(next(iter(trained_in(arguments.models).values())))
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
    write_rows(arguments.actions, table(evaluated, rewards))
    write_rows(arguments.curve, learning_curve(episodes, CURVE_INTERVAL_STEPS))
    write_json(arguments.best, describe_best(agent, environment, episodes, rewards))
    write_json(arguments.cost, cost | {"evaluation_s": evaluation_s} | speed(episodes, parameters.agent))


def table(evaluated: list[Evaluated], rewards: list[float]) -> list[dict[str, Any]]:
    return [
        as_row(action, candidate, reward)
        for action, (candidate, reward) in enumerate(zip(evaluated, rewards, strict=True))
    ]


def describe_best(
    agent: PPO, environment: SustainableAIAgentEnv, episodes: Episodes, rewards: list[float]
) -> dict[str, Any]:
    """What the trained policy picks, and the best reward seen (the published study's choice)."""
    policy_action = int(agent.predict(environment.reset()[0], deterministic=True)[0])
    seen = max(episodes.rewards)
    first = episodes.rewards.index(seen)
    ties = tied_best(rewards)
    return {
        "policy": choice(policy_action, rewards),
        "best_seen": choice(episodes.actions[first], rewards) | {"first_seen_at_step": first + 1},
        "best_reward": max(rewards),
        "actions_sharing_best_reward": ties,
        "ties": len(ties),
        "actions": len(rewards),
        "is_tie": len(ties) > 1,
    }


def choice(action: int, rewards: list[float]) -> dict[str, Any]:
    configuration = Configuration.of_action(action)
    return {"action": action, "name": configuration.name, "reward": rewards[action], **asdict(configuration)}


def speed(episodes: Episodes, parameters: AgentParameters) -> dict[str, float]:
    """Steps per second of PPO here and on an environment that does nothing (measured after)."""
    _, idle = train_agent(IdleEnv(ACTION_COUNT), parameters, silent=True)
    here, alone = (len(run.actions) / run.seconds for run in (episodes, idle))
    return {"steps_per_s": here, "idle_steps_per_s": alone, "share_of_idle_speed": here / alone}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--actions", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    parser.add_argument("--best", type=Path, required=True)
    parser.add_argument("--cost", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
