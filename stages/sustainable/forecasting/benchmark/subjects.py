"""The subjects of a benchmark: each configuration as a deployed model, with its constant columns."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sustainable.core.errors import UserError
from sustainable.core.tensors import serialise, tensors_sha256
from sustainable.compression import CompressionError
from sustainable.forecasting.compression.accounting import account
from sustainable.compression.weights import prune_weights
from sustainable.forecasting.benchmark.choices import BrokenChoice, Deployment, FrugalChoice, ResolvedChoice
from sustainable.forecasting.compression.actions import Configuration, compress_forecaster
from sustainable.forecasting.compression.runtimes import (
    Deployed,
    deploy,
    deploy_in_torch,
    deploy_unchecked,
)
from sustainable.forecasting.compression.units import prune_gru_units
from sustainable.forecasting.layerwise.plan import LayerPlan, compress_by_plan
from sustainable.forecasting.model.gru import Forecaster, LayeredGRU, decided, layered
from sustainable.forecasting.model.gru import load_forecaster, sequence_flops, trained_in
from sustainable.forecasting.model.frugal import frugal_predictions, logistic_last_day, logistic_window
from sustainable.forecasting.data.windows import Windows


@dataclass(frozen=True)
class Sources:
    """Where models come from."""

    models: Path
    """Folder of a protocol's models."""
    choices: Path
    """File of the deployments or actions that a search chose."""
    cache: Path
    """Folder for exported models."""
    train: Windows
    """Training windows, from which the logistic regression is fitted."""

    def baseline(self, seed: int) -> Forecaster:
        """Load the trained network of one seed."""
        return load_forecaster(trained_in(self.models / "baseline")[seed])

    def narrow(self, seed: int, widths: tuple[int, ...]) -> Forecaster:
        """Load the baseline of one seed, or the network of `widths` pruned from it (L1) and fine-tuned."""
        base = self.baseline(seed)
        return base if widths == base.widths else self._shrunk("l1", widths, seed)

    def continued(self, seed: int) -> Forecaster:
        """Load the baseline of one seed, trained on as long as a pruned network is fine-tuned."""
        return self._shrunk("continued", self.baseline(seed).widths, seed)

    def _shrunk(self, method: str, widths: tuple[int, ...], seed: int) -> Forecaster:
        folder = self.models / "narrow" / method / "x".join(map(str, widths))
        return load_forecaster(folder / f"seed_{seed}.safetensors")

    def seeds(self) -> list[int]:
        """Return the trained seeds in ascending order."""
        return list(trained_in(self.models / "baseline"))


@dataclass(frozen=True)
class Subject:
    """One model to measure."""

    deployed: Deployed
    labels: dict[str, Any]
    """The columns that are the same in all rows of this model."""
    hits: Tensor
    """Which windows [n] of bool the model classifies correctly."""


def make_subjects(
    choices: Mapping[str, ResolvedChoice],
    sources: Sources,
    seed: int,
    inputs: Tensor,
    target: Tensor,
    batch_size: int,
) -> dict[str, Subject]:
    """Make a subject of every choice from the network of `seed`.

    `inputs` [n, days, features], `target` [n]. Raises `UserError` if the first choice is not the baseline.
    """
    first = next(iter(choices))
    if choices[first] not in (Configuration(), _uncompressed(sources, seed)):
        raise UserError(f"benchmark: configurations: {first}: the first must be the uncompressed baseline")
    subjects = {}
    for name, choice in choices.items():
        try:
            if choice == "logistic_last_day" or choice == "logistic_window":
                subject = _frugal(choice, sources.train)
            elif choice == "continued":
                model = sources.continued(seed)
                deployed = deploy_in_torch(model, "fp32")
                subject = Subject(deployed, _labels(choice, deployed, model, inputs), torch.empty(0))
            elif isinstance(choice, str):
                subject = _broken(choice, sources.baseline(seed), seed, inputs)
            else:
                subject = _network(choice, sources, seed, inputs)
        except CompressionError as error:
            raise UserError(f"benchmark: configurations: {name}: {error}") from None
        logits = torch.from_numpy(subject.deployed.logits(inputs, batch_size))
        subjects[name] = Subject(subject.deployed, subject.labels, decided(logits) == target.long())
    return subjects


def hits_table(
    subjects: Mapping[int, Mapping[str, Subject]], train: Windows, test: Windows
) -> list[dict[str, int]]:
    """Return one row per training seed and test window.

    A row holds the first day of the window, and 1 or 0 for each configuration and frugal forecaster: whether
    it classifies the window correctly.
    """
    frugal = {name: forecast == test.target for name, forecast in frugal_predictions(train, test).items()}
    rows = []
    for seed, models in subjects.items():
        hits = {name: subject.hits.numpy() for name, subject in models.items()} | {
            name: correct for name, correct in frugal.items() if name not in models
        }
        rows += [
            {"training_seed": seed, "first_day": int(day)}
            | {name: int(correct[index]) for name, correct in hits.items()}
            for index, day in enumerate(test.first_day)
        ]
    return rows


def _uncompressed(sources: Sources, seed: int) -> Deployment:
    return Deployment(sources.baseline(seed).widths, "fp32", "torch-eager")


def _network(
    choice: Configuration | LayerPlan | Deployment, sources: Sources, seed: int, inputs: Tensor
) -> Subject:
    model = sources.baseline(seed)
    extra: dict[str, Any] = {}
    if isinstance(choice, Deployment):
        model = sources.narrow(seed, choice.widths)
        days = inputs.shape[1]
        deploy(model, choice.precision, choice.runtime, inputs, sources.cache)
        # measure a second deployment: the checked one keeps the memory of the check on all windows at once
        deployed = deploy_unchecked(model, choice.precision, choice.runtime, days, sources.cache)
        extra = {f"width_{depth}": width for depth, width in enumerate(choice.widths)}
    else:
        if isinstance(choice, LayerPlan):
            compressed, _ = compress_by_plan(model, choice)
        else:
            compressed = compress_forecaster(model, choice, inputs[:1])
            extra = {"pruning": choice.pruning, "quantization": choice.quantization}
        deployed = deploy_in_torch(compressed, "int8" if choice.quantization else "fp32")
    labels = _labels(choice.name, deployed, model, inputs)
    if deployed.size_bytes is not None:
        labels["size_bytes"] = deployed.size_bytes
    return Subject(deployed, {"name": choice.name} | extra | labels, torch.empty(0))


def _labels(name: str, deployed: Deployed, model: Forecaster, inputs: Tensor) -> dict[str, Any]:
    """The constant columns of a deployed network of the shape of `model`."""
    _, days, features = inputs.shape
    return {
        "name": name,
        "runtime": deployed.runtime,
        "precision": deployed.precision,
        **asdict(account(deployed.model, days, features)),
        "flops": sequence_flops(features, model.widths, days, model.architecture.classes),
    }


def _broken(choice: BrokenChoice, model: Forecaster, seed: int, inputs: Tensor) -> Subject:
    """Break a trained network, and deploy it in eager PyTorch."""
    if choice == "random_weights":
        torch.manual_seed(seed)
        broken: Forecaster = LayeredGRU(layered(model).architecture).eval()
    elif choice == "masked_90":
        broken = prune_weights(model, 0.9, "global")
    else:
        broken = prune_gru_units(layered(model), (1,) * len(model.widths), "l1")
    deployed = deploy_in_torch(broken, "fp32")
    return Subject(deployed, _labels(choice.replace("_", " "), deployed, broken, inputs), torch.empty(0))


def _frugal(choice: FrugalChoice, train: Windows) -> Subject:
    """Deploy a logistic regression in plain numpy."""
    reads_all = choice == "logistic_window"
    fitted = logistic_window(train) if reads_all else logistic_last_day(train)
    weights, biases = (value.astype(np.float32) for value in fitted)

    def run(windows: np.ndarray) -> np.ndarray:
        inputs = windows.reshape(len(windows), -1) if reads_all else windows[:, -1]
        logits: np.ndarray = inputs @ weights + biases
        return logits[:, 0] if logits.shape[1] == 1 else logits

    name = "logistic regression" if not reads_all else "logistic regression on all steps"
    return _in_numpy(name, run, {"weights": weights, "bias": biases}, 2 * weights.size)


def _in_numpy(
    name: str, run: Callable[[np.ndarray], np.ndarray], arrays: Mapping[str, np.ndarray], flops: int
) -> Subject:
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    parameters = sum(value.size for value in arrays.values())
    labels = {
        "name": name,
        "runtime": "numpy",
        "precision": "fp32",
        "weights_sha256": tensors_sha256(tensors),
        "parameters": parameters,
        "nonzero": parameters,
        "int8_parameters": 0,
        "size_bytes": len(serialise(tensors)),
        "proxy_parameters": parameters,
        "proxy_flops": flops,
        "flops": flops,
    }
    deployed = Deployed(lambda windows: windows.numpy(), run, torch.nn.Identity(), "fp32", "numpy")
    return Subject(deployed, labels, torch.empty(0))
