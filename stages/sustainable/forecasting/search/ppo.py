"""PPO from Stable-Baselines3 and sb3-contrib as searchers of the deployment space.

Each searcher returns its number of environment steps.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Ledger
from sustainable.forecasting.search.environments import StepwiseEnv, continuous_env, published_env

# Checks of every sample take time and change no result.
torch.distributions.Distribution.set_default_validate_args(False)


@dataclass(frozen=True, config=STRICT)
class PpoParameters:
    """Training of an agent; gamma is 1, and all other settings are Stable-Baselines3's defaults."""

    timesteps: PositiveInt  # maximum number of steps; it ends an agent that only repeats points
    environments: PositiveInt  # number of parallel environments
    steps_per_update: Annotated[int, Field(ge=2)]  # steps in each environment before an update
    batch_size: Annotated[int, Field(ge=2)]
    epochs: PositiveInt  # passes over the collected steps per update
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    entropy: Annotated[float, Field(ge=0.0, le=10.0)]  # coefficient of the entropy bonus
    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)]
    units: tuple[PositiveInt, ...]  # hidden units per layer of the policy and value networks


@dataclass(frozen=True, config=STRICT)
class UnmaskedParameters:
    """Settings added for the searcher without masks."""

    error: Annotated[float, Field(le=0.0, ge=-1000.0)]  # reward of an impossible action


@dataclass(frozen=True, config=STRICT)
class WarmParameters:
    """Settings added for the searcher that starts by imitating random points."""

    random_evaluations: PositiveInt  # distinct random points evaluated first; they count towards the budget
    elite_share: Annotated[float, Field(gt=0.0, le=1.0)]  # share of the best points, which are imitated
    imitation_epochs: PositiveInt


Searcher = Callable[[Ledger, int, PpoParameters], int]


def _searcher(kind: type[Any], make: Callable[[Ledger], gymnasium.Env[Any, Any]]) -> Searcher:
    """Return a searcher that trains an agent of `kind` in the environments that `make` makes."""

    def search(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
        return _learn(_agent(kind, lambda: make(ledger), seed, parameters), parameters)

    return search


search_published = _searcher(PPO, published_env)
"""Search with the published agent, which chooses one of 16 actions, until all are known."""
search_continuous = _searcher(PPO, continuous_env)
"""Search with one continuous action: three shares to prune, and a switch for int8."""
search_stepwise = _searcher(MaskablePPO, StepwiseEnv)
"""Search with four masked decisions and a shaped reward."""
search_unshaped = _searcher(MaskablePPO, lambda ledger: StepwiseEnv(ledger, shaped=False))
"""Search with four masked decisions and a reward only for the last one."""


def search_unmasked(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, UnmaskedParameters]) -> int:
    """Search with four unmasked decisions and a shaped reward; an impossible decision is penalised."""
    training, unmasked = parameters
    return _searcher(PPO, lambda ledger: StepwiseEnv(ledger, error=unmasked.error))(ledger, seed, training)


def search_warm(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, WarmParameters]) -> int:
    """Search with masks and a shaped reward, from a policy that imitates the best of some random points.

    The random evaluations count as steps.
    """
    training, warm = parameters
    agent = _agent(MaskablePPO, lambda: StepwiseEnv(ledger), seed, training)
    drawn = ledger.evaluate_random(seed, warm.random_evaluations)
    _imitate_best(agent, ledger, warm)
    return drawn + _learn(agent, training)


def _agent(
    kind: type[Any], make: Callable[[], gymnasium.Env[Any, Any]], seed: int, parameters: PpoParameters
) -> Any:
    """Return an untrained agent.

    The optimizer is the fused Adam, which gives equal weights on every CPU (see `core.determinism`).
    """
    agent = kind(
        "MlpPolicy",
        DummyVecEnv([make] * parameters.environments),
        n_steps=parameters.steps_per_update,
        batch_size=parameters.batch_size,
        n_epochs=parameters.epochs,
        learning_rate=parameters.learning_rate,
        ent_coef=parameters.entropy,
        gamma=1.0,
        gae_lambda=parameters.gae_lambda,
        policy_kwargs={"net_arch": list(parameters.units), "optimizer_kwargs": {"fused": True}},
        seed=seed,
        device="cpu",
    )
    agent.set_logger(Logger(None, []))  # the default leaves a folder in /tmp for every training
    return agent


def _learn(agent: Any, parameters: PpoParameters) -> int:
    """Train until the budget or the steps are spent; return the number of steps."""
    with suppress(BudgetSpent):
        agent.learn(parameters.timesteps)
    return int(agent.num_timesteps)


def _imitate_best(agent: MaskablePPO, ledger: Ledger, parameters: WarmParameters) -> None:
    """Minimise the cross-entropy of the best points' decisions; each step uses all of them."""
    ranked = sorted(ledger.evaluated(), key=lambda pair: -pair[1].reward)
    best = [point for point, _ in ranked[: max(1, round(parameters.elite_share * len(ranked)))]]
    environment = StepwiseEnv(ledger)
    seen = []
    for point in best:
        observation, _ = environment.reset()
        for action in environment.actions_of(point):
            seen.append((observation, action, environment.action_masks()))
            # the point was evaluated before, so this is free
            observation = environment.step(np.int64(action))[0]
    observations, actions, masks = (np.array(part) for part in zip(*seen, strict=True))
    inputs, chosen, possible = (torch.from_numpy(part) for part in (observations, actions, masks))
    for _ in range(parameters.imitation_epochs):
        likelihood = agent.policy.evaluate_actions(inputs, chosen, action_masks=possible)[1]
        agent.policy.optimizer.zero_grad()
        (-likelihood.mean()).backward()
        agent.policy.optimizer.step()
