"""Structured pruning: hidden units of a GRU are removed, and the network becomes smaller.

Unit k of a layer is the rows k, k + H and k + 2H of its weights and biases (the three gates), the
column k of its recurrent weights, and the column k of what reads it: the next layer, or the readout.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sustainable.compression import CompressionError
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, parameter_count

Criterion = Literal["l1", "l2", "random"]


def prune_units(
    model: LayeredGRU, widths: Sequence[int], criterion: Criterion, generator: torch.Generator | None = None
) -> LayeredGRU:
    """A smaller copy that keeps the most important units, `widths` of them by layer, in their order.

    Raises `CompressionError` when a layer has not so many units, or when the parameters that are left
    are not as many as such a network has.
    """
    if len(widths) != len(model.widths) or any(
        not 1 <= w <= h for w, h in zip(widths, model.widths, strict=True)
    ):
        raise CompressionError(f"widths {tuple(widths)} cannot be cut from {model.widths}")
    kept = [
        unit_importance(model, depth, criterion, generator).topk(width).indices.sort().values
        for depth, width in enumerate(widths)
    ]
    pruned = keep_units(model, kept)
    left = sum(parameter.numel() for parameter in pruned.parameters())
    if left != parameter_count(model.architecture.features, widths):
        raise CompressionError(f"{left} parameters are left, not those of widths {tuple(widths)}")
    return pruned


def unit_importance(
    model: LayeredGRU, depth: int, criterion: Criterion, generator: torch.Generator | None = None
) -> Tensor:
    """Importance [units] of the units of a layer: the norm of all weights that come in and go out. What a
    unit tells itself comes in and goes out, and counts twice.

    `random` draws it from `generator`, as the control that says what a norm is worth.
    """
    units = model.widths[depth]
    if criterion == "random":
        return torch.rand(units, generator=generator)
    weights = model.state_dict()
    incoming = [weights[f"layers.{depth}.weight_{kind}_l0"].reshape(3, units, -1) for kind in ("ih", "hh")]
    parts = [part.transpose(0, 1).reshape(units, -1) for part in incoming]
    parts += [weights[f"layers.{depth}.weight_hh_l0"].T, weights[_reader(model, depth)].T]
    norms: Tensor = torch.linalg.vector_norm(
        torch.cat(parts, dim=1), ord=1 if criterion == "l1" else 2, dim=1
    )
    return norms


def keep_units(model: LayeredGRU, kept: Sequence[Tensor]) -> LayeredGRU:
    """Exact compaction: a copy that has only the units `kept` (indices by layer)."""
    shape, weights = model.architecture, model.state_dict()
    widths = tuple(len(units) for units in kept)
    smaller = LayeredGRU(LayeredArchitecture(shape.features, widths, shape.dropout))
    for depth, units in enumerate(kept):
        rows = torch.cat([units + gate * model.widths[depth] for gate in range(3)])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"layers.{depth}.{kind}_l0"] = weights[f"layers.{depth}.{kind}_l0"][rows]
        for reader in (f"layers.{depth}.weight_hh_l0", _reader(model, depth)):
            weights[reader] = weights[reader][:, units]
    smaller.load_state_dict(weights)
    return smaller.train(model.training)


def mask_units(model: LayeredGRU, kept: Sequence[Tensor]) -> LayeredGRU:
    """A copy of full size in which nothing reads the other units: equal outputs, nothing saved."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for depth, units in enumerate(kept):
        gone = torch.ones(model.widths[depth], dtype=torch.bool)
        gone[units] = False
        for reader in (f"layers.{depth}.weight_hh_l0", _reader(model, depth)):
            weights[reader][:, gone] = 0.0
    masked = LayeredGRU(model.architecture)
    masked.load_state_dict(weights)
    return masked.train(model.training)


def _reader(model: LayeredGRU, depth: int) -> str:
    """The weights that read a layer's states: the next layer's, or the readout's."""
    last = depth == len(model.widths) - 1
    return "readout.weight" if last else f"layers.{depth + 1}.weight_ih_l0"
