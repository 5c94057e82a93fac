"""The forecasters: GRUs that read a window of days and say whether the next day is wet."""

from collections.abc import Sequence
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


@dataclass(frozen=True, config=STRICT)
class Architecture:
    """The shape of the network; `dropout` acts between the layers, in training alone."""

    features: Annotated[int, Field(ge=1)]
    hidden: Width
    layers: Annotated[int, Field(ge=1, le=8)]
    dropout: Dropout


@dataclass(frozen=True, config=STRICT)
class LayeredArchitecture:
    """The same with a width of its own for every layer."""

    features: Annotated[int, Field(ge=1)]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
    dropout: Dropout


class WeatherGRU(nn.Module):
    """Stacked GRU and a linear readout of the last day's state; gives logits."""

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
        self.readout = nn.Linear(architecture.hidden, 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Units by layer."""
        return (self.architecture.hidden,) * self.architecture.layers

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [n] of a wet next day for `windows` [n, days, features]."""
        states, _ = self.gru(windows)  # [n, days, hidden]
        logits: Tensor = self.readout(states[:, -1]).squeeze(-1)
        return logits


class LayeredGRU(nn.Module):
    """The same network with one `nn.GRU` a layer, because a stacked one has a single width."""

    def __init__(self, architecture: LayeredArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        sizes = pairwise((architecture.features, *architecture.widths))
        self.layers = nn.ModuleList(nn.GRU(before, width, batch_first=True) for before, width in sizes)
        self.dropout = nn.Dropout(architecture.dropout)
        self.readout = nn.Linear(architecture.widths[-1], 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Units by layer."""
        return self.architecture.widths

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [n] of a wet next day for `windows` [n, days, features]."""
        states = windows
        for depth, layer in enumerate(self.layers):
            states, _ = layer(states if depth == 0 else self.dropout(states))  # [n, days, width]
        logits: Tensor = self.readout(states[:, -1]).squeeze(-1)
        return logits


Forecaster = WeatherGRU | LayeredGRU


def layered(model: Forecaster) -> LayeredGRU:
    """A copy with one `nn.GRU` a layer; the same weights, and the same outputs up to rounding."""
    shape = model.architecture
    copied = LayeredGRU(LayeredArchitecture(shape.features, model.widths, shape.dropout))
    weights = model.state_dict()
    if isinstance(model, WeatherGRU):
        weights = {_layered_name(name): value for name, value in weights.items()}
    copied.load_state_dict(weights)
    return copied.train(model.training)


def _layered_name(name: str) -> str:
    """`gru.weight_ih_l1` of the stacked network is `layers.1.weight_ih_l0` of the layered one."""
    if not name.startswith("gru."):
        return name
    kind, _, depth = name.removeprefix("gru.").rpartition("_l")
    return f"layers.{depth}.{kind}_l0"


def logits_of(model: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    """Logits [n] for `inputs` [n, days, features], computed in batches."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in inputs.split(batch_size)])


def correct(model: nn.Module, inputs: Tensor, target: Tensor, batch_size: int) -> Tensor:
    """Which windows [n] the model gets right (bool); `inputs` [n, days, features], `target` [n]."""
    return (logits_of(model, inputs, batch_size) > 0) == (target > 0.5)


def save_forecaster(path: Path, model: Forecaster) -> None:
    """Weights and their architecture, as one safetensors file."""
    write_tensors(path, model.state_dict(), asdict(model.architecture))


def load_forecaster(path: Path) -> Forecaster:
    """The stored model, in evaluation mode; raises `UserError` when file and shape do not agree."""
    tensors, shape = read_tensors(path)
    try:
        model = _build(shape)
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: weights do not fit the model: {first}; run `dvc repro` again") from None
    return model.eval()


def trained_in(folder: Path) -> dict[int, Path]:
    """The files of the networks in `folder` by training seed, ascending; raises `UserError` without any."""
    found = {int(path.stem.removeprefix("seed_")): path for path in folder.glob("seed_*.safetensors")}
    if not found:
        raise UserError(f"{folder}: there are no weights; `dvc repro train_baseline` makes them")
    return dict(sorted(found.items()))


def _build(shape: dict[str, Any]) -> Forecaster:
    if "widths" in shape:
        return LayeredGRU(LayeredArchitecture(**shape | {"widths": tuple(shape["widths"])}))
    return WeatherGRU(Architecture(**shape))


def sequence_flops(features: int, widths: Sequence[int], days: int) -> int:
    """Floating-point operations of the matrix products for one window of `days`.

    A multiply and an add are two. Per day and layer a GRU multiplies the input and the state by
    three gates; element-wise work is left out, as `torch.utils.flop_counter` does.
    """
    layers = pairwise((features, *widths))
    return sum(2 * 3 * width * (before + width) * days for before, width in layers) + 2 * widths[-1]


def parameter_count(features: int, widths: Sequence[int]) -> int:
    """Weights and biases of a forecaster of these `widths`: what pruning units must leave, exactly."""
    layers = pairwise((features, *widths))
    return sum(3 * width * (before + width) + 6 * width for before, width in layers) + widths[-1] + 1
