"""Save a deployed policy, compressed or not, so that another process can load it and act.

The process that loads it neither compresses nor exports: its memory is that of the deployment alone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from sustainable.compression import CompressionError
from sustainable.compression.quantization import QUANTIZED_LINEAR, STATIC_INPUT, STATIC_LINEAR
from sustainable.compression.quantization import STATIC_LINEAR_RELU, STATIC_OUTPUT
from sustainable.core.files import read_json, write_bytes, write_json
from sustainable.core.reading import FILE_BYTES, damaged, one_line, read_bytes
from sustainable.core.tensors import read_tensors, write_tensors
from sustainable.policies.compression.accounting import module_sha256, stored_tensors
from sustainable.policies.compression.runtimes import DeployedActor, in_numpy, in_onnxruntime, in_torch
from sustainable.policies.compression.runtimes import make_act
from sustainable.policies.compression.static_int8 import StaticActor
from sustainable.policies.policy import Act, Actor, ActorArchitecture


def save_deployed(path: Path, deployed: DeployedActor) -> None:
    """Write what the runtime loads to `path`, and the shape and the runtime beside it (`.json`).

    An exported model is written as it is, other actors as safetensors. Raises `CompressionError` if the file
    does not give the same actor back.
    """
    write_json(
        path.with_suffix(".json"),
        {"architecture": asdict(deployed.architecture), "runtime": deployed.runtime},
    )
    if deployed.content is not None:
        write_bytes(path, deployed.content)
        return
    write_tensors(path, stored_tensors(deployed.module))
    if module_sha256(restored(deployed.architecture, read_tensors(path)[0])) != module_sha256(
        deployed.module
    ):
        raise CompressionError(f"{deployed.variant.name} on {deployed.runtime}: not the same after loading")


def load_saved(path: Path) -> Act:
    """Load a file of `save_deployed` in its runtime. Raises `UserError` if a file is missing or damaged."""
    described = read_json(path.with_suffix(".json"))
    try:
        runtime = described["runtime"]
        architecture = TypeAdapter(ActorArchitecture).validate_json(json.dumps(described["architecture"]))
    except (LookupError, TypeError, ValueError) as error:
        raise damaged(path, f"not a deployed policy ({one_line(error)[:200]})") from None
    if runtime == "onnxruntime":
        return make_act(architecture, in_onnxruntime(read_bytes(path, FILE_BYTES), architecture))
    module: Any = restored(architecture, read_tensors(path)[0])
    if runtime == "sb3-predict":
        from sustainable.policies.compression.sb3_policy import PredictingActor

        return PredictingActor(module).act
    infer = in_numpy(module) if runtime == "numpy" else in_torch(module, architecture)
    return make_act(architecture, infer)


def restored(architecture: ActorArchitecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the actor, compressed or not, that `stored_tensors` described; nothing is computed."""
    with torch.device("meta"):  # allocates nothing
        actor = Actor(architecture)
    actor.mean, actor.scale = tensors["mean"], tensors["scale"]
    if "network.0.scale" in tensors:
        return StaticActor(actor, _static_network(architecture, tensors)).eval()
    for depth, layer in enumerate(actor.layers):
        name = f"layers.{depth}"
        if f"{name}.weight.scales" in tensors:
            actor.layers[depth] = _dynamic_layer(name, tensors)
        else:
            stored = {part: tensors[f"{name}.{part}"] for part in ("weight", "bias")}
            layer.load_state_dict(stored, assign=True)
    return actor.requires_grad_(False).eval()


def _static_network(architecture: ActorArchitecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    scale, zero = (tensors[f"network.0.{name}"] for name in ("scale", "zero_point"))
    parts: list[nn.Module] = [STATIC_INPUT(scale, zero, torch.quint8)]
    relu = architecture.activation == "relu"
    for depth in range(len(architecture.widths) - 1):
        last = depth == len(architecture.widths) - 2
        name = f"network.{len(parts)}"
        outputs, inputs = tensors[f"{name}.weight"].shape
        layer = (STATIC_LINEAR_RELU if relu and not last else STATIC_LINEAR)(inputs, outputs)
        layer.scale, layer.zero_point = (
            tensors[f"{name}.{kind}"].item() for kind in ("output_scale", "output_zero")
        )
        layer.set_weight_bias(_int8_weight(name, tensors), tensors[f"{name}.bias"])
        parts += [layer] if relu or last else [layer, nn.Tanh()]
    return nn.Sequential(*parts, STATIC_OUTPUT())


def _dynamic_layer(name: str, tensors: Mapping[str, Tensor]) -> Any:
    outputs, inputs = tensors[f"{name}.weight"].shape
    layer: Any = QUANTIZED_LINEAR(inputs, outputs)
    layer.set_weight_bias(_int8_weight(name, tensors), tensors[f"{name}.bias"])
    return layer


def _int8_weight(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return torch's quantized tensor, with one scale in all or one per output."""
    values, scales, zeros = (tensors[f"{name}.weight{part}"] for part in ("", ".scales", ".zeros"))
    if scales.ndim:
        return torch._make_per_channel_quantized_tensor(values, scales.double(), zeros.long(), 0)
    return torch._make_per_tensor_quantized_tensor(values, scales.item(), int(zeros.item()))
