"""Compressed policies: every variant of an actor, made and then checked to be what it is called."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import nn

from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.policies.compression.accounting import weight_tensors, module_sha256
from sustainable.policies.compression.units import Norm, prune_units
from sustainable.policies.compression.static_int8 import Prepared, to_static
from sustainable.compression.quantization import QUANTIZED_LINEAR, quantize_dynamic_int8
from sustainable.compression.weights import prune_weights
from sustainable.policies.policy import Actor

Method = Literal["none", "ptdq", "ptsq", "qat", "unstructured", "structured", "mixed"]
PRUNING: tuple[Method, ...] = ("unstructured", "structured", "mixed")
INT8: tuple[Method, ...] = ("ptdq", "ptsq", "qat", "mixed")


@dataclass(frozen=True, config=STRICT)
class Variant:
    """How an actor is compressed. `norm` and `share` (of weights or of hidden units) belong to pruning."""

    method: Method = "none"
    norm: Norm | None = None
    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _pruning_alone_has_a_norm_and_a_share(self) -> "Variant":
        prunes = self.method in PRUNING
        if prunes and not (self.norm and self.share):
            raise ValueError(f"{self.method} needs a norm, and a share above 0")
        if not prunes and (self.norm or self.share):
            raise ValueError(f"{self.method} takes neither norm nor share")
        return self

    @property
    def name(self) -> str:
        """As in `structured_l1_50`: the share in percent; others have their method's name."""
        if self.method not in PRUNING:
            return self.method
        return f"{self.method}_{self.norm}_{100 * self.share:g}"

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """What the layers compute in."""
        return "int8" if self.method in INT8 else "fp32"


def compress(actor: Actor, variant: Variant, prepared: Prepared | None = None) -> nn.Module:
    """`actor` as `variant` says: observations [n, observations] float32 to outputs [n, outputs] float32.

    `none` is the actor itself. `ptdq`: int8 weights, activations quantized at each call. `ptsq`, `qat`: int8
    with the ranges, or the weights and ranges, of `prepared`. `unstructured`: that share of every layer's
    weights is zero, those with the least magnitude; a single weight's L1 and L2 norm are the same, and so
    both norms give one mask. `structured`: that share of every hidden layer's units is gone, those whose
    incoming weights have the least norm. `mixed`: structured, then ptdq.

    Raises `CompressionError` when the actor was not changed as asked, or `prepared` is not this actor's.
    """
    if variant.method == "none":
        return actor.eval()
    module = _METHODS[variant.method](actor, variant, prepared).eval()
    if module_sha256(module) == module_sha256(actor):
        raise CompressionError(f"{variant.name}: the actor is as it was")
    return module


def _ptdq(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    quantized = quantize_dynamic_int8(actor)
    int8 = [part for part in quantized.modules() if isinstance(part, QUANTIZED_LINEAR)]
    if len(int8) != len(actor.layers) or any(part.weight().dtype != torch.qint8 for part in int8):
        raise CompressionError(f"{variant.name}: {len(int8)} of {len(actor.layers)} layers are int8")
    return quantized


def _ptsq(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    return to_static(actor, _prepared_for(actor, variant, prepared).ranges)


def _qat(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    found = _prepared_for(actor, variant, prepared)
    student = Actor(actor.architecture)
    try:
        student.load_state_dict(found.trained)
    except RuntimeError as error:
        raise CompressionError(f"qat: {' '.join(str(error).split())[:200]}") from None
    if module_sha256(student) == module_sha256(actor):
        raise CompressionError("qat: the weights are the actor's: nothing was trained")
    return to_static(student, found.trained_ranges)


def _unstructured(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    pruned = prune_weights(actor, variant.share, "layer")
    after = weight_tensors(pruned)
    for name, before in weight_tensors(actor).items():
        zeros = int((after[name] == 0).sum())
        if after[name].shape != before.shape or (
            name.endswith("weight") and zeros < round(variant.share * before.numel())
        ):
            raise CompressionError(f"{variant.name}: {name} has {zeros} zeros of {before.numel()} weights")
    return pruned


def _structured(actor: Actor, variant: Variant, prepared: Prepared | None) -> Actor:
    assert variant.norm is not None  # a variant that prunes has one
    return prune_units(actor, variant.norm, variant.share)


def _mixed(actor: Actor, variant: Variant, prepared: Prepared | None) -> nn.Module:
    return _ptdq(_structured(actor, variant, prepared), variant, prepared)


_METHODS: dict[Method, Callable[[Actor, Variant, Prepared | None], nn.Module]] = {
    "ptdq": _ptdq,
    "ptsq": _ptsq,
    "qat": _qat,
    "unstructured": _unstructured,
    "structured": _structured,
    "mixed": _mixed,
}


def _prepared_for(actor: Actor, variant: Variant, prepared: Prepared | None) -> Prepared:
    if prepared is None:
        raise CompressionError(f"{variant.name}: ranges from states are needed, see `prepare`")
    if prepared.actor_sha256 != module_sha256(actor):
        raise CompressionError(f"{variant.name}: the ranges were prepared for another actor")
    return prepared
