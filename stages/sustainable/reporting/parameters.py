"""The section `report` of params.yaml."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT

POWER = 0.8
"""Statistical power at which the smallest detectable effects are stated."""


@dataclass(frozen=True, config=STRICT)
class AuditedParameters:
    """Thresholds of study A's own claims, declared before measuring."""

    # Largest loss of accuracy that still counts as non-inferior.
    accuracy_margin: Annotated[float, Field(gt=0.0, lt=1.0)]
    # Factor by which CPU time must fall.
    target_speed_up: Annotated[float, Field(gt=1.0)]
    # Rank correlation from which on a proxy may replace a measurement.
    rank_agreement: Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class PoliciesParameters:
    """Thresholds of study B's claims."""

    # Relative change of memory that the claim is about; only a narrower interval can decide it.
    memory_change: Annotated[float, Field(gt=0.0, lt=1.0)]
    # Smallest and largest fall of memory that still count as "about" that change.
    memory_fall: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(lt=1.0)]]
    # Largest relative error that Amdahl's prediction may have.
    prediction_margin: Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class ReportParameters:
    """Intervals and tests of both studies."""

    # With fewer blocks no measured claim gets a verdict.
    minimum_blocks: Annotated[int, Field(ge=2)]
    # Relative difference within which two configurations count as equal (TOST).
    equivalence_margin: Annotated[float, Field(gt=0.0, lt=1.0)]
    audited: AuditedParameters
    policies: PoliciesParameters
    # Configurations whose CPU times form the family of Holm's correction.
    comparisons: Annotated[list[str], Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @property
    def bootstrap(self) -> tuple[float, int, int]:
        """Confidence, resamples and seed, in the order in which the interval functions take them."""
        return self.confidence, self.bootstrap_resamples, self.seed
