"""Structured pruning of actors: hidden units are removed, and the network becomes smaller.

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
    """A smaller copy without the `share` of each hidden layer's units whose incoming weights have the least
    norm. Nothing is trained afterwards; one unit of a layer always stays.

    Raises `CompressionError` when no unit is removed, or when the parameters that are left are not as many as
    such a network has.
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
    """Units by layer that are left when `share` of each layer's is removed: one at least."""
    return tuple(max(1, units - round(share * units)) for units in hidden)


def parameter_count(widths: Sequence[int]) -> int:
    """Weights and biases of linear layers of these widths, from observations to outputs."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def unit_norms(actor: Actor, depth: int, norm: Norm) -> Tensor:
    """Norm [units] of the weights that come into each unit of a hidden layer."""
    weights = actor.state_dict()[f"layers.{depth}.weight"]
    norms: Tensor = torch.linalg.vector_norm(weights, ord=1 if norm == "l1" else 2, dim=1)
    return norms


def keep_units(actor: Actor, kept: Sequence[Tensor]) -> Actor:
    """Exact compaction: a copy that has only the units `kept` (indices by hidden layer)."""
    weights = actor.state_dict()
    for depth, units in enumerate(kept):
        for name in (f"layers.{depth}.weight", f"layers.{depth}.bias"):
            weights[name] = weights[name][units]
        reader = f"layers.{depth + 1}.weight"
        weights[reader] = weights[reader][:, units]
    smaller = Actor(replace(actor.architecture, hidden=tuple(len(units) for units in kept)))
    smaller.load_state_dict(weights)
    return smaller.train(actor.training)


def mask_units(actor: Actor, kept: Sequence[Tensor]) -> Actor:
    """A copy of full size in which nothing reads the other units: equal outputs, nothing saved."""
    weights = {name: value.clone() for name, value in actor.state_dict().items()}
    for depth, units in enumerate(kept):
        gone = torch.ones(actor.architecture.hidden[depth], dtype=torch.bool)
        gone[units] = False
        weights[f"layers.{depth + 1}.weight"][:, gone] = 0.0
    masked = Actor(actor.architecture)
    masked.load_state_dict(weights)
    return masked.train(actor.training)
