"""The roofline of a core: its highest rates of operations and of bytes, measured in the measuring process.

A ceiling that rows exceed is not one. No library is the fastest on every processor: each chooses its own
instruction set, and the best shape differs. So several libraries multiply matrices of several shapes, and the
highest rate counts.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, int, int]
Multiply = Callable[[np.ndarray, np.ndarray], Callable[[], object]]
"""Prepare the product of `left` [rows, inner] and the constant `right` [inner, columns]; calling the result
computes it once."""

SHAPES: tuple[Shape, ...] = (
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (64, 256, 768),  # a batch of states times the recurrent weights of the uncompressed GRU
    (64, 1024, 1024),  # wide
    (2048, 256, 256),  # tall
)
"""Rows, inner size and columns of the products."""
PRODUCT_S = 0.15
TRIAD_ELEMENTS = 2**24
TRIAD_S = 1.0
NO_BF16 = "the processor has no bfloat16 instructions"


@dataclass(frozen=True)
class Ceiling:
    """The highest rate of a matrix product in one precision."""

    flops_per_s: float
    library: str  # the library that reached it
    shape: Shape  # rows, inner size and columns of the product that reached it
    by_library: Mapping[str, float]  # highest rate of every library


@dataclass(frozen=True)
class Roofline:
    """Ceilings of the process's threads (Williams et al. 2009)."""

    flops_per_s: float  # of `fp32`
    bytes_per_s: float  # traffic between processor and memory of a + s * b, on vectors larger than any cache
    fp32: Ceiling
    bf16: Ceiling | None
    no_bf16: str | None  # why `bf16` is None
    int8: Ceiling  # multiplications and additions of 8-bit integers, summed in 32 bits


def measure_roofline() -> Roofline:
    """Measure all ceilings with the current number of torch threads; takes about 15 seconds and 250 MB.

    Threads and instruction sets are those of the process: call it where the rows were measured.
    """
    fp32 = _highest({"torch": _torch, "numpy": _numpy, "onnxruntime": _onnxruntime, "openvino": _openvino})
    bf16 = _highest({"torch": _torch_bf16, "openvino": _openvino_bf16}) if has_bf16() else None
    int8 = _highest({"torch": _torch_int8, "onnxruntime": _onnxruntime_int8})
    return Roofline(fp32.flops_per_s, _triad_bytes_per_s(), fp32, bf16, None if bf16 else NO_BF16, int8)


def has_bf16() -> bool:
    """Return whether the processor multiplies bfloat16 natively."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _highest(libraries: Mapping[str, Multiply]) -> Ceiling:
    """Time every library on every one of `SHAPES`, and return the highest rate."""
    rates: dict[tuple[str, Shape], float] = {}
    for shape in SHAPES:
        rows, inner, columns = shape
        values = np.random.default_rng(0)
        left = values.random((rows, inner), dtype=np.float32)
        right = values.random((inner, columns), dtype=np.float32)
        for name, multiply in libraries.items():
            product_s = _best_s(multiply(left, right), PRODUCT_S)
            rates[name, shape] = 2 * rows * inner * columns / product_s
    library, shape = max(rates, key=rates.__getitem__)
    best = {name: max(rates[name, size] for size in SHAPES) for name in libraries}
    return Ceiling(rates[library, shape], library, shape, best)


def _torch(left: np.ndarray, right: np.ndarray, kind: torch.dtype = torch.float32) -> Callable[[], object]:
    first, second = torch.from_numpy(left).to(kind), torch.from_numpy(right).to(kind)
    product = torch.empty(len(left), right.shape[1], dtype=kind)
    return lambda: torch.mm(first, second, out=product)


def _torch_bf16(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    return _torch(left, right, torch.bfloat16)


def _numpy(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    product = np.empty((len(left), right.shape[1]), dtype=np.float32)
    return lambda: np.matmul(left, right, out=product)


def _torch_int8(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    first, second = torch.from_numpy(_to_int8(left)), torch.from_numpy(_to_int8(right))
    product = torch.empty(len(left), right.shape[1], dtype=torch.int32)
    return lambda: torch._int_mm(first, second, out=product)


def _onnxruntime(left: np.ndarray, right: np.ndarray, operator: str = "MatMul") -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    content = _product_onnx(left, right, operator)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"left": left})


def _onnxruntime_int8(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    return _onnxruntime(_to_int8(left).view(np.uint8), _to_int8(right), "MatMulInteger")


def _to_int8(values: np.ndarray) -> np.ndarray:
    """Return `values`, from 0 to 1, as integers from 0 to 127, which signed and unsigned bytes share."""
    return np.round(values * np.iinfo(np.int8).max).astype(np.int8)


def _openvino(left: np.ndarray, right: np.ndarray, hint: str = "f32") -> Callable[[], object]:
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_product_onnx(left, right)), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: left}, share_inputs=True, share_outputs=True)


def _openvino_bf16(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    return _openvino(left, right, "bf16")


def _product_onnx(left: np.ndarray, right: np.ndarray, operator: str = "MatMul") -> bytes:
    """Return an ONNX model that multiplies its input `left` by the constant `right`."""
    given = helper.make_tensor_value_info("left", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)
    kind = TensorProto.INT32 if operator == "MatMulInteger" else TensorProto.FLOAT
    product = helper.make_tensor_value_info("product", kind, [len(left), right.shape[1]])
    node = helper.make_node(operator, ["left", "right"], ["product"])
    constant = numpy_helper.from_array(right, "right")
    graph = helper.make_graph([node], "product", [given], [product], [constant])
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(built.SerializeToString())


def _triad_bytes_per_s() -> float:
    """Return the traffic of a + s * b: it reads two vectors and writes one."""
    a, b, c = (torch.rand(TRIAD_ELEMENTS) for _ in range(3))
    triad_s = _best_s(lambda: torch.add(a, b, alpha=3.0, out=c), TRIAD_S)
    return 3 * TRIAD_ELEMENTS * a.element_size() / triad_s


def _best_s(run: Callable[[], object], measured_s: float) -> float:
    """Return the shortest of many runs: a ceiling is the highest rate that was reached once.

    One run comes first and is not timed: it allocates memory and compiles.
    """
    run()
    end, best = time.perf_counter() + measured_s, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
