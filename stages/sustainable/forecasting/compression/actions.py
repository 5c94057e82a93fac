"""The 16 actions of the published search: a share to prune, and whether to quantize."""

import copy
import warnings
from dataclasses import dataclass

import torch
import torch_pruning
from torch import nn

from sustainable.compression.quantization import quantize_dynamic_int8

PRUNING_STEPS = 8
ACTION_COUNT = 2 * PRUNING_STEPS


@dataclass(frozen=True)
class Configuration:
    """The settings of one action."""

    pruning: float = 0.0  # share of output channels to remove, 0.0 to 0.7
    quantization: bool = False  # whether to quantize to dynamic int8

    @classmethod
    def of_action(cls, action: int) -> "Configuration":
        """Decode a published action: `action % 8` tenths are pruned; actions 8 to 15 also quantize.

        Raises `ValueError` for an action outside 0..15.
        """
        if not 0 <= action < ACTION_COUNT:
            raise ValueError(f"action {action} is not in 0..{ACTION_COUNT - 1}")
        return cls((action % PRUNING_STEPS) / 10, action >= PRUNING_STEPS)

    @property
    def name(self) -> str:
        """Return a short name such as `P30+Q`; the uncompressed model is `FP32`."""
        parts = [f"P{round(self.pruning * 100)}"] if self.pruning else []
        return "+".join(parts + ["Q"] * self.quantization) or "FP32"


def compress_forecaster(model: nn.Module, configuration: Configuration, example: torch.Tensor) -> nn.Module:
    """Return a compressed copy of `model`, pruned first, then quantized.

    `example` [1, days, features].
    """
    compressed = copy.deepcopy(model).eval()
    if configuration.pruning:
        compressed = prune_linear_outputs(compressed, configuration.pruning, example)
    if configuration.quantization:
        compressed = quantize_dynamic_int8(compressed)
    return compressed


def prune_linear_outputs(model: nn.Module, ratio: float, example: torch.Tensor) -> nn.Module:
    """Prune output channels by L1 magnitude and ignore every GRU, as the published study did.

    Only the readout is left to prune, and its single output cannot be removed. Torch-Pruning therefore
    returns the model unchanged for every ratio. This flaw of the published study is kept on purpose: callers
    must compare the weights before and after. `ratio` in [0, 1); `example` [1, days, features].
    """
    with warnings.catch_warnings():  # Torch-Pruning warns about the tensors of the ignored GRU
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            model,
            example[:, -1:],  # tracing dependencies takes seconds with all days, and one shows the same ones
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=ratio,
            ignored_layers=[module for module in model.modules() if isinstance(module, nn.GRU)],
        )
        pruner.step()
    return model
