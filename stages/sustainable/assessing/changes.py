"""What a variant changed: is it another model at all, and does it do less work?"""

from dataclasses import dataclass

import numpy as np

from sustainable.assessing.model import Model
from sustainable.forecasting.compression.runtimes import LOGIT_TOLERANCE


@dataclass(frozen=True)
class Counts:
    """What can be counted without measuring."""

    parameters: int
    nonzero: int
    weight_bytes: int
    flops: int | None  # of one call; None if they cannot be counted


@dataclass(frozen=True)
class Change:
    """A variant compared with the baseline."""

    name: str
    before: Counts
    after: Counts
    same_weights: bool  # equal hashes
    same_outputs: bool  # bit by bit
    difference: float  # largest difference of an output, as a share of the largest

    @property
    def same_model(self) -> bool:
        """Whether the variant is the baseline: its weights are equal, and its outputs up to rounding."""
        return self.same_weights and self.difference <= LOGIT_TOLERANCE["fp32"]

    @property
    def less_work(self) -> bool:
        """Whether one call has fewer operations, or the weights fewer bytes."""
        fewer = None not in (self.after.flops, self.before.flops) and self.after.flops < self.before.flops  # type: ignore[operator]
        return fewer or self.after.weight_bytes < self.before.weight_bytes

    @property
    def sentence(self) -> str:
        """Say in one sentence what changed."""
        if self.same_model:
            return "the same model: equal weights and outputs; no difference between them is an effect"
        if self.same_outputs:
            return "the weights differ, but every output is equal: what changed is not used"
        if self.same_weights:
            return "the weights are equal, and the computation around them differs"
        if self.less_work:
            return "another model, with fewer operations or fewer bytes of weights"
        if self.after.nonzero < self.before.nonzero:
            return "more weights are zero, but none is removed: the operations are the same"
        return "other weights, and as many operations and bytes"


def change_of(
    name: str,
    before: Counts,
    after: Counts,
    models: tuple[Model, Model],
    outputs: tuple[np.ndarray, np.ndarray],
) -> Change:
    """Compare a variant with the baseline; `models` and `outputs` [n, ...] are the baseline's, then its."""
    base, own = outputs
    return Change(
        name=name,
        before=before,
        after=after,
        same_weights=models[0].weights_sha256 == models[1].weights_sha256,
        same_outputs=np.array_equal(base, own),
        difference=largest_difference(own, base) if own.shape == base.shape else float("inf"),
    )


def largest_difference(outputs: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a share of the largest expected number, or of 1 if that is larger.

    Of classes: the share of examples with another class.
    """
    if expected.dtype.kind != "f":
        return float((outputs != expected).mean())
    return float(np.abs(outputs - expected).max()) / max(1.0, float(np.abs(expected).max()))
