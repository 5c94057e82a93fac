"""A policy as it is stored and compressed: only the actor network, with its frozen observation scale.

Value networks and exploration noise are not exported. Policies are stored as safetensors and JSON, never as a
pickle.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from pydantic import TypeAdapter
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.files import one_line, read_json, write_json
from sustainable.core.tensors import read_tensors, write_tensors

CLIP = 10.0
"""Scaled observations are clipped at this many standard deviations, as VecNormalize does by default."""
EPSILON = 1e-8  # added to variances before the square root; VecNormalize's default
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}

Act = Callable[[np.ndarray], Any]  # maps one observation [observations] to the environment's action


@dataclass(frozen=True)
class ActorArchitecture:
    """Sizes of an actor and the bounds of its actions."""

    observations: int
    outputs: int  # number of logits (discrete actions) or of action values (continuous actions)
    hidden: tuple[int, ...]
    activation: Literal["tanh", "relu"]
    low: tuple[float, ...] = ()  # lower bounds [outputs] of continuous actions; empty for discrete ones
    high: tuple[float, ...] = ()
    squashed: bool = False
    """Whether a final tanh spans the bounds (SAC, TD3, DDPG). Otherwise values are clipped (PPO, TRPO)."""

    @property
    def discrete(self) -> bool:
        return not self.low

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, from the observations to the outputs."""
        return (self.observations, *self.hidden, self.outputs)


class Actor(nn.Module):
    """Map observations [n, observations] float32 to outputs [n, outputs] float32, deterministically."""

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
        """Return the outputs; `to_action` makes an action of them."""
        values = self.scaled(observations)
        *hidden, last = self.layers  # a slice would build a ModuleList: a third of the call's time
        for layer in hidden:
            values = self.activation(layer(values))
        outputs: Tensor = last(values)
        return outputs

    def scaled(self, observations: Tensor) -> Tensor:
        """Scale observations as in training: `scale` is the reciprocal of the standard deviation."""
        return torch.clamp((observations - self.mean) * self.scale, -CLIP, CLIP)


@dataclass(frozen=True)
class Policy:
    """An actor and how it was trained."""

    actor: Actor
    environment: str
    algorithm: str
    seed: int
    total_steps: int  # environment steps of the training


def linear_layers(*networks: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of the networks in order."""
    return [part for network in networks for part in network.modules() if isinstance(part, nn.Linear)]


def to_action(architecture: ActorArchitecture, outputs: np.ndarray) -> Any:
    """Return the greedy action for `outputs` [outputs]: an index, or values within the bounds."""
    if architecture.discrete:
        return int(outputs.argmax())
    low, high = np.array(architecture.low, np.float32), np.array(architecture.high, np.float32)
    if architecture.squashed:
        return low + 0.5 * (np.tanh(outputs) + 1.0) * (high - low)
    return np.clip(outputs, low, high)


def batch_outputs(actor: nn.Module, observations: np.ndarray) -> np.ndarray:
    """Return a torch actor's outputs [n, outputs] for `observations` [n, observations], in one batch."""
    with torch.inference_mode():
        outputs: np.ndarray = actor(torch.from_numpy(observations.astype(np.float32))).numpy()
    return outputs


def save_policy(path: Path, policy: Policy) -> None:
    """Write the weights to `path` (safetensors) and the description beside it (`.json`)."""
    architecture = asdict(policy.actor.architecture)
    origin = {name: getattr(policy, name) for name in ("environment", "algorithm", "seed", "total_steps")}
    write_tensors(path, policy.actor.state_dict())
    write_json(path.with_suffix(".json"), {"architecture": architecture, **origin})


def load_policy(path: Path) -> Policy:
    """Read a policy. Raises `UserError` if a file is missing, damaged or not a policy."""
    tensors, _ = read_tensors(path)
    origin = read_json(path.with_suffix(".json"))
    try:
        architecture = TypeAdapter(ActorArchitecture).validate_python(origin.pop("architecture"))
        stored = sum(tensor.numel() for tensor in tensors.values())
        if (
            stored
            != sum((a + 1) * b for a, b in pairwise(architecture.widths)) + 2 * architecture.observations
        ):
            raise ValueError(f"{stored} weights are stored, for layers of {architecture.widths}")
        actor = Actor(architecture)
        actor.load_state_dict(tensors)
        return Policy(actor.eval(), **origin)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: not a policy ({one_line(error)[:300]}); delete it and run `dvc repro`"
        ) from None


def action_bounds(space: spaces.Space[Any]) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return the number of outputs, the lower and the upper bounds of an actor for an action space.

    The bounds are empty for `Discrete`. Raises `UserError` if `space` is neither `Discrete` nor a bounded
    one-dimensional `Box`.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n), (), ()
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return space.shape[0], tuple(map(float, space.low)), tuple(map(float, space.high))
    raise UserError(
        f"actions of {space} are neither discrete nor a bounded vector; policies need one of them"
    )


def check_fits(policy: Policy, environment: gymnasium.Env[Any, Any]) -> None:
    """Raise `UserError` if a policy's sizes or bounds differ from the environment's."""
    shape = policy.actor.architecture
    outputs, low, high = action_bounds(environment.action_space)
    observations = int(np.prod(environment.observation_space.shape or (0,)))
    for name, actual, expected in (
        ("observations", shape.observations, observations),
        ("outputs", shape.outputs, outputs),
        ("lower bounds", shape.low, low),
        ("upper bounds", shape.high, high),
    ):
        if actual != expected:
            environment_id = environment.spec.id if environment.spec else str(environment)
            raise UserError(
                f"the policy of {policy.algorithm} for {policy.environment} (seed {policy.seed}) does not "
                f"fit {environment_id}: {name} {actual}, the environment has {expected}; train it again"
            )
