"""The forecaster: a GRU that reads a window of days and says whether the next day is wet."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.artifact.errors import UserError
from sustainable.artifact.files import read_tensors, write_tensors
from sustainable.artifact.parameters import STRICT


@dataclass(frozen=True, config=STRICT)
class Architecture:
    """The shape of the network; `dropout` acts between the layers, in training alone."""

    features: Annotated[int, Field(ge=1)]
    hidden: Annotated[int, Field(ge=1, le=4096)]
    layers: Annotated[int, Field(ge=1, le=8)]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]


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

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [n] of a wet next day for `windows` [n, days, features]."""
        states, _ = self.gru(windows)  # [n, days, hidden]
        logits: Tensor = self.readout(states[:, -1]).squeeze(-1)
        return logits


def correct(model: nn.Module, inputs: Tensor, target: Tensor, batch_size: int) -> Tensor:
    """Which windows [n] the model gets right (bool); `inputs` [n, days, features], `target` [n]."""
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(batch) for batch in inputs.split(batch_size)])
    return (logits > 0) == (target > 0.5)


def save_forecaster(path: Path, model: WeatherGRU) -> None:
    """Weights and their architecture, as one safetensors file."""
    write_tensors(path, model.state_dict(), asdict(model.architecture))


def load_forecaster(path: Path) -> WeatherGRU:
    """The stored model, in evaluation mode; raises `UserError` when file and shape do not agree."""
    tensors, shape = read_tensors(path)
    try:
        model = WeatherGRU(Architecture(**shape))
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: weights do not fit the model: {first}; run `dvc repro` again") from None
    return model.eval()


def sequence_flops(architecture: Architecture, days: int) -> int:
    """Floating-point operations of the matrix products for one window of `days`.

    A multiply and an add are two. Per day and layer a GRU multiplies the input and the state by
    three gates; element-wise work is left out, as `torch.utils.flop_counter` does.
    """
    hidden, total = architecture.hidden, 0
    for layer in range(architecture.layers):
        width = architecture.features if layer == 0 else hidden
        total += 2 * 3 * hidden * (width + hidden) * days
    return total + 2 * hidden
