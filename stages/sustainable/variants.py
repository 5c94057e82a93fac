"""The compressed variants of a trained policy, and what each of them returns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.artifact.parameters import STRICT
from sustainable.compression.actor_accounting import nonzero_of, parameters_of
from sustainable.compression.actor_quantization import Prepared, QATParameters, prepare
from sustainable.compression.actor_runtimes import deploy_actor
from sustainable.compression.actors import Variant
from sustainable.policies.policy import Policy
from sustainable.policies.rollout import Act, Environment, Episode, collect_states, run_episode
from sustainable.statistics import student_interval

PRUNED_WAYS = (("unstructured", "l1"), ("structured", "l1"), ("structured", "l2"))
"""Without unstructured L2: of single weights both norms make the same mask (`compression.actors`)."""
PLAIN = Variant()
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
class Bar:
    """How exactly a return is to be known: the half width of its interval, in units of the return."""

    minimum: int
    maximum: int
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
    return list(dict.fromkeys([PLAIN, *parameters.others, *pruned]))


def prepare_policy(
    policy: Policy,
    environment: Environment,
    seeds: Iterator[int],
    parameters: CompressParameters,
    cache: Path,
) -> Prepared:
    """Ranges and QAT weights of a policy, from states that it meets in `environment`."""
    act = deploy_actor(policy.actor, PLAIN, "numpy", None, cache).act
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

    NumPy runs what is in floating point and eager PyTorch the rest: a runtime changes no return.
    """
    rows: list[dict[str, Any]] = []
    half_width = np.inf
    for variant in variants_of(parameters):
        runtime = "numpy" if variant.precision == "fp32" else "torch-eager"
        deployed = deploy_actor(policy.actor, variant, runtime, prepared, cache)  # type: ignore[arg-type]
        own = {
            "environment": policy.environment,
            "algorithm": policy.algorithm,
            "seed": policy.seed,
            "variant": variant.name,
            "method": variant.method,
            "norm": variant.norm,
            "share": variant.share,
            "size_bytes": deployed.size_bytes,
            "parameters": parameters_of(deployed.module),
            "nonzero": nonzero_of(deployed.module),
            "weights_sha256": deployed.weights_sha256,
        }
        if variant == PLAIN:  # its distance to a random policy is the scale of all intervals
            episodes = list(_episodes(environment, deployed.act, parameters, _always(parameters)))
            distance = abs(float(np.mean([one.episode_return for one in episodes])) - random_return)
            half_width = parameters.return_interval * distance
        else:
            bar = Bar(
                parameters.episodes_minimum, parameters.episodes_maximum, half_width, parameters.confidence
            )
            episodes = list(_episodes(environment, deployed.act, parameters, bar.reached))
        rows += [
            own | {"episode": number, "episode_seed": parameters.seed + number} | episode._asdict()
            for number, episode in enumerate(episodes)
        ]
    return rows


def _always(parameters: CompressParameters) -> Callable[[Sequence[float]], bool]:
    """The uncompressed policy is what all are compared with: it gets all the episodes that there may be."""
    return lambda returns: len(returns) >= parameters.episodes_maximum


def _episodes(
    environment: Environment,
    act: Act,
    parameters: CompressParameters,
    enough: Callable[[Sequence[float]], bool],
) -> Iterator[Episode]:
    returns: list[float] = []
    for number in range(parameters.episodes_maximum):
        episode = run_episode(environment, act, parameters.seed + number)
        returns.append(episode.episode_return)
        yield episode
        if enough(returns):
            return
