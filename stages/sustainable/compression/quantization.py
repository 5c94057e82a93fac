"""Dynamic int8 quantization by torch.ao (deprecated there, so imported in this one place)."""

import warnings

import torch
from torch import nn

from sustainable.compression import CompressionError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch.ao.nn.quantized import dynamic
    from torch.ao.quantization import quantize_dynamic

QUANTIZED_GRU, QUANTIZED_LINEAR = dynamic.GRU, dynamic.Linear


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
