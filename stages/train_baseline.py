"""Stage train_baseline: windows become GRU weights; the frugal forecasters stand beside them."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.artifact.determinism import use_deterministic_torch  # isort: skip  (before torch)

import numpy as np
import torch

from sustainable.artifact.errors import exit_on_error
from sustainable.artifact.files import write_json, write_rows
from sustainable.artifact.hashing import file_sha256, fingerprint, tensors_sha256
from sustainable.artifact.parameters import read_section
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecaster import correct, save_forecaster
from sustainable.frugal import frugal_predictions
from sustainable.training import Trainer, TrainingParameters
from sustainable.weather import Windows, load_windows


def main() -> None:
    arguments = parse_arguments()
    recipe = read_section(arguments.params, "train_baseline", TrainingParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    parts = load_windows(arguments.windows)
    identity = fingerprint({"recipe": asdict(recipe), "windows": file_sha256(arguments.windows)})
    trainer = Trainer(recipe, parts["train"].inputs.shape[2], arguments.checkpoint, identity)
    meter = choose_meter(metering).make()
    meter.start()
    model = trainer.fit(as_pair(parts["train"]), as_pair(parts["validation"]), lambda: asdict(meter.read()))
    meter.stop()
    write_rows(arguments.history, trainer.progress.history)
    write_json(arguments.cost, total_cost(trainer.progress.sittings))
    write_json(arguments.metrics, describe(trainer, parts))
    save_forecaster(arguments.weights, model)
    arguments.checkpoint.unlink(missing_ok=True)


def as_pair(part: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.inputs), torch.from_numpy(part.target).float()


def describe(trainer: Trainer, parts: dict[str, Windows]) -> dict[str, Any]:
    """Accuracy of every forecaster on validation and test, and what the network is."""
    accuracy: dict[str, dict[str, Any]] = {}
    for name in ("validation", "test"):
        right = {"gru": correct(trainer.model, *as_pair(parts[name]), trainer.recipe.batch_size).numpy()}
        for forecaster, prediction in frugal_predictions(parts["train"], parts[name]).items():
            right[forecaster] = prediction == parts[name].target
        for forecaster, hits in right.items():
            score = {"accuracy": float(np.mean(hits)), "correct": int(hits.sum()), "windows": len(hits)}
            accuracy.setdefault(forecaster, {})[name] = score
    weights = trainer.model.state_dict()
    return {
        "forecasters": accuracy,
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "weights_sha256": tensors_sha256(weights),
        "best_epoch": trainer.progress.best_epoch,
        "best_validation_loss": trainer.progress.best_loss,
        "epochs": trainer.progress.epoch,
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--cost", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
