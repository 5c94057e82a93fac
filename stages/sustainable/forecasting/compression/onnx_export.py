"""Export a forecaster to ONNX node by node. This takes milliseconds and always gives the same bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sustainable.core.files import write_bytes
from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.model.gru import LayeredGRU

OPSET, IR_VERSION = 17, 9
INPUT, OUTPUT = "windows", "logits"


def cached_gru_onnx(model: LayeredGRU, days: int, cache: Path) -> bytes:
    """Return `gru_to_onnx(model, days)`, stored in the folder `cache` under the hash of the weights."""
    path = cache / f"{tensors_sha256(model.state_dict())}-{days}-{OPSET}.{IR_VERSION}.onnx"
    if not path.is_file():
        write_bytes(path, gru_to_onnx(model, days))
    return path.read_bytes()


def gru_to_onnx(model: LayeredGRU, days: int) -> bytes:
    """Return an ONNX model with input `windows` [n, days, features] and output `logits` [n] or [n, classes].

    PyTorch's GRU applies the reset gate after the recurrent product, which ONNX calls
    `linear_before_reset`.
    """
    graph = _Graph()
    graph.node("Transpose", [INPUT], ["states_0"], perm=[1, 0, 2])  # [days, n, features], as ONNX expects
    for depth, layer in enumerate(model.layers):
        _add_layer(graph, depth, layer, last=depth == len(model.layers) - 1)
    readout = [graph.constant(f"readout.{name}", value) for name, value in model.readout.named_parameters()]
    is_binary = model.architecture.classes == 2
    graph.node("Gemm", ["state", *readout], ["column" if is_binary else OUTPUT], transB=1)
    if is_binary:
        graph.node("Squeeze", ["column", graph.axis(1)], [OUTPUT])
    shape: list[str | int | None] = ["n", days, model.architecture.features]
    windows = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)
    outputs: list[str | int | None] = ["n"] if is_binary else ["n", model.architecture.classes]
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, outputs)
    whole = helper.make_graph(graph.nodes, "forecaster", [windows], [logits], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    built = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(built)
    return bytes(built.SerializeToString(deterministic=True))


def _add_layer(graph: "_Graph", depth: int, layer: nn.Module, last: bool) -> None:
    """Add one GRU node: the last layer returns only its final state, the others return all states."""
    # W [1, 3 units, inputs], R [1, 3 units, units], B [1, 6 units]: input biases, then recurrent biases
    weights = {name: _in_onnx_gate_order(value) for name, value in layer.state_dict().items()}
    bias = np.concatenate([weights["bias_ih_l0"], weights["bias_hh_l0"]])
    constants = {"W": weights["weight_ih_l0"], "R": weights["weight_hh_l0"], "B": bias}
    names = [graph.constant(f"{name}_{depth}", value[None]) for name, value in constants.items()]
    # a GRU node returns all states [days, 1, n, units] and the final state [1, n, units]
    outputs = ["", "final"] if last else [f"all_{depth}"]
    width = weights["weight_hh_l0"].shape[1]
    graph.node("GRU", [f"states_{depth}", *names], outputs, hidden_size=width, linear_before_reset=1)
    if last:
        graph.node("Squeeze", ["final", graph.axis(0)], ["state"])
    else:
        graph.node("Squeeze", [f"all_{depth}", graph.axis(1)], [f"states_{depth + 1}"])


def _in_onnx_gate_order(value: Tensor) -> np.ndarray:
    """Reorder the gates [3 units, ...] from PyTorch (reset, update, new) to ONNX (update, reset, new)."""
    reset, update, new = value.detach().numpy().reshape(3, -1, *value.shape[1:])
    return np.concatenate([update, reset, new])


class _Graph:
    """The nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def constant(self, name: str, value: Tensor | np.ndarray) -> str:
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def axis(self, number: int) -> str:
        return self.constant(f"axis_{number}", np.array([number], dtype=np.int64))
