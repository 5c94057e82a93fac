"""Fewer bits: dynamic int8 by torch.ao (deprecated there, so imported in this one place), and bfloat16."""

import copy
import warnings

import torch
from torch import nn

from sustainable.compression import CompressionError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch.ao.quantization as torch_ao
    from torch.ao.nn import intrinsic, quantized
    from torch.ao.nn.quantized import dynamic
    from torch.ao.quantization import quantize_dynamic

QUANTIZED_GRU, QUANTIZED_LINEAR = dynamic.GRU, dynamic.Linear
STATIC_LINEAR, STATIC_INPUT, LINEAR_RELU = quantized.Linear, quantized.Quantize, intrinsic.LinearReLU
STATIC = torch_ao


def quantize_dynamic_int8(model: nn.Module) -> nn.Module:
    """int8 weights for GRU and linear layers; activations are quantized on the fly, per call.

    Raises `CompressionError` when a layer of these kinds is left in floating point.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized: nn.Module = quantize_dynamic(model, {nn.GRU, nn.Linear}, dtype=torch.qint8)
    left = [name for name, module in quantized.named_modules() if type(module) in (nn.GRU, nn.Linear)]
    if left or not any(
        isinstance(module, (QUANTIZED_GRU, QUANTIZED_LINEAR)) for module in quantized.modules()
    ):
        raise CompressionError(f"still in floating point: {', '.join(left) or 'the whole model'}")
    return quantized


class Bfloat16(nn.Module):
    """A model whose weights and states are bfloat16; it takes and gives float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).bfloat16()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits [n] for `windows` [n, days, features]."""
        logits: torch.Tensor = self.model(windows.bfloat16())
        return logits.float()


def to_bfloat16(model: nn.Module) -> Bfloat16:
    """`model` in bfloat16; raises `CompressionError` when a parameter is left in another type."""
    converted = Bfloat16(model).eval()
    left = [name for name, value in converted.named_parameters() if value.dtype != torch.bfloat16]
    if left or not list(converted.parameters()):
        raise CompressionError(f"not in bfloat16: {', '.join(left) or 'there are no parameters'}")
    return converted
