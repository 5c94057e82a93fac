"""Narrower forecasters: units pruned from the baseline and fine-tuned, and the controls that pruning owes.

The controls answer whether the trained units were worth inheriting: other units (L2 norm, or random ones)
fine-tuned alike, and networks of that size trained from nothing, with and without the baseline as teacher.
And the full network is trained on in the same way, so that what is due to more training is seen.
"""

from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from sustainable.core.parameters import STRICT
from sustainable.forecasting.compression.units import Criterion, prune_units
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, Width, logits_of
from sustainable.forecasting.model.training import Recipe, Trainer

Method = Literal["l1", "l2", "random", "continued", "scratch", "distilled"]
INHERITED: dict[str, Criterion] = {"l1": "l1", "l2": "l2", "random": "random", "continued": "l1"}
Pair = tuple[Tensor, Tensor]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class Controls:
    """`distillation_share`: how much of a student's target is the teacher's probability."""

    methods: Annotated[list[Literal["l2", "random", "scratch", "distilled"]], Field(min_length=1)]
    widths: Annotated[list[tuple[Width, ...]], Field(min_length=1)]
    from_scratch: Recipe
    distillation_share: Share


@dataclass(frozen=True, config=STRICT)
class ShrinkParameters:
    """`widths`: the grid, layer by layer; `equal_shares`: shares of units that are pruned from all layers
    alike, as the published actions do."""

    widths: Annotated[list[Width], Field(min_length=1)]
    equal_shares: list[Share]
    fine_tune: Recipe
    controls: Controls


@plain_dataclass(frozen=True)
class Narrow:
    """One network to make: how, how wide, and from which seed's baseline."""

    method: Method
    widths: tuple[int, ...]
    seed: int

    @property
    def file(self) -> str:
        """Its place in a folder of models."""
        return f"{self.method}/{'x'.join(map(str, self.widths))}/seed_{self.seed}.safetensors"


def equal_widths(full: tuple[int, ...], share: float) -> tuple[int, ...]:
    """What is left of `full` when that share of every layer's units is pruned."""
    return tuple(round(width * (1 - share)) for width in full)


def width_pairs(full: tuple[int, ...], parameters: ShrinkParameters) -> list[tuple[int, ...]]:
    """The grid and the equally pruned ones, without the full network, each once."""
    grid = list(product(parameters.widths, repeat=len(full)))
    wanted = [*grid, *(equal_widths(full, share) for share in parameters.equal_shares)]
    return [widths for widths in dict.fromkeys(wanted) if widths != full]


def plan(full: tuple[int, ...], seeds: list[int], parameters: ShrinkParameters) -> list[Narrow]:
    """Every network to make; the wide ones first, so that workers end at the same time."""
    tasks = [Narrow("l1", widths, seed) for widths in width_pairs(full, parameters) for seed in seeds]
    tasks += [Narrow("continued", full, seed) for seed in seeds]
    for method, widths, seed in product(parameters.controls.methods, parameters.controls.widths, seeds):
        tasks.append(Narrow(method, widths, seed))
    return sorted(tasks, key=lambda task: -sum(task.widths))


def make_narrow(
    task: Narrow, baseline: LayeredGRU, train: Pair, validation: Pair, parameters: ShrinkParameters
) -> tuple[LayeredGRU, dict[str, Any]]:
    """The network that `task` names, trained, and a row of what it took.

    `train` and `validation` are inputs [n, days, features] and targets [n]; `baseline` is the trained network
    of the task's seed.
    """
    torch.manual_seed(task.seed)
    if task.method in INHERITED:
        recipe, target = parameters.fine_tune, train[1]
        generator = torch.Generator().manual_seed(task.seed)
        model = prune_units(baseline, task.widths, INHERITED[task.method], generator)
    else:
        recipe = parameters.controls.from_scratch
        share = parameters.controls.distillation_share if task.method == "distilled" else 0.0
        target = taught(baseline, train, share, recipe.batch_size)
        shape = baseline.architecture
        model = LayeredGRU(LayeredArchitecture(shape.features, task.widths, shape.dropout))
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


def taught(teacher: LayeredGRU, train: Pair, share: float, batch_size: int) -> Tensor:
    """Targets [n] of a student: `share` of the teacher's probability, the rest of the truth.

    Cross-entropy is linear in its target, so that this is the usual distillation loss (Hinton et al. 2015,
    at temperature 1).
    """
    probability = torch.sigmoid(logits_of(teacher, train[0], batch_size))
    return (1 - share) * train[1] + share * probability
