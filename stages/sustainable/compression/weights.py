"""Unstructured pruning: set the smallest weights to zero. Shapes, and therefore the work, do not change."""

import copy
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import nn

from sustainable.compression import CompressionError

Scope = Literal["layer", "global"]
Model = TypeVar("Model", bound=nn.Module)


def prune_weights(model: Model, share: float, scope: Scope) -> Model:
    """Return a copy in which the `share` of weights with the smallest magnitude is zero; biases are kept.

    `scope`: the share of each matrix (`layer`), or of all matrices together (`global`). Raises
    `CompressionError` if the model has no parameters to prune (a quantized one hides its weights), or if
    fewer weights are zero afterwards.
    """
    pruned = copy.deepcopy(model)
    matrices = _matrices(pruned)
    groups = [[matrix] for matrix in matrices.values()] if scope == "layer" else [list(matrices.values())]
    for group in groups:
        _zero(group, share)
    return pruned


def zero_smallest(model: Model, share_of: Callable[[str], float]) -> Model:
    """Return a copy in which each weight matrix has its own share of zeros; see `prune_weights`.

    `share_of` gives the share by the name of the matrix.
    """
    pruned = copy.deepcopy(model)
    for name, matrix in _matrices(pruned).items():
        _zero([matrix], share_of(name))
    return pruned


def _matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    matrices = {name: value for name, value in model.named_parameters() if "weight" in name}
    if not matrices:
        raise CompressionError("the model has no weights in floating point to prune")
    return matrices


@torch.no_grad()
def _zero(group: list[nn.Parameter], share: float) -> None:
    """Set the `share` of all weights of `group` with the smallest magnitude to zero."""
    flat = torch.cat([matrix.flatten() for matrix in group])
    count = round(share * flat.numel())
    flat[flat.abs().argsort(stable=True)[:count]] = 0.0
    for matrix, part in zip(group, flat.split([m.numel() for m in group]), strict=True):
        matrix.copy_(part.view_as(matrix))
    zeros = sum(int((matrix == 0).sum()) for matrix in group)
    if zeros < count:
        raise CompressionError(f"{zeros} weights are zero, {count} were requested")
