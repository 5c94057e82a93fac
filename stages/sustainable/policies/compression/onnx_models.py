"""Write actors as ONNX models, node by node, and quantize them with ONNX Runtime's dynamic quantization."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from sustainable.compression import CompressionError
from sustainable.policies.policy import CLIP, Actor

OPSET, IR_VERSION = 17, 9
INPUT, OUTPUT = "observations", "outputs"
FLOAT_PRODUCTS = {"MatMul", "Gemm"}
INT8_PRODUCTS = {"MatMulInteger", "DynamicQuantizeMatMul", "QGemm"}
CONTRIBUTED = "com.microsoft"  # the domain of ONNX Runtime's own operators


def to_onnx(actor: Actor) -> bytes:
    """Return an ONNX model with input `observations` [n, observations] and output `outputs` [n, outputs]."""
    constants = {"mean": actor.mean, "scale": actor.scale}
    constants |= {name: value.detach() for name, value in actor.named_parameters()}
    activation, last = {"tanh": "Tanh", "relu": "Relu"}[actor.architecture.activation], len(actor.layers) - 1
    nodes = scaling_nodes()
    for depth in range(last + 1):
        result = OUTPUT if depth == last else f"sum_{depth}"
        operands = [f"values_{depth}", f"layers.{depth}.weight", f"layers.{depth}.bias"]
        nodes.append(helper.make_node("Gemm", operands, [result], transB=1))
        if depth < last:
            nodes.append(helper.make_node(activation, [result], [f"values_{depth + 1}"]))
    arrays = {name: value.numpy() for name, value in constants.items()}
    return checked_model(nodes, arrays, (actor.architecture.observations, actor.architecture.outputs))


def scaling_nodes() -> list[onnx.NodeProto]:
    """Return the nodes that make `values_0` of the observations: scaled and clipped."""
    return [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["spread"]),
        helper.make_node("Clip", ["spread", "low", "high"], ["values_0"]),
    ]


def checked_model(
    nodes: Sequence[onnx.NodeProto], arrays: Mapping[str, np.ndarray], widths: tuple[int, int]
) -> bytes:
    """Return the model of `nodes` (`scaling_nodes` first) and constants; `widths`: observations, outputs."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in zip((INPUT, OUTPUT), widths, strict=True)
    ]
    bounds = {"low": np.array(-CLIP, np.float32), "high": np.array(CLIP, np.float32)}
    constants = {**arrays, **bounds}
    values = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "actor", ends[:1], ends[1:], values)
    operators = [helper.make_opsetid("", OPSET)]
    if any(node.domain == CONTRIBUTED for node in nodes):
        operators.append(helper.make_opsetid(CONTRIBUTED, 1))
    model = helper.make_model(graph, opset_imports=operators, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def to_int8_onnx(actor: Actor) -> bytes:
    """Return the model of `to_onnx` with int8 weights; activations are quantized at each call.

    Raises `CompressionError` if a layer still multiplies in floating point.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(to_onnx(actor))
        with _quiet_root_logger():
            # `reduce_range`: 7-bit weights. 8 bits saturate 16-bit sums on CPUs without VNNI.
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=True)
        model = onnx.load(target)
    check_integer_products(model, len(actor.layers))
    return bytes(model.SerializeToString(deterministic=True))


def check_integer_products(model: onnx.ModelProto, layers: int) -> None:
    """Raise `CompressionError` unless the graph has one integer product per layer and no other product.

    The quantizer leaves operators that it does not support in floating point without an error.
    """
    operators = [node.op_type for node in model.graph.node]
    integer = sum(operator in INT8_PRODUCTS for operator in operators)
    left = sum(operator in FLOAT_PRODUCTS for operator in operators)
    if (integer, left) != (layers, 0):
        raise CompressionError(f"ONNX: {integer} of {layers} layers are int8, {left} in floating point")


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Silence ONNX Runtime's advice to optimise the graph first: this graph has nothing to optimise."""
    logger = logging.getLogger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
