"""The tensors of an actor, compressed or not, with their hash, counts and sizes.

int8 layers pack their weights into objects that `parameters()` does not return; these functions unpack them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sustainable.core.tensors import serialise, tensors_sha256
from sustainable.compression.quantization import QUANTIZED_LINEAR, STATIC_LINEAR


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return every number that determines an actor's outputs, by name.

    int8 weights appear as int8 values [outputs, inputs] with `.scales` and `.zeros`, of the whole tensor or
    of each output. A layer with static ranges also has `output_scale` and `output_zero`.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in module.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(part, STATIC_LINEAR):  # also its subclasses: dynamic, and fused with a ReLU
            tensors |= _int8_linear(prefix, part)
        else:
            direct = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
            tensors |= {f"{prefix}{key}": value.detach() for key, value in direct}
    return tensors


def weight_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return only the weights and biases, without quantization scales and observation statistics."""
    return {
        name: value for name, value in stored_tensors(module).items() if name.endswith((".weight", ".bias"))
    }


def count_parameters(module: nn.Module) -> int:
    """Count weights and biases, including zeros and int8 values."""
    return sum(value.numel() for value in weight_tensors(module).values())


def count_nonzero(module: nn.Module) -> int:
    """Count weights and biases that are not zero."""
    return sum(int(torch.count_nonzero(value)) for value in weight_tensors(module).values())


def size_bytes(module: nn.Module) -> int:
    """Return the bytes on disk as safetensors: 1 per int8 weight, 4 per float, zero or not."""
    return len(serialise(stored_tensors(module)))


def memory_bytes(module: nn.Module) -> int:
    """Return the bytes of the same numbers in memory, without a library's overhead."""
    return sum(value.numel() * value.element_size() for value in stored_tensors(module).values())


def module_sha256(module: nn.Module) -> str:
    """Return the SHA-256 of everything that determines the outputs: equal hashes mean equal actors."""
    return tensors_sha256(stored_tensors(module))


def _int8_linear(prefix: str, layer: Any) -> dict[str, Tensor]:
    weight, bias = layer.weight(), layer.bias()
    if weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    else:
        scales, zeros = torch.tensor(weight.q_scale()), torch.tensor(weight.q_zero_point())
    tensors = {"weight": weight.int_repr(), "bias": bias}
    # torch.ao returns float64 scales and int64 zero points; the narrower types hold their values exactly.
    tensors |= {"weight.scales": scales.float(), "weight.zeros": zeros.to(torch.int8)}
    if not isinstance(layer, QUANTIZED_LINEAR):
        tensors |= {"output_scale": torch.tensor(layer.scale), "output_zero": torch.tensor(layer.zero_point)}
    return {f"{prefix}{name}": value.detach() for name, value in tensors.items() if value is not None}
