"""Training runs: environments, algorithms, seeds and recipes (section `train_policies` of params.yaml)."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT

Algorithm = Literal["PPO", "TRPO", "SAC", "TD3", "DDPG"]
Number = bool | int | float
Falling = Annotated[str, Field(pattern=r"^lin_[0-9.]+(e-?[0-9]+)?$")]
"""A number that falls linearly to 0 over the training, in RL Baselines3 Zoo's notation: lin_0.001."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """How one algorithm is trained in one environment."""

    steps: PositiveInt  # environment steps
    reference_return: float | None
    """The return that the literature reports; None with a reason in `reference_source`."""
    reference_source: Annotated[str, Field(min_length=1)]
    settings: dict[str, Number | Falling] = field(default_factory=dict)
    """Keyword arguments of the algorithm under Stable-Baselines3's names; the rest keeps its defaults.

    Two more: `action_noise` (standard deviation of Gaussian noise, for TD3 and DDPG) and `log_std_init` (for
    PPO and TRPO)."""
    options: dict[str, Number] = field(default_factory=dict)  # keyword arguments of the environment
    copies: PositiveInt = 8  # number of environments that are stepped side by side
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    normalize_reward: bool = True


@dataclass(frozen=True, config=STRICT)
class PolicyTrainingParameters:
    """Section `train_policies` of params.yaml."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    """Every environment and algorithm is trained once per seed."""
    evaluation_episodes: PositiveInt
    evaluation_seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of the first evaluation episode; each further episode adds 1."""
    checkpoint_steps: PositiveInt  # steps between two checkpoints
    curve_steps: PositiveInt  # steps between two points of a learning curve
    learned_share: Annotated[float, Field(gt=0.0, le=1.0)]
    """A policy has learned if its mean return reaches random + this share x (reference - random)."""
    cells: dict[Algorithm, list[str]]  # algorithm -> environments to train it in
    pinned: dict[Algorithm, list[str]]  # algorithm -> environments whose actors are taken from data/actors
    recipes: dict[str, dict[Algorithm, Recipe]]
    """Environment -> algorithm -> recipe; a recipe that `cells` does not name is not used."""


@plain_dataclass(frozen=True)
class TrainingRun:
    """One policy to train."""

    environment: str
    algorithm: Algorithm
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"{self.environment} {self.algorithm} seed {self.seed}"

    @property
    def file(self) -> Path:
        """The path of the trained policy, relative to a folder of policies."""
        return Path(self.environment, self.algorithm, f"seed_{self.seed}.safetensors")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the trained weights, JSON-like: not the reference return."""
        fields = asdict(self)
        for name in ("reference_return", "reference_source"):
            del fields["recipe"][name]
        return fields


def plan(parameters: PolicyTrainingParameters) -> list[TrainingRun]:
    """Return all policies, those to train and then the pinned ones, in the order of params.yaml.

    Raises `UserError` if a recipe is missing, or if there is nothing to do.
    """
    runs = _runs(parameters, parameters.cells, "cells") + pinned_runs(parameters)
    if not runs:
        raise UserError("params.yaml: train_policies.cells: names no environment; there is nothing to train")
    doubled = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if doubled:
        raise UserError(f"params.yaml: train_policies: {doubled[0]} is named twice, in cells or pinned")
    return runs


def pinned_runs(parameters: PolicyTrainingParameters) -> list[TrainingRun]:
    """Return the policies that are not trained but taken from data/actors."""
    return _runs(parameters, parameters.pinned, "pinned")


def runs_of(parameters: PolicyTrainingParameters, algorithms: Collection[str]) -> list[TrainingRun]:
    """Return the runs of all recipes of some algorithms, whether a cell names them or not."""
    recipes = parameters.recipes.items()
    named = {name: [key for key, recipe in recipes if name in recipe] for name in get_args(Algorithm)}
    return _runs(parameters, {name: named[name] for name in named if name in algorithms}, "recipes")


def _runs(
    parameters: PolicyTrainingParameters, cells: Mapping[Algorithm, list[str]], key: str
) -> list[TrainingRun]:
    runs = []
    for algorithm, environments in cells.items():
        for environment in environments:
            recipe = parameters.recipes.get(environment, {}).get(algorithm)
            if recipe is None:
                where = f"train_policies.recipes.{environment}.{algorithm}"
                raise UserError(f"params.yaml: {where}: missing, but train_policies.{key} names it")
            runs += [TrainingRun(environment, algorithm, seed, recipe) for seed in parameters.seeds]
    return runs
