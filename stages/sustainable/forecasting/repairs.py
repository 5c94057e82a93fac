"""The published search on honest models, its flaws repaired one at a time.

Every variant rewards the 16 published actions by the published formula; what differs is what the formula is
told. Since 16 actions can all be tried, the pick is the best reward, and ties are named: a searcher breaks
them by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.forecasting.compression.accounting import Account, account
from sustainable.forecasting.compression.actions import ACTIONS, Configuration, compress
from sustainable.compression.quantization import quantize_dynamic_int8
from sustainable.forecasting.model.gru import correct, sequence_flops
from sustainable.forecasting.published.reward import Metrics, RewardParameters, published_reward
from sustainable.forecasting.compression.shrinking import equal_widths
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data import Windows


@dataclass(frozen=True, config=STRICT)
class RepairsParameters:
    """`test_windows`: how many of the test set the published evaluation looks at; `reward`: as published."""

    test_windows: Annotated[int, Field(ge=1)]
    reward: RewardParameters


@plain_dataclass(frozen=True)
class Variant:
    """Which of the published search's flaws are repaired."""

    name: str
    prunes: bool = False
    counts: bool = False
    validation: bool = False
    measured: bool = False


VARIANTS = (
    Variant("as published"),
    Variant("pruning that prunes", prunes=True),
    Variant("honest counts", counts=True),
    Variant("validation, not test", validation=True),
    Variant("measured cost", measured=True),
    Variant("all four", prunes=True, counts=True, validation=True, measured=True),
)


@plain_dataclass(frozen=True)
class Tried:
    """One action on the network of one seed: its widths and precision, counts, hits [n] on both parts, and
    its measured CPU time by batch size."""

    action: int
    account: Account
    flops: int
    test_hits: np.ndarray
    validation_hits: np.ndarray
    cpu_time_ms: Mapping[int, float]


def try_actions(
    sources: Sources, seed: int, parts: Mapping[str, Windows], costs: pd.DataFrame, prunes: bool
) -> list[Tried]:
    """Every published action on the network of `seed`, pruned as published (not at all) or really.

    `costs` is the table of candidates; one that was refused there cannot be deployed, and so saves nothing.
    """
    base = sources.baseline(seed)
    inputs = {name: torch.from_numpy(parts[name].inputs) for name in ("validation", "test")}
    tried = []
    for action in range(ACTIONS):
        configuration = Configuration.of_action(action)
        widths = equal_widths(base.widths, configuration.pruning) if prunes else base.widths
        if prunes:
            model: nn.Module = sources.narrow(seed, widths)
            model = quantize_dynamic_int8(model) if configuration.quantization else model
        else:
            model = compress(base, configuration, inputs["test"][:1])
        days, features = inputs["test"].shape[1:]
        tried.append(
            Tried(
                action,
                account(model, days, features),
                sequence_flops(features, widths, days),
                _hits(model, inputs["test"], parts["test"]),
                _hits(model, inputs["validation"], parts["validation"]),
                _measured(costs, widths, "int8" if configuration.quantization else "fp32", base.widths),
            )
        )
    return tried


def pick(tried: Sequence[Tried], variant: Variant, parameters: RepairsParameters) -> tuple[list[int], float]:
    """The actions that share the best reward under a variant, and that reward."""
    rewards = [published_reward(told(one, tried[0], variant, parameters), parameters.reward) for one in tried]
    best = max(rewards)
    return [action for action, reward in enumerate(rewards) if reward == best], best


def told(one: Tried, base: Tried, variant: Variant, parameters: RepairsParameters) -> Metrics:
    """What the reward is told of an action; `base` is action 0, the uncompressed network.

    Honest counts are the bytes that are stored and the operations that are done, in whatever type.
    """
    if variant.validation:
        accuracy, reference = float(one.validation_hits.mean()), float(base.validation_hits.mean())
    else:
        accuracy, reference = (float(t.test_hits[: parameters.test_windows].mean()) for t in (one, base))
    metrics = Metrics(
        accuracy=accuracy,
        accuracy_change=accuracy - reference,
        parameter_reduction=1 - one.account.proxy_parameters / base.account.proxy_parameters,
        flops_reduction=1 - one.account.proxy_flops / base.account.proxy_flops,
        acted=one.action != 0,
    )
    if variant.counts:
        stored, done = one.account.size_bytes / base.account.size_bytes, one.flops / base.flops
        metrics = replace(metrics, parameter_reduction=1 - stored, flops_reduction=1 - done)
    if variant.measured:
        size = max(one.cpu_time_ms)
        saved = 1 - one.cpu_time_ms[size] / base.cpu_time_ms[size]
        metrics = replace(metrics, parameter_reduction=saved, flops_reduction=saved)
    return metrics


def outcome(tried: Sequence[Tried], variant: Variant, parameters: RepairsParameters) -> dict[str, Any]:
    """One row: what a variant picks, and what the pick then really is.

    CPU time is relative to the uncompressed network, the geometric mean over tied picks; the accuracy
    difference is counted on all test windows, the mean over tied picks.
    """
    actions, reward = pick(tried, variant, parameters)
    picks, base = [tried[action] for action in actions], tried[0]
    row: dict[str, Any] = {
        "variant": variant.name,
        "actions": " ".join(map(str, actions)),
        "names": " ".join(Configuration.of_action(action).name for action in actions),
        "ties": len(actions),
        "models": len({one.account.weights_sha256 for one in picks}),
        "reward": reward,
    }
    for size in base.cpu_time_ms:
        logs = [np.log(one.cpu_time_ms[size] / base.cpu_time_ms[size]) for one in picks]
        row[f"cpu_time_ratio_batch_{size}"] = float(np.exp(np.mean(logs)))
    differences = [one.test_hits.mean() - base.test_hits.mean() for one in picks]
    return row | {"test_accuracy_difference": float(np.mean(differences))}


def _hits(model: nn.Module, inputs: Tensor, part: Windows) -> np.ndarray:
    return correct(model, inputs, torch.from_numpy(part.target), len(inputs)).numpy()


def _measured(
    costs: pd.DataFrame, widths: Sequence[int], precision: str, full: Sequence[int]
) -> dict[int, float]:
    """CPU time of one forecast in eager PyTorch, by batch size; of the `full` network for a refused one."""
    row = _eager_row(costs, widths, precision)
    if pd.notna(row.get("refused")):
        row = _eager_row(costs, full, "fp32")
    prefix = "cpu_time_ms_batch_"
    return {
        int(name.removeprefix(prefix)): float(row[name]) for name in costs.columns if name.startswith(prefix)
    }


def _eager_row(costs: pd.DataFrame, widths: Sequence[int], precision: str) -> pd.Series:
    same = (costs["width_0"] == widths[0]) & (costs["width_1"] == widths[1])
    same &= (costs["precision"] == precision) & (costs["runtime"] == "torch-eager")
    same &= costs["family"] != "masked"
    if not same.any():
        what = f"{'x'.join(map(str, widths))} in {precision} on torch-eager"
        raise UserError(f"candidates: there is no {what}; add its widths to shrink.widths in params.yaml")
    return costs[same].iloc[0]
