"""Deploy a forecaster in a runtime and a precision, and check it against eager PyTorch.

A runtime that has no kernel for a GRU in some precision often falls back to fp32 without a message. Therefore
only the pairs in `TARGETS` are supported, and each deployment is checked twice: its outputs must agree with
eager fp32 within `LOGIT_TOLERANCE`, and a precision other than fp32 must change them.
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
from sustainable.forecasting.compression.onnx_export import INPUT, OUTPUT, cached_gru_onnx
from sustainable.compression.quantization import quantize_dynamic_int8, to_bfloat16
from sustainable.forecasting.model.gru import Forecaster, LayeredGRU, layered, logits_of

Precision = Literal["fp32", "bf16", "int8"]
Runtime = Literal["torch-eager", "onnxruntime", "openvino", "numba"]
TARGETS: tuple[tuple[Precision, Runtime], ...] = (
    ("fp32", "torch-eager"),
    ("int8", "torch-eager"),
    ("bf16", "torch-eager"),
    ("fp32", "onnxruntime"),
    ("fp32", "openvino"),
    ("bf16", "openvino"),
    ("fp32", "numba"),
)
"""Supported pairs. Not supported, because they leave a GRU in fp32 without a message: ONNX Runtime's dynamic
quantization (it has no int8 GRU), NNCF's int8 for OpenVINO and torchao's `quantize_`. OpenVINO's f16 is also
left out: on a CPU it runs as bf16."""

LOGIT_TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "int8": 0.5}
"""Largest allowed difference of a logit from eager fp32, relative to the largest logit or to 1, whichever is
larger."""

CHECKED_AT_ONCE = 64
"""Windows per call of a check: the working memory of a call grows with its batch, and is often kept."""

OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16"}

Run = Callable[[np.ndarray], np.ndarray]
"""Compute logits (see `shape_of_logits`) from windows [n, days, features]; the next call overwrites them."""


@dataclass(frozen=True)
class Deployed:
    """A model that is ready to run."""

    prepare: Callable[[Tensor], Any]
    """Convert windows [n, days, features] to the input of `run`, so that timing `run` times the model
    only."""
    run: Callable[[Any], Any]  # compute logits [n], in the runtime's own array type
    model: nn.Module  # the torch module whose tensors determine the outputs
    precision: str
    runtime: str
    size_bytes: int | None = None  # size of the exported model on disk; None for a model that is not exported

    def logits(self, windows: Tensor, batch_size: int) -> np.ndarray:
        """Compute logits [n] float32 in batches; `windows` [n, days, features]."""
        # copied, because a runtime may reuse the memory of its output in the next call
        parts = [np.array(self.run(self.prepare(batch))) for batch in windows.split(batch_size)]
        return np.concatenate(parts).astype(np.float32)


def by_batch_size(make: Callable[[tuple[int, ...]], Run]) -> tuple[Callable[[Tensor], np.ndarray], Run]:
    """Return `prepare` and `run` of a deployment that keeps one `Run` per batch size.

    `make` builds it for a shape [n, days, features]. A runtime whose input and output stay at one place in
    memory is called with less overhead; `run` copies the windows there. Building is part of `prepare`,
    because it happens once and is not part of a forecast.
    """
    runs: dict[int, Run] = {}

    def prepare(windows: Tensor) -> np.ndarray:
        if len(windows) not in runs:
            runs[len(windows)] = make(tuple(windows.shape))
        return windows.numpy()

    return prepare, lambda windows: runs[len(windows)](windows)


def deploy(
    model: Forecaster, precision: Precision, runtime: Runtime, example: Tensor, cache: Path
) -> Deployed:
    """Deploy `model` and check it on `example` [n, days, features].

    Exported models are stored in the folder `cache`. Raises `CompressionError` if the pair is not supported
    or if a check fails.

    ONNX Runtime and OpenVINO keep the working memory of the largest batch that a session has run. To keep
    many deployments at once, check with `deploy` and keep one made by `deploy_unchecked`.
    """
    expected = logits_of(model, example, CHECKED_AT_ONCE).numpy()
    deployed = deploy_unchecked(model, precision, runtime, example.shape[1], cache)
    checked_logits(deployed, example, expected)
    return deployed


def deploy_unchecked(
    model: Forecaster, precision: Precision, runtime: Runtime, days: int, cache: Path
) -> Deployed:
    """Deploy `model` for windows of `days` without running it; otherwise as `deploy`."""
    if (precision, runtime) not in TARGETS:
        raise CompressionError(f"{runtime} has no {precision} kernel for a GRU")
    if runtime == "torch-eager":
        convert = {"int8": quantize_dynamic_int8, "bf16": to_bfloat16}.get(precision, lambda kept: kept)
        deployed = deploy_in_torch(convert(model), precision)
        # one naming of the tensors for every runtime, so that equal weights have equal hashes
        return replace(deployed, model=layered(model)) if precision == "fp32" else deployed
    if runtime == "numba":
        from sustainable.forecasting.compression.numba_gru import deploy_in_numba  # slow to import

        return deploy_in_numba(layered(model))
    content = cached_gru_onnx(layered(model), days, cache)
    make = deploy_in_onnxruntime if runtime == "onnxruntime" else deploy_in_openvino
    return make(content, precision, layered(model))


def checked_logits(deployed: Deployed, example: Tensor, expected: np.ndarray) -> np.ndarray:
    """Return the logits [n] on `example` [n, days, features].

    Raises `CompressionError` if they differ from `expected` [n], those of eager fp32, by more than the
    precision allows, or are bitwise equal to it although the precision is not fp32.
    """
    logits = deployed.logits(example, CHECKED_AT_ONCE)
    allowed = LOGIT_TOLERANCE[deployed.precision] * max(1.0, float(np.abs(expected).max()))
    furthest = float(np.abs(logits - expected).max())
    name = f"{deployed.precision} on {deployed.runtime}"
    if not furthest <= allowed:  # NaN fails as well
        raise CompressionError(f"{name}: a logit is {furthest:.2g} off, {allowed:.2g} is allowed")
    if deployed.precision != "fp32" and np.array_equal(logits, expected):
        raise CompressionError(f"{name}: the outputs equal those of fp32: the precision was ignored")
    return logits


def deploy_in_torch(model: nn.Module, precision: str) -> Deployed:
    """Deploy in eager PyTorch."""

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(windows)
            return logits

    return Deployed(lambda windows: windows, run, model.eval(), precision, "torch-eager")


def shape_of_logits(model: LayeredGRU, n: int) -> tuple[int, ...]:
    """Return the shape of the logits of `n` windows: [n] for two classes, else [n, classes]."""
    classes = model.architecture.classes
    return (n,) if classes == 2 else (n, classes)


def deploy_in_onnxruntime(content: bytes, precision: str, model: LayeredGRU) -> Deployed:
    """Deploy the ONNX model `content` in ONNX Runtime, on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def make(shape: tuple[int, ...]) -> Run:
        windows, logits = np.empty(shape, np.float32), np.empty(shape_of_logits(model, shape[0]), np.float32)
        binding = session.io_binding()
        binding.bind_input(INPUT, "cpu", 0, np.float32, shape, windows.ctypes.data)
        binding.bind_output(OUTPUT, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)

        def run(new: np.ndarray) -> np.ndarray:
            np.copyto(windows, new)
            session.run_with_iobinding(binding)
            return logits

        return run

    return Deployed(*by_batch_size(make), model, precision, "onnxruntime", len(content))


def deploy_in_openvino(content: bytes, precision: str, model: LayeredGRU) -> Deployed:
    """Deploy the ONNX model `content` in OpenVINO, on one CPU thread.

    Raises `CompressionError` if the GRU nodes run in a precision other than `precision`.
    """
    core = openvino.Core()
    settings = {  # the default precision is bf16 on processors that support it, so it is always set
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    try:
        compiled = core.compile_model(core.read_model(content), "CPU", settings)
    except RuntimeError as error:  # OpenVINO may list a precision for which its GRU has no kernel
        reason = " ".join(str(error).split())[:200]
        raise CompressionError(f"OpenVINO has no {precision} kernel for a GRU here: {reason}") from None
    wrong = _recurrent_types(compiled) - {OPENVINO_PRECISION[precision]}
    if wrong:
        raise CompressionError(f"OpenVINO runs the GRU in {', '.join(sorted(wrong))}, not in {precision}")

    def make(shape: tuple[int, ...]) -> Run:
        windows, logits = np.empty(shape, np.float32), np.empty(shape_of_logits(model, shape[0]), np.float32)
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(windows, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(logits, shared_memory=True))

        def run(new: np.ndarray) -> np.ndarray:
            np.copyto(windows, new)
            request.infer(share_outputs=True)
            return logits

        return run

    return Deployed(*by_batch_size(make), model, precision, "openvino", len(content))


def _recurrent_types(compiled: openvino.CompiledModel) -> set[str]:
    """Return the types in which the recurrent nodes of a compiled model run."""
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    recurrent = [info for info in nodes if "RNN" in str(info["layerType"].value)]
    return {str(info["runtimePrecision"].value) for info in recurrent} or {"no recurrent node"}
