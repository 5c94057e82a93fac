"""Runtimes of a policy: an actor, compressed or not, made ready to act, and checked against eager PyTorch.

What is offered takes one observation as the environment gives it and returns the action that the environment
takes, so that timing `act` times all that a deployment does. A runtime's library is imported when it is
asked for: the memory of a process then holds what its deployment needs and no more.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sustainable.core.files import write_bytes
from sustainable.compression import CompressionError
from sustainable.policies.compression.accounting import size_bytes, weights_sha256
from sustainable.policies.compression.static_int8 import Prepared
from sustainable.policies.compression.variants import INT8, Method, Variant, compress
from sustainable.policies.policy import CLIP, Actor, ActorArchitecture, to_action

ActorRuntime = Literal["torch-eager", "sb3-predict", "onnxruntime", "numpy"]
RUNTIMES: tuple[ActorRuntime, ...] = ("torch-eager", "sb3-predict", "onnxruntime", "numpy")

_FP32: tuple[Method, ...] = ("none", "unstructured", "structured")
OFFERED: dict[ActorRuntime, tuple[Method, ...]] = {
    "torch-eager": (*_FP32, *INT8),
    "sb3-predict": _FP32,
    "onnxruntime": (*_FP32, "ptdq", "mixed"),
    "numpy": _FP32,
}
"""Methods by runtime. PTSQ and QAT are torch.ao's own formats; NumPy has no int8 products to speak of."""

TOLERANCE = {"fp32": 1e-4, "int8": 0.5}
"""Largest difference of an output from eager PyTorch's for the same variant, as a share of the largest output
(at least of 1). ONNX Runtime rounds int8 weights and activations differently from torch.ao."""

EXAMPLES = 64
"""Observations that a deployment is checked on: drawn with the actor's own mean and deviation."""

EXPORT = "v1"
"""In the names of exported models: another one for graphs that are written otherwise."""

Act = Callable[[np.ndarray], Any]
Infer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class DeployedActor:
    """A policy in a runtime.

    `act` takes one observation [observations], of any float type, and gives the greedy action: an `int`, or
    a fresh array. `infer` gives the outputs [outputs] before they become an action; its array may be used
    again by the next call. `module` is the torch module that was deployed, `size_bytes` what the runtime
    loads of it takes on a disk, `weights_sha256` the hash of the numbers that decide the outputs.
    """

    act: Act
    infer: Infer
    runtime: ActorRuntime
    variant: Variant
    size_bytes: int
    weights_sha256: str
    module: nn.Module

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Outputs [n, outputs] for observations [n, observations], each computed alone, as `act` does: with
        dynamic quantization the outputs for a batch depend on what else is in it."""
        return np.stack([np.array(self.infer(observation)) for observation in observations])


@dataclass(frozen=True)
class _Made:
    """What a runtime gives; what is None follows from the module."""

    infer: Infer
    act: Act | None = None
    content: bytes | None = None


def deploy_actor(
    actor: Actor, variant: Variant, runtime: ActorRuntime, prepared: Prepared | None, cache: Path
) -> DeployedActor:
    """`actor`, compressed as `variant` says, in a runtime; exported models are kept in the folder `cache`.

    Raises `CompressionError` when the pair is not offered, when compressing did not do what it should, or
    when outputs or actions are not those of eager PyTorch.
    """
    if variant.method not in OFFERED[runtime]:
        offered = ", ".join(OFFERED[runtime])
        raise CompressionError(f"{runtime} does not offer {variant.name} (it offers: {offered})")
    module, float_module = _modules(actor, variant, runtime, prepared)
    made = _make(module, float_module, variant, runtime, cache)
    content = made.content
    own_int8 = content is not None and variant.precision == "int8"  # not torch.ao's numbers
    deployed = DeployedActor(
        act=made.act or acting(actor.architecture, made.infer),
        infer=made.infer,
        runtime=runtime,
        variant=variant,
        size_bytes=size_bytes(module) if content is None else len(content),
        weights_sha256=hashlib.sha256(content or b"").hexdigest() if own_int8 else weights_sha256(module),
        module=module,
    )
    check_deployed(deployed, actor, examples_of(actor))
    return deployed


def examples_of(actor: Actor) -> np.ndarray:
    """Observations [EXAMPLES, observations] float64, normal with the actor's frozen statistics.

    Their values are exact in float32, so that runtimes that convert sooner or later see the same.
    """
    spread = np.random.default_rng(0).standard_normal((EXAMPLES, actor.architecture.observations))
    drawn: np.ndarray = actor.mean.numpy() + spread / actor.scale.numpy()
    return drawn.astype(np.float32).astype(np.float64)


def check_deployed(deployed: DeployedActor, actor: Actor, examples: np.ndarray) -> None:
    """Raises `CompressionError` when outputs for `examples` [n, observations] are further from the module's
    in eager PyTorch than the precision explains, or when actions are not those of such outputs."""
    expected = in_torch(deployed.module, actor.architecture)
    wanted = np.stack([expected(row).copy() for row in examples])
    found = deployed.outputs(examples)
    name = f"{deployed.variant.name} on {deployed.runtime}"
    allowed = TOLERANCE[deployed.variant.precision] * max(1.0, float(np.abs(wanted).max()))
    furthest = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
    if not furthest <= allowed:  # NaN fails as well
        raise CompressionError(f"{name}: an output is {furthest:.2g} off, {allowed:.2g} is allowed")
    for row, outputs in zip(examples, found, strict=True):
        action, meant = deployed.act(row), to_action(actor.architecture, outputs)
        if not _agree(actor.architecture, action, meant, outputs):
            raise CompressionError(f"{name}: the action is {action}, its outputs mean {meant}")


def acting(architecture: ActorArchitecture, infer: Infer) -> Act:
    """`to_action` of what `infer` gives, with everything that never changes made once."""
    if architecture.discrete:
        return lambda observation: int(infer(observation).argmax())
    low, high = np.array(architecture.low, np.float32), np.array(architecture.high, np.float32)
    if architecture.squashed:
        middle, half, tanh = 0.5 * (low + high), 0.5 * (high - low), np.tanh
        return lambda observation: middle + half * tanh(infer(observation))
    minimum, maximum = np.minimum, np.maximum  # np.clip spends most of its time on its arguments
    return lambda observation: minimum(maximum(infer(observation), low), high)


def in_torch(module: nn.Module, architecture: ActorArchitecture) -> Infer:
    """Eager PyTorch: the bare module on a tensor that shares its memory with a NumPy row."""
    batch = np.zeros((1, architecture.observations), np.float32)
    row, tensor = batch[0], torch.from_numpy(batch)

    def infer(observation: np.ndarray) -> np.ndarray:
        row[:] = observation
        with torch.inference_mode():
            outputs: np.ndarray = module(tensor).numpy()[0]
        return outputs

    return infer


def in_onnxruntime(content: bytes, architecture: ActorArchitecture) -> Infer:
    """ONNX Runtime on one CPU thread."""
    import onnxruntime  # 18 MB: only where it is used

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batch = np.zeros((1, architecture.observations), np.float32)
    row, run = batch[0], session.run
    given = {session.get_inputs()[0].name: batch}
    wanted = [session.get_outputs()[0].name]

    def infer(observation: np.ndarray) -> np.ndarray:
        row[:] = observation
        outputs: np.ndarray = run(wanted, given)[0][0]
        return outputs

    return infer


def in_numpy(actor: Actor) -> Infer:
    """A forward pass in plain NumPy, in arrays that are made once."""
    mean, scale = (value.numpy().copy() for value in (actor.mean, actor.scale))
    low, high = np.full_like(mean, -CLIP), np.full_like(mean, CLIP)
    scaled = np.empty_like(mean)
    layers = []
    for layer in actor.layers:
        weight, bias = (value.detach().numpy().copy() for value in layer.parameters())
        layers.append((weight, bias, np.empty_like(bias), np.zeros_like(bias)))  # an array: a scalar is slow
    *hidden, (last_weight, last_bias, outputs, _) = layers
    is_tanh = actor.architecture.activation == "tanh"
    dot, add, subtract, multiply = np.dot, np.add, np.subtract, np.multiply
    minimum, maximum, tanh = np.minimum, np.maximum, np.tanh

    def infer(observation: np.ndarray) -> np.ndarray:
        scaled[:] = observation
        subtract(scaled, mean, scaled)
        multiply(scaled, scale, scaled)
        minimum(maximum(scaled, low, scaled), high, scaled)
        values = scaled
        for weight, bias, sums, zeros in hidden:
            add(dot(weight, values, sums), bias, sums)
            values = tanh(sums, sums) if is_tanh else maximum(sums, zeros, sums)
        add(dot(last_weight, values, outputs), last_bias, outputs)
        return outputs

    return infer


def _modules(
    actor: Actor, variant: Variant, runtime: ActorRuntime, prepared: Prepared | None
) -> tuple[nn.Module, nn.Module]:
    """The compressed module, and the one in floating point that an export starts from."""
    module = compress(actor, variant, prepared)
    if variant.method == "mixed":
        return module, compress(actor, Variant("structured", variant.norm, variant.share))
    return module, actor if variant.precision == "int8" else module


def _make(
    module: nn.Module, float_module: nn.Module, variant: Variant, runtime: ActorRuntime, cache: Path
) -> _Made:
    if runtime == "torch-eager":
        architecture: Any = float_module.architecture
        return _Made(in_torch(module, architecture))
    assert isinstance(float_module, Actor)  # nothing else is offered
    if runtime == "onnxruntime":
        content = exported(float_module, variant.precision, cache)
        return _Made(in_onnxruntime(content, float_module.architecture), content=content)
    if runtime == "numpy":
        return _Made(in_numpy(float_module))
    from sustainable.policies.compression.sb3_policy import PredictingActor

    predicting = PredictingActor(float_module)
    return _Made(predicting.infer, predicting.act)


def exported(actor: Actor, precision: str, cache: Path) -> bytes:
    """The actor as an ONNX model, kept in the folder `cache` under a name that says all that decides it."""
    import onnxruntime

    made_by = f"-{onnxruntime.__version__}" if precision == "int8" else ""  # the library decides what int8 is
    name = f"{weights_sha256(actor)}-{actor.architecture.activation}-{precision}{made_by}-{EXPORT}.onnx"
    path = cache / name
    if not path.is_file():
        from sustainable.policies.compression.onnx_models import to_int8_onnx, to_onnx

        write_bytes(path, to_int8_onnx(actor) if precision == "int8" else to_onnx(actor))
    return path.read_bytes()


def _agree(architecture: ActorArchitecture, action: Any, meant: Any, outputs: np.ndarray) -> bool:
    """Whether two actions are one up to rounding; a choice may differ between outputs that are equal."""
    if architecture.discrete:
        return bool(np.isclose(outputs[action], outputs[meant], rtol=0.0, atol=TOLERANCE["fp32"]))
    span = np.array(architecture.high) - np.array(architecture.low)
    return np.shape(action) == np.shape(meant) and bool(
        (np.abs(action - meant) <= TOLERANCE["fp32"] * np.maximum(1.0, span)).all()
    )
