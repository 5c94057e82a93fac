"""Count a model's tensors: their hash, exact counts, and the proxy counts of the published study."""

import contextlib
import io
from dataclasses import dataclass

import torch
from ptflops import get_model_complexity_info
from torch import Tensor, nn

from sustainable.core.tensors import serialise, tensors_sha256
from sustainable.compression import CompressionError
from sustainable.compression.quantization import QUANTIZED_GRU, QUANTIZED_LINEAR


@dataclass(frozen=True)
class Account:
    """Counts of one model."""

    weights_sha256: str  # hash of all tensors that determine the output
    parameters: int  # number of weights and biases, int8 included
    nonzero: int  # how many of them are not zero
    int8_parameters: int
    size_bytes: int  # size of the model stored as safetensors
    proxy_parameters: int  # elements of `parameters()`, as published: 0 for a quantized layer
    proxy_flops: int  # twice the multiply-adds that ptflops reports, as the published study counts


def account(model: nn.Module, days: int, features: int) -> Account:
    """Count `model` for windows of `days` by `features`."""
    tensors = model_tensors(model)
    weights = {name: value for name, value in tensors.items() if not name.endswith((".scale", ".zero"))}
    return Account(
        weights_sha256=tensors_sha256(tensors),
        parameters=sum(value.numel() for value in weights.values()),
        nonzero=sum(int(torch.count_nonzero(value)) for value in weights.values()),
        int8_parameters=sum(value.numel() for value in weights.values() if value.dtype == torch.int8),
        size_bytes=len(serialise(tensors)),
        proxy_parameters=sum(parameter.numel() for parameter in model.parameters()),
        proxy_flops=2 * ptflops_macs(model, days, features),
    )


def ptflops_macs(model: nn.Module, days: int, features: int) -> int:
    """Return the multiply-adds for one window as ptflops counts them: 0 for layers that it does not know.

    Raises `CompressionError` if ptflops returns no count, which is different from 0.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # ptflops prints even with verbose=False
        macs, _ = get_model_complexity_info(
            model,
            (days, features),
            as_strings=False,
            print_per_layer_stat=False,
            verbose=False,
            # the default input is uninitialised memory, on which a quantized model can fail
            input_constructor=lambda shape: torch.zeros(1, *shape),
        )
    if macs is None:
        raise CompressionError("ptflops could not run the model")
    return int(macs)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor that determines the model's output, by name.

    Quantized layers store their weights in packed objects. They are unpacked here into int8 values with
    `.scale` and `.zero`, so that equal hashes mean equal models. The zero point of dynamic int8 weights is 0.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, QUANTIZED_GRU):
            packed = {**module.get_weight(), **module.get_bias()}
        elif isinstance(module, QUANTIZED_LINEAR):
            packed = {"weight": module.weight(), "bias": module.bias()}
        else:
            packed = dict(module.named_parameters(recurse=False))
        for key, value in packed.items():
            tensors[f"{name}.{key}"] = value.int_repr() if value.is_quantized else value.detach()
            if value.is_quantized:
                tensors[f"{name}.{key}.scale"] = torch.tensor(value.q_scale())
                tensors[f"{name}.{key}.zero"] = torch.tensor(value.q_zero_point())
    return tensors
