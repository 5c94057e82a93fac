"""What an actor is made of, compressed or not: its tensors, their hash, and counts.

int8 layers hide their weights in packed objects, which `parameters()` does not show; all counts here do.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sustainable.core.tensors import serialise, tensors_sha256
from sustainable.compression.quantization import QUANTIZED_LINEAR, STATIC_LINEAR


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every number that decides the outputs, by name: what is stored of an actor.

    int8 weights appear as int8 values [outputs, inputs] with `.scales` and `.zeros`: of the tensor, or of
    each output. A layer with static ranges has `.output_scale` and `.output_zero` as well.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in module.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(part, STATIC_LINEAR):  # and its subclasses: the dynamic one, and the one with a ReLU
            tensors |= _int8_linear(prefix, part)
        else:
            own = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
            tensors |= {f"{prefix}{key}": value.detach() for key, value in own}
    return tensors


def weight_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The weights and biases alone, without scales and observation statistics."""
    return {
        name: value for name, value in stored_tensors(module).items() if name.endswith((".weight", ".bias"))
    }


def count_parameters(module: nn.Module) -> int:
    """Weights and biases, zeros and int8 ones included."""
    return sum(value.numel() for value in weight_tensors(module).values())


def count_nonzero(module: nn.Module) -> int:
    """Weights and biases that are not zero."""
    return sum(int(torch.count_nonzero(value)) for value in weight_tensors(module).values())


def size_bytes(module: nn.Module) -> int:
    """Bytes on a disk as safetensors: an int8 weight takes one, a masked one as many as any other."""
    return len(serialise(stored_tensors(module)))


def memory_bytes(module: nn.Module) -> int:
    """Bytes that the same numbers take in memory, without what a library keeps around them."""
    return sum(value.numel() * value.element_size() for value in stored_tensors(module).values())


def module_sha256(module: nn.Module) -> str:
    """SHA-256 over everything that decides the outputs: equal hashes mean equal actors."""
    return tensors_sha256(stored_tensors(module))


def _int8_linear(prefix: str, layer: Any) -> dict[str, Tensor]:
    weight, bias = layer.weight(), layer.bias()
    if weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    else:
        scales, zeros = torch.tensor(weight.q_scale()), torch.tensor(weight.q_zero_point())
    found = {"weight": weight.int_repr(), "bias": bias}
    # torch.ao widens both for computing; neither loses anything in the type that it was found in
    found |= {"weight.scales": scales.float(), "weight.zeros": zeros.to(torch.int8)}
    if not isinstance(layer, QUANTIZED_LINEAR):
        found |= {"output_scale": torch.tensor(layer.scale), "output_zero": torch.tensor(layer.zero_point)}
    return {f"{prefix}{name}": value.detach() for name, value in found.items() if value is not None}
