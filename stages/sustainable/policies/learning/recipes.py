"""What is trained: environments, algorithms, seeds and recipes; section `train_policies` of params.yaml."""

from dataclasses import dataclass as plain_dataclass
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT

Algorithm = Literal["PPO", "TRPO", "SAC", "TD3", "DDPG"]
Count = Annotated[int, Field(ge=1)]
Number = bool | int | float


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """How one algorithm is trained in one environment.

    `settings` are keyword arguments of the algorithm under its own names, and `action_noise` (the standard
    deviation of Gaussian noise, for TD3 and DDPG) and `log_std_init` (PPO and TRPO); what is not named is the
    library's default. `options` go to the environment. `copies`: environments side by side.
    `reference_return`: what the field reports, and where; None with a reason in `reference_source`.
    """

    steps: Count
    reference_return: float | None
    reference_source: Annotated[str, Field(min_length=1)]
    settings: dict[str, Number] = field(default_factory=dict)
    options: dict[str, Number] = field(default_factory=dict)
    copies: Count = 8
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    normalize_reward: bool = True


@dataclass(frozen=True, config=STRICT)
class PolicyTrainingParameters:
    """`cells`: algorithm -> environments; each is trained once a seed, after its recipe (environment ->
    algorithm -> recipe). A recipe that no cell names is not used.

    A policy has learned when its mean return reaches random + `learned_share` x (reference - random).
    `curve_steps` lie between two points of a learning curve, `checkpoint_steps` between two checkpoints.
    """

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    evaluation_episodes: Count
    evaluation_seed: Annotated[int, Field(ge=0, lt=2**31)]
    checkpoint_steps: Count
    curve_steps: Count
    learned_share: Annotated[float, Field(gt=0.0, le=1.0)]
    cells: dict[Algorithm, list[str]]
    recipes: dict[str, dict[Algorithm, Recipe]]


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
        """Its place in a folder of policies."""
        return Path(self.environment, self.algorithm, f"seed_{self.seed}.safetensors")

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the trained weights, JSON-like: not what they are compared with."""
        about = asdict(self)
        for name in ("reference_return", "reference_source"):
            del about["recipe"][name]
        return about


def plan(parameters: PolicyTrainingParameters) -> list[TrainingRun]:
    """Every policy to train, in the order of params.yaml. Raises `UserError` for a cell without a recipe."""
    cells = []
    for algorithm, environments in parameters.cells.items():
        for environment in environments:
            recipe = parameters.recipes.get(environment, {}).get(algorithm)
            if recipe is None:
                where = f"train_policies.recipes.{environment}.{algorithm}"
                raise UserError(f"params.yaml: {where}: missing, but train_policies.cells names it")
            cells += [TrainingRun(environment, algorithm, seed, recipe) for seed in parameters.seeds]
    if not cells:
        raise UserError("params.yaml: train_policies.cells: no cell is named; there is nothing to train")
    return cells
