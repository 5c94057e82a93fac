"""Training of the forecaster: deterministic, with checkpoints; a resumed run ends with the same weights.

The randomness of an epoch (order of windows, dropout) depends only on the seed and the epoch's number, so a
resumed run needs no generator state. The optimizer is fused, because the square root of the fused
implementation is the one that gives equal results on CPUs of different makers.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from sustainable.core.documents import Progress, problem_in, same_form
from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.core.reading import damaged, one_line
from sustainable.core.tensors import read_checkpoint, write_checkpoint
from sustainable.forecasting.model.gru import Architecture, Dropout, Forecaster, WeatherGRU, Width

Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, config=STRICT)
class TrainingRecipe:
    """How to train a forecaster. The weights with the lowest validation loss are kept."""

    optimizer: Literal["AdamW"]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)]
    batch_size: PositiveInt
    epochs: PositiveInt  # maximum number of epochs
    patience_epochs: PositiveInt  # training ends after so many epochs without a lower validation loss
    cosine_period_epochs: PositiveInt  # epochs in which the learning rate falls to its minimum along a cosine
    minimum_learning_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    checkpoint_epochs: PositiveInt  # epochs between checkpoints


@dataclass(frozen=True, config=STRICT)
class TrainingParameters:
    """Section `train_baseline` of params.yaml, under a protocol."""

    hidden: Width
    layers: Annotated[int, Field(ge=1, le=8)]
    dropout: Dropout
    seeds: Annotated[list[Seed], Field(min_length=1)]  # one model is trained per seed
    recipe: TrainingRecipe

    def new_model(self, features: int, seed: int, classes: int = 2) -> WeatherGRU:
        """Return an untrained network, initialised from `seed`."""
        torch.manual_seed(seed)
        return WeatherGRU(Architecture(features, self.hidden, self.layers, self.dropout, classes))


@plain_dataclass
class TrainingProgress:
    """The part of a checkpoint that is not tensors."""

    epoch: int = 0  # number of completed epochs
    best_epoch: int = 0
    best_loss: float = float("inf")  # lowest validation loss so far
    history: list[dict[str, float]] = field(default_factory=list)  # one row per epoch
    sittings: list[dict[str, Any]] = field(default_factory=list)
    """Cost of each sitting, which is the part of a run between two interruptions."""


class Trainer:
    """One training run. `fit` starts from the last checkpoint, if there is one."""

    def __init__(
        self,
        model: Forecaster,
        recipe: TrainingRecipe,
        seed: int,
        checkpoint: Path | None = None,
        identity: str = "",
    ) -> None:
        """Prepare to train `model` in place.

        `seed` determines the order of windows and the dropout. `checkpoint` is the file to resume from and to
        write; None for no checkpoints. `identity` is a fingerprint of recipe and data: a checkpoint with
        another identity is ignored.
        """
        self.model, self.recipe, self.seed = model, recipe, seed
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.scheduler = CosineAnnealingLR(
            self.optimizer, recipe.cosine_period_epochs, eta_min=recipe.minimum_learning_rate
        )
        self.best = _copy(self.model)
        self.progress = TrainingProgress()
        self.checkpoint, self.identity = checkpoint, identity
        self._resume()

    def fit(
        self,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        cost_so_far: Callable[[], dict[str, Any]] = dict,
    ) -> Forecaster:
        """Train and return the model with the lowest validation loss.

        `train` and `validation` are inputs [n, days, features] and targets (see `cross_entropy`).
        `cost_so_far` returns the cost of this sitting. It is stored with every checkpoint, so that the cost
        of a resumed run is the sum of its sittings; an interrupted one counts up to its last checkpoint.
        """
        recipe, earlier = self.recipe, list(self.progress.sittings)
        epochs = range(self.progress.epoch, recipe.epochs)
        for epoch in self._shown(epochs):
            if self.progress.epoch - self.progress.best_epoch >= recipe.patience_epochs:
                break
            self._one_epoch(epoch, train, validation)
            if self.progress.epoch % recipe.checkpoint_epochs == 0:
                self.progress.sittings = [*earlier, cost_so_far()]
                self._save()
        self.progress.sittings = [*earlier, cost_so_far()]
        self.model.load_state_dict(self.best)
        return self.model.eval()

    def _shown(self, epochs: range) -> Iterable[int]:
        """Show progress, but only for trainings that are long enough to have checkpoints."""
        if self.checkpoint is None:
            return epochs
        label = f"training, seed {self.seed}"
        return progress(epochs, label, self.recipe.epochs, self.progress.epoch, "epochs")

    def _one_epoch(self, epoch: int, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        rate = self.scheduler.get_last_lr()[0]
        train_loss = self._descend(*train)
        self.scheduler.step()
        loss = self.validation_loss(validation)
        state = self.progress
        state.epoch = epoch + 1
        if loss < state.best_loss:
            state.best_loss, state.best_epoch, self.best = loss, state.epoch, _copy(self.model)
        row = {"epoch": state.epoch, "learning_rate": float(rate)}
        state.history.append({**row, "train_loss": train_loss, "validation_loss": loss})

    def _descend(self, inputs: Tensor, target: Tensor) -> float:
        """Train on all windows once in random order; return the mean loss per window."""
        self.model.train()
        total = 0.0
        for batch in torch.randperm(len(target)).split(self.recipe.batch_size):
            self.optimizer.zero_grad()
            loss = cross_entropy(self.model(inputs[batch]), target[batch])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch)
        return total / len(target)

    def validation_loss(self, validation: tuple[Tensor, Tensor]) -> float:
        """Return the mean cross-entropy of the current model; `validation` as for `fit`."""
        inputs, target = validation
        self.model.eval()
        with torch.inference_mode():
            return cross_entropy(self.model(inputs), target).item()

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        description = {
            "identity": self.identity,
            "progress": asdict(self.progress),
            "groups": self.optimizer.state_dict()["param_groups"],
            "scheduler": self.scheduler.state_dict(),
        }
        write_checkpoint(self.checkpoint, tensors, description)

    def _resume(self) -> None:
        """Load the last checkpoint; start from scratch if it is damaged or has another identity."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return
        try:
            tensors, description = read_checkpoint(self.checkpoint)
        except UserError as error:
            print(f"starting from scratch: {error}", flush=True)
            return
        if description.get("identity") != self.identity:
            return
        try:
            self._restore(tensors, description)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise damaged(self.checkpoint, f"not a checkpoint ({one_line(error)[:200]})") from None
        print(f"resuming after epoch {self.progress.epoch} of {self.recipe.epochs}", flush=True)

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        """Load a checkpoint; raises `ValueError` or others if it is not one of this training."""
        own = {
            "groups": self.optimizer.state_dict()["param_groups"],
            "scheduler": self.scheduler.state_dict(),
        }
        if not same_form(own, {key: description[key] for key in own}):
            raise ValueError("the optimizer's settings have another form")
        self.best = _part(tensors, "best.")
        self.model.load_state_dict(self.best)  # only to check that it fits
        self.model.load_state_dict(_part(tensors, "model."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        for weights, moments in zip(self.model.parameters(), map(state.get, sorted(state)), strict=True):
            if {
                name: value.shape for name, value in (moments or {}).items() if name != "step"
            } != dict.fromkeys(("exp_avg", "exp_avg_sq"), weights.shape):
                raise ValueError("the optimizer's moments do not fit the weights")
        self.optimizer.load_state_dict({"state": state, "param_groups": description["groups"]})
        self.scheduler.load_state_dict(description["scheduler"])
        if problem := problem_in(description["progress"], Progress):
            raise ValueError(problem)
        self.progress = TrainingProgress(**description["progress"])


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy.

    For two classes, logits [n] and targets [n] float in [0, 1]. For more, logits [n, classes], and targets
    [n] int64 or, as probabilities, [n, classes].
    """
    if logits.ndim == 1:
        return nn.functional.binary_cross_entropy_with_logits(logits, target)
    return nn.functional.cross_entropy(logits, target)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
