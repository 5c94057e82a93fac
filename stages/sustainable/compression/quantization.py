"""Quantization to dynamic int8 and to bfloat16.

`torch.ao.quantization` is deprecated, so this is the only module that imports it.
"""

import copy
import warnings

import torch
from torch import nn

from sustainable.compression import CompressionError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch.ao.quantization as torch_ao
    from torch.ao.nn import intrinsic, quantized
    from torch.ao.nn.intrinsic import quantized as intrinsic_quantized
    from torch.ao.nn.quantized import dynamic
    from torch.ao.quantization import quantize_dynamic

QUANTIZED_GRU, QUANTIZED_LINEAR = dynamic.GRU, dynamic.Linear
STATIC_LINEAR, STATIC_INPUT, STATIC_OUTPUT = quantized.Linear, quantized.Quantize, quantized.DeQuantize
LINEAR_RELU, STATIC_LINEAR_RELU = intrinsic.LinearReLU, intrinsic_quantized.LinearReLU
STATIC = torch_ao


def quantize_dynamic_int8(model: nn.Module) -> nn.Module:
    """Quantize the weights of GRU and linear layers to int8; activations are quantized in each call.

    Raises `CompressionError` if a GRU or linear layer stays in floating point.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized: nn.Module = quantize_dynamic(model, {nn.GRU, nn.Linear}, dtype=torch.qint8)
    left = [name for name, module in quantized.named_modules() if type(module) in (nn.GRU, nn.Linear)]
    kinds = (QUANTIZED_GRU, QUANTIZED_LINEAR)
    if left or not any(isinstance(module, kinds) for module in quantized.modules()):
        raise CompressionError(f"still in floating point: {', '.join(left) or 'the whole model'}")
    return quantized


class Bfloat16(nn.Module):
    """A model with bfloat16 weights and states, and float32 inputs and outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).bfloat16()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Compute logits [n] for `windows` [n, days, features]."""
        logits: torch.Tensor = self.model(windows.bfloat16())
        return logits.float()


def to_bfloat16(model: nn.Module) -> Bfloat16:
    """Convert `model` to bfloat16; raises `CompressionError` if a parameter keeps another type."""
    converted = Bfloat16(model).eval()
    left = [name for name, value in converted.named_parameters() if value.dtype != torch.bfloat16]
    if left or not list(converted.parameters()):
        raise CompressionError(f"not in bfloat16: {', '.join(left) or 'the model has no parameters'}")
    return converted
