"""Make the compressed variants of an actor, and check that compression changed what it should.

Structured pruning removes hidden units, which makes the network smaller: unit k of a layer is row k of its
weights, element k of its biases, and column k of the next layer's weights.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.core.files import one_line
from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.policies.compression.accounting import weight_tensors, module_sha256
from sustainable.policies.compression.static_int8 import NOTHING_TO_LEARN, Prepared, to_static
from sustainable.compression.quantization import QUANTIZED_LINEAR, quantize_dynamic_int8
from sustainable.compression.weights import prune_weights
from sustainable.policies.policy import Actor

Norm = Literal["l1", "l2"]
Method = Literal["none", "ptdq", "ptsq", "qat", "unstructured", "structured", "mixed"]
PRUNING: tuple[Method, ...] = ("unstructured", "structured", "mixed")
INT8: tuple[Method, ...] = ("ptdq", "ptsq", "qat", "mixed")


@dataclass(frozen=True, config=STRICT)
class Variant:
    """How an actor is compressed."""

    method: Method = "none"
    norm: Norm | None = None  # the norm that ranks weights or units; only for pruning
    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the weights or hidden units that is removed; only for pruning."""

    @model_validator(mode="after")
    def _only_pruning_has_a_norm_and_a_share(self) -> "Variant":
        prunes = self.method in PRUNING
        if prunes and not (self.norm and self.share):
            raise ValueError(f"{self.method} needs a norm, and a share above 0")
        if not prunes and (self.norm or self.share):
            raise ValueError(f"{self.method} takes neither norm nor share")
        return self

    @property
    def name(self) -> str:
        """The method, followed by norm and share in percent for pruning: `structured_l1_50`."""
        if self.method not in PRUNING:
            return self.method
        return f"{self.method}_{self.norm}_{100 * self.share:g}"

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """The numbers that the layers compute with."""
        return "int8" if self.method in INT8 else "fp32"


def compress(actor: Actor, variant: Variant, prepared: Prepared | None = None) -> nn.Module:
    """Compress `actor`; the result maps observations [n, observations] to outputs [n, outputs], float32.

    - `none`: the actor itself.
    - `ptdq`: int8 weights; activations are quantized at each call.
    - `ptsq`, `qat`: int8 with the ranges, or the weights and ranges, in `prepared`.
    - `unstructured`: the smallest weights of every layer become zero. Both norms give the same mask, because
      the L1 and L2 norms of a single weight are equal.
    - `structured`: the hidden units with the smallest incoming norm are removed from every layer.
    - `mixed`: structured, then ptdq.

    Raises `CompressionError` if the actor did not change as it should, or `prepared` is for another actor.
    """
    if variant.method == "none":
        return actor.eval()
    module = _compressed(actor, variant, prepared).eval()
    if module_sha256(module) == module_sha256(actor):
        raise CompressionError(f"{variant.name}: compression changed nothing")
    return module


def _compressed(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    match variant.method:
        case "ptdq":
            return _ptdq(actor, variant)
        case "ptsq":
            return to_static(actor, _prepared_for(actor, variant, prepared).ranges)
        case "qat":
            return _qat(actor, _prepared_for(actor, variant, prepared))
        case "unstructured":
            return _unstructured(actor, variant)
    assert variant.norm is not None  # `Variant` validates this
    pruned = prune_units(actor, variant.norm, variant.share)
    return _ptdq(pruned, variant) if variant.method == "mixed" else pruned


def _ptdq(actor: Actor, variant: Variant) -> nn.Module:
    quantized = quantize_dynamic_int8(actor)
    int8 = [part for part in quantized.modules() if isinstance(part, QUANTIZED_LINEAR)]
    if len(int8) != len(actor.layers) or any(part.weight().dtype != torch.qint8 for part in int8):
        raise CompressionError(f"{variant.name}: {len(int8)} of {len(actor.layers)} layers are int8")
    return quantized


def _qat(actor: Actor, prepared: Prepared) -> nn.Module:
    student = Actor(actor.architecture)
    try:
        student.load_state_dict(prepared.trained)
    except RuntimeError as error:
        raise CompressionError(f"qat: {one_line(error)[:200]}") from None
    if module_sha256(student) == module_sha256(actor) and prepared.losses[0] > NOTHING_TO_LEARN:
        raise CompressionError("qat: the trained weights equal the actor's: nothing was trained")
    return to_static(student, prepared.trained_ranges)


def _unstructured(actor: Actor, variant: Variant) -> nn.Module:
    pruned = prune_weights(actor, variant.share, "layer")
    after = weight_tensors(pruned)
    for name, before in weight_tensors(actor).items():
        zeros = int((after[name] == 0).sum())
        if after[name].shape != before.shape or (
            name.endswith("weight") and zeros < round(variant.share * before.numel())
        ):
            raise CompressionError(f"{variant.name}: {name} has {zeros} zeros of {before.numel()} weights")
    return pruned


def _prepared_for(actor: Actor, variant: Variant, prepared: Prepared | None) -> Prepared:
    if prepared is None:
        raise CompressionError(f"{variant.name}: ranges from states are needed, see `prepare_int8`")
    if prepared.actor_sha256 != module_sha256(actor):
        raise CompressionError(f"{variant.name}: the ranges were prepared for another actor")
    return prepared


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
