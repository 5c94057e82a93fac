"""Structured pruning of actors: remove hidden units, which makes the network smaller.

Unit k of a layer is row k of its weights, element k of its biases, and column k of the next layer's weights.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from sustainable.compression import CompressionError
from sustainable.policies.policy import Actor

Norm = Literal["l1", "l2"]


def prune_units(actor: Actor, norm: Norm, share: float) -> Actor:
    """Return a copy without the `share` of each hidden layer's units with the smallest incoming norm.

    The copy is not retrained. Every layer keeps at least one unit. Raises `CompressionError` if no unit is
    removed, or if the number of remaining parameters is not that of a network of the new widths.
    """
    shape = actor.architecture
    widths = kept_widths(shape.hidden, share)
    if widths == shape.hidden:
        raise CompressionError(f"a share of {share:g} removes no unit of hidden layers {shape.hidden}")
    kept = [
        unit_norms(actor, depth, norm).topk(width).indices.sort().values for depth, width in enumerate(widths)
    ]
    pruned = keep_units(actor, kept)
    expected = parameter_count((shape.observations, *widths, shape.outputs))
    left = sum(parameter.numel() for parameter in pruned.parameters())
    if left != expected:
        raise CompressionError(f"{left} parameters are left, {expected} make hidden layers {widths}")
    return pruned


def kept_widths(hidden: Sequence[int], share: float) -> tuple[int, ...]:
    """Return the remaining units of each hidden layer, at least one, after removing `share` of them."""
    return tuple(max(1, units - round(share * units)) for units in hidden)


def parameter_count(widths: Sequence[int]) -> int:
    """Return the number of weights and biases of linear layers of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def unit_norms(actor: Actor, depth: int, norm: Norm) -> Tensor:
    """Return the norm [units] of the incoming weights of each unit of a hidden layer."""
    weights = actor.state_dict()[f"layers.{depth}.weight"]
    norms: Tensor = torch.linalg.vector_norm(weights, ord=1 if norm == "l1" else 2, dim=1)
    return norms


def keep_units(actor: Actor, kept: Sequence[Tensor]) -> Actor:
    """Return a copy with only the units `kept` (indices for each hidden layer), weights unchanged."""
    weights = actor.state_dict()
    for depth, units in enumerate(kept):
        for name in (f"layers.{depth}.weight", f"layers.{depth}.bias"):
            weights[name] = weights[name][units]
        next_layer = f"layers.{depth + 1}.weight"
        weights[next_layer] = weights[next_layer][:, units]
    smaller = Actor(replace(actor.architecture, hidden=tuple(len(units) for units in kept)))
    smaller.load_state_dict(weights)
    return smaller.train(actor.training)
