"""ONNX forms of a model: the exchange format in which other runtimes take it, and its int8 version."""

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from sustainable.assessing.model import Batch, Model
from sustainable.compression import CompressionError
from sustainable.core.files import one_line, read_json, write_bytes, write_json
from sustainable.policies.compression.onnx_models import FLOAT_PRODUCTS, INT8_PRODUCTS

OPSET = 18
"""Of exported models: the lowest that PyTorch's exporter writes without a conversion."""
UNCOUNTED = {"GRU", "LSTM", "RNN", "Einsum", "Attention", "ConvTranspose", "Scan", "Loop", "If"}
"""Operators of an ONNX graph that multiply, and whose operations are not counted here."""


@dataclass(frozen=True)
class Exported:
    """A model as ONNX, and the CPU time that exporting it took."""

    graph: onnx.ModelProto
    cpu_s: float = 0.0


def export_onnx(model: Model, batch: Batch, cache: Path) -> Exported:
    """Return the model as ONNX; an export is stored in the folder `cache`, with its CPU time.

    Raises `CompressionError` if PyTorch cannot export it.
    """
    if model.graph is not None:
        return Exported(model.graph)
    if model.kind == "module" and model.program is None:
        raise CompressionError(f"torch.export cannot trace it: {model.no_program}")
    path = cache / f"{model.identity}-{len(batch[0])}-{torch.__version__}-{OPSET}.onnx"
    cost = path.with_suffix(".json")
    if not (path.is_file() and cost.is_file()):
        start = time.process_time()
        try:
            with _quietly():
                content = _exported(model, batch)
        except Exception as error:  # of any kind: exporters raise what they like
            raise CompressionError(f"PyTorch cannot export it to ONNX: {one_line(error)[:200]}") from None
        write_json(cost, {"cpu_s": time.process_time() - start})
        write_bytes(path, content)
    return Exported(onnx.load(path), float(read_json(cost)["cpu_s"]))


def _exported(model: Model, batch: Batch) -> bytes:
    if model.program is not None:
        exported: Any = torch.onnx.export(model.program, dynamo=True, opset_version=OPSET, verbose=False)
        return bytes(exported.model_proto.SerializeToString(deterministic=True))
    names = [f"input_{place}" for place in range(len(batch))]
    axes = {name: {0: "batch"} for name in names} if model.fixed_batch is None else {}
    script: Any = model.module
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported.onnx"
        torch.onnx.export(  # only this exporter takes TorchScript
            script,
            tuple(map(torch.from_numpy, batch)),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            dynamic_axes=axes,
        )
        return path.read_bytes()


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters' advice, which is about code that the user does not have."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantize the weights of matrix products to int8, with ONNX Runtime's dynamic quantization.

    Raises `CompressionError` if no product became one of integers: the quantizer leaves operators without an
    int8 kernel in floating point, without a message.
    """
    with tempfile.TemporaryDirectory() as folder, _quietly():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        unsized = onnx.ModelProto()
        unsized.CopyFrom(model)
        del unsized.graph.value_info[:]  # the quantizer transposes weights, and then rejects the old shapes
        onnx.save(unsized, source)
        try:
            # `reduce_range`: 7-bit weights. 8 bits saturate 16-bit sums on CPUs without VNNI.
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=True)
        except Exception as error:  # of any kind
            raise CompressionError(f"ONNX Runtime cannot quantize it: {one_line(error)[:200]}") from None
        quantized = onnx.load(target)
    if not integer_products(quantized):
        kinds = ", ".join(sorted(Counter(node.op_type for node in model.graph.node)))
        raise CompressionError(
            f"no operator became an integer product: ONNX Runtime has no int8 kernel for them ({kinds[:120]})"
        )
    return quantized


def integer_products(model: onnx.ModelProto) -> int:
    """Return how many operators multiply integers."""
    kinds = INT8_PRODUCTS | {"ConvInteger", "QLinearConv", "QLinearMatMul"}
    return sum(node.op_type in kinds for node in model.graph.node)


def float_products(model: onnx.ModelProto) -> list[str]:
    """Return the operators that multiply in floating point and have weights."""
    kinds = FLOAT_PRODUCTS | {"Conv"} | UNCOUNTED
    return sorted({node.op_type for node in model.graph.node if node.op_type in kinds})


def onnx_flops(model: onnx.ModelProto, batch: Mapping[str, np.ndarray]) -> int | None:
    """Return the operations of the products for one call: two for each multiplication and addition.

    Counted from shapes: MatMul, Gemm and Conv. None if the graph has other products, or unknown shapes.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        if value.name in batch:
            for size, actual in zip(value.type.tensor_type.shape.dim, batch[value.name].shape, strict=False):
                size.dim_value = actual
    del sized.graph.value_info[:]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(sized).graph
    shapes = {value.name: _shape(value) for value in [*graph.input, *graph.value_info, *graph.output]}
    shapes |= {value.name: tuple(value.dims) for value in graph.initializer}
    shapes |= {node.output[0]: _constant_shape(node) for node in graph.node if node.op_type == "Constant"}
    counts = [_node_flops(node, shapes) for node in graph.node]
    return None if None in counts else sum(count for count in counts if count is not None)


def _shape(value: Any) -> tuple[int, ...] | None:
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    known = value.type.tensor_type.HasField("shape") and all(sizes)
    return tuple(sizes) if known else None


def _constant_shape(node: onnx.NodeProto) -> tuple[int, ...] | None:
    tensors = [attribute.t for attribute in node.attribute if attribute.type == attribute.TENSOR]
    return tuple(tensors[0].dims) if tensors else None


def _node_flops(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...] | None]) -> int | None:
    """Return the operations of one node; None if they are unknown."""
    if node.op_type in UNCOUNTED:
        return None
    if node.op_type not in ("MatMul", "Gemm", "Conv"):
        return 0
    left, right, result = (shapes.get(name) for name in (*node.input[:2], node.output[0]))
    if result is None or left is None or right is None:
        return None
    if node.op_type == "Conv":  # right: [outputs, inputs of a group, ...kernel]
        return 2 * int(np.prod(result)) * int(np.prod(right[1:]))
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    inner = left[0] if transposed else left[-1]
    return 2 * int(np.prod(result)) * inner


def compute_precisions(model: onnx.ModelProto) -> str:
    """Return in which precision an ONNX file computes its products: `int8`, `fp16`, `fp32`, or mixed."""
    types = {value.data_type for value in model.graph.initializer if len(value.dims) > 1}
    names = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16", TensorProto.DOUBLE: "fp64"}
    found = {names.get(kind, "fp32") for kind in types if kind in (*names, TensorProto.FLOAT)}
    found |= {"int8"} if integer_products(model) else set()
    return "+".join(sorted(found)) or "fp32"
