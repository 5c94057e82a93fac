"""Stage train_baseline: windows become GRU weights, one model a seed; the frugal forecasters stand beside."""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

import torch

from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.core.tensors import tensors_sha256
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.model.gru import Forecaster, load_forecaster, logits_of, save_forecaster
from sustainable.forecasting.model.frugal import frugal_predictions, frugal_probabilities
from sustainable.forecasting.model.scores import score
from sustainable.forecasting.model.training import Trainer, TrainingParameters
from sustainable.forecasting.data import Windows, load_windows

SCORED = ("validation", "test")


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "train_baseline", TrainingParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", MeterParameters)
    tasks = [
        (seed, parameters, metering, arguments.windows, arguments.checkpoints) for seed in parameters.seeds
    ]
    workers = 1 if choose_meter(metering).whole_machine else None
    done = list(in_parallel(train_seed, tasks, "training seeds", workers))
    write_rows(arguments.history, [row for run in done for row in run["history"]])
    write_json(arguments.cost, total_cost([sitting for run in done for sitting in run["sittings"]]))
    parts = load_windows(arguments.windows)
    write_json(arguments.metrics, {"forecasters": frugal_scores(parts)} | summary(done))
    for seed in parameters.seeds:
        name = f"seed_{seed}.safetensors"
        save_forecaster(arguments.weights / name, load_forecaster(arguments.checkpoints / "done" / name))
    shutil.rmtree(arguments.checkpoints)


def train_seed(
    seed: int, parameters: TrainingParameters, metering: MeterParameters, windows: Path, folder: Path
) -> dict[str, Any]:
    """Train one model, resuming where it was killed; its weights go to `folder`/done."""
    use_deterministic_torch()
    parts = load_windows(windows)
    identity = fingerprint({"recipe": asdict(parameters), "windows": file_sha256(windows)})
    model = parameters.new_model(parts["train"].inputs.shape[2], seed)
    trainer = Trainer(model, parameters.recipe, seed, folder / f"seed_{seed}.safetensors", identity)
    meter = choose_meter(metering).make()
    meter.start()
    trainer.fit(as_pair(parts["train"]), as_pair(parts["validation"]), lambda: asdict(meter.read()))
    meter.stop()
    save_forecaster(folder / "done" / f"seed_{seed}.safetensors", model)
    return {
        "seed": seed,
        "history": [{"seed": seed, **row} for row in trainer.progress.history],
        "sittings": trainer.progress.sittings,
        "model": describe(trainer),
        "scores": {part: gru_scores(model, parts[part], parameters.recipe.batch_size) for part in SCORED},
    }


def as_pair(part: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.inputs), torch.from_numpy(part.target).float()


def describe(trainer: Trainer) -> dict[str, Any]:
    """What one trained network is."""
    weights = trainer.model.state_dict()
    return {
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "weights_sha256": tensors_sha256(weights),
        "best_epoch": trainer.progress.best_epoch,
        "best_validation_loss": trainer.progress.best_loss,
        "epochs": trainer.progress.epoch,
    }


def gru_scores(model: Forecaster, part: Windows, batch_size: int) -> dict[str, Any]:
    """Scores of one network on one part."""
    logits = logits_of(model, torch.from_numpy(part.inputs), batch_size)
    right = int(((logits > 0).numpy() == part.target).sum())
    return {"correct": right} | asdict(score(torch.sigmoid(logits).double().numpy(), part.target))


def frugal_scores(parts: dict[str, Windows]) -> dict[str, dict[str, Any]]:
    """Scores of the frugal forecasters on validation and test: hits by rule, the rest by probability."""
    found: dict[str, dict[str, Any]] = {}
    for name in SCORED:
        said = frugal_predictions(parts["train"], parts[name])
        for forecaster, probability in frugal_probabilities(parts["train"], parts[name]).items():
            right = int((said[forecaster] == parts[name].target).sum())
            scores = {"correct": right} | asdict(score(probability, parts[name].target))
            found.setdefault(forecaster, {})[name] = scores | {"accuracy": right / len(parts[name])}
    return found


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Every seed's model and scores, and the means over seeds."""
    mean: dict[str, Any] = {
        part: {
            key: sum(run["scores"][part][key] for run in done) / len(done) for key in done[0]["scores"][part]
        }
        for part in SCORED
    }
    return {
        "seeds": {str(run["seed"]): run["model"] | run["scores"] for run in done},
        "mean_over_seeds": mean,
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", required=True)
    for name in ("params", "windows", "checkpoints", "weights", "history", "metrics", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
