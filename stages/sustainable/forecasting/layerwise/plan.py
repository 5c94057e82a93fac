"""Plans: a share of zeroed weights for each layer of the network, and whether to quantize."""

import copy
from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from sustainable.compression import CompressionError
from sustainable.compression.quantization import quantize_dynamic_int8
from sustainable.compression.weights import zero_smallest
from sustainable.core.parameters import STRICT
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import Forecaster, WeatherGRU, correct

LARGEST_SHARE = 0.95
"""The largest share in the source's logs."""
Share = Annotated[float, Field(ge=0.0, le=LARGEST_SHARE)]


@dataclass(frozen=True, config=STRICT)
class LayerPlan:
    """Shares of zeroed weights by layer, and int8 or not."""

    shares: tuple[Share, Share, Share]
    """Of GRU layer 0, of GRU layer 1, and of the readout."""
    quantization: bool

    @property
    def name(self) -> str:
        """Return a short name such as `Z0/95/95+Q`."""
        return "Z" + "/".join(f"{100 * share:.0f}" for share in self.shares) + "+Q" * self.quantization


def compress_by_plan(model: Forecaster, plan: LayerPlan) -> tuple[nn.Module, float]:
    """Return a compressed copy of `model`, and its sparsity: the zeroed share of all parameters.

    Weights are set to zero by magnitude within each matrix. No shape changes, so neither does the number of
    operations that a dense kernel executes. Raises `CompressionError` if the layers are not in one stacked
    GRU, whose names tell them apart.
    """
    if not isinstance(model, WeatherGRU):
        raise CompressionError("zeros per layer need a network with one stacked GRU")
    compressed: nn.Module = copy.deepcopy(model).eval()
    compressed.gru, zeros = compress_part(model.gru, plan)
    compressed.readout, others = compress_part(model.readout, plan)
    return compressed, (zeros + others) / sum(value.numel() for value in model.parameters())


def compress_part(part: nn.Module, plan: LayerPlan) -> tuple[nn.Module, int]:
    """Return a compressed copy of the GRU or of the readout, and how many of its parameters are zero."""
    zeroed: nn.Module = zero_smallest(nn.Sequential(part), lambda name: _share_of(name, plan)).eval()
    zeros = sum(int((value == 0).sum()) for value in zeroed.parameters())
    zeroed = quantize_dynamic_int8(zeroed) if plan.quantization else zeroed
    return next(zeroed.children()), zeros


def _share_of(name: str, plan: LayerPlan) -> float:
    """Return the share of a weight matrix; the readout's has no layer in its name."""
    return plan.shares[{"_l0": 0, "_l1": 1}.get(name[-3:], 2)]


@plain_dataclass(frozen=True)
class PlanOutcome:
    """The evaluation of a plan."""

    accuracy: float
    """On the windows of the split that is searched on."""
    sparsity: float
    reward: float


@dataclass(frozen=True, config=STRICT)
class PlanReward:
    """The reward of the later version: `reduction_scale` x reduction + `accuracy_scale` x gain of accuracy.

    The proxies count nothing in a quantized model, so its reduction is 1 whatever is pruned. That of a model
    in floating point is its sparsity, because the source's table counts zeros as saved operations; its own
    formula for this case is not known.
    """

    reduction_scale: Annotated[float, Field(gt=0.0, le=1000.0)]
    accuracy_scale: Annotated[float, Field(gt=0.0, le=1000.0)]

    def of(self, gain: float, sparsity: float, quantized: bool) -> float:
        """Return the reward. `gain`: accuracy minus that of the baseline on the same windows."""
        return self.reduction_scale * (1.0 if quantized else sparsity) + self.accuracy_scale * gain


def accuracy_of(model: nn.Module, part: Windows) -> float:
    """Return the share of the windows of `part` that are classified correctly, all in one batch."""
    inputs, target = torch.from_numpy(part.inputs), torch.from_numpy(part.target)
    return float(correct(model, inputs, target, len(target)).double().mean())
