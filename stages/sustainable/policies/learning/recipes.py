"""Training runs: environments, algorithms, seeds and recipes (section `train_policies` of params.yaml)."""

from dataclasses import dataclass as plain_dataclass
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT

Algorithm = Literal["PPO", "TRPO", "SAC", "TD3", "DDPG"]
Number = bool | int | float


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """How one algorithm is trained in one environment."""

    steps: PositiveInt  # environment steps
    reference_return: float | None
    """The return that the literature reports; None with a reason in `reference_source`."""
    reference_source: Annotated[str, Field(min_length=1)]
    settings: dict[str, Number] = field(default_factory=dict)
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
    """Return all training runs in the order of params.yaml. Raises `UserError` if a recipe is missing."""
    runs = []
    for algorithm, environments in parameters.cells.items():
        for environment in environments:
            recipe = parameters.recipes.get(environment, {}).get(algorithm)
            if recipe is None:
                where = f"train_policies.recipes.{environment}.{algorithm}"
                raise UserError(f"params.yaml: {where}: missing, but train_policies.cells names it")
            runs += [TrainingRun(environment, algorithm, seed, recipe) for seed in parameters.seeds]
    if not runs:
        raise UserError("params.yaml: train_policies.cells: names no environment; there is nothing to train")
    return runs
