"""Deploy actors, compressed or not, in runtimes, and check them against eager PyTorch.

A deployed actor takes one observation as the environment returns it, and returns the action that the
environment takes, so that timing `act` times a whole deployment. The library of a runtime is imported only
when that runtime is used: the memory of a process then contains only what its deployment needs.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from sustainable.core.files import write_bytes
from sustainable.compression import CompressionError
from sustainable.policies.compression.accounting import module_sha256, size_bytes
from sustainable.policies.compression.static_int8 import Prepared, StaticActor
from sustainable.policies.compression.variants import INT8, Method, Variant, compress
from sustainable.policies.policy import CLIP, Act, Actor, ActorArchitecture, to_action

ActorRuntime = Literal["torch-eager", "sb3-predict", "onnxruntime", "numpy"]

_FP32: tuple[Method, ...] = tuple(method for method in get_args(Method) if method not in INT8)
SUPPORTED: dict[ActorRuntime, tuple[Method, ...]] = {
    "torch-eager": (*_FP32, *INT8),
    "sb3-predict": _FP32,
    "onnxruntime": (*_FP32, *INT8),
    "numpy": _FP32,
}
"""Methods of each runtime. NumPy has no fast int8 products."""

TOLERANCE = {"fp32": 1e-4, "int8": 0.5}
"""Largest allowed difference from an output of eager PyTorch, as a share of the largest output (at least 1).
ONNX Runtime rounds int8 weights and activations differently from torch.ao."""

EXAMPLES = 64  # number of observations on which a deployment is checked

EXPORT = "v2"  # part of the names of exported models: change it if the graphs are written differently

Infer = Callable[[np.ndarray], np.ndarray]
"""Maps one observation [observations] to the outputs [outputs] that `to_action` makes an action of."""


@dataclass(frozen=True)
class DeployedActor:
    """A policy in a runtime."""

    act: Act  # takes an observation of any float type; returns the greedy action, an `int` or a new array
    infer: Infer  # returns the outputs, in an array that the next call may overwrite
    runtime: ActorRuntime
    variant: Variant
    size_bytes: int  # size on disk of what the runtime loads
    weights_sha256: str  # hash of the numbers that determine the outputs
    module: nn.Module  # the torch module that was deployed
    architecture: ActorArchitecture  # after compression
    content: bytes | None  # the exported model that the runtime loads, if it is not torch's

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Return the outputs [n, outputs] for observations [n, observations], one call each, as in `act`.

        With dynamic quantization, the outputs of an observation depend on the rest of its batch.
        """
        return np.stack([np.array(self.infer(observation)) for observation in observations])


def deploy_actor(
    actor: Actor, variant: Variant, runtime: ActorRuntime, prepared: Prepared | None, cache: Path
) -> DeployedActor:
    """Compress `actor` and deploy it in a runtime; exported models are stored in the folder `cache`.

    Raises `CompressionError` if the runtime does not support the variant, if compression did not change what
    it should, or if outputs or actions differ from eager PyTorch's.
    """
    if variant.method not in SUPPORTED[runtime]:
        supported = ", ".join(SUPPORTED[runtime])
        raise CompressionError(f"{runtime} does not support {variant.name} (it supports: {supported})")
    module = compress(actor, variant, prepared)
    # An export starts from the floating-point actor: the runtime quantizes it.
    source: Any = actor if variant.precision == "int8" else module
    if variant.method == "mixed":
        source = compress(actor, Variant("structured", variant.norm, variant.share))
    infer, act, content = _load(module, source, variant.precision, runtime, cache)
    # A dynamic int8 export is quantized by the runtime: its numbers are not those of the torch module.
    dynamic = variant.precision == "int8" and not isinstance(module, StaticActor)
    requantized = content is not None and dynamic
    deployed = DeployedActor(
        act=act or make_act(actor.architecture, infer),
        infer=infer,
        runtime=runtime,
        variant=variant,
        size_bytes=size_bytes(module) if content is None else len(content),
        weights_sha256=hashlib.sha256(content or b"").hexdigest() if requantized else module_sha256(module),
        module=module,
        architecture=source.architecture,
        content=content,
    )
    check_deployed(deployed, actor, examples_of(actor))
    return deployed


def examples_of(actor: Actor) -> np.ndarray:
    """Draw observations [EXAMPLES, observations] float64, normal with the actor's frozen statistics.

    Their values are exact in float32, so that it does not matter when a runtime converts them.
    """
    spread = np.random.default_rng(0).standard_normal((EXAMPLES, actor.architecture.observations))
    drawn: np.ndarray = actor.mean.numpy() + spread / actor.scale.numpy()
    return drawn.astype(np.float32).astype(np.float64)


def check_deployed(deployed: DeployedActor, actor: Actor, examples: np.ndarray) -> None:
    """Raise `CompressionError` if a deployment disagrees with the same module in eager PyTorch.

    The outputs for `examples` [n, observations] may differ by `TOLERANCE`, and the actions must be those of
    the outputs.
    """
    reference = in_torch(deployed.module, actor.architecture)
    expected = np.stack([reference(row).copy() for row in examples])
    computed = deployed.outputs(examples)
    name = f"{deployed.variant.name} on {deployed.runtime}"
    allowed = TOLERANCE[deployed.variant.precision] * max(1.0, float(np.abs(expected).max()))
    same_shape = computed.shape == expected.shape
    error = float(np.abs(computed - expected).max()) if same_shape else float("inf")
    if not error <= allowed:  # written so that NaN fails
        raise CompressionError(f"{name}: an output is {error:.2g} off, {allowed:.2g} is allowed")
    for row, outputs in zip(examples, computed, strict=True):
        action, from_outputs = deployed.act(row), to_action(actor.architecture, outputs)
        if not _agree(actor.architecture, action, from_outputs, outputs):
            raise CompressionError(f"{name}: the action is {action}, its outputs mean {from_outputs}")


def make_act(architecture: ActorArchitecture, infer: Infer) -> Act:
    """Return `to_action` after `infer`, with all constants computed once."""
    if architecture.discrete:
        return lambda observation: int(infer(observation).argmax())
    low, high = np.array(architecture.low, np.float32), np.array(architecture.high, np.float32)
    if architecture.squashed:
        middle, half, tanh = 0.5 * (low + high), 0.5 * (high - low), np.tanh
        return lambda observation: middle + half * tanh(infer(observation))
    minimum, maximum = np.minimum, np.maximum  # np.clip spends most of its time on its arguments
    return lambda observation: minimum(maximum(infer(observation), low), high)


def in_torch(module: nn.Module, architecture: ActorArchitecture) -> Infer:
    """Return `infer` in eager PyTorch, on a tensor that shares its memory with a NumPy row."""
    batch = np.zeros((1, architecture.observations), np.float32)
    row, tensor = batch[0], torch.from_numpy(batch)

    def infer(observation: np.ndarray) -> np.ndarray:
        row[:] = observation
        with torch.inference_mode():
            outputs: np.ndarray = module(tensor).numpy()[0]
        return outputs

    return infer


def in_onnxruntime(content: bytes, architecture: ActorArchitecture) -> Infer:
    """Return `infer` in ONNX Runtime on one CPU thread."""
    import onnxruntime  # 18 MB of memory: only if it is used

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batch = np.zeros((1, architecture.observations), np.float32)
    row, run = batch[0], session.run
    inputs = {session.get_inputs()[0].name: batch}
    names = [session.get_outputs()[0].name]

    def infer(observation: np.ndarray) -> np.ndarray:
        row[:] = observation
        outputs: np.ndarray = run(names, inputs)[0][0]
        return outputs

    return infer


def in_numpy(actor: Actor) -> Infer:
    """Return `infer` as a forward pass in plain NumPy, in preallocated arrays."""
    mean, scale = (value.numpy().copy() for value in (actor.mean, actor.scale))
    low, high = np.full_like(mean, -CLIP), np.full_like(mean, CLIP)
    scaled = np.empty_like(mean)
    layers = []
    for layer in actor.layers:
        weight, bias = (value.detach().numpy().copy() for value in layer.parameters())
        zeros = np.zeros_like(bias)  # a scalar would be slower
        layers.append((weight, bias, np.empty_like(bias), zeros))
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


def _load(
    module: nn.Module, source: Any, precision: str, runtime: ActorRuntime, cache: Path
) -> tuple[Infer, Act | None, bytes | None]:
    """Return `infer` in a runtime, `act` if `infer` does not determine it, and the exported model if any.

    `module` is the compressed actor, `source` the one in floating point that other runtimes start from.
    """
    if runtime == "torch-eager":
        return in_torch(module, source.architecture), None, None
    if runtime == "onnxruntime":
        written = module if isinstance(module, StaticActor) else source
        content = exported(written, source.architecture, precision, cache)
        return in_onnxruntime(content, source.architecture), None, content
    if runtime == "numpy":
        return in_numpy(source), None, None
    from sustainable.policies.compression.sb3_policy import PredictingActor

    predicting = PredictingActor(source)
    return predicting.infer, predicting.act, None


def exported(
    source: Actor | StaticActor, architecture: ActorArchitecture, precision: str, cache: Path
) -> bytes:
    """Return an ONNX model, cached under a name that contains everything that determines it.

    `source` is the actor in floating point, which ONNX Runtime quantizes if `precision` is int8, or an actor
    with static ranges, which is exported as it is.
    """
    import onnxruntime

    static = isinstance(source, StaticActor)
    version = f"-{onnxruntime.__version__}" if precision == "int8" and not static else ""
    name = f"{module_sha256(source)}-{architecture.activation}-{precision}{version}-{EXPORT}.onnx"
    path = cache / name
    if not path.is_file():
        write_bytes(path, _export(source, architecture, precision))
    return path.read_bytes()


def _export(source: Actor | StaticActor, architecture: ActorArchitecture, precision: str) -> bytes:
    if isinstance(source, StaticActor):
        from sustainable.policies.compression.onnx_static import to_static_onnx

        return to_static_onnx(source, architecture)
    from sustainable.policies.compression.onnx_models import to_int8_onnx, to_onnx

    return to_int8_onnx(source) if precision == "int8" else to_onnx(source)


def _agree(architecture: ActorArchitecture, action: Any, expected: Any, outputs: np.ndarray) -> bool:
    """Return whether two actions are equal up to rounding; discrete ones may differ if their outputs tie."""
    if architecture.discrete:
        return bool(np.isclose(outputs[action], outputs[expected], rtol=0.0, atol=TOLERANCE["fp32"]))
    span = np.array(architecture.high) - np.array(architecture.low)
    return np.shape(action) == np.shape(expected) and bool(
        (np.abs(action - expected) <= TOLERANCE["fp32"] * np.maximum(1.0, span)).all()
    )
