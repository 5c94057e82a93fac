"""Runtimes and precisions: a model made ready to answer, and checked against eager PyTorch.

A runtime that does not know a precision for a GRU often says nothing and computes as before. So only the
pairs in `TARGETS` are offered, and each is checked twice: that its outputs are those of eager fp32 within
`TOLERANCE`, and that where another precision was asked for, another one was used.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import openvino
import torch
from torch import Tensor, nn

from sustainable.compression import CompressionError
from sustainable.forecasting.compression.onnx_export import INPUT, exported
from sustainable.compression.quantization import quantize_dynamic_int8, to_bfloat16
from sustainable.forecasting.model.gru import Forecaster, layered, logits_of

Precision = Literal["fp32", "bf16", "int8"]
Runtime = Literal["torch-eager", "onnxruntime", "openvino"]
TARGETS: tuple[tuple[Precision, Runtime], ...] = (
    ("fp32", "torch-eager"),
    ("int8", "torch-eager"),
    ("bf16", "torch-eager"),
    ("fp32", "onnxruntime"),
    ("fp32", "openvino"),
    ("bf16", "openvino"),
)
"""What can be deployed. Left out, because they leave a GRU in fp32 and say nothing: ONNX Runtime's dynamic
quantization (it has no int8 GRU), NNCF's int8 for OpenVINO, torchao's `quantize_`; and OpenVINO's f16 on a
CPU, which is bf16 under another name."""

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "int8": 0.5}
"""Largest difference of a logit from eager fp32, as a share of the largest logit (at least of 1)."""

OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class Deployed:
    """A model in a runtime. `prepare` turns windows [n, days, features] into what `run` takes, so that
    timing `run` times the model alone; `run` gives logits [n] in the runtime's own array. `model` is the
    torch module behind it, whose tensors decide the outputs, and `size_bytes` what it takes on a disk."""

    prepare: Callable[[Tensor], Any]
    run: Callable[[Any], Any]
    model: nn.Module
    precision: str
    runtime: str
    size_bytes: int | None = None

    def logits(self, windows: Tensor, batch_size: int) -> np.ndarray:
        """Logits [n] float32, computed in batches."""
        parts = [np.array(self.run(self.prepare(batch))) for batch in windows.split(batch_size)]
        return np.concatenate(parts).astype(np.float32)


def deploy(
    model: Forecaster, precision: Precision, runtime: Runtime, example: Tensor, cache: Path
) -> Deployed:
    """`model` in a runtime and precision; `example` [n, days, features] is what it is checked on.

    Exported models are kept in the folder `cache`. Raises `CompressionError` when the pair is not offered,
    or when a check fails.
    """
    if (precision, runtime) not in TARGETS:
        raise CompressionError(f"{runtime} has no {precision} kernel for a GRU")
    expected = logits_of(model, example, len(example)).numpy()
    if runtime == "torch-eager":
        deployed = in_torch(_at_precision(model, precision), precision)
        if precision == "fp32":  # equal weights have equal names, and so equal hashes, in every runtime
            deployed = replace(deployed, model=layered(model))
    else:
        content = exported(layered(model), example.shape[1], cache)
        make = in_onnxruntime if runtime == "onnxruntime" else in_openvino
        deployed = make(content, precision, layered(model))
    check_outputs(deployed, example, expected)
    return deployed


def check_outputs(deployed: Deployed, example: Tensor, expected: np.ndarray) -> None:
    """Raises `CompressionError` when logits are further from `expected` [n] than the precision explains,
    or equal to them bit by bit where another precision should have changed them."""
    found = deployed.logits(example, len(example))
    allowed = TOLERANCE[deployed.precision] * max(1.0, float(np.abs(expected).max()))
    furthest = float(np.abs(found - expected).max())
    name = f"{deployed.precision} on {deployed.runtime}"
    if not furthest <= allowed:  # NaN fails as well
        raise CompressionError(f"{name}: a logit is {furthest:.2g} off, {allowed:.2g} is allowed")
    if deployed.precision != "fp32" and np.array_equal(found, expected):
        raise CompressionError(f"{name}: outputs are those of fp32: the precision was ignored")


def in_torch(model: nn.Module, precision: str) -> Deployed:
    """Eager PyTorch."""

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(windows)
            return logits

    return Deployed(lambda windows: windows, run, model.eval(), precision, "torch-eager")


def in_onnxruntime(content: bytes, precision: str, model: nn.Module) -> Deployed:
    """ONNX Runtime on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(windows: np.ndarray) -> Any:
        return session.run(None, {INPUT: windows})[0]

    return Deployed(lambda windows: windows.numpy(), run, model, precision, "onnxruntime", len(content))


def in_openvino(content: bytes, precision: str, model: nn.Module) -> Deployed:
    """OpenVINO on one CPU thread. The precision is always named: left to itself it takes bf16 where the
    processor has it. Raises `CompressionError` where the GRU's nodes run in another one."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    try:
        compiled = core.compile_model(core.read_model(content), "CPU", settings)
    except RuntimeError as error:  # it may promise a precision for which its GRU has no kernel
        reason = " ".join(str(error).split())[:200]
        raise CompressionError(f"OpenVINO has no {precision} kernel for a GRU here: {reason}") from None
    wrong = _recurrent_types(compiled) - {OPENVINO_PRECISION[precision]}
    if wrong:
        raise CompressionError(f"OpenVINO runs the GRU in {', '.join(sorted(wrong))}, not in {precision}")
    request = compiled.create_infer_request()

    def run(windows: np.ndarray) -> Any:
        return request.infer({0: windows}, share_inputs=True, share_outputs=True)[0]

    return Deployed(lambda windows: windows.numpy(), run, model, precision, "openvino", len(content))


def _recurrent_types(compiled: openvino.CompiledModel) -> set[str]:
    """The types in which the recurrent nodes of a compiled model run."""
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        told = node.get_rt_info()
        if "RNN" in str(told["layerType"].value):
            found.add(str(told["runtimePrecision"].value))
    return found or {"no recurrent node"}


def _at_precision(model: Forecaster, precision: str) -> nn.Module:
    if precision == "int8":
        return quantize_dynamic_int8(model)
    return to_bfloat16(model) if precision == "bf16" else model
