"""The published reward, as a pure function of named metrics."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT

Scale = Annotated[float, Field(ge=0.0, le=1000.0)]
Penalty = Annotated[float, Field(le=0.0, ge=-1000.0)]


@dataclass(frozen=True, config=STRICT)
class RewardParameters:
    """Weights of the reward; `accuracy_floor` is a share of the baseline's accuracy."""

    accuracy_scale: Scale
    flops_scale: Scale
    parameters_scale: Scale
    inaction: Penalty
    error: Penalty
    accuracy_floor: Annotated[float, Field(ge=0.0, le=1.0)]


@plain_dataclass(frozen=True)
class Metrics:
    """What the agent is told of a configuration; reductions are shares of the baseline's figure."""

    accuracy: float
    accuracy_change: float
    parameter_reduction: float
    flops_reduction: float
    acted: bool = True
    failed: bool = False


def published_reward(metrics: Metrics, weights: RewardParameters) -> float:
    """Proxies gained, minus a heavy penalty for lost accuracy; doing nothing and failing cost.

    The source gives the constants, not the formula; this is our reading of it. Under the floor the
    whole `accuracy_scale` is lost, above it the scale times the loss.
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
