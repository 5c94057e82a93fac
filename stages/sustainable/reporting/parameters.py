"""The section `report` of params.yaml."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT, Share
from sustainable.core.reading import one_line, parsed_yaml, read_text

POWER = 0.8
"""Statistical power at which the smallest detectable effects are stated."""


@dataclass(frozen=True, config=STRICT)
class AuditedParameters:
    """Thresholds of study A's own claims, declared before measuring."""

    accuracy_margin: Share  # largest loss of accuracy that still counts as non-inferior
    target_speed_up: Annotated[float, Field(gt=1.0)]  # factor by which CPU time must fall
    rank_agreement: Share  # rank correlation from which on a proxy may replace a measurement
    runtime_factor: Annotated[float, Field(gt=1.0)]
    """Ratio of CPU times of one network on two targets from which on its operations do not tell its cost."""


@dataclass(frozen=True, config=STRICT)
class PublishedParameters:
    """How the first source's claims are read."""

    size_error: Share  # largest error of an effect's logarithm that leaves it the claimed size, as a share
    discovery_factor: Annotated[float, Field(gt=1.0)]
    """How many times as often as by chance an agent must report an action that it discovers."""


@dataclass(frozen=True, config=STRICT)
class LayerwiseMargins:
    """Margins of the claims about the source's later version, declared before measuring."""

    accuracy_margin: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Largest loss of accuracy that counts as none; the source says one point."""
    sparsity_margin: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Largest distance from a published sparsity that still counts as "about" it."""


@dataclass(frozen=True, config=STRICT)
class PoliciesParameters:
    """Thresholds of study B's claims."""

    saving_of_interest: Share  # smallest saving of cost that a claim about tendencies is about
    minimum_models: Annotated[int, Field(ge=2)]  # with fewer, a statement about models is not decided
    memory_change: Share  # relative change that the claim is about; only a narrower interval can decide it
    negligible_fall: Share  # of memory: the largest that still counts as about that change
    split_of_interest: Share  # smallest difference between two shares of policies that a claim is about
    prediction_margin: Share  # a saving beyond Amdahl's bound by this must be excluded to confirm the bound


@dataclass(frozen=True, config=STRICT)
class ReportParameters:
    """Intervals and tests of both studies."""

    minimum_blocks: Annotated[int, Field(ge=2)]  # with fewer blocks no measured claim gets a verdict
    equivalence_margin: Share  # relative difference within which two configurations count as equal (TOST)
    audited: AuditedParameters
    published: PublishedParameters
    layerwise: LayerwiseMargins
    policies: PoliciesParameters
    comparisons: Annotated[list[str], Field(min_length=1)]  # their CPU times form the family of Holm
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @property
    def bootstrap(self) -> tuple[float, int, int]:
        """Confidence, resamples and seed, in the order in which the interval functions take them."""
        return self.confidence, self.bootstrap_resamples, self.seed


def timing_rounds(params: Path) -> int:
    """Return how often every candidate was timed: `candidates.rounds` of params.yaml.

    The section belongs to another stage, whose module loads every runtime; the report needs one number of it.
    """
    try:
        return int(parsed_yaml(read_text(params))["candidates"]["rounds"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{params}: candidates.rounds: not a number of rounds ({one_line(error)})") from None
