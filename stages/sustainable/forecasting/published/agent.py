"""PPO from Stable-Baselines3 as the searcher, and a record of its actions and rewards."""

import time
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, Any

import gymnasium
import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from sustainable.core.parameters import STRICT


@dataclass(frozen=True, config=STRICT)
class AgentParameters:
    """Training of the agent; all other settings are Stable-Baselines3's defaults."""

    timesteps: Annotated[int, Field(ge=1)]
    steps_per_update: Annotated[int, Field(ge=2)]
    batch_size: Annotated[int, Field(ge=2)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@plain_dataclass
class Episodes:
    """The actions of a training run and their rewards, one per step."""

    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """Duration of the training."""


class _Recorder(BaseCallback):
    def __init__(self, episodes: Episodes, timesteps: int, silent: bool) -> None:
        super().__init__()
        self.episodes, self.timesteps, self.silent = episodes, timesteps, silent

    def _on_step(self) -> bool:
        self.episodes.actions.extend(int(action) for action in self.locals["actions"])
        self.episodes.rewards.extend(float(reward) for reward in self.locals["rewards"])
        return True

    def _on_rollout_end(self) -> None:
        if not self.silent:
            done = min(self.num_timesteps, self.timesteps)
            recent = np.mean(self.episodes.rewards[-self.locals["n_rollout_steps"] :])
            print(f"PPO: {done}/{self.timesteps} steps, mean reward {recent:.3f}", flush=True)


def make_agent(environment: gymnasium.Env[Any, Any], parameters: AgentParameters, seed: int) -> PPO:
    """Make an untrained agent.

    The optimizer is the fused Adam, which gives equal weights on every CPU (see `core.determinism`).
    """
    agent = PPO(
        "MlpPolicy",
        environment,
        n_steps=parameters.steps_per_update,
        batch_size=parameters.batch_size,
        seed=seed,
        policy_kwargs={"optimizer_kwargs": {"fused": True}},
        device="cpu",
    )
    agent.set_logger(Logger(None, []))  # the default leaves a folder in /tmp for every training
    return agent


def train_agent(
    environment: gymnasium.Env[Any, Any], parameters: AgentParameters, silent: bool = False
) -> tuple[PPO, Episodes]:
    """Train PPO and return the agent with all its actions and rewards."""
    agent = make_agent(environment, parameters, parameters.seed)
    episodes = Episodes()
    start = time.perf_counter()
    agent.learn(parameters.timesteps, callback=_Recorder(episodes, parameters.timesteps, silent))
    episodes.seconds = time.perf_counter() - start
    return agent, episodes


class _UntilReward(BaseCallback):
    """Stop at the first step that has the reward `best`."""

    def __init__(self, best: float) -> None:
        super().__init__()
        self.best, self.action, self.step = best, -1, -1

    def _on_step(self) -> bool:
        self.step = self.num_timesteps - 1
        if self.locals["rewards"][0] >= self.best:
            self.action = int(self.locals["actions"][0])
        return self.action < 0


def first_best(
    environment: gymnasium.Env[Any, Any], parameters: AgentParameters, seed: int, best: float
) -> dict[str, int]:
    """Return the action that is the first maximum of a training's history, and when it was sampled.

    The first step is number 0; `updates` counts the updates of the policy before it. Training stops at that
    step, because what follows cannot change the first maximum. The action is -1 if no step had the reward
    `best`.
    """
    found = _UntilReward(best)
    make_agent(environment, parameters, seed).learn(parameters.timesteps, callback=found)
    updates = found.step // parameters.steps_per_update
    return {"seed": seed, "action": found.action, "step": found.step, "updates": updates}


def learning_curve(episodes: Episodes, interval: int) -> list[dict[str, float]]:
    """Return the mean reward and the share of the most frequent action for every `interval` steps.

    The last interval can be shorter.
    """
    rows = []
    for start in range(0, len(episodes.actions), interval):
        actions = np.array(episodes.actions[start : start + interval])
        rewards = np.array(episodes.rewards[start : start + interval])
        common = int(np.bincount(actions).argmax())
        rows.append(
            {
                "step": start + len(actions),
                "mean_reward": float(rewards.mean()),
                "commonest_action": common,
                "commonest_share": float((actions == common).mean()),
            }
        )
    return rows
