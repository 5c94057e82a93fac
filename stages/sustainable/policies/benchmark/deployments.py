"""What study B measures: trained policies of every seed, in every configuration, ready to act."""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.policies.compression.units import Norm
from sustainable.policies.compression.static_int8 import load_prepared
from sustainable.policies.compression.runtimes import ActorRuntime, deploy_actor
from sustainable.policies.compression.variants import Method, Variant
from sustainable.policies.benchmark.episodes import LabelledPolicy, EpisodesParameters
from sustainable.policies.policy import check_fits, load_policy
from sustainable.policies.learning.recipes import Algorithm, TrainingRun
from sustainable.policies.environments.rollout import Environment

Doses = Annotated[list[Annotated[float, Field(ge=0.0, le=1e6)]], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class PolicyConfiguration:
    """A variant of a policy in a runtime (see `compression.actors.Variant`)."""

    runtime: ActorRuntime
    method: Method = "none"
    norm: Norm | None = None
    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @property
    def variant(self) -> Variant:
        return Variant(self.method, self.norm, self.share)


@dataclass(frozen=True, config=STRICT)
class WorkloadParameters:
    """The dose-response: what a step of `environment` costs beside the policy, in microseconds, and which
    configurations are measured at every dose. Windows are timed, not metered, and may be shorter;
    `timed_steps` as of the other windows."""

    environment: str
    algorithm: Algorithm
    doses_us: Doses
    window_s: Annotated[float, Field(ge=0.05, le=600.0)]
    timed_steps: Annotated[int, Field(ge=10, le=1_000_000)]
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class MemoryParameters:
    """Whose memory is read, in which configurations, and in how many fresh processes for each."""

    environment: str
    algorithm: Algorithm
    repeats: Annotated[int, Field(ge=2, le=1000)]
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class PolicyBenchmarkParameters:
    """`cells`: algorithm -> environments that are measured; the others are evaluated alone."""

    windows: EpisodesParameters
    cells: dict[Algorithm, list[str]]
    configurations: Annotated[dict[str, PolicyConfiguration], Field(min_length=2)]
    workload: WorkloadParameters
    memory: MemoryParameters

    @model_validator(mode="after")
    def _names_are_known(self) -> "PolicyBenchmarkParameters":
        for part, names in (
            ("workload", self.workload.configurations),
            ("memory", self.memory.configurations),
        ):
            unknown = sorted(set(names) - self.configurations.keys())
            if unknown:
                raise ValueError(f"{part}.configurations: {unknown[0]!r} is not among configurations")
        return self


@plain_dataclass(frozen=True)
class PolicyFolders:
    """Folders: trained policies, what was prepared for their quantization, and exported models."""

    policies: Path
    prepared: Path
    cache: Path

    def acting(
        self, cell: TrainingRun, configurations: Mapping[str, PolicyConfiguration], environment: Environment
    ) -> dict[str, LabelledPolicy]:
        """One trained policy in every configuration. Raises `UserError` for a policy that does not fit the
        environment, and for a configuration that cannot be had."""
        policy = load_policy(self.policies / cell.file)
        check_fits(policy, environment)
        prepared = load_prepared(self.prepared / cell.file)
        found = {}
        for name, asked in configurations.items():
            try:
                deployed = deploy_actor(policy.actor, asked.variant, asked.runtime, prepared, self.cache)
            except CompressionError as error:
                raise UserError(
                    f"params.yaml: benchmark_policies.configurations.{name}: {error}; change or remove it"
                ) from None
            labels = {
                "environment": cell.environment,
                "algorithm": cell.algorithm,
                "method": asked.method,
                "norm": asked.norm,
                "share": asked.share,
                "runtime": asked.runtime,
                "weights_sha256": deployed.weights_sha256,
                "size_bytes": deployed.size_bytes,
            }
            found[name] = LabelledPolicy(deployed.act, labels)
        return found

    def memory_request(self, cell: TrainingRun, asked: PolicyConfiguration) -> dict[str, Any]:
        """What `memory.read_memory` wants to know."""
        return {
            "policy": str(self.policies / cell.file),
            "prepared": str(self.prepared / cell.file),
            "cache": str(self.cache),
            "variant": {"method": asked.method, "norm": asked.norm, "share": asked.share},
            "runtime": asked.runtime,
        }
