"""What a search for a deployment maximises."""

import math
from typing import Annotated, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT

SEARCHED_FAMILIES = ("grid", "diagonal")
"""The families of candidates that are searched; masked networks save nothing and are left out."""


@dataclass(frozen=True, config=STRICT)
class DeploymentReward:
    """The reward of a deployment: less CPU time than the baseline, with little loss of accuracy."""

    batch_size: Annotated[int, Field(ge=1)]  # batch size at which CPU time counts
    accuracy_margin: Annotated[float, Field(ge=0.0, le=1.0)]  # loss of accuracy that has no penalty
    penalty_per_point: Annotated[float, Field(ge=0.0, le=1000.0)]
    """Penalty in nats for each percentage point of loss beyond the margin."""

    def of(self, speedup: float, loss: float) -> float:
        """Return the reward in nats: ln of the speed-up minus the penalty for `loss`, a share."""
        return math.log(speedup) - self.penalty_per_point * 100 * max(0.0, loss - self.accuracy_margin)


class SearchTarget(NamedTuple):
    """The precision and the runtime of a deployment."""

    precision: str
    runtime: str


BASELINE = SearchTarget("fp32", "torch-eager")
