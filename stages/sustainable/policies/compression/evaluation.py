"""Evaluate the compressed variants of a trained policy: their returns, sizes and parameter counts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from sustainable.core.parameters import STRICT, Share
from sustainable.policies.compression.accounting import count_nonzero, count_parameters
from sustainable.policies.compression.static_int8 import Prepared, QATParameters, prepare_int8
from sustainable.policies.compression.runtimes import DeployedActor, deploy_actor
from sustainable.policies.compression.variants import Variant
from sustainable.policies.policy import Act, Policy
from sustainable.policies.environments.rollout import Environment, Episode, collect_states, run_episode
from sustainable.statistics import student_interval

PRUNING_METHODS = (("unstructured", "l1"), ("structured", "l1"), ("structured", "l2"))
"""Unstructured pruning by L2 would give the same masks as by L1 (see `variants.compress`)."""
UNCOMPRESSED = Variant()
_AtLeastTwo = Annotated[int, Field(ge=2)]


@dataclass(frozen=True, config=STRICT)
class CompressParameters:
    """Section `compress_policies` of params.yaml."""

    states: _AtLeastTwo  # observations from rollouts of each policy, for calibration and QAT
    qat: QATParameters
    others: Annotated[list[Variant], Field(min_length=1)]
    """Variants besides the pruned ones."""
    shares: Annotated[list[Share], Field(min_length=1)]
    """Every pruning method is applied with each of these shares."""
    episodes_minimum: _AtLeastTwo
    episodes_maximum: _AtLeastTwo
    return_interval: Share
    """Episodes are run until the interval of the mean return has this half width at most.

    The unit is the distance between the uncompressed policy's return and a random policy's."""
    confidence: Share  # confidence level of that interval
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of the first episode; each further episode adds 1."""


def precise_enough(returns: Sequence[float], minimum: int, half_width: float, confidence: float) -> bool:
    """Return whether there are `minimum` returns, and the interval of their mean is narrow enough.

    `half_width` is its largest half width, in units of the return.
    """
    mean = student_interval(returns, confidence) if len(returns) >= minimum else None
    return mean is not None and mean.high - mean.estimate <= half_width


def variants_of(parameters: CompressParameters) -> list[Variant]:
    """Return every variant once, the uncompressed policy first."""
    pruned = [
        Variant(method, norm, share)  # type: ignore[arg-type]
        for (method, norm), share in product(PRUNING_METHODS, parameters.shares)
    ]
    return list(dict.fromkeys([UNCOMPRESSED, *parameters.others, *pruned]))


def prepare_from_rollouts(
    policy: Policy,
    environment: Environment,
    seeds: Iterator[int],
    parameters: CompressParameters,
    cache: Path,
) -> Prepared:
    """Calibrate ranges and train QAT weights on states from rollouts of a policy in `environment`."""
    act = deploy_actor(policy.actor, UNCOMPRESSED, "numpy", None, cache).act
    states = collect_states(environment, act, seeds, parameters.states)
    return prepare_int8(policy.actor, states, policy.seed, parameters.qat)


def evaluate_variants(
    policy: Policy,
    prepared: Prepared,
    environment: Environment,
    random_return: float,
    parameters: CompressParameters,
    cache: Path,
) -> list[dict[str, Any]]:
    """Evaluate every variant on the same episodes in the same order; return one row per episode.

    Variants in floating point run on NumPy, the others on eager PyTorch: the runtime changes no return. The
    uncompressed policy runs `episodes_maximum` episodes, because all others are compared with it, and its
    distance to a random policy is the unit of their intervals. The column `return_known` says whether the
    variant's interval reached the requested width before the episode limit.
    """
    rows: list[dict[str, Any]] = []
    known = partial(precise_enough, confidence=parameters.confidence)
    rule = partial(known, minimum=parameters.episodes_maximum, half_width=np.inf)
    for variant in variants_of(parameters):
        runtime = "numpy" if variant.precision == "fp32" else "torch-eager"
        deployed = deploy_actor(policy.actor, variant, runtime, prepared, cache)  # type: ignore[arg-type]
        episodes = episodes_until(rule, environment, deployed.act, parameters)
        returns = [episode.episode_return for episode in episodes]
        if variant == UNCOMPRESSED:
            half_width = parameters.return_interval * abs(float(np.mean(returns)) - random_return)
            rule = partial(known, minimum=parameters.episodes_minimum, half_width=half_width)
        common = variant_columns(policy, variant, deployed) | {"return_known": rule(returns)}
        rows += [
            common | {"episode": number, "episode_seed": parameters.seed + number} | episode._asdict()
            for number, episode in enumerate(episodes)
        ]
    return rows


def variant_columns(policy: Policy, variant: Variant, deployed: DeployedActor) -> dict[str, Any]:
    """Return the columns that describe a variant of a policy, with its size and parameter counts."""
    return {
        "environment": policy.environment,
        "algorithm": policy.algorithm,
        "seed": policy.seed,
        "variant": variant.name,
        **asdict(variant),
        "size_bytes": deployed.size_bytes,
        "parameters": count_parameters(deployed.module),
        "nonzero": count_nonzero(deployed.module),
        "weights_sha256": deployed.weights_sha256,
    }


def episodes_until(
    rule: Callable[[list[float]], bool], environment: Environment, act: Act, parameters: CompressParameters
) -> list[Episode]:
    """Run episodes, the same for every policy, until `rule` is satisfied or `episodes_maximum` is reached."""
    episodes: list[Episode] = []
    for number in range(parameters.episodes_maximum):
        episodes.append(run_episode(environment, act, parameters.seed + number))
        if rule([episode.episode_return for episode in episodes]):
            break
    return episodes
