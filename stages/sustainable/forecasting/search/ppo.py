"""PPO from Stable-Baselines3 and sb3-contrib as searchers of the deployment space."""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from sustainable.core.parameters import STRICT
from sustainable.forecasting.search.landscape import BudgetSpent, Ledger
from sustainable.forecasting.search.single_step import continuous_env, published_env
from sustainable.forecasting.search.stepwise import StepwiseEnv

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class PpoParameters:
    """Training of an agent; everything not named here is Stable-Baselines3's default, but gamma 1.

    `timesteps` ends an agent that keeps repeating itself. An update comes after `steps_per_update` steps
    in each of the parallel `environments`.
    """

    timesteps: Count
    environments: Count
    steps_per_update: Annotated[int, Field(ge=2)]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    entropy: Annotated[float, Field(ge=0.0, le=10.0)]
    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)]
    units: tuple[Count, ...]


@dataclass(frozen=True, config=STRICT)
class UnmaskedParameters:
    """`error`: the reward of an action that is not possible."""

    error: Annotated[float, Field(le=0.0, ge=-1000.0)]


@dataclass(frozen=True, config=STRICT)
class WarmParameters:
    """The first `random_evaluations` distinct ones are random (and counted); the best `elite_share` of
    them is imitated for `imitation_epochs` before PPO goes on."""

    random_evaluations: Count
    elite_share: Annotated[float, Field(gt=0.0, le=1.0)]
    imitation_epochs: Count


def search_published(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """The published agent: one of 16 actions. Gives the steps taken, like all searchers below."""
    return _learn(_agent(PPO, lambda: published_env(ledger), seed, parameters), parameters)


def search_continuous(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """One continuous action: three pruned shares and a switch."""
    return _learn(_agent(PPO, lambda: continuous_env(ledger), seed, parameters), parameters)


def search_stepwise(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Four masked decisions with a shaped reward."""
    return _learn(_agent(MaskablePPO, lambda: StepwiseEnv(ledger), seed, parameters), parameters)


def search_unshaped(ledger: Ledger, seed: int, parameters: PpoParameters) -> int:
    """Four masked decisions, of which only the last is paid."""
    return _learn(
        _agent(MaskablePPO, lambda: StepwiseEnv(ledger, shaped=False), seed, parameters), parameters
    )


def search_unmasked(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, UnmaskedParameters]) -> int:
    """Four decisions with a shaped reward, of which an impossible one is punished."""
    training, unmasked = parameters
    return _learn(_agent(PPO, lambda: StepwiseEnv(ledger, error=unmasked.error), seed, training), training)


def search_warm(ledger: Ledger, seed: int, parameters: tuple[PpoParameters, WarmParameters]) -> int:
    """Masked and shaped, from a policy that imitates the best of some random evaluations. Those count as
    steps too."""
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
    """An untrained agent. The fused Adam keeps the weights the same on every CPU (see
    `artifact.determinism`)."""
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
    """Train until the budget or the steps are used up; gives the steps."""
    with suppress(BudgetSpent):
        agent.learn(parameters.timesteps)
    return int(agent.num_timesteps)


def _imitate_best(agent: MaskablePPO, ledger: Ledger, parameters: WarmParameters) -> None:
    """Raise the likelihood of the best points' decisions: cross-entropy, all of them a step."""
    asked = sorted(ledger.asked(), key=lambda pair: -pair[1].reward)
    best = [point for point, _ in asked[: max(1, round(parameters.elite_share * len(asked)))]]
    environment = StepwiseEnv(ledger)
    seen = []
    for point in best:
        observation, _ = environment.reset()
        for action in environment.actions_of(point):
            seen.append((observation, action, environment.action_masks()))
            observation = environment.step(np.int64(action))[0]  # the last is known, so it is free
    observations, actions, masks = (np.array(part) for part in zip(*seen, strict=True))
    inputs, chosen, possible = (torch.from_numpy(part) for part in (observations, actions, masks))
    for _ in range(parameters.imitation_epochs):
        likelihood = agent.policy.evaluate_actions(inputs, chosen, action_masks=possible)[1]
        agent.policy.optimizer.zero_grad()
        (-likelihood.mean()).backward()
        agent.policy.optimizer.step()
