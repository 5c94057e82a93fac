"""Actors as ONNX models, written node by node, and their int8 form by ONNX Runtime's dynamic quantization."""

import logging
import tempfile
from collections.abc import Iterator
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
INT8_PRODUCTS = {"MatMulInteger", "DynamicQuantizeMatMul"}


def to_onnx(actor: Actor) -> bytes:
    """An ONNX model with input `observations` [n, observations] and output `outputs` [n, outputs]."""
    constants = {"mean": actor.mean, "scale": actor.scale}
    constants |= {name: value.detach() for name, value in actor.named_parameters()}
    arrays = {name: value.numpy() for name, value in constants.items()}
    arrays |= {"low": np.array(-CLIP, np.float32), "high": np.array(CLIP, np.float32)}
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["spread"]),
        helper.make_node("Clip", ["spread", "low", "high"], ["values_0"]),
    ]
    kind, last = {"tanh": "Tanh", "relu": "Relu"}[actor.architecture.activation], len(actor.layers) - 1
    for depth in range(last + 1):
        made = OUTPUT if depth == last else f"sum_{depth}"
        given = [f"values_{depth}", f"layers.{depth}.weight", f"layers.{depth}.bias"]
        nodes.append(helper.make_node("Gemm", given, [made], transB=1))
        if depth < last:
            nodes.append(helper.make_node(kind, [made], [f"values_{depth + 1}"]))
    built = helper.make_model(
        helper.make_graph(
            nodes,
            "actor",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", actor.architecture.observations])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", actor.architecture.outputs])],
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(built)
    return bytes(built.SerializeToString(deterministic=True))


def to_int8_onnx(actor: Actor) -> bytes:
    """`to_onnx` with int8 weights, and activations quantized at each call.

    Weights have seven bits, because the kernels of processors without VNNI overflow with eight. Raises
    `CompressionError` when a layer's product is not an integer one.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(to_onnx(actor))
        with _quiet_root_logger():
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=True)
        built = onnx.load(target)
    check_integer_products(built, len(actor.layers))
    return bytes(built.SerializeToString(deterministic=True))


def check_integer_products(built: onnx.ModelProto, layers: int) -> None:
    """Raises `CompressionError` unless there are so many integer products and none in floating point."""
    kinds = [node.op_type for node in built.graph.node]
    integer = sum(kind in INT8_PRODUCTS for kind in kinds)
    left = sum(kind in FLOAT_PRODUCTS for kind in kinds)
    if (integer, left) != (layers, 0):
        raise CompressionError(f"ONNX: {integer} of {layers} layers are int8, {left} in floating point")


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """ONNX Runtime logs an advice to optimise the graph first, and there is nothing in it to optimise."""
    logger = logging.getLogger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
