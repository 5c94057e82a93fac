"""The searchers of the later version: random search, TPE, CMA-ES and PPO, over plans.

Every searcher asks for plans one by one; its answer is the first one with its best reward, as in the source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, Any

import gymnasium
import numpy as np
import optuna
from gymnasium import spaces
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.forecasting.layerwise.plan import LARGEST_SHARE, LayerPlan, PlanOutcome
from sustainable.forecasting.published.agent import AgentParameters, make_agent

SHARE_STEP = 0.05
STEPS = round(LARGEST_SHARE / SHARE_STEP)
Evaluate = Callable[[LayerPlan], PlanOutcome]


@dataclass(frozen=True, config=STRICT)
class SamplerParameters:
    """Settings of random search, TPE and CMA-ES."""

    trials: Annotated[int, Field(ge=2, le=10_000)]
    seeds: Annotated[int, Field(ge=1, le=1000)]
    first_seed: Annotated[int, Field(ge=0, lt=2**31)]


@plain_dataclass
class Trace:
    """What one search asked for, in order."""

    plans: list[LayerPlan] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def record(self, plan: LayerPlan, outcome: PlanOutcome) -> float:
        self.plans.append(plan)
        self.rewards.append(outcome.reward)
        return outcome.reward

    @property
    def chosen(self) -> LayerPlan:
        """The first plan with the best reward."""
        return self.plans[int(np.argmax(self.rewards))]

    @property
    def tied(self) -> int:
        """How many different plans have the best reward."""
        best = max(self.rewards)
        return len({plan for plan, reward in zip(self.plans, self.rewards, strict=True) if reward == best})


def plan_of(values: np.ndarray) -> LayerPlan:
    """Return the plan of `values` [4] in 0..1: three shares, rounded to steps of 5 %, and int8 above 0.5.

    0 is a share of 0, and 1 the largest share.
    """
    shares = [round(float(value) * STEPS) * SHARE_STEP for value in values[:3]]
    first, second, third = (round(min(share, LARGEST_SHARE), 2) for share in shares)
    return LayerPlan((first, second, third), bool(values[3] > 0.5))


SAMPLERS: Mapping[str, tuple[int, Callable[[int], BaseSampler]]] = {
    "random": (4, lambda seed: RandomSampler(seed=seed)),
    "tpe_one_share": (2, lambda seed: TPESampler(seed=seed)),
    "tpe": (4, lambda seed: TPESampler(seed=seed)),
    "cmaes": (4, lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False)),
}
"""Searchers and the dimensions that they search. `tpe_one_share` has one share for all layers, as in the
source's run of TPE; the others have the space of its agent."""


def search_by_sampler(name: str, seed: int, trials: int, evaluate: Evaluate) -> Trace:
    """Search with one of `SAMPLERS`."""
    dimensions, make = SAMPLERS[name]
    trace = Trace()

    def objective(trial: optuna.Trial) -> float:
        values = [trial.suggest_float(f"x{index}", 0.0, 1.0) for index in range(dimensions)]
        plan = plan_of(np.array([*[values[0]] * (4 - dimensions), *values]))
        return trace.record(plan, evaluate(plan))

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(sampler=make(seed), direction="maximize").optimize(objective, n_trials=trials)
    return trace


class PlanEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """An environment whose episodes have one step: the action [4] in 0..1 is a plan (see `plan_of`).

    The observation [1] float32 is constant.
    """

    def __init__(self, evaluate: Evaluate, trace: Trace) -> None:
        self.action_space = spaces.Box(0.0, 1.0, (4,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self._evaluate, self._trace = evaluate, trace

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        plan = plan_of(action)
        return np.ones(1, np.float32), self._trace.record(plan, self._evaluate(plan)), True, False, {}


def search_by_agent(seed: int, parameters: AgentParameters, evaluate: Evaluate) -> Trace:
    """Search with PPO, which samples shares and the switch from a normal distribution, clipped to 0..1."""
    trace = Trace()
    agent = make_agent(PlanEnv(evaluate, trace), parameters, seed)
    agent.learn(parameters.timesteps)
    return trace
