"""A configuration of the published search: how much to prune, and whether to quantize."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from sustainable.compression.pruning import prune_linear_outputs
from sustainable.compression.quantization import quantize_dynamic_int8

PRUNING_STEPS = 8
ACTIONS = 2 * PRUNING_STEPS


@dataclass(frozen=True)
class Configuration:
    """`pruning`: share of output channels to remove, 0.0 to 0.7; `quantization`: dynamic int8."""

    pruning: float = 0.0
    quantization: bool = False

    @classmethod
    def of_action(cls, action: int) -> "Configuration":
        """The published coding: action % 8 tenths are pruned, actions 8 to 15 quantize as well."""
        if not 0 <= action < ACTIONS:
            raise ValueError(f"action {action} is none of 0..{ACTIONS - 1}")
        return cls((action % PRUNING_STEPS) / 10, action >= PRUNING_STEPS)

    @property
    def name(self) -> str:
        """Short name, as in `P30+Q`; the uncompressed model is `FP32`."""
        parts = [f"P{round(self.pruning * 100)}"] if self.pruning else []
        return "+".join(parts + ["Q"] * self.quantization) or "FP32"


def compress(model: nn.Module, configuration: Configuration, example: torch.Tensor) -> nn.Module:
    """A compressed copy of `model`, pruned first and quantized then; `example` [1, days, features]."""
    compressed = copy.deepcopy(model).eval()
    if configuration.pruning:
        compressed = prune_linear_outputs(compressed, configuration.pruning, example)
    if configuration.quantization:
        compressed = quantize_dynamic_int8(compressed)
    return compressed
