"""Write int8 actors with static ranges (PTSQ, exported QAT) as ONNX models.

A model holds the weights, scales and zero points of the torch.ao network, in the integer operators that ONNX
Runtime makes of pairs of QuantizeLinear and DequantizeLinear. The outputs differ from torch.ao's by rounding,
and where a tanh follows a layer, because its outputs have fewer bits here (`TANH`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from sustainable.policies.compression.accounting import stored_tensors
from sustainable.policies.compression.onnx_models import CONTRIBUTED, OUTPUT, check_integer_products
from sustainable.policies.compression.onnx_models import checked_model, scaling_nodes
from sustainable.policies.compression.static_int8 import LEVELS, StaticActor
from sustainable.policies.policy import ActorArchitecture

TANH = (2 / LEVELS, (LEVELS + 1) // 2)
"""Scale and zero point of a tanh's outputs: 7 bits, as all other activations. torch.ao's tanh has 8 bits,
which saturate 16-bit sums on CPUs without VNNI."""

Grid = tuple[float, int]  # scale and zero point of unsigned 8-bit activations


def to_static_onnx(static: StaticActor, architecture: ActorArchitecture) -> bytes:
    """Return `static` as an ONNX model; inputs and outputs as those of `to_onnx`.

    Raises `CompressionError` if a layer is not an integer product.
    """
    numbers = {name: value.numpy() for name, value in stored_tensors(static).items()}
    layers = [name.removesuffix(".weight") for name in numbers if name.endswith(".weight")]
    graph = _Graph(numbers)
    values, grid = "values_0", graph.grid("network.0.scale", "network.0.zero_point")
    quantized = graph.quantize(values, grid)
    for depth, layer in enumerate(layers):
        quantized, grid = graph.layer(layer, quantized, grid)
        if depth < len(layers) - 1 and architecture.activation == "tanh":  # a ReLU is part of the layer
            summed = graph.dequantize(quantized, grid)
            values, grid = graph.add("Tanh", [summed]), TANH
            quantized = graph.quantize(values, grid)
    graph.dequantize(quantized, grid, OUTPUT)
    content = checked_model(graph.nodes, graph.constants, (architecture.observations, architecture.outputs))
    check_integer_products(onnx.load_from_string(content), len(layers))
    return content


class _Graph:
    """A growing list of nodes and constants; each method adds to it and returns the name of a result."""

    def __init__(self, numbers: Mapping[str, np.ndarray]) -> None:
        """`numbers`: the result of `stored_tensors` for a static actor."""
        self.numbers = numbers
        self.nodes = scaling_nodes()
        self.constants = {"mean": numbers["mean"], "scale": numbers["scale"]}

    def add(self, operator: str, operands: list[str], result: str | None = None, **attributes: Any) -> str:
        name = result or f"result_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, operands, [name], **attributes))
        return name

    def grid(self, scale: str, zero: str) -> Grid:
        return self.numbers[scale].item(), self.numbers[zero].item()

    def quantize(self, values: str, grid: Grid) -> str:
        return self.add("QuantizeLinear", [values, *self._grid_names(grid)])

    def dequantize(self, quantized: str, grid: Grid, result: str | None = None) -> str:
        return self.add("DequantizeLinear", [quantized, *self._grid_names(grid)], result)

    def layer(self, name: str, inputs: str, grid: Grid) -> tuple[str, Grid]:
        """Add a layer of the torch.ao network; its bias becomes int32 on the grid of the products."""
        scales = self.numbers[f"{name}.weight.scales"].astype(np.float32)
        product = scales.astype(np.float64) * np.float64(np.float32(grid[0]))
        after = self.grid(f"{name}.output_scale", f"{name}.output_zero")
        arrays = {
            "weight": self.numbers[f"{name}.weight"],
            "scales": scales,
            "zeros": self.numbers[f"{name}.weight.zeros"].astype(np.int8),
            "bias": np.rint(self.numbers[f"{name}.bias"] / product).astype(np.int32),
        }
        self.constants |= {f"{name}.{part}": array for part, array in arrays.items()}
        weight, scale, zero, bias = (f"{name}.{part}" for part in arrays)
        operands = [inputs, *self._grid_names(grid), weight, scale, zero, bias, *self._grid_names(after)]
        return self.add("QGemm", operands, domain=CONTRIBUTED, transB=1), after

    def _grid_names(self, grid: Grid) -> tuple[str, str]:
        """Return the names of a grid's constants."""
        names = (f"scale_{grid[0]!r}", f"zero_{grid[1]}")
        self.constants |= dict(
            zip(names, (np.array(grid[0], np.float32), np.array(grid[1], np.uint8)), strict=True)
        )
        return names
