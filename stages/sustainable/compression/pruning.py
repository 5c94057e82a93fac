"""Pruning. Torch-Pruning does the work of the published protocol."""

import warnings

import torch
import torch_pruning
from torch import nn


def prune_linear_outputs(model: nn.Module, ratio: float, example: torch.Tensor) -> nn.Module:
    """L1-magnitude pruning of output channels with every GRU ignored, as the published study did.

    What is left to prune in a GRU forecaster is the readout, and its one output cannot go: the
    library returns the model unchanged, whatever the ratio. That is the published result's flaw and
    is kept on purpose; whoever uses this must compare the weights before and after.
    `ratio` in [0, 1); `example` [1, days, features].
    """
    with warnings.catch_warnings():  # it warns that it does not know the GRU's tensors: they are ignored
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            model,
            example,
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=ratio,
            ignored_layers=[module for module in model.modules() if isinstance(module, nn.GRU)],
        )
        pruner.step()
    return model
