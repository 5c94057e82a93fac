"""Deploy a model in the runtimes and precisions that this host supports, and check every deployment.

A row that cannot be deployed, is not deterministic, disagrees with the model's own runtime or is too slow is
refused with the reason; the other rows are not affected.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from torch.utils._pytree import tree_leaves

from sustainable.assessing.changes import largest_difference
from sustainable.assessing.examples import Examples
from sustainable.assessing.model import Batch, Model
from sustainable.assessing.onnx_forms import Exported, compute_precisions, export_onnx
from sustainable.assessing.onnx_forms import float_products, to_int8
from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.forecasting.compression.runtimes import LOGIT_TOLERANCE, OPENVINO_PRECISION
from sustainable.measuring.roofline import has_bf16

TORCH_RUNTIMES = ("torch-eager", "torchscript")
TORCH_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}
CHECKED_CALLS = 64
"""Calls on which outputs are compared if no target asks for all examples."""


@dataclass(frozen=True)
class Target:
    """A runtime and a precision; `converts`: whether the precision is not the one that the file has."""

    runtime: str
    precision: str
    converts: bool = False

    @property
    def name(self) -> str:
        return f"{self.runtime} {self.precision}"


@dataclass(frozen=True)
class Session:
    """A model that is loaded in a runtime."""

    prepare: Callable[[Batch], Any]  # converts the inputs of a call: timing `run` times the model only
    run: Callable[[Any], Any]
    read: Callable[[Any], np.ndarray]  # the output of `run` that counts [batch, ...]
    size_bytes: int  # of the file that the runtime loads


@dataclass(frozen=True)
class DeployedModel:
    """One row: a model in a runtime and a precision, checked."""

    key: str
    model: Model
    target: Target
    session: Session
    outputs: np.ndarray  # [examples, ...] float64, or classes
    call_s: float  # wall time of one call, roughly
    deploying_cpu_s: float  # CPU time of exporting, converting and loading
    difference: float  # largest difference from the model's own runtime, as a share of the largest output


@dataclass(frozen=True)
class Refusal:
    """A row that is not measured."""

    key: str
    model: str
    target: Target
    reason: str


@dataclass(frozen=True)
class Workbench:
    """What every row is deployed with, and what it must satisfy to be measured."""

    examples: Examples
    cache: Path  # folder of exports
    threads: int
    call_s: float  # longest duration of one call
    all_examples: bool  # whether the outputs of all examples are needed


def stored_precision(model: Model) -> str:
    """Return the precision of a model as its file has it."""
    if model.graph is not None:
        return compute_precisions(model.graph)
    types = {str(value.dtype).removeprefix("torch.") for value in model.weights if value.ndim > 1}
    return "+".join(sorted(TORCH_PRECISION.get(kind, "int8") for kind in types)) or "fp32"


def targets_of(model: Model, chosen: Sequence[str], is_baseline: bool) -> list[Target]:
    """Return the runtimes and precisions of a model: its own runtime first.

    Only the baseline is also converted to other precisions: a variant is measured as its file has it.
    """
    stored = stored_precision(model)
    others = [name for name in ("onnxruntime", "openvino") if name != model.runtime]
    targets = [Target(name, stored) for name in (model.runtime, *others)]
    if is_baseline and stored == "fp32":
        targets += [Target("onnxruntime", "int8", True)]
        targets += [Target("openvino", "bf16", True)] if has_bf16() else []
    return [targets[0], *(target for target in targets[1:] if target.runtime in chosen)]


def deploy_native(model: Model, key: str, bench: Workbench) -> DeployedModel:
    """Deploy a model in its own runtime; raises `UserError` if that fails: nothing could be compared."""
    target = Target(model.runtime, stored_precision(model))
    try:
        return _deployed(model, key, target, bench, None)
    except CompressionError as error:
        raise UserError(f"{model.source}: {error}") from None


def deploy_converted(
    key: str, target: Target, bench: Workbench, native: DeployedModel
) -> DeployedModel | Refusal:
    """Deploy the model of `native` in another runtime, and compare the outputs of the two."""
    try:
        return _deployed(native.model, key, target, bench, native)
    except CompressionError as error:
        return Refusal(key, native.model.name, target, str(error))


@dataclass(frozen=True)
class Trial:
    """What two calls on the same inputs gave."""

    session: Session
    first: np.ndarray
    second: np.ndarray
    call_s: float  # wall time of the second call
    deploying_cpu_s: float  # with the first call, which may still compile


def _deployed(
    model: Model, key: str, target: Target, bench: Workbench, native: DeployedModel | None
) -> DeployedModel:
    trial = _try(model, target, bench)
    check_output(trial.first, trial.second, bench.examples.batch_size)
    if trial.call_s > bench.call_s:
        raise CompressionError(
            f"one call takes {trial.call_s:.2g} s, and a window may hold calls of at most "
            f"{bench.call_s:g} s; use a smaller batch size, or --thorough"
        )
    outputs = _outputs(trial.session, bench)
    difference = 0.0 if native is None else disagreement(outputs, native.outputs, target)
    times = trial.call_s, trial.deploying_cpu_s
    return DeployedModel(key, model, target, trial.session, outputs, *times, difference)


def _try(model: Model, target: Target, bench: Workbench) -> Trial:
    """Load a model and call it twice; raises `CompressionError` if the runtime cannot do that."""
    batch = bench.examples.batches[0]
    try:
        exported = None if target.runtime in TORCH_RUNTIMES else export_onnx(model, batch, bench.cache)
        start = time.process_time()
        session = _load(model, target, exported, bench.threads)
        prepared = session.prepare(batch)
        first = np.array(session.read(session.run(prepared)))
        deploying_s = time.process_time() - start + (exported.cpu_s if exported else 0.0)
        before = time.perf_counter()
        second = np.array(session.read(session.run(prepared)))
        return Trial(session, first, second, time.perf_counter() - before, deploying_s)
    except (UserError, CompressionError):
        raise
    except Exception as error:  # of any kind: runtimes raise what they like
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # the first hold a trace
        raise CompressionError(f"{target.name} cannot run it: {last[:250]}") from None


def check_output(first: np.ndarray, second: np.ndarray, count: int) -> None:
    """Raise `CompressionError` if two calls on the same input differ, or are not finite numbers."""
    if first.dtype.kind not in "biuf" or first.ndim == 0 or len(first) != count:
        raise CompressionError(
            f"the output is {first.dtype} {list(first.shape)}: one row per example is needed"
        )
    if not np.isfinite(first).all():
        raise CompressionError("the output has NaN or infinity")
    if not np.array_equal(first, second):
        raise CompressionError(
            "it is not deterministic: two calls on the same input differ (dropout or noise left on?)"
        )


def disagreement(outputs: np.ndarray, expected: np.ndarray, target: Target) -> float:
    """Return the difference from `expected`, see `largest_difference`.

    Raises `CompressionError` if it exceeds what the precision allows, or if a conversion changed nothing.
    """
    if outputs.shape != expected.shape:
        raise CompressionError(
            f"its output has the shape {list(outputs.shape)}; in the own runtime, {list(expected.shape)}"
        )
    off = largest_difference(outputs, expected)
    allowed = LOGIT_TOLERANCE.get(target.precision, LOGIT_TOLERANCE["fp32"])
    if not off <= allowed:  # NaN fails as well
        raise CompressionError(
            f"it disagrees with the model's own runtime by {off:.2g} of the largest output; "
            f"{allowed:g} is allowed"
        )
    if target.converts and expected.dtype.kind == "f" and np.array_equal(outputs, expected):
        raise CompressionError("its outputs equal those of fp32: the precision was ignored")
    return off


def _outputs(session: Session, bench: Workbench) -> np.ndarray:
    batches = bench.examples.batches[: None if bench.all_examples else CHECKED_CALLS]
    parts = [np.array(session.read(session.run(session.prepare(batch)))) for batch in batches]
    outputs = np.concatenate(parts)
    return outputs.astype(np.float64) if outputs.dtype.kind == "f" else outputs


def _load(model: Model, target: Target, exported: Exported | None, threads: int) -> Session:
    if exported is None:
        return _in_torch(model)
    if target.runtime == "openvino":
        return _in_openvino(exported.graph, target, threads)
    return _in_onnxruntime(to_int8(exported.graph) if target.converts else exported.graph, threads)


def _in_torch(model: Model) -> Session:
    module = model.module
    assert module is not None

    def run(tensors: Any) -> Any:
        with torch.inference_mode():
            return module(*tensors)

    def read(values: Any) -> np.ndarray:
        leaves = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
        if not leaves:
            raise CompressionError("it returns no tensor")
        chosen = next((value for value in leaves if value.is_floating_point()), leaves[0])
        array: np.ndarray = chosen.float().numpy() if chosen.is_floating_point() else chosen.numpy()
        return array

    return Session(lambda batch: tuple(map(torch.from_numpy, batch)), run, read, model.size_bytes)


def _in_onnxruntime(graph: onnx.ModelProto, threads: int) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    floats = [place for place, value in enumerate(session.get_outputs()) if "float" in value.type]
    place, run = (floats or [0])[0], session.run

    def prepare(batch: Batch) -> dict[str, np.ndarray]:
        return dict(zip(inputs, batch, strict=True))

    return Session(prepare, lambda given: run(outputs, given), lambda values: values[place], len(content))


def _in_openvino(graph: onnx.ModelProto, target: Target, threads: int) -> Session:
    core, content = openvino.Core(), graph.SerializeToString()
    settings = {  # the default precision is bf16 on processors that support it, so it is always set
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION.get(target.precision, "f32"),
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    if target.precision == "bf16" and "bf16" not in _running_types(compiled):
        kinds = ", ".join(float_products(graph)) or "no products"
        raise CompressionError(f"OpenVINO runs no operator in bf16 ({kinds})")
    request = compiled.create_infer_request()
    floats = [place for place, port in enumerate(compiled.outputs) if port.element_type.is_real()]
    place = (floats or [0])[0]

    def prepare(batch: Batch) -> dict[int, np.ndarray]:
        return dict(enumerate(batch))

    def run(given: dict[int, np.ndarray]) -> Any:
        return request.infer(given, share_inputs=True, share_outputs=True)

    return Session(prepare, run, lambda values: values[place], len(content))


def _running_types(compiled: openvino.CompiledModel) -> set[str]:
    """Return the types in which the nodes of a compiled model run."""
    types = set()
    for node in compiled.get_runtime_model().get_ops():
        with suppress(KeyError, RuntimeError):
            types.add(str(node.get_rt_info()["runtimePrecision"].value))
    return types
