"""Structured pruning: remove hidden units of a GRU, so that the network becomes smaller.

In a layer with H units, unit k consists of the rows k, k + H and k + 2H (reset, update and new gate) of both
weight matrices and both biases, of column k of the recurrent weights, and of column k of the matrix that
reads the layer: the input weights of the next layer, or the readout.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sustainable.compression import CompressionError
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, gru_parameter_count

Criterion = Literal["l1", "l2", "random"]


def prune_gru_units(
    model: LayeredGRU, widths: Sequence[int], criterion: Criterion, generator: torch.Generator | None = None
) -> LayeredGRU:
    """Return a copy that keeps the `widths[layer]` most important units of each layer, in their order.

    Raises `CompressionError` if a layer has fewer units, or if the copy does not have the number of
    parameters of such a network.
    """
    whole = model.widths
    if len(widths) != len(whole) or not all(1 <= w <= h for w, h in zip(widths, whole, strict=True)):
        raise CompressionError(f"widths {tuple(widths)} cannot be cut from {model.widths}")
    kept = [
        unit_importance(model, depth, criterion, generator).topk(width).indices.sort().values
        for depth, width in enumerate(widths)
    ]
    pruned = keep_gru_units(model, kept)
    left = sum(parameter.numel() for parameter in pruned.parameters())
    if left != gru_parameter_count(model.architecture.features, widths, model.architecture.classes):
        raise CompressionError(f"{left} parameters are left, which does not match widths {tuple(widths)}")
    return pruned


def unit_importance(
    model: LayeredGRU, depth: int, criterion: Criterion, generator: torch.Generator | None = None
) -> Tensor:
    """Return the importance [units] of each unit of a layer: the norm of its incoming and outgoing weights.

    The recurrent weight of a unit to itself is incoming and outgoing, and counts twice. The criterion
    `random` draws the importance from `generator`; it is the control for the norms.
    """
    units = model.widths[depth]
    if criterion == "random":
        return torch.rand(units, generator=generator)
    weights = model.state_dict()
    incoming = [weights[f"layers.{depth}.weight_{kind}_l0"].reshape(3, units, -1) for kind in ("ih", "hh")]
    # incoming [3 gates, units, inputs] becomes [units, 3 * inputs]
    parts = [part.transpose(0, 1).reshape(units, -1) for part in incoming]
    # outgoing: columns of [3 * units, units] and of the reader's matrix, transposed to one row per unit
    parts += [weights[f"layers.{depth}.weight_hh_l0"].T, weights[_reader(model, depth)].T]
    order = 1 if criterion == "l1" else 2
    norms: Tensor = torch.linalg.vector_norm(torch.cat(parts, dim=1), ord=order, dim=1)
    return norms


def keep_gru_units(model: LayeredGRU, kept: Sequence[Tensor]) -> LayeredGRU:
    """Return a smaller copy with only the units `kept` (indices by layer)."""
    shape, weights = model.architecture, model.state_dict()
    widths = tuple(len(units) for units in kept)
    smaller = LayeredGRU(LayeredArchitecture(shape.features, widths, shape.dropout, shape.classes))
    for depth, units in enumerate(kept):
        # the matrices stack the reset, update and new gate, with one row per unit in each
        rows = torch.cat([units + gate * model.widths[depth] for gate in range(3)])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"layers.{depth}.{kind}_l0"] = weights[f"layers.{depth}.{kind}_l0"][rows]
        for reader in (f"layers.{depth}.weight_hh_l0", _reader(model, depth)):
            weights[reader] = weights[reader][:, units]
    smaller.load_state_dict(weights)
    return smaller.train(model.training)


def _reader(model: LayeredGRU, depth: int) -> str:
    """Return the name of the weights that read a layer's states: in the next layer, or in the readout."""
    last = depth == len(model.widths) - 1
    return "readout.weight" if last else f"layers.{depth + 1}.weight_ih_l0"
