"""Deploy stored policies in the configurations that are measured."""

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.policies.benchmark.episodes import LabelledPolicy
from sustainable.policies.compression.runtimes import ActorRuntime, DeployedActor, deploy_actor
from sustainable.policies.compression.static_int8 import Prepared, load_prepared
from sustainable.policies.compression.variants import Method, Norm, Variant
from sustainable.policies.environments.rollout import Environment
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.policy import Actor, check_fits, load_policy


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
            deployed = self.deployed(policy.actor, prepared, name, configuration)
            variant, runtime = configuration.variant, configuration.runtime
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

    def deployed(
        self, actor: Actor, prepared: Prepared | None, name: str, configuration: PolicyConfiguration
    ) -> DeployedActor:
        """Deploy an actor. Raises `UserError` with the configuration's name if that is not supported."""
        variant, runtime = configuration.variant, configuration.runtime
        try:
            return deploy_actor(actor, variant, runtime, prepared, self.cache)
        except CompressionError as error:
            raise UserError(
                f"params.yaml: benchmark_policies.configurations.{name}: {error}; change or remove it"
            ) from None
