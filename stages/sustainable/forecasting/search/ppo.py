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
from stable_baselines3.common.vec_env import DummyVecEnv

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Ledger
from sustainable.forecasting.search.single_step import continuous_env, published_env
from sustainable.forecasting.search.stepwise import StepwiseEnv


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


def search_published(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Search with the published agent, which chooses one of 16 actions."""
    return _learn(_agent(PPO, lambda: published_env(ledger), seed, parameters), parameters)


def search_continuous(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Search with one continuous action: three shares to prune, and a switch for int8."""
    return _learn(_agent(PPO, lambda: continuous_env(ledger), seed, parameters), parameters)


def search_stepwise(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Search with four masked decisions and a shaped reward."""
    return _learn(_agent(MaskablePPO, lambda: StepwiseEnv(ledger), seed, parameters), parameters)


def search_unshaped(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Search with four masked decisions and a reward only for the last one."""
    return _learn(
        _agent(MaskablePPO, lambda: StepwiseEnv(ledger, shaped=False), seed, parameters), parameters
    )


def search_unmasked(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, UnmaskedParameters]) -> int:
    """Search with four unmasked decisions and a shaped reward; an impossible decision is penalised."""
    training, unmasked = parameters
    return _learn(_agent(PPO, lambda: StepwiseEnv(ledger, error=unmasked.error), seed, training), training)


def search_warm(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, WarmParameters]) -> int:
    """Search with masks and a shaped reward, from a policy that imitates the best of some random points.

    The random evaluations count as steps.
    """
    training, warm = parameters
    agent = _agent(MaskablePPO, lambda: StepwiseEnv(ledger), seed, training)
    points = list(ledger.landscape.grid())
    with suppress(BudgetSpent):
        for index in np.random.default_rng(seed).permutation(len(points))[: warm.random_evaluations]:
            ledger.evaluate(points[index])
    drawn = ledger.distinct
    _imitate_best(agent, ledger, warm)
    return drawn + _learn(agent, training)


def _agent(
    kind: type[Any], make: Callable[[], gymnasium.Env[Any, Any]], seed: int, parameters: PpoParameters
) -> Any:
    """Return an untrained agent.

    The optimizer is the fused Adam, which gives equal weights on every CPU (see `core.determinism`).
    """
    return kind(
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
            observation = environment.step(np.int64(action))[
                0
            ]  # the point was evaluated before, so this is free
    observations, actions, masks = (np.array(part) for part in zip(*seen, strict=True))
    inputs, chosen, possible = (torch.from_numpy(part) for part in (observations, actions, masks))
    for _ in range(parameters.imitation_epochs):
        likelihood = agent.policy.evaluate_actions(inputs, chosen, action_masks=possible)[1]
        agent.policy.optimizer.zero_grad()
        (-likelihood.mean()).backward()
        agent.policy.optimizer.step()
