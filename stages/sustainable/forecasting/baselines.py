"""The baseline forecasters: one trained GRU per seed, and the frugal forecasters that it is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

import torch

from sustainable.core.cells import CellFiles
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.tensors import tensors_sha256
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import run_metered_cells
from sustainable.forecasting.data.windows import Windows, as_tensors, load_windows
from sustainable.forecasting.model.frugal import frugal_predictions, frugal_probabilities
from sustainable.forecasting.model.gru import Forecaster, decided, logits_of, probabilities, save_forecaster
from sustainable.forecasting.model.scores import score
from sustainable.forecasting.model.training import Trainer, TrainingParameters

SCORED = ("validation", "test")
"""The parts of the data that forecasters are scored on."""


def train_baselines(
    parameters: TrainingParameters, metering: MeterParameters, windows: Path, folder: Path
) -> list[dict[str, Any]]:
    """Train one model per seed; return a record for each.

    The weights of a seed are in `weights_file(folder, seed)`. A killed run resumes from its checkpoints.
    """
    tasks = [(seed, parameters, metering, windows, folder) for seed in parameters.seeds]
    files = [
        CellFiles((windows,), (_checkpoint(folder, seed), weights_file(folder, seed)))
        for seed in parameters.seeds
    ]
    return list(run_metered_cells(train_seed, tasks, "training seeds", metering, files))


def weights_file(folder: Path, seed: int) -> Path:
    """Where `train_baselines` leaves the weights of a seed."""
    return folder / "done" / f"seed_{seed}.safetensors"


def _checkpoint(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed}.safetensors"


def train_seed(
    seed: int, parameters: TrainingParameters, metering: MeterParameters, windows: Path, folder: Path
) -> dict[str, Any]:
    """Train, save and score one model, from its last checkpoint if there is one."""
    use_deterministic_torch()
    parts = load_windows(windows)
    identity = fingerprint({"recipe": asdict(parameters), "windows": file_sha256(windows)})
    model = parameters.new_model(parts["train"].inputs.shape[2], seed, parts["train"].classes)
    trainer = Trainer(model, parameters.recipe, seed, _checkpoint(folder, seed), identity)
    meter = choose_meter(metering).make()
    meter.start()
    trainer.fit(as_tensors(parts["train"]), as_tensors(parts["validation"]), lambda: asdict(meter.read()))
    meter.stop()
    save_forecaster(weights_file(folder, seed), model)
    return {
        "seed": seed,
        "history": [{"seed": seed, **row} for row in trainer.progress.history],
        "sittings": trainer.progress.sittings,
        "model": describe_model(trainer),
        "scores": {part: gru_scores(model, parts[part], parameters.recipe.batch_size) for part in SCORED},
    }


def describe_model(trainer: Trainer) -> dict[str, Any]:
    """Describe a trained network: its size, the hash of its weights, and its best epoch."""
    weights = trainer.model.state_dict()
    return {
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "weights_sha256": tensors_sha256(weights),
        "best_epoch": trainer.progress.best_epoch,
        "best_validation_loss": trainer.progress.best_loss,
        "epochs": trainer.progress.epoch,
    }


def gru_scores(model: Forecaster, part: Windows, batch_size: int) -> dict[str, Any]:
    """Score one network on one part."""
    logits = logits_of(model, torch.from_numpy(part.inputs), batch_size)
    correct = int((decided(logits).numpy() == part.target).sum())
    return {"correct": correct} | asdict(score(probabilities(logits).numpy(), part.target))


def frugal_scores(parts: dict[str, Windows]) -> dict[str, dict[str, Any]]:
    """Score the frugal forecasters on the parts `SCORED`.

    `correct` and `accuracy` count the predictions of their rules; the other scores use their probabilities.
    """
    scores: dict[str, dict[str, Any]] = {}
    for name in SCORED:
        part, predictions = parts[name], frugal_predictions(parts["train"], parts[name])
        for forecaster, probability in frugal_probabilities(parts["train"], part).items():
            correct = int((predictions[forecaster] == part.target).sum())
            counted = {"correct": correct, "accuracy": correct / len(part)}
            scores.setdefault(forecaster, {})[name] = asdict(score(probability, part.target)) | counted
    return scores


def summarise_baselines(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return every seed's model and scores, and the means over seeds."""
    mean: dict[str, Any] = {}
    for part in SCORED:
        scores = [record["scores"][part] for record in records]
        mean[part] = {key: sum(one[key] for one in scores) / len(scores) for key in scores[0]}
    return {
        "seeds": {str(record["seed"]): record["model"] | record["scores"] for record in records},
        "mean_over_seeds": mean,
    }
