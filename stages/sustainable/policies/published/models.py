"""The notebook's agent and its compressors, which simulate what they name, and real ones in their place."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from sustainable.policies.compression.variants import Variant, compress
from sustainable.policies.policy import CLIP, Actor, ActorArchitecture, linear_layers

NotebookMethod = Literal["none", "quantization", "pruning", "mixed"]
Compressor = Literal["simulated", "real", "none"]
INT8_LEVELS = 255.0
PRUNED_PART, QUANTIZED_PART = 0.7, 0.3
"""The shares of its intensity that the notebook's mixed method gives to pruning and to quantization."""
SPARSE_OVERHEAD = 0.1
"""Extra numbers that the notebook draws per input at a sparsity of 1."""


class SimulatedInt8(nn.Module):
    """A linear layer with weights rounded to 256 levels, stored and multiplied as float32.

    `overhead` extra random numbers per input are drawn and summed, as the cost of a library.
    """

    def __init__(self, layer: nn.Linear, overhead: float) -> None:
        super().__init__()
        weight = layer.weight.detach()
        low, high = weight.min(), weight.max()
        scale = (high - low) / INT8_LEVELS
        self.weight = nn.Parameter(torch.round((weight - low) / scale) * scale + low)
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.overhead = overhead

    def forward(self, inputs: Tensor) -> Tensor:
        return _with_overhead(nn.functional.linear(inputs, self.weight, self.bias), inputs, self.overhead)


class SimulatedSparse(nn.Module):
    """A linear layer whose smallest weights are zero, stored and multiplied densely."""

    def __init__(self, layer: nn.Linear, share: float) -> None:
        super().__init__()
        weight = layer.weight.detach()
        size = weight.abs()
        self.weight = nn.Parameter(weight * (size > torch.quantile(size.flatten(), share)))
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.overhead = SPARSE_OVERHEAD * share

    def forward(self, inputs: Tensor) -> Tensor:
        return _with_overhead(nn.functional.linear(inputs, self.weight, self.bias), inputs, self.overhead)


def _with_overhead(outputs: Tensor, inputs: Tensor, overhead: float) -> Tensor:
    if numbers := int(overhead * inputs.numel()):
        torch.sum(torch.randn(numbers))
    return outputs


class Scaled(nn.Module):
    """Scales observations as a trained actor does."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", actor.mean.clone())
        self.register_buffer("scale", actor.scale.clone())

    def forward(self, observations: Tensor) -> Tensor:
        return torch.clamp((observations - self.mean) * self.scale, -CLIP, CLIP)


def notebook_agent(observations: int, hidden: Sequence[int], actions: int) -> nn.Sequential:
    """Make the notebook's agent: an untrained network with orthogonal weights of gain 0.1."""
    widths = (observations, *hidden, actions)
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(layer.weight, gain=0.1)
        nn.init.zeros_(layer.bias)
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1], nn.Tanh())


def trained_agent(actor: Actor) -> nn.Sequential:
    """Return a trained actor as a sequence of its parts, so that the notebook's compressors fit it."""
    parts: list[nn.Module] = [Scaled(actor)]
    for layer in actor.layers:
        parts += [layer, type(actor.activation)()]
    return nn.Sequential(*parts[:-1])


def compressed(
    model: nn.Sequential, method: NotebookMethod, intensity: float, by: Compressor
) -> nn.Sequential:
    """Return a compressed copy of an agent; `intensity` lies between 0 and 1.

    `simulated` is the notebook's way: dense float32 arithmetic and an overhead of random numbers. Its mixed
    method looks for linear layers after pruning has replaced them, so that it quantizes nothing. `real`
    computes in int8 kernels, and removes whole units. `none` copies, whatever the method.
    """
    if method == "none" or by == "none":
        return _with_layers(model, [_copy(layer) for layer in linear_layers(model)])
    if by == "real":
        return _with_layers(model, _really(model, method, intensity))
    match method:
        case "quantization":
            return _with_layers(model, [SimulatedInt8(layer, intensity) for layer in linear_layers(model)])
        case "pruning":
            return _with_layers(model, [SimulatedSparse(layer, intensity) for layer in linear_layers(model)])
    pruned = compressed(model, "pruning", PRUNED_PART * intensity, by)
    return compressed(pruned, "quantization", QUANTIZED_PART * intensity, by)


def _really(model: nn.Sequential, method: NotebookMethod, intensity: float) -> Sequence[nn.Module]:
    share = PRUNED_PART * intensity if method == "mixed" else intensity
    variant = {
        "quantization": Variant("ptdq"),
        "pruning": Variant("structured", "l1", share),
        "mixed": Variant("mixed", "l1", share),
    }[method]
    return list(compress(_actor_of(model), variant).layers)  # type: ignore[arg-type]


def _actor_of(model: nn.Sequential) -> Actor:
    """Return the linear layers of an agent as an actor; only its layers are meaningful."""
    layers = linear_layers(model)
    hidden = tuple(layer.out_features for layer in layers[:-1])
    actor = Actor(ActorArchitecture(layers[0].in_features, layers[-1].out_features, hidden, "relu"))
    actor.layers.load_state_dict(nn.ModuleList(layers).state_dict())
    return actor


def _with_layers(model: nn.Sequential, layers: Sequence[nn.Module]) -> nn.Sequential:
    """Return the sequence with its linear layers replaced in order."""
    left = iter(layers)
    return nn.Sequential(*(next(left) if isinstance(part, nn.Linear) else part for part in model)).eval()


def _copy(layer: nn.Linear) -> nn.Linear:
    twin = nn.Linear(layer.in_features, layer.out_features)
    twin.load_state_dict(layer.state_dict())
    return twin
