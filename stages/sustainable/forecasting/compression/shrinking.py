"""Narrower forecasters: the baseline with units pruned and fine-tuned, and controls for the pruning.

The controls show whether the inherited units matter: units chosen by L2 norm or at random, fine-tuned in the
same way, and networks of the same size trained from scratch, with and without the baseline as a teacher. The
full network is also trained further, which shows the effect of more training.
"""

from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.core.parameters import STRICT, Share
from sustainable.forecasting.compression.units import Criterion, prune_gru_units
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, Width, logits_of
from sustainable.forecasting.model.training import TrainingRecipe, Trainer

ShrinkMethod = Literal["l1", "l2", "random", "continued", "scratch", "distilled"]
INHERITED: dict[str, Criterion] = {"l1": "l1", "l2": "l2", "random": "random", "continued": "l1"}
LabelledWindows = tuple[Tensor, Tensor]
"""Inputs [n, days, features] and targets [n]."""


@dataclass(frozen=True, config=STRICT)
class Controls:
    """Control networks, one per method, pair of widths and seed."""

    methods: Annotated[list[Literal["l2", "random", "scratch", "distilled"]], Field(min_length=1)]
    widths: Annotated[list[tuple[Width, ...]], Field(min_length=1)]
    from_scratch: TrainingRecipe  # recipe of the methods `scratch` and `distilled`
    distillation_share: Share  # weight of the teacher's probability in a student's target


@dataclass(frozen=True, config=STRICT)
class ShrinkParameters:
    """Section `shrink` of params.yaml."""

    widths: Annotated[list[Width], Field(min_length=1)]  # of a layer; the grid combines them over the layers
    equal_shares: list[Share]  # shares of units pruned from every layer alike, as the published actions do
    fine_tune: TrainingRecipe  # recipe after pruning
    controls: Controls


@plain_dataclass(frozen=True)
class ShrinkTask:
    """One network to make: by which method, of which widths, from the baseline of which seed."""

    method: ShrinkMethod
    widths: tuple[int, ...]
    seed: int

    @property
    def file(self) -> str:
        """Return its path within a folder of models."""
        return f"{self.method}/{'x'.join(map(str, self.widths))}/seed_{self.seed}.safetensors"


def equal_widths(full: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Return the widths that remain after pruning `share` of the units of every layer of `full`."""
    return tuple(round(width * (1 - share)) for width in full)


def width_pairs(full: tuple[int, ...], parameters: ShrinkParameters) -> list[tuple[int, ...]]:
    """Return the widths of the grid and of the equal shares, without duplicates and without `full`."""
    grid = list(product(parameters.widths, repeat=len(full)))
    wanted = [*grid, *(equal_widths(full, share) for share in parameters.equal_shares)]
    return [widths for widths in dict.fromkeys(wanted) if widths != full]


def plan_shrinking(full: tuple[int, ...], seeds: list[int], parameters: ShrinkParameters) -> list[ShrinkTask]:
    """Return every network to make, the widest first, so that the workers finish at about the same time."""
    tasks = [ShrinkTask("l1", widths, seed) for widths in width_pairs(full, parameters) for seed in seeds]
    tasks += [ShrinkTask("continued", full, seed) for seed in seeds]
    for method, widths, seed in product(parameters.controls.methods, parameters.controls.widths, seeds):
        tasks.append(ShrinkTask(method, widths, seed))
    return sorted(tasks, key=lambda task: -sum(task.widths))


def shrink_forecaster(
    task: ShrinkTask,
    baseline: LayeredGRU,
    train: LabelledWindows,
    validation: LabelledWindows,
    parameters: ShrinkParameters,
) -> tuple[LayeredGRU, dict[str, Any]]:
    """Make and train the network of `task`; return it with a row that describes its training.

    `baseline` is the trained network of the task's seed; `train` and `validation` are inputs
    [n, days, features] and targets [n].
    """
    torch.manual_seed(task.seed)
    if task.method in INHERITED:
        recipe, target = parameters.fine_tune, train[1]
        generator = torch.Generator().manual_seed(task.seed)
        model = prune_gru_units(baseline, task.widths, INHERITED[task.method], generator)
    else:
        recipe = parameters.controls.from_scratch
        share = parameters.controls.distillation_share if task.method == "distilled" else 0.0
        target = distillation_target(baseline, train, share, recipe.batch_size)
        shape = baseline.architecture
        model = LayeredGRU(LayeredArchitecture(shape.features, task.widths, shape.dropout, shape.classes))
    trainer = Trainer(model, recipe, task.seed)
    before = trainer.validation_loss(validation)
    trainer.fit((train[0], target), validation)
    return model, {
        "method": task.method,
        **{f"width_{depth}": width for depth, width in enumerate(task.widths)},
        "seed": task.seed,
        "validation_loss_before": before,
        "validation_loss": trainer.progress.best_loss,
        "best_epoch": trainer.progress.best_epoch,
        "epochs": trainer.progress.epoch,
    }


def distillation_target(teacher: LayeredGRU, train: LabelledWindows, share: float, batch_size: int) -> Tensor:
    """Return a student's targets: `share` times the teacher's probability plus the rest times the target.

    Cross-entropy is linear in its target, so this gives the usual distillation loss (Hinton et al. 2015, with
    temperature 1). They are [n] float for two classes, else [n, classes] float.
    """
    logits = logits_of(teacher, train[0], batch_size)
    if logits.ndim == 1:
        return (1 - share) * train[1] + share * torch.sigmoid(logits)
    truth = nn.functional.one_hot(train[1], logits.shape[1])
    return (1 - share) * truth + share * torch.softmax(logits, dim=1)
