"""Prepare the rows of an assessment: deploy the baseline, its variants and what compressors make of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sustainable.assessing.changes import Change, Counts, change_of
from sustainable.assessing.compressors import build_module, apply_compressor
from sustainable.assessing.examples import Examples, fit_inputs
from sustainable.assessing.model import Batch, Model, from_module, load_model
from sustainable.assessing.onnx_forms import onnx_flops
from sustainable.assessing.runtimes import DeployedModel, Refusal, Target, Workbench, deploy_converted
from sustainable.assessing.runtimes import deploy_native, targets_of
from sustainable.assessing.settings import AssessSettings
from sustainable.assessing.windows import BASELINE
from sustainable.core.errors import UserError

TRACED_EXAMPLES = 2
"""Examples with which a module is traced: torch.export takes a batch of 1 for a constant."""


@dataclass(frozen=True)
class Request:
    """What is assessed."""

    model: str  # a file, or `module:function`, which builds an nn.Module
    inputs: Path
    target: Path | None = None
    variants: Mapping[str, str] = field(default_factory=dict)  # name -> as `model`
    compressors: Sequence[str] = ()  # `module:function`, or names of entry points
    settings: AssessSettings = field(default_factory=AssessSettings)


@dataclass
class Rows:
    """The rows of an assessment while they are prepared."""

    deployments: dict[str, DeployedModel] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    invested_cpu_s: dict[str, float] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)


def open_model(name: str, role: str, arrays: Mapping[str, np.ndarray], settings: AssessSettings) -> Model:
    """Load a model file, or build the module that `module:function` names."""
    path = Path(name)
    if path.suffix or path.exists() or ":" not in name:
        return load_model(path, role, settings.output)
    return from_module(build_module(name), role, name, first_examples(list(arrays.values())))


def first_examples(arrays: Sequence[np.ndarray]) -> Batch:
    """Return a few examples for tracing, with numbers in single precision."""
    return tuple(
        np.ascontiguousarray(array[:TRACED_EXAMPLES], np.float32 if array.dtype.kind == "f" else array.dtype)
        for array in arrays
    )


def deploy_baseline(model: Model, bench: Workbench, settings: AssessSettings) -> Rows:
    """Deploy the baseline in its own runtime, and in all others that the host supports."""
    native = deploy_native(model, BASELINE, bench)
    rows = Rows({BASELINE: native}, counts={BASELINE: counts_of(model, bench.examples)})
    for target in targets_of(model, settings.runtimes, True)[1:]:
        _add(rows, target.name, target, bench, native)
    return rows


def _add(
    rows: Rows, key: str, target: Target, bench: Workbench, native: DeployedModel, invested_cpu_s: float = 0.0
) -> None:
    """Deploy one more row, or add it to those that are refused."""
    print(f"deploying {key}", flush=True)
    row = deploy_converted(key, target, bench, native)
    if isinstance(row, Refusal):
        print(f"refused: {key}: {row.reason}", flush=True)
        rows.refused.append(row)
        return
    rows.deployments[key] = row
    rows.invested_cpu_s[key] = invested_cpu_s + row.deploying_cpu_s


def deploy_variants(rows: Rows, request: Request, arrays: Mapping[str, np.ndarray], bench: Workbench) -> None:
    """Add the rows of every variant and compressor; one that fails is refused with the reason."""
    settings, baseline = request.settings, rows.deployments[BASELINE]
    makers: dict[str, Callable[[], Model]] = {
        name: lambda name=name, source=source: open_model(source, name, arrays, settings)  # type: ignore[misc]
        for name, source in request.variants.items()
    }
    for function in request.compressors:
        name = function.rpartition(":")[2]
        if name in makers:
            raise UserError(f"{function}: there is a variant {name} already; rename one of them")
        makers[name] = lambda function=function, name=name: _compress(baseline.model, function, name, arrays)  # type: ignore[misc]
    for name, make in makers.items():
        start = time.process_time()
        try:
            model = make()
            _add_variant(rows, model, request, bench, name in request.variants, start)
        except UserError as error:
            own = Refusal(name, name, Target("any runtime", ""), str(error))
            print(f"refused: {name}: {error}", flush=True)
            rows.refused.append(own)


def _compress(model: Model, function: str, name: str, arrays: Mapping[str, np.ndarray]) -> Model:
    if not isinstance(model.module, nn.Module):
        raise UserError(f"{function}: a compressor takes an nn.Module, and {model.source} is {model.kind}")
    ordered = fit_inputs(model, arrays, Path(model.source))
    module = apply_compressor(function, model.module)
    return from_module(module, name, function, first_examples(list(ordered.values())))


def _add_variant(
    rows: Rows, model: Model, request: Request, bench: Workbench, is_file: bool, start: float
) -> None:
    """Deploy a variant in the runtimes of the baseline; one that changes nothing only in its own."""
    settings, examples = request.settings, bench.examples
    invested = settings.invested_cpu_s + (0.0 if is_file else time.process_time() - start)
    fit_inputs(model, dict(zip(examples.names, examples.batches[0], strict=True)), request.inputs)
    if model.fixed_batch not in (None, examples.batch_size):
        raise UserError(f"{model.source}: it takes batches of {model.fixed_batch}, not {examples.batch_size}")
    key = f"{model.name}: {model.runtime}"
    native = deploy_native(model, key, bench)
    rows.counts[model.name] = counts_of(model, examples)
    change = _change_to(native, rows, is_file)
    print(f"{model.name}: {change.sentence}", flush=True)
    rows.changes[model.name], rows.deployments[key] = change, native
    rows.invested_cpu_s[key] = invested + native.deploying_cpu_s
    for target in [] if change.same_model else targets_of(model, settings.runtimes, False)[1:]:
        _add(rows, f"{model.name}: {target.name}", target, bench, native, invested)


def _change_to(native: DeployedModel, rows: Rows, is_file: bool) -> Change:
    """Return what a variant changed; raises `UserError` for a compressor that changed nothing."""
    model, baseline = native.model, rows.deployments[BASELINE]
    change = change_of(
        model.name,
        rows.counts[BASELINE],
        rows.counts[model.name],
        (baseline.model, model),
        (baseline.outputs, native.outputs),
    )
    if change.same_model and not is_file:
        hint = "; an exported program has no layers such as nn.Linear: give the model as module:function"
        raise UserError(
            f"the compressor changed nothing: {change.sentence}{hint if baseline.model.kind == 'pt2' else ''}"
        )
    if change.difference == float("inf"):
        raise UserError(
            f"{model.source}: its output has another shape than the baseline's; compare like with like"
        )
    return change


def counts_of(model: Model, examples: Examples) -> Counts:
    """Count parameters, bytes, and the operations of one call."""
    flops: int | None
    if model.graph is not None:
        flops = onnx_flops(model.graph, dict(zip(examples.names, examples.batches[0], strict=False)))
    else:
        flops = torch_flops(model, examples.batches[0])
    return Counts(model.parameters, model.nonzero, model.weight_bytes, flops)


def torch_flops(model: Model, batch: Batch) -> int | None:
    """Return the operations of a call as PyTorch counts them.

    None for 0: it does not know quantized products.
    """
    assert model.module is not None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.module(*map(torch.from_numpy, batch))
    return int(counter.get_total_flops()) or None
