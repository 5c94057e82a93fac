"""The published search with its flaws repaired, one at a time and then all together.

Every variant rewards the 16 published actions with the published formula; the variants differ in the inputs
of the formula. All 16 actions are tried, so the choice is the best reward. Ties are reported, because a
searcher breaks them by chance.
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
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration, compress_forecaster
from sustainable.compression.quantization import quantize_dynamic_int8
from sustainable.forecasting.model.gru import correct, sequence_flops
from sustainable.forecasting.published.reward import Metrics, RewardParameters, published_reward
from sustainable.forecasting.compression.shrinking import equal_widths
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data.windows import Windows


@dataclass(frozen=True, config=STRICT)
class RepairsParameters:
    """Section `repair_search` of params.yaml."""

    windows: Annotated[int, Field(ge=1)]
    """Number of windows on which the published evaluation scores an action."""
    reward: RewardParameters
    """The published reward."""


@plain_dataclass(frozen=True)
class RepairVariant:
    """The flaws of the published search that a variant repairs."""

    name: str
    prunes: bool = False
    """Pruning removes units."""
    counts: bool = False
    """Stored bytes and executed operations replace the proxies."""
    same_windows: bool = False
    """An action and the baseline are scored on the same windows: all of the split."""
    validation: bool = False
    """Accuracy is that on validation windows, not on test windows."""
    measured: bool = False
    """Measured CPU time replaces the proxies."""


REPAIR_VARIANTS = (
    RepairVariant("as published"),
    RepairVariant("pruning that prunes", prunes=True),
    RepairVariant("honest counts", counts=True),
    RepairVariant("the same windows", same_windows=True),
    RepairVariant("validation, not test", validation=True),
    RepairVariant("measured cost", measured=True),
    RepairVariant("all five", prunes=True, counts=True, same_windows=True, validation=True, measured=True),
)


@plain_dataclass(frozen=True)
class TriedAction:
    """One action applied to the network of one seed."""

    action: int
    account: Account
    flops: int
    """Operations of one forecast, from the layers' shapes."""
    test_hits: np.ndarray
    """Which test windows [n] of bool are classified correctly."""
    validation_hits: np.ndarray
    """Which validation windows [n] of bool are classified correctly."""
    cpu_time_ms: Mapping[int, float]
    """Measured CPU time of one forecast, by batch size."""


def try_actions(
    sources: Sources, seed: int, parts: Mapping[str, Windows], costs: pd.DataFrame, prunes: bool
) -> list[TriedAction]:
    """Apply every published action to the network of `seed`.

    With `prunes`, pruning removes units; otherwise it does what it does in the published study, which is
    nothing. `costs` is the table of candidates. A candidate that was refused there cannot be deployed, and
    therefore saves nothing.
    """
    base = sources.baseline(seed)
    inputs = {name: torch.from_numpy(parts[name].inputs) for name in ("validation", "test")}
    planned = []
    for configuration in map(
        Configuration.of_action, range(ACTION_COUNT)
    ):  # a missing cost stops here, at once
        widths = equal_widths(base.widths, configuration.pruning) if prunes else base.widths
        precision = "int8" if configuration.quantization else "fp32"
        planned.append((configuration, widths, _measured(costs, widths, precision, base.widths)))
    tried: list[TriedAction] = []
    hits: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by weights: most published actions are one model
    for action, (configuration, widths, cpu_time_ms) in enumerate(planned):
        if prunes:
            model: nn.Module = sources.narrow(seed, widths)
            model = quantize_dynamic_int8(model) if configuration.quantization else model
        else:
            model = compress_forecaster(base, configuration, inputs["test"][:1])
        days, features = inputs["test"].shape[1:]
        counts, flops = account(model, days, features), sequence_flops(features, widths, days)
        if counts.weights_sha256 not in hits:
            test, validation = (_hits(model, inputs[name], parts[name]) for name in ("test", "validation"))
            hits[counts.weights_sha256] = (test, validation)
        tried.append(TriedAction(action, counts, flops, *hits[counts.weights_sha256], cpu_time_ms))
    return tried


def best_actions(
    tried: Sequence[TriedAction], variant: RepairVariant, parameters: RepairsParameters
) -> tuple[list[int], float]:
    """Return the actions that share the best reward of a variant, and that reward."""
    rewards = [
        published_reward(rewarded_metrics(candidate, tried[0], variant, parameters), parameters.reward)
        for candidate in tried
    ]
    best = max(rewards)
    return [action for action, reward in enumerate(rewards) if reward == best], best


def rewarded_metrics(
    candidate: TriedAction, base: TriedAction, variant: RepairVariant, parameters: RepairsParameters
) -> Metrics:
    """Return the inputs of the reward for an action; `base` is action 0, the uncompressed network."""
    hits, reference = (
        tried.validation_hits if variant.validation else tried.test_hits for tried in (candidate, base)
    )
    accuracy = float((hits if variant.same_windows else hits[: parameters.windows]).mean())
    metrics = Metrics(
        accuracy=accuracy,
        accuracy_change=accuracy - float(reference.mean()),
        parameter_reduction=1 - candidate.account.proxy_parameters / base.account.proxy_parameters,
        flops_reduction=1 - candidate.account.proxy_flops / base.account.proxy_flops,
        acted=candidate.action != 0,
    )
    if variant.counts:
        stored, done = candidate.account.size_bytes / base.account.size_bytes, candidate.flops / base.flops
        metrics = replace(metrics, parameter_reduction=1 - stored, flops_reduction=1 - done)
    if variant.measured:
        size = max(candidate.cpu_time_ms)
        saved = 1 - candidate.cpu_time_ms[size] / base.cpu_time_ms[size]
        metrics = replace(metrics, parameter_reduction=saved, flops_reduction=saved)
    return metrics


def repair_row(
    tried: Sequence[TriedAction], variant: RepairVariant, parameters: RepairsParameters
) -> dict[str, Any]:
    """Return one row: the actions that a variant chooses, with their measured cost and accuracy.

    The CPU time is relative to the uncompressed network and is the geometric mean over tied actions. The
    accuracy difference is that on all test windows and is the mean over tied actions.
    """
    actions, reward = best_actions(tried, variant, parameters)
    chosen, base = [tried[action] for action in actions], tried[0]
    row: dict[str, Any] = {
        "variant": variant.name,
        "actions": " ".join(map(str, actions)),
        "names": " ".join(Configuration.of_action(action).name for action in actions),
        "ties": len(actions),
        "models": len({candidate.account.weights_sha256 for candidate in chosen}),
        "reward": reward,
    }
    for size in base.cpu_time_ms:
        logs = [np.log(candidate.cpu_time_ms[size] / base.cpu_time_ms[size]) for candidate in chosen]
        row[f"cpu_time_ratio_batch_{size}"] = float(np.exp(np.mean(logs)))
    differences = [candidate.test_hits.mean() - base.test_hits.mean() for candidate in chosen]
    return row | {"test_accuracy_difference": float(np.mean(differences))}


def _hits(model: nn.Module, inputs: Tensor, part: Windows) -> np.ndarray:
    return correct(model, inputs, torch.from_numpy(part.target), len(inputs)).numpy()


def _measured(
    costs: pd.DataFrame, widths: Sequence[int], precision: str, full: Sequence[int]
) -> dict[int, float]:
    """Return the CPU time of one forecast in eager PyTorch, by batch size.

    For a refused candidate, return that of the `full` network.
    """
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
        missing = f"{'x'.join(map(str, widths))} in {precision} on torch-eager"
        raise UserError(f"candidates: there is no {missing}; add its widths to shrink.widths in params.yaml")
    return costs[same].iloc[0]
