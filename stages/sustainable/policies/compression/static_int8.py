"""int8 actors with static ranges: post-training static quantization (PTSQ) and QAT.

`prepare_int8` calibrates the ranges of PTSQ, and trains the weights and ranges of QAT, on states from
rollouts. Both are stored as plain numbers in one safetensors file. Building an int8 actor from them is
deterministic and takes milliseconds. Observations are scaled and clipped in fp32; every layer and tanh after
that is int8.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.core.parameters import STRICT
from sustainable.core.tensors import read_tensors, write_tensors
from sustainable.compression import CompressionError
from sustainable.policies.compression.accounting import module_sha256
from sustainable.compression.quantization import LINEAR_RELU, STATIC, STATIC_INPUT, STATIC_LINEAR
from sustainable.policies.policy import CLIP, Actor, ActorArchitecture, linear_layers

ENGINE = "x86"
LEVELS = 127
"""Largest quantized activation: 7 bits, as torch.ao's defaults for x86. With 8 bits, kernels of CPUs without
VNNI saturate 16-bit sums. The output of torch.ao's quantized tanh always has 8 bits, so that a layer after a
tanh can still saturate on such CPUs."""
PREFIX = "qat.weights."  # begins the names of QAT weights in a file
NOTHING_TO_LEARN = 1e-12
"""Loss up to which training may change no weight: actions differ by less than a millionth. An actor whose
tanh is saturated in every state acts the same after a small change; its gradients are zero in float32."""


@dataclass(frozen=True, config=STRICT)
class QATParameters:
    """Quantization-aware training: Adam steps on batches of states."""

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0.0)]


@plain_dataclass(frozen=True, eq=False)
class Prepared:
    """The numbers that static quantization of one actor needs."""

    actor_sha256: str  # the actor that they belong to (see `accounting.module_sha256`)
    ranges: Tensor
    """[layers + 1, 2]: smallest and largest value of the scaled observations and of each layer's output.

    A layer's output is taken after a ReLU and before a tanh."""
    trained: Mapping[str, Tensor]  # the actor's tensors after QAT, in floating point
    trained_ranges: Tensor  # as `ranges`, after QAT
    losses: tuple[float, float]  # loss of the student before and after QAT, on all states


class StaticActor(nn.Module):
    """Map observations [n, observations] to outputs [n, outputs], both float32, through an int8 network."""

    def __init__(self, actor: Actor, network: nn.Module) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", actor.mean)
        self.register_buffer("scale", actor.scale)
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        """Return the outputs, as `Actor.forward` does."""
        scaled = torch.clamp((observations - self.mean) * self.scale, -CLIP, CLIP)
        if torch.are_deterministic_algorithms_enabled():
            with _resizing_allowed():
                return self._int8(scaled)
        return self._int8(scaled)

    def _int8(self, scaled: Tensor) -> Tensor:
        outputs: Tensor = self.network(scaled)
        return outputs


def prepare_int8(actor: Actor, states: np.ndarray, seed: int, parameters: QATParameters) -> Prepared:
    """Calibrate PTSQ and train QAT on `states` [n, observations] from rollouts of `actor`.

    QAT is a distillation: a student that starts as the actor, and computes with fake quantization, learns the
    actor's outputs on the states, without rewards. Raises `CompressionError` if the states are not finite or
    have the wrong shape, or if training fails.
    """
    shape = (len(states), actor.architecture.observations)
    if states.shape != shape or not len(states) or not np.isfinite(states).all():
        raise CompressionError(f"states {states.shape} are not finite rows of {shape[1]} observations")
    observed = _observed(actor, STATIC.get_default_qconfig(ENGINE), training=False)
    with torch.no_grad():
        scaled = actor.scaled(torch.from_numpy(states.astype(np.float32)))
        target = actor(torch.from_numpy(states.astype(np.float32)))
        observed(scaled)
    trained, trained_ranges, losses = distil(actor, scaled, target, seed, parameters)
    # The histogram observers minimise the quantization error, which may clip rare extremes.
    return Prepared(module_sha256(actor), _ranges(observed), trained, trained_ranges, losses)


def distil(
    actor: Actor, scaled: Tensor, target: Tensor, seed: int, parameters: QATParameters
) -> tuple[dict[str, Tensor], Tensor, tuple[float, float]]:
    """Train the student; return its tensors, its ranges, and its loss before and after.

    `scaled` are scaled observations [n, observations], `target` the teacher's outputs [n, outputs]. Raises
    `CompressionError` if the loss is not finite, or if no weight changes although there is a loss.
    """
    network = _observed(actor, STATIC.get_default_qat_qconfig(ENGINE), training=True)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, fused=True)
    with torch.no_grad():  # all states at once, so that the observers start from the full ranges
        before = float(distillation_loss(actor.architecture, network(scaled), target))
    for _ in range(parameters.steps):
        batch = torch.randint(len(scaled), (parameters.batch_size,), generator=generator)
        loss = distillation_loss(actor.architecture, network(scaled[batch]), target[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        network.apply(STATIC.disable_observer)
        after = float(distillation_loss(actor.architecture, network(scaled), target))
    student = _student(actor, network)
    untrained = module_sha256(student) == module_sha256(actor) and before > NOTHING_TO_LEARN
    if not np.isfinite(after) or untrained:
        raise CompressionError(f"QAT did not train the actor: loss {before:.3g}, then {after:.3g}")
    return student.state_dict(), _ranges(network), (before, after)


def distillation_loss(architecture: ActorArchitecture, outputs: Tensor, target: Tensor) -> Tensor:
    """Return the loss of a student's outputs [n, outputs] against its teacher's, `target` [n, outputs].

    Discrete actions: the KL divergence of the action probabilities. Continuous actions: the mean squared
    difference of action values, after the tanh if there is one.
    """
    if architecture.discrete:
        student, teacher = functional.log_softmax(outputs, 1), functional.log_softmax(target, 1)
        return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    if architecture.squashed:
        outputs, target = torch.tanh(outputs), torch.tanh(target)
    return functional.mse_loss(outputs, target)


def to_static(actor: Actor, ranges: Tensor) -> StaticActor:
    """Quantize `actor` to int8 with activation `ranges` [layers + 1, 2]; weights have one scale per output.

    Raises `CompressionError` if the ranges have the wrong shape, or a layer stays in floating point.
    """
    if ranges.shape != (len(actor.layers) + 1, 2) or not bool((ranges[:, 0] <= ranges[:, 1]).all()):
        raise CompressionError(f"ranges {tuple(ranges.shape)} are not those of {len(actor.layers)} layers")
    default = STATIC.get_default_qconfig(ENGINE)
    fixed = STATIC.MinMaxObserver.with_args(dtype=torch.quint8, reduce_range=True)
    network = _observed(actor, STATIC.QConfig(activation=fixed, weight=default.weight), training=False)
    for observer, (low, high) in zip(_observers(network), ranges, strict=True):
        # Set the observers' state instead of showing them data: the stored ranges determine all scales.
        observer.min_val, observer.max_val = low.clone(), high.clone()
    static = StaticActor(actor, _quietly(STATIC.convert, network)).eval()
    check_static_int8(static, len(actor.layers))
    return static


def check_static_int8(module: nn.Module, layers: int) -> None:
    """Raise `CompressionError` unless the observations are quantized and exactly `layers` layers are int8.

    torch.ao leaves a layer in floating point without an error if it has no quantization settings.
    """
    parts = list(module.modules())
    int8 = sum(isinstance(part, STATIC_LINEAR) and part.weight().dtype == torch.qint8 for part in parts)
    inputs = sum(isinstance(part, STATIC_INPUT) for part in parts)
    left = sum(type(part) is nn.Linear for part in parts)
    if (int8, inputs, left) != (layers, 1, 0):
        raise CompressionError(f"{int8} of {layers} layers are int8, {left} are in floating point")


def save_prepared(path: Path, prepared: Prepared) -> None:
    """Write `prepared` as one safetensors file."""
    tensors = {"ptsq.ranges": prepared.ranges, "qat.ranges": prepared.trained_ranges}
    tensors |= {f"{PREFIX}{name}": value for name, value in prepared.trained.items()}
    metadata = {"actor_sha256": prepared.actor_sha256, "losses": list(prepared.losses)}
    write_tensors(path, tensors, metadata)


def load_prepared(path: Path) -> Prepared:
    """Read a file of `save_prepared`. Raises `UserError` if it is missing, damaged or something else."""
    tensors, metadata = read_tensors(path)
    try:
        before, after = map(float, metadata["losses"])
        trained = {name.removeprefix(PREFIX): tensors[name] for name in tensors if name.startswith(PREFIX)}
        ranges, trained_ranges = tensors["ptsq.ranges"], tensors["qat.ranges"]
        return Prepared(metadata["actor_sha256"], ranges, trained, trained_ranges, (before, after))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"not the ranges and weights of a policy ({one_line(error)})"
        raise UserError(f"{path}: {problem}; delete it and run `dvc repro`") from None


def _observed(actor: Actor, settings: Any, training: bool) -> nn.Module:
    """Return the actor's layers with torch.ao's observers; a ReLU is fused with its layer."""
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise CompressionError(f"this build of torch has no int8 kernels for {ENGINE}")
    *hidden, last = (copy.deepcopy(layer) for layer in actor.layers)
    parts: list[nn.Module] = []
    for layer in hidden:
        relu = isinstance(actor.activation, nn.ReLU)
        parts += [LINEAR_RELU(layer, nn.ReLU())] if relu else [layer, nn.Tanh()]
    network = nn.Sequential(STATIC.QuantStub(), *parts, last, STATIC.DeQuantStub()).train(training)
    network.qconfig = settings
    observed: nn.Module = _quietly(STATIC.prepare_qat if training else STATIC.prepare, network)
    return observed


def _observers(network: nn.Module) -> list[Any]:
    """Return the observers of the scaled observations and of each layer's output; tanh has a fixed range."""
    parts = [part for part in network.children() if not isinstance(part, (nn.Tanh, STATIC.DeQuantStub))]
    return [part.activation_post_process for part in parts]


def _ranges(network: nn.Module) -> Tensor:
    """Return the ranges [layers + 1, 2] that the observers' scales and zero points span."""
    # Not the smallest and largest values seen: histograms clip extremes, and ranges always contain zero.
    ranges = []
    for observer in _observers(network):
        scale, zero = observer.calculate_qparams()
        ranges.append(torch.stack([(0 - zero) * scale, (LEVELS - zero) * scale]).flatten())
    return torch.stack(ranges).float()


def _student(actor: Actor, network: nn.Module) -> Actor:
    """Return a copy of the actor with the trained weights of the network."""
    student = copy.deepcopy(actor)
    with torch.no_grad():
        for layer, source in zip(student.layers, linear_layers(network), strict=True):
            for target, trained in zip(layer.parameters(), source.parameters(), strict=True):
                target.copy_(trained)
    return student


@contextmanager
def _resizing_allowed() -> Iterator[None]:
    """Leave torch's deterministic mode for the int8 kernel.

    The mode refuses the kernel, because it resizes a tensor, and uninitialised memory might be read. The
    kernel writes all of it.
    """
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _quietly(function: Any, network: nn.Module) -> nn.Module:
    """Call `function(network)` of torch.ao without its deprecation warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted: nn.Module = function(network, inplace=True)
    return converted
