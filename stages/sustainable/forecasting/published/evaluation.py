"""Evaluation of the published actions: compress, count with the proxies, score."""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.forecasting.compression.accounting import Account, account
from sustainable.forecasting.compression.actions import Configuration, compress_forecaster
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import correct
from sustainable.forecasting.published.reward import Metrics, RewardTerms


@dataclass(frozen=True, config=STRICT)
class EvaluationParameters:
    """The windows on which an action is scored."""

    split: Literal["validation", "test"]
    windows: Annotated[int, Field(ge=1)]
    """Number of windows, from the start of the split."""
    batch_size: Annotated[int, Field(ge=1)]
    baseline_windows: Literal["split", "same"]
    """The windows of the baseline's accuracy: the whole split, or the same as the action's."""


@plain_dataclass(frozen=True)
class Evaluated:
    """One evaluated action."""

    configuration: Configuration
    metrics: Metrics
    """The figures from which the reward is computed."""
    account: Account | None
    """The counts of the compressed model; None if the compressor failed."""


class Evaluator:
    """Compress a model by action and score it on the windows of `part` that `parameters` name."""

    def __init__(self, model: nn.Module, part: Windows, parameters: EvaluationParameters) -> None:
        inputs, target = torch.from_numpy(part.inputs), torch.from_numpy(part.target)
        self._model, self._batch_size = model, parameters.batch_size
        self._inputs, self._target = inputs[: parameters.windows], target[: parameters.windows]
        self._base = self._account(model)
        hits = correct(model, inputs, target, parameters.batch_size).double()
        counted = hits if parameters.baseline_windows == "split" else hits[: parameters.windows]
        self.baseline = Metrics(float(counted.mean()), 0.0, 0.0, 0.0, acted=False)

    def evaluate(self, action: int) -> Evaluated:
        """Compress by `action`; if the compressor fails, the metrics have `failed=True`."""
        configuration = Configuration.of_action(action)
        try:
            model = compress_forecaster(self._model, configuration, self._inputs[:1])
        except CompressionError:
            return Evaluated(configuration, Metrics(0.0, 0.0, 0.0, 0.0, failed=True), None)
        counted, accuracy = self._account(model), self._accuracy(model)
        metrics = Metrics(
            accuracy=accuracy,
            accuracy_change=accuracy - self.baseline.accuracy,
            parameter_reduction=1 - counted.proxy_parameters / self._base.proxy_parameters,
            flops_reduction=1 - counted.proxy_flops / self._base.proxy_flops,
            acted=configuration != Configuration(),
        )
        return Evaluated(configuration, metrics, counted)

    def _account(self, model: nn.Module) -> Account:
        return account(model, self._inputs.shape[1], self._inputs.shape[2])

    def _accuracy(self, model: nn.Module) -> float:
        return float(correct(model, self._inputs, self._target, self._batch_size).double().mean())


def as_row(action: int, evaluated: Evaluated, terms: RewardTerms) -> dict[str, Any]:
    """Return one row of the table of evaluated actions, with the terms of its reward."""
    metrics, counted = evaluated.metrics, evaluated.account
    return {
        "action": action,
        "name": evaluated.configuration.name,
        "pruning": evaluated.configuration.pruning,
        "quantization": evaluated.configuration.quantization,
        "reward": sum(terms),
        **{f"reward_{name}": value for name, value in terms._asdict().items()},
        "accuracy": metrics.accuracy,
        "accuracy_change": metrics.accuracy_change,
        "parameter_reduction": metrics.parameter_reduction,
        "flops_reduction": metrics.flops_reduction,
        "failed": metrics.failed,
        **{name: getattr(counted, name, None) for name in Account.__dataclass_fields__},
    }


def tied_best(rewards: list[float]) -> list[int]:
    """Return the actions (indices) that share the highest reward, ascending."""
    best = max(rewards)
    return [action for action, reward in enumerate(rewards) if reward == best]


def evaluation_part(parts: Mapping[str, Windows], parameters: EvaluationParameters, section: str) -> Windows:
    """Return the split on which actions are scored; `section` of params.yaml is named in errors."""
    part = parts[parameters.split]
    if parameters.windows > len(part.target):
        raise UserError(
            f"params.yaml: {section}.evaluation.windows: {parameters.windows} windows, but the "
            f"{parameters.split} split has {len(part.target)}; give at most so many"
        )
    return part
