"""An actor of one's own: the tensors of a Stable-Baselines3 archive, or an ONNX file.

An archive also holds pickled Python objects (cloudpickle), which are never read: the actor is rebuilt from
the shapes of its tensors and a stated activation.
"""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sustainable.assessing.examples import read_arrays
from sustainable.assessing.model import load_model, tensors_hash
from sustainable.assessing.onnx_forms import to_int8
from sustainable.assessing.screening import file_kind
from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.policies.benchmark.episodes import LabelledPolicy
from sustainable.policies.compression.runtimes import ActorRuntime, deploy_actor, in_onnxruntime, make_act
from sustainable.policies.compression.variants import Variant
from sustainable.policies.environments.rollout import Environment, record
from sustainable.policies.policy import CLIP, EPSILON, Act, Actor, ActorArchitecture, action_bounds
from sustainable.policies.policy import linear_layers

Activation = Literal["tanh", "relu"]
WEIGHTS = "policy.pth"
FAMILIES: tuple[tuple[str, bool, Activation], ...] = (
    (r"mlp_extractor\.policy_net\.(\d+)|action_net", False, "tanh"),  # PPO, A2C, TRPO
    (r"actor\.latent_pi\.(\d+)|actor\.mu", True, "relu"),  # SAC
    (r"actor\.mu\.(\d+)", True, "relu"),  # TD3, DDPG
)
"""Names of an actor's layers, whether a tanh ends it, and the library's default activation."""
CONFIGURATIONS: dict[str, tuple[ActorRuntime, Variant]] = {
    "baseline": ("torch-eager", Variant()),
    "sb3 predict": ("sb3-predict", Variant()),
    "onnxruntime": ("onnxruntime", Variant()),
    "numpy": ("numpy", Variant()),
    "ptdq": ("torch-eager", Variant("ptdq")),
    "ptdq onnxruntime": ("onnxruntime", Variant("ptdq")),
    "baseline_twin": ("torch-eager", Variant()),
}
CHECKED_STEPS = 500


@dataclass(frozen=True)
class OwnPolicies:
    """A policy in all configurations, and those that are refused with the reason."""

    policies: Mapping[str, LabelledPolicy]
    refused: Mapping[str, str]
    description: str  # one sentence for the page


def own_policies(
    path: Path, environment: Environment, activation: Activation | None, statistics: Path | None, cache: Path
) -> OwnPolicies:
    """Deploy the policy of a file in all configurations that it supports.

    Raises `UserError` if the file is not a policy, or does not fit the environment.
    """
    kind = file_kind(path)
    if kind == "onnx":
        return _onnx_policies(path, environment)
    if kind != "stable-baselines3":
        raise UserError(f"{path}: a policy must be a Stable-Baselines3 zip archive or an ONNX file")
    actor = read_actor(path, environment, activation, statistics)
    _refuse_clipping(path, environment, actor, statistics)
    policies, refused = {}, {}
    for name, (runtime, variant) in CONFIGURATIONS.items():
        try:
            deployed = deploy_actor(actor, variant, runtime, None, cache)
        except CompressionError as error:
            refused[name] = str(error)
            continue
        labels = {"runtime": runtime, "precision": variant.precision, "size_bytes": deployed.size_bytes}
        policies[name] = LabelledPolicy(deployed.act, labels | {"weights_sha256": deployed.weights_sha256})
    shape = actor.architecture
    units = " x ".join(map(str, shape.hidden))
    return OwnPolicies(policies, refused, f"The actor has {units} hidden units with {shape.activation}.")


def read_actor(
    path: Path, environment: Environment, activation: Activation | None, statistics: Path | None
) -> Actor:
    """Rebuild the actor of a Stable-Baselines3 archive from its tensors; nothing is unpickled.

    `statistics`: .npz with `mean` and `var` [observations] of VecNormalize, if it was trained with that.
    """
    layers, squashed, usual = _layers(path, _tensors(path))
    outputs, low, high = action_bounds(environment.action_space)
    observations = int(np.prod(environment.observation_space.shape or (0,)))
    widths = (layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers))
    if (widths[0], widths[-1]) != (observations, outputs):
        raise UserError(
            f"{path}: the actor maps {widths[0]} observations to {widths[-1]} outputs, the environment has "
            f"{observations} and {outputs}; name the environment that it was trained in"
        )
    hidden = tuple(widths[1:-1])
    if activation is None:
        print(f"assuming {usual} units, the default of Stable-Baselines3; --activation states another")
    actor = Actor(ActorArchitecture(observations, outputs, hidden, activation or usual, low, high, squashed))
    _fill(actor, layers, None if statistics is None else _statistics(statistics, observations))
    return actor.eval()


def _fill(
    actor: Actor, layers: Sequence[tuple[Tensor, Tensor]], statistics: tuple[Tensor, Tensor] | None
) -> None:
    """Copy weights and biases, and the mean and variance of observations, into an actor."""
    with torch.no_grad():
        for layer, (weight, bias) in zip(linear_layers(actor), layers, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if statistics is not None:
            mean, variance = statistics
            actor.mean.copy_(mean)
            actor.scale.copy_((variance + EPSILON) ** -0.5)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            content = torch.load(io.BytesIO(archive.read(WEIGHTS)), map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: the loader raises what it likes for a damaged or unsafe file
        raise UserError(f"{path}: {WEIGHTS} is not a table of tensors ({one_line(error)[:120]})") from None
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _layers(
    path: Path, tensors: Mapping[str, Tensor]
) -> tuple[list[tuple[Tensor, Tensor]], bool, Activation]:
    """Return weight and bias of the actor's layers in order, and what its family implies."""
    for pattern, squashed, activation in FAMILIES:
        found = {}
        for name in tensors:
            layer = name.removesuffix(".weight")
            match = re.fullmatch(pattern, layer) if layer != name else None
            if match:  # a layer without a number is the last one
                found[int(match[1]) if match[1] else len(tensors)] = layer
        layers = [(tensors[f"{found[n]}.weight"], tensors[f"{found[n]}.bias"]) for n in sorted(found)]
        chained = all(a[0].shape[0] == b[0].shape[1] for a, b in pairwise(layers))
        if len(layers) > 1 and chained:
            return layers, squashed, activation
    raise UserError(
        f"{path}: no actor of fully connected layers is known among its tensors "
        f"({', '.join(sorted(tensors)[:4])}, ...); export it as ONNX"
    )


def _statistics(path: Path, observations: int) -> tuple[Tensor, Tensor]:
    arrays = read_arrays(path)
    if not {"mean", "var"} <= arrays.keys() or arrays["mean"].shape != (observations,):
        raise UserError(f"{path}: arrays mean and var [{observations}] are needed, found {', '.join(arrays)}")
    return torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["var"])


def _refuse_clipping(path: Path, environment: Environment, actor: Actor, statistics: Path | None) -> None:
    """Raise `UserError` if the rebuilt actor would clip observations that the original does not."""
    if statistics is not None:
        return
    act = deploy_actor(actor, Variant(), "torch-eager", None, Path()).act
    seen = record(environment, act, iter(range(CHECKED_STEPS)), CHECKED_STEPS).observations
    if float(np.abs(seen).max()) > CLIP:
        raise UserError(
            f"{path}: observations reach {np.abs(seen).max():.3g}, and this actor clips at {CLIP:g}, as "
            "VecNormalize does; give --statistics with its mean and var, or export the actor as ONNX"
        )


def _onnx_policies(path: Path, environment: Environment) -> OwnPolicies:
    model = load_model(path, "baseline")
    assert model.graph is not None
    outputs, low, high = action_bounds(environment.action_space)
    observations = int(np.prod(environment.observation_space.shape or (0,)))
    shape = ActorArchitecture(observations, outputs, (), "tanh", low, high)
    policies, refused = {}, {}
    for name in ("baseline", "int8", "baseline_twin"):
        try:
            content = (to_int8(model.graph) if name == "int8" else model.graph).SerializeToString()
            act = _checked_act(path, in_onnxruntime(content, shape), shape)
        except CompressionError as error:
            refused[name] = str(error)
            continue
        precision = "int8" if name == "int8" else "fp32"
        labels = {"runtime": "onnxruntime", "precision": precision, "size_bytes": len(content)}
        policies[name] = LabelledPolicy(act, labels | {"weights_sha256": tensors_hash(model.tensors)})
    return OwnPolicies(policies, refused, "The actor is an ONNX file.")


def _checked_act(path: Path, infer: Any, shape: ActorArchitecture) -> Act:
    try:
        outputs = infer(np.zeros(shape.observations, np.float32))
    except Exception as error:  # of any kind: the runtime raises what it likes
        raise UserError(
            f"{path}: it does not take [1, {shape.observations}] observations: {one_line(error)[:150]}"
        ) from None
    if outputs.shape != (shape.outputs,) or not np.isfinite(outputs).all():
        raise UserError(
            f"{path}: its output is {list(outputs.shape)}; [{shape.outputs}] finite values are needed"
        )
    return make_act(replace(shape, squashed=False), infer)
