"""The forecasters: GRUs that read a window of days and predict whether the next day is wet."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.core.tensors import read_tensors, write_tensors

Width = Annotated[int, Field(ge=1, le=4096)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Classes = Annotated[int, Field(ge=2, le=1000)]
"""Classes to tell apart. Two need one logit, more need one each."""


@dataclass(frozen=True, config=STRICT)
class Architecture:
    """Shape of a network whose layers have equal widths."""

    features: Annotated[int, Field(ge=1)]  # inputs per day
    hidden: Width  # hidden units of every layer
    layers: Annotated[int, Field(ge=1, le=8)]
    dropout: Dropout  # dropout between the layers; active only in training
    classes: Classes = 2


@dataclass(frozen=True, config=STRICT)
class LayeredArchitecture:
    """Shape of a network whose layers can have different widths; fields as in `Architecture`."""

    features: Annotated[int, Field(ge=1)]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]  # hidden units per layer
    dropout: Dropout
    classes: Classes = 2


def logits_for(classes: int) -> int:
    """How many logits tell `classes` apart."""
    return 1 if classes == 2 else classes


class WeatherGRU(nn.Module):
    """A stacked GRU with a linear readout of the last day's state."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.gru = nn.GRU(
            architecture.features,
            architecture.hidden,
            num_layers=architecture.layers,
            dropout=architecture.dropout if architecture.layers > 1 else 0.0,
            batch_first=True,
        )
        self.readout = nn.Linear(architecture.hidden, logits_for(architecture.classes))

    @property
    def widths(self) -> tuple[int, ...]:
        """Hidden units per layer."""
        return (self.architecture.hidden,) * self.architecture.layers

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the logits of `windows` [n, days, features]: [n] for two classes, else [n, classes]."""
        states, _ = self.gru(windows)  # [n, days, hidden]
        logits: Tensor = self.readout(states[:, -1]).squeeze(-1)
        return logits


class LayeredGRU(nn.Module):
    """The same network with one `nn.GRU` per layer, because the layers of a stacked GRU have equal widths."""

    def __init__(self, architecture: LayeredArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        sizes = pairwise((architecture.features, *architecture.widths))
        self.layers = nn.ModuleList(nn.GRU(before, width, batch_first=True) for before, width in sizes)
        self.dropout = nn.Dropout(architecture.dropout)
        self.readout = nn.Linear(architecture.widths[-1], logits_for(architecture.classes))

    @property
    def widths(self) -> tuple[int, ...]:
        """Hidden units per layer."""
        return self.architecture.widths

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the logits of `windows` [n, days, features]: [n] for two classes, else [n, classes]."""
        states = windows
        for depth, layer in enumerate(self.layers):
            states, _ = layer(states if depth == 0 else self.dropout(states))  # [n, days, width]
        logits: Tensor = self.readout(states[:, -1]).squeeze(-1)
        return logits


Forecaster = WeatherGRU | LayeredGRU


def layered(model: Forecaster) -> LayeredGRU:
    """Return a copy with one `nn.GRU` per layer: equal weights, and equal outputs up to rounding."""
    shape = model.architecture
    copied = LayeredGRU(LayeredArchitecture(shape.features, model.widths, shape.dropout, shape.classes))
    # `gru.weight_ih_l1` of the stacked network becomes `layers.1.weight_ih_l0`
    stacked = re.compile(r"gru\.(\w+)_l(\d+)")
    weights = {stacked.sub(r"layers.\2.\1_l0", name): value for name, value in model.state_dict().items()}
    copied.load_state_dict(weights)
    return copied.train(model.training)


def logits_of(model: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    """Compute logits [n] or [n, classes] for `inputs` [n, days, features] in batches."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in inputs.split(batch_size)])


def correct(model: nn.Module, inputs: Tensor, target: Tensor, batch_size: int) -> Tensor:
    """Return which windows [n] of bool the model classifies correctly.

    `inputs` [n, days, features], `target` [n].
    """
    return decided(logits_of(model, inputs, batch_size)) == target.long()


def decided(logits: Tensor) -> Tensor:
    """Return the class [n] int64 that logits [n] or [n, classes] decide for."""
    return (logits > 0).long() if logits.ndim == 1 else logits.argmax(dim=1)


def probabilities(logits: Tensor) -> Tensor:
    """Return float64 probabilities: [n] of class 1 for logits [n], or [n, classes] for one logit a class."""
    given = torch.sigmoid(logits) if logits.ndim == 1 else torch.softmax(logits, dim=1)
    return given.double()


def save_forecaster(path: Path, model: Forecaster) -> None:
    """Write the weights and the architecture to one safetensors file."""
    shape = asdict(model.architecture)
    if shape["classes"] == 2:
        del shape["classes"]  # so that binary models are stored as they always were, byte by byte
    write_tensors(path, model.state_dict(), shape)


def load_forecaster(path: Path) -> Forecaster:
    """Load a model in evaluation mode; raises `UserError` if the weights do not fit the architecture."""
    tensors, shape = read_tensors(path)
    try:
        model: Forecaster
        _refuse_larger(tensors, shape)
        if "widths" in shape:
            model = LayeredGRU(LayeredArchitecture(**shape | {"widths": tuple(shape["widths"])}))
        else:
            model = WeatherGRU(Architecture(**shape))
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, OverflowError) as error:
        first = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: weights do not fit the model: {first}; run `dvc repro` again") from None
    return model.eval()


def _refuse_larger(tensors: Mapping[str, Tensor], shape: Mapping[str, Any]) -> None:
    """Raise `ValueError` if the description asks for a larger network than the file has weights for."""
    widths = shape.get("widths", [shape.get("hidden", 1)])
    stored = sum(tensor.numel() for tensor in tensors.values())
    if not all(isinstance(width, int) and 0 < width <= stored for width in widths) or len(widths) > stored:
        raise ValueError(f"{stored} weights are stored, for widths {str(widths)[:60]}")
    others = shape.get("features", 1), shape.get("layers", 1), shape.get("classes", 2)
    if max(widths) ** 2 > stored or not all(isinstance(one, int) and one <= stored for one in others):
        raise ValueError(f"{stored} weights are stored, for widths {str(widths)[:60]}")


def trained_in(folder: Path) -> dict[int, Path]:
    """Return the files of the networks in `folder` by training seed, ascending.

    Raises `UserError` if there are none.
    """
    files = {int(path.stem.removeprefix("seed_")): path for path in folder.glob("seed_*.safetensors")}
    if not files:
        raise UserError(f"{folder}: there are no weights; `dvc repro train_baseline` makes them")
    return dict(sorted(files.items()))


def sequence_flops(features: int, widths: Sequence[int], days: int, classes: int = 2) -> int:
    """Count the floating-point operations of the matrix products for one window of `days`.

    A multiply-add counts as two. For each day, each of the three gates of a layer multiplies the input and
    the state by a matrix. Element-wise operations are not counted, as in `torch.utils.flop_counter`.
    """
    layers = pairwise((features, *widths))
    return sum(2 * 3 * width * (before + width) * days for before, width in layers) + 2 * widths[
        -1
    ] * logits_for(classes)


def gru_parameter_count(features: int, widths: Sequence[int], classes: int = 2) -> int:
    """Count the weights and biases of a forecaster of these `widths`.

    Pruning units must leave exactly this number.
    """
    layers = pairwise((features, *widths))
    return sum(3 * width * (before + width) + 6 * width for before, width in layers) + (
        widths[-1] + 1
    ) * logits_for(classes)
