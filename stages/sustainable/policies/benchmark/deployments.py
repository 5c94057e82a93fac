"""Deploy trained policies for the benchmark: every seed in every configuration, ready to act."""

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.policies.compression.static_int8 import load_prepared
from sustainable.policies.compression.runtimes import ActorRuntime, deploy_actor
from sustainable.policies.compression.variants import Method, Norm, Variant
from sustainable.policies.benchmark.episodes import EpisodesParameters, LabelledPolicy
from sustainable.policies.policy import check_fits, load_policy
from sustainable.policies.learning.recipes import Algorithm, TrainingRun
from sustainable.policies.environments.rollout import Environment

Doses = Annotated[list[Annotated[float, Field(ge=0.0, le=1e6)]], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class PolicyConfiguration:
    """A variant of a policy in a runtime; `method`, `norm` and `share` are those of `Variant`."""

    runtime: ActorRuntime
    method: Method = "none"
    norm: Norm | None = None
    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @property
    def variant(self) -> Variant:
        return Variant(self.method, self.norm, self.share)


@dataclass(frozen=True, config=STRICT)
class WorkloadParameters:
    """The dose-response measurement: configurations at increasing costs of an environment step."""

    environment: str
    algorithm: Algorithm
    doses_us: Doses  # CPU time added to each step of the environment, in microseconds
    window_s: Annotated[float, Field(ge=0.05, le=600.0)]
    """Windows are timed and not metered, so they may be shorter than others."""
    timed_steps: Annotated[int, Field(ge=10, le=1_000_000)]
    """As in `EpisodesParameters`."""
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class MemoryParameters:
    """The memory measurement of one policy."""

    environment: str
    algorithm: Algorithm
    repeats: Annotated[int, Field(ge=2, le=1000)]
    """Fresh processes per configuration."""
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class PolicyBenchmarkParameters:
    """Section `benchmark_policies` of params.yaml."""

    windows: EpisodesParameters
    cells: dict[Algorithm, list[str]]
    """Algorithm -> environments whose policies are measured; other policies only have returns."""
    configurations: Annotated[dict[str, PolicyConfiguration], Field(min_length=2)]
    workload: WorkloadParameters
    memory: MemoryParameters

    @model_validator(mode="after")
    def _names_are_known(self) -> "PolicyBenchmarkParameters":
        for part in ("workload", "memory"):
            unknown = sorted(set(getattr(self, part).configurations) - self.configurations.keys())
            if unknown:
                raise ValueError(f"{part}.configurations: {unknown[0]!r} is not among configurations")
        return self


@plain_dataclass(frozen=True)
class PolicyFolders:
    """Folders from which policies are deployed."""

    policies: Path  # trained policies
    prepared: Path  # ranges and QAT weights (see `static_int8.Prepared`)
    cache: Path  # exported ONNX models

    def deploy(
        self, run: TrainingRun, configurations: Mapping[str, PolicyConfiguration], environment: Environment
    ) -> dict[str, LabelledPolicy]:
        """Deploy one trained policy in every configuration.

        Raises `UserError` if the policy does not fit the environment, or a configuration is not supported.
        """
        policy = load_policy(self.policies / run.file)
        check_fits(policy, environment)
        prepared = load_prepared(self.prepared / run.file)
        policies = {}
        for name, configuration in configurations.items():
            variant, runtime = configuration.variant, configuration.runtime
            try:
                deployed = deploy_actor(policy.actor, variant, runtime, prepared, self.cache)
            except CompressionError as error:
                raise UserError(
                    f"params.yaml: benchmark_policies.configurations.{name}: {error}; change or remove it"
                ) from None
            labels = {
                "environment": run.environment,
                "algorithm": run.algorithm,
                **asdict(variant),
                "runtime": runtime,
                "weights_sha256": deployed.weights_sha256,
                "size_bytes": deployed.size_bytes,
            }
            policies[name] = LabelledPolicy(deployed.act, labels)
        return policies

    def memory_request(self, run: TrainingRun, configuration: PolicyConfiguration) -> dict[str, Any]:
        """Return the argument of `memory.read_memory`, which must be JSON-like to reach another process."""
        return {
            "policy": str(self.policies / run.file),
            "prepared": str(self.prepared / run.file),
            "cache": str(self.cache),
            "variant": asdict(configuration.variant),
            "runtime": configuration.runtime,
        }
