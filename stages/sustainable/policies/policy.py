"""A policy as it is stored and compressed: the actor network alone, with its frozen observation scale.

Value networks and exploration noise stay behind in training. What is stored is safetensors and JSON,
never a pickle.
"""

from dataclasses import asdict, dataclass
from dataclasses import dataclass as plain_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.core.tensors import read_tensors, write_tensors

CLIP = 10.0
"""Scaled observations are cut at this many standard deviations, as in training (VecNormalize's default)."""
EPSILON = 1e-8
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class ActorArchitecture:
    """Sizes of an actor. `outputs`: logits of a discrete choice, or action values of a continuous one.

    `low`, `high` [outputs] bound continuous actions (both empty for a discrete choice). `squashed`: tanh
    ends the network and spans the bounds (SAC, TD3, DDPG); else values are cut at the bounds (PPO, TRPO).
    """

    observations: int
    outputs: int
    hidden: tuple[int, ...]
    activation: Literal["tanh", "relu"]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    squashed: bool = False

    @property
    def discrete(self) -> bool:
        return not self.low

    @property
    def widths(self) -> tuple[int, ...]:
        """Units from the observations to the outputs."""
        return (self.observations, *self.hidden, self.outputs)


class Actor(nn.Module):
    """Observations [n, observations] float32 to outputs [n, outputs] float32; nothing in it is random."""

    def __init__(self, architecture: ActorArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(architecture.observations))
        self.register_buffer("scale", torch.ones(architecture.observations))
        widths = architecture.widths
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = ACTIVATIONS[architecture.activation]()

    def forward(self, observations: Tensor) -> Tensor:
        """Outputs before they become an action: see `to_action`."""
        values = self.scaled(observations)
        *hidden, last = self.layers  # a slice would make a new ModuleList, for a third of the call's time
        for layer in hidden:
            values = self.activation(layer(values))
        outputs: Tensor = last(values)
        return outputs

    def scaled(self, observations: Tensor) -> Tensor:
        """Observations as in training: `scale` is the reciprocal of the standard deviation."""
        return torch.clamp((observations - self.mean) * self.scale, -CLIP, CLIP)


@plain_dataclass(frozen=True)
class Policy:
    """An actor and where it comes from. `total_steps`: of training."""

    actor: Actor
    environment: str
    algorithm: str
    seed: int
    total_steps: int


def to_action(architecture: ActorArchitecture, outputs: np.ndarray) -> Any:
    """The environment's action for outputs [outputs]: the greedy choice, or values within the bounds."""
    if architecture.discrete:
        return int(outputs.argmax())
    low, high = np.array(architecture.low, np.float32), np.array(architecture.high, np.float32)
    if architecture.squashed:
        return low + 0.5 * (np.tanh(outputs) + 1.0) * (high - low)
    return np.clip(outputs, low, high)


def batch_outputs(actor: nn.Module, observations: np.ndarray) -> np.ndarray:
    """Outputs [n, outputs] of a torch actor for observations [n, observations], in one batch."""
    with torch.inference_mode():
        found: np.ndarray = actor(torch.from_numpy(observations.astype(np.float32))).numpy()
    return found


def save_policy(path: Path, policy: Policy) -> None:
    """Write the weights to `path` (safetensors) and the description beside it (`.json`)."""
    architecture = asdict(policy.actor.architecture)
    about = {name: getattr(policy, name) for name in ("environment", "algorithm", "seed", "total_steps")}
    write_tensors(path, policy.actor.state_dict())
    write_json(path.with_suffix(".json"), {"architecture": architecture, **about})


def load_policy(path: Path) -> Policy:
    """Read what `save_policy` wrote; raises `UserError` for a file that is missing, damaged or not one."""
    tensors, _ = read_tensors(path)
    about = read_json(path.with_suffix(".json"))
    try:
        architecture = TypeAdapter(ActorArchitecture).validate_python(about.pop("architecture"))
        actor = Actor(architecture)
        actor.load_state_dict(tensors)
        return Policy(actor.eval(), **about)
    except (AttributeError, KeyError, TypeError, RuntimeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: not a policy ({reason}); delete it and run `dvc repro`") from None


def action_bounds(space: spaces.Space[Any]) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Outputs and bounds of an actor for an action space: Discrete, or a bounded one-dimensional Box."""
    if isinstance(space, spaces.Discrete):
        return int(space.n), (), ()
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return space.shape[0], tuple(map(float, space.low)), tuple(map(float, space.high))
    raise UserError(f"actions of {space} are neither discrete nor a bounded vector: no policy can be made")


def check_fits(policy: Policy, environment: gymnasium.Env[Any, Any]) -> None:
    """Raises `UserError` when a policy's sizes or bounds are not those of the environment."""
    shape = policy.actor.architecture
    outputs, low, high = action_bounds(environment.action_space)
    observations = int(np.prod(environment.observation_space.shape or (0,)))
    for name, has, needs in (
        ("observations", shape.observations, observations),
        ("outputs", shape.outputs, outputs),
        ("lower bounds", shape.low, low),
        ("upper bounds", shape.high, high),
    ):
        if has != needs:
            called = environment.spec.id if environment.spec else str(environment)
            raise UserError(
                f"the policy of {policy.algorithm} for {policy.environment} (seed {policy.seed}) does not "
                f"fit {called}: {name} {has}, the environment has {needs}; train it again for that"
            )
