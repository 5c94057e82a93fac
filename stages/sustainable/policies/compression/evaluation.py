"""The compressed variants of a trained policy, and what each of them returns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT
from sustainable.policies.compression.accounting import count_nonzero, count_parameters
from sustainable.policies.compression.static_int8 import Prepared, QATParameters, prepare
from sustainable.policies.compression.runtimes import DeployedActor, deploy_actor
from sustainable.policies.compression.variants import Variant
from sustainable.policies.policy import Act, Policy
from sustainable.policies.environments.rollout import Environment, Episode, collect_states, run_episode
from sustainable.statistics import student_interval

PRUNED_WAYS = (("unstructured", "l1"), ("structured", "l1"), ("structured", "l2"))
"""Without unstructured L2: of single weights both norms make the same mask (`compression.actors`)."""
UNCOMPRESSED = Variant()
Count = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class CompressParameters:
    """`states`: from rollouts of every policy, for ranges and for QAT. `others`: variants beside the pruned
    ones, which are made at every one of `shares`.

    Episodes are run until the interval of the mean return is at most `return_interval` either way, as a
    share of the policy's own distance to a random one; at least `episodes_minimum`, at most
    `episodes_maximum`.
    """

    states: Count
    qat: QATParameters
    others: Annotated[list[Variant], Field(min_length=1)]
    shares: Annotated[list[Share], Field(min_length=1)]
    episodes_minimum: Count
    episodes_maximum: Count
    return_interval: Share
    confidence: Share
    seed: Annotated[int, Field(ge=0, lt=2**31)]


@plain_dataclass(frozen=True)
class StoppingRule:
    """How exactly a return is to be known: the half width of its interval, in units of the return."""

    minimum: int
    half_width: float
    confidence: float

    def reached(self, returns: Sequence[float]) -> bool:
        """Whether these episodes are enough."""
        if len(returns) < self.minimum:
            return False
        found = student_interval(returns, self.confidence)
        return found is not None and found.high - found.estimate <= self.half_width


def variants_of(parameters: CompressParameters) -> list[Variant]:
    """Every variant once, the uncompressed policy first."""
    pruned = [
        Variant(method, norm, share)  # type: ignore[arg-type]
        for (method, norm), share in product(PRUNED_WAYS, parameters.shares)
    ]
    return list(dict.fromkeys([UNCOMPRESSED, *parameters.others, *pruned]))


def prepare_from_rollouts(
    policy: Policy,
    environment: Environment,
    seeds: Iterator[int],
    parameters: CompressParameters,
    cache: Path,
) -> Prepared:
    """Ranges and QAT weights of a policy, from states that it meets in `environment`."""
    act = deploy_actor(policy.actor, UNCOMPRESSED, "numpy", None, cache).act
    states = collect_states(environment, act, seeds, parameters.states)
    return prepare(policy.actor, states, policy.seed, parameters.qat)


def evaluate_variants(
    policy: Policy,
    prepared: Prepared,
    environment: Environment,
    random_return: float,
    parameters: CompressParameters,
    cache: Path,
) -> list[dict[str, Any]]:
    """A row an episode of every variant; all variants meet the same episodes in the same order.

    NumPy runs what is in floating point and eager PyTorch the rest: a runtime changes no return. The
    uncompressed policy gets all the episodes that there may be: it is what the others are compared with, and
    its distance to a random policy is the scale of their intervals. `return_known`: whether the variant's
    interval became as narrow as was asked for.
    """
    rows: list[dict[str, Any]] = []
    bar = StoppingRule(parameters.episodes_maximum, np.inf, parameters.confidence)
    for variant in variants_of(parameters):
        runtime = "numpy" if variant.precision == "fp32" else "torch-eager"
        deployed = deploy_actor(policy.actor, variant, runtime, prepared, cache)  # type: ignore[arg-type]
        episodes = episodes_until(bar, environment, deployed.act, parameters)
        returns = [episode.episode_return for episode in episodes]
        if variant == UNCOMPRESSED:
            half_width = parameters.return_interval * abs(float(np.mean(returns)) - random_return)
            bar = StoppingRule(parameters.episodes_minimum, half_width, parameters.confidence)
        own = variant_columns(policy, variant, deployed) | {"return_known": bar.reached(returns)}
        rows += [
            own | {"episode": number, "episode_seed": parameters.seed + number} | episode._asdict()
            for number, episode in enumerate(episodes)
        ]
    return rows


def variant_columns(policy: Policy, variant: Variant, deployed: DeployedActor) -> dict[str, Any]:
    """What names a variant of a policy, and its exact counts."""
    return {
        "environment": policy.environment,
        "algorithm": policy.algorithm,
        "seed": policy.seed,
        "variant": variant.name,
        "method": variant.method,
        "norm": variant.norm,
        "share": variant.share,
        "size_bytes": deployed.size_bytes,
        "parameters": count_parameters(deployed.module),
        "nonzero": count_nonzero(deployed.module),
        "weights_sha256": deployed.weights_sha256,
    }


def episodes_until(
    bar: StoppingRule, environment: Environment, act: Act, parameters: CompressParameters
) -> list[Episode]:
    """Episodes, the same ones for every policy, until the return is known as `bar` says, or there are
    `episodes_maximum`."""
    episodes: list[Episode] = []
    for number in range(parameters.episodes_maximum):
        episodes.append(run_episode(environment, act, parameters.seed + number))
        if bar.reached([episode.episode_return for episode in episodes]):
            break
    return episodes
