"""The published reward as a pure function of metrics."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT

Scale = Annotated[float, Field(ge=0.0, le=1000.0)]
Penalty = Annotated[float, Field(le=0.0, ge=-1000.0)]


@dataclass(frozen=True, config=STRICT)
class RewardParameters:
    """Constants of the published reward."""

    accuracy_scale: Scale
    flops_scale: Scale
    parameters_scale: Scale
    inaction: Penalty
    """Reward of the action that does nothing."""
    error: Penalty
    """Reward of an action whose compressor fails."""
    accuracy_floor: Annotated[float, Field(ge=0.0, le=1.0)]
    """Share of the baseline's accuracy below which the whole `accuracy_scale` is lost."""


@plain_dataclass(frozen=True)
class Metrics:
    """The figures of a configuration from which the reward is computed."""

    accuracy: float
    accuracy_change: float
    """Accuracy minus that of the baseline."""
    parameter_reduction: float
    """Reduction of the parameters, as a share of the baseline's."""
    flops_reduction: float
    """Reduction of the operations, as a share of the baseline's."""
    acted: bool = True
    """Whether the action is another than doing nothing."""
    failed: bool = False
    """Whether the compressor failed."""


def published_reward(metrics: Metrics, weights: RewardParameters) -> float:
    """Return the reward: the reduction of the proxies, minus a penalty for lost accuracy.

    The source gives the constants but not the formula; this is our reading of it. Below the accuracy floor
    the penalty is `accuracy_scale`; above it, `accuracy_scale` times the lost accuracy.
    """
    if metrics.failed:
        return weights.error
    if not metrics.acted:
        return weights.inaction
    gain = weights.flops_scale * metrics.flops_reduction
    gain += weights.parameters_scale * metrics.parameter_reduction
    baseline = metrics.accuracy - metrics.accuracy_change
    if metrics.accuracy < weights.accuracy_floor * baseline:
        return gain - weights.accuracy_scale
    return gain + weights.accuracy_scale * min(0.0, metrics.accuracy_change)
