"""The published reward as a pure function of metrics."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, NamedTuple

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
    """Added to the reward of the action that does nothing."""
    error: Penalty
    """Reward of an action whose compressor fails."""
    accuracy_floor: Annotated[float, Field(ge=0.0, le=1.0)]
    """Share of the baseline's accuracy below which the whole `accuracy_scale` is lost."""


@plain_dataclass(frozen=True)
class Metrics:
    """The figures of a configuration from which the reward is computed."""

    accuracy: float
    accuracy_change: float
    """Accuracy minus that of the baseline, which may have been counted on other windows."""
    parameter_reduction: float
    """Reduction of the parameters, as a share of the baseline's."""
    flops_reduction: float
    """Reduction of the operations, as a share of the baseline's."""
    acted: bool = True
    """Whether the action is another than doing nothing."""
    failed: bool = False
    """Whether the compressor failed."""


class RewardTerms(NamedTuple):
    """The terms of a reward; their sum is the reward."""

    accuracy: float = 0.0
    flops: float = 0.0
    parameters: float = 0.0
    inaction: float = 0.0
    error: float = 0.0


def reward_terms(metrics: Metrics, weights: RewardParameters) -> RewardTerms:
    """Return the terms of the published reward.

    A gain of accuracy is paid like a loss is charged. Below the accuracy floor, `accuracy_scale` is lost.
    A failed compression has the reward `error` and nothing else.
    """
    if metrics.failed:
        return RewardTerms(error=weights.error)
    baseline = metrics.accuracy - metrics.accuracy_change
    collapsed = metrics.accuracy < weights.accuracy_floor * baseline
    return RewardTerms(
        accuracy=weights.accuracy_scale * (-1.0 if collapsed else metrics.accuracy_change),
        flops=weights.flops_scale * metrics.flops_reduction,
        parameters=weights.parameters_scale * metrics.parameter_reduction,
        inaction=0.0 if metrics.acted else weights.inaction,
    )


def published_reward(metrics: Metrics, weights: RewardParameters) -> float:
    """Return the published reward of a configuration."""
    return sum(reward_terms(metrics, weights))
