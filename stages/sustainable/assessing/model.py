"""A model to assess: an exported program (.pt2), TorchScript or ONNX, loaded as data; or an `nn.Module`."""

import hashlib
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.utils
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from sustainable.assessing.screening import file_kind, screen_exported_program, screen_torchscript
from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.core.hashing import file_sha256
from sustainable.forecasting.compression.accounting import model_tensors

Form = Literal["pt2", "torchscript", "onnx", "module"]
NATIVE_RUNTIME: Mapping[Form, str] = {
    "pt2": "torch-eager",
    "module": "torch-eager",
    "torchscript": "torchscript",
    "onnx": "onnxruntime",
}
"""The runtime in which a model is measured as it comes."""
Batch = tuple[np.ndarray, ...]
"""One array [batch, ...] per input of the model, in its order."""


@dataclass(frozen=True)
class InputSpec:
    """What a model says of one input."""

    name: str
    dtype: str  # as NumPy names it
    shape: tuple[int | None, ...]  # None: any size


@dataclass(frozen=True)
class Model:
    """A model as it comes."""

    name: str
    source: str  # its file, or what built it
    kind: Form
    sha256: str  # hash of the file, or of the weights and the graph
    size_bytes: int  # of the file, or of the weights
    tensors: Sequence[Tensor]  # weights and other constants, without names
    inputs: Sequence[InputSpec] | None  # None: TorchScript does not state them
    module: Callable[..., Any] | None = None  # maps tensors to tensors, in PyTorch
    program: Any = None  # the exported program, if there is one
    no_program: str = ""  # why there is none, for a module
    graph: onnx.ModelProto | None = None  # the model as an ONNX file has it

    @property
    def runtime(self) -> str:
        return NATIVE_RUNTIME[self.kind]

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the model takes; None if it takes any."""
        sizes = [spec.shape[0] for spec in self.inputs or () if spec.shape]
        return next((size for size in sizes if size is not None), None)

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of types, shapes and values of all tensors; neither names nor order matter."""
        return tensors_hash(self.tensors)

    @cached_property
    def identity(self) -> str:
        """Hash that stays the same when an exported program is saved again, unlike that of its file."""
        if self.program is None:
            return self.sha256
        return hashlib.sha256((self.weights_sha256 + str(self.program.graph)).encode()).hexdigest()

    @property
    def weights(self) -> list[Tensor]:
        """Tensors in floating point or 8 bits. Other integers are shapes, axes and class labels."""
        kinds = (torch.int8, torch.uint8, torch.qint8)
        return [value for value in self.tensors if value.is_floating_point() or value.dtype in kinds]

    @property
    def parameters(self) -> int:
        return sum(value.numel() for value in self.weights)

    @property
    def nonzero(self) -> int:
        return sum(int(torch.count_nonzero(value)) for value in self.weights)

    @property
    def weight_bytes(self) -> int:
        return sum(value.numel() * value.element_size() for value in self.weights)


def tensors_hash(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of a set of tensors, whatever their order."""
    digests = []
    for tensor in tensors:
        value = tensor.detach().contiguous()
        head = f"{value.dtype} {tuple(value.shape)} ".encode()
        content = value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
        digests.append(hashlib.sha256(head + content).hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def load_model(path: Path, name: str, output: str | None = None) -> Model:
    """Load a model file; `output` names the output of an ONNX model that counts.

    Raises `UserError` if the file is missing, damaged, or could run code.
    """
    kind = file_kind(path)
    if kind == "stable-baselines3":
        raise UserError(
            f"{path}: a Stable-Baselines3 policy acts in an environment; name it: ENVIRONMENT=CartPole-v1"
        )
    if output is not None and kind != "onnx":
        raise UserError(
            f"{path}: OUTPUT names an output of an ONNX model; in PyTorch the first tensor counts"
        )
    try:
        if kind == "onnx":
            return _onnx(path, name, output)
        return _exported_program(path, name) if kind == "pt2" else _torchscript(path, name)
    except UserError:
        raise
    except Exception as error:  # of any kind: loaders raise what they like for a damaged file
        what = {"pt2": "an exported program", "torchscript": "TorchScript", "onnx": "an ONNX model"}[kind]
        raise UserError(f"{path}: cannot be read as {what}: {one_line(error)[:200]}") from None


def _exported_program(path: Path, name: str) -> Model:
    screen_exported_program(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(path)
    program._guards_code = []  # they would be evaluated as Python; inputs are checked in `examples`
    specification = program.call_spec.in_spec
    nested = specification is None or any(not child.is_leaf() for child in specification.child(0).children())
    if nested or specification.child(1).num_leaves:
        raise UserError(f"{path}: it takes nested or keyword inputs; export it with plain tensors in order")
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [_torch_input(key, values[key]) for key in program.graph_signature.user_inputs]
    tensors = [*program.state_dict.values(), *program.constants.values()]
    return Model(
        name=name,
        source=str(path),
        kind="pt2",
        **_file(path),
        tensors=[tensor for tensor in tensors if isinstance(tensor, Tensor)],
        inputs=inputs,
        module=_unchecked(program),
        program=program,
    )


def _unchecked(program: Any) -> Any:
    """Return the program as a module that does not check its inputs in every call.

    The check takes up to half of a small model's time, and copies of the module do not have it: a compressor
    that works on a copy would seem to save that much.
    """
    module = program.module(check_guards=False)
    module._forward_pre_hooks.clear()
    module._forward_pre_hooks_with_kwargs.clear()
    return module


def _file(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "size_bytes": path.stat().st_size}


def from_module(module: nn.Module, name: str, source: str, examples: Batch) -> Model:
    """Wrap an `nn.Module`; `examples` [n, ...] are inputs for tracing it.

    If torch.export cannot trace it, such as a quantized module, it is measured in eager PyTorch only.
    """
    module = module.eval()
    inputs = [
        InputSpec(f"input_{place}", str(array.dtype), (None, *array.shape[1:]))
        for place, array in enumerate(examples)
    ]
    program, problem = None, ""
    try:
        program = _traced(module, examples)
    except Exception as error:  # of any kind: whatever the module's code raises
        problem = one_line(error)[:150]
    named = {**model_tensors(module), **dict(module.named_buffers())}
    tensors = list(named.values())
    structure = str(program.graph) if program is not None else repr(module)
    sha256 = hashlib.sha256((tensors_hash(tensors) + structure).encode()).hexdigest()
    size = sum(value.numel() * value.element_size() for value in tensors)
    return Model(name, source, "module", sha256, size, tensors, inputs, module, program, problem)


def _traced(module: nn.Module, examples: Batch) -> Any:
    """Export a module with a free batch size."""
    arguments = tuple(torch.from_numpy(array) for array in examples)
    shapes = tuple({0: torch.export.Dim.AUTO} for _ in arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, arguments, dynamic_shapes=shapes)


def _torch_input(name: str, value: Any) -> InputSpec:
    if not isinstance(value, Tensor):
        raise UserError(f"input {name}: {type(value).__name__} is no tensor; export the model without it")
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return InputSpec(name, str(value.dtype).removeprefix("torch."), shape)


def _torchscript(path: Path, name: str) -> Model:
    screen_torchscript(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(path, map_location="cpu").eval()
    tensors = list(module.state_dict().values())
    return Model(name, str(path), "torchscript", **_file(path), tensors=tensors, inputs=None, module=module)


def _onnx(path: Path, name: str, output: str | None) -> Model:
    content = onnx.load(path, load_external_data=False)
    graph = content.graph
    if not graph.node:
        raise UserError(f"{path}: neither a .pt2, TorchScript nor ONNX file, or a graph without nodes")
    if any(value.data_location == onnx.TensorProto.EXTERNAL for value in graph.initializer):
        raise UserError(f"{path}: its weights are in other files; save it as one file")
    content = _with_one_output(content, output, path)
    weights = {value.name for value in content.graph.initializer}
    arrays = [numpy_helper.to_array(value) for value in content.graph.initializer]
    tensors = [torch.from_numpy(array.copy()) for array in arrays if array.dtype.kind in "biuf"]
    inputs = [_onnx_input(value, path) for value in content.graph.input if value.name not in weights]
    return Model(name, str(path), "onnx", **_file(path), tensors=tensors, inputs=inputs, graph=content)


def _onnx_input(value: Any, path: Path) -> InputSpec:
    if value.type.WhichOneof("value") != "tensor_type":
        raise UserError(f"{path}: input {value.name} is no tensor; export the model with tensors")
    kind = value.type.tensor_type
    shape = tuple(size.dim_value or None for size in kind.shape.dim)
    return InputSpec(value.name, str(helper.tensor_dtype_to_np_dtype(kind.elem_type)), shape)


def _with_one_output(content: onnx.ModelProto, output: str | None, path: Path) -> onnx.ModelProto:
    """Cut the graph so that it computes one output: `output`, or the first of floating-point numbers.

    Classifiers of scikit-learn return a list of dictionaries, which most runtimes do not have. The output is
    then the tensor of probabilities from which the list is made.
    """
    tensors = [o for o in content.graph.output if o.type.WhichOneof("value") == "tensor_type"]
    floats = [o.name for o in tensors if np.issubdtype(_type_of(o), np.floating)]
    floats += [node.input[0] for node in content.graph.node if node.op_type == "ZipMap"]
    names = [value.name for value in content.graph.output]
    if output is not None and output not in {name for node in content.graph.node for name in node.output}:
        raise UserError(f"{path}: it computes no {output!r}; its outputs are {', '.join(names)}")
    if output is None and not (floats or tensors):
        raise UserError(f"{path}: none of its outputs ({', '.join(names)}) is a tensor; name one: OUTPUT=...")
    chosen = output or [*floats, *(value.name for value in tensors)][0]
    if names == [chosen]:
        return content
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "whole.onnx", Path(folder) / "cut.onnx"
        onnx.save(content, source)
        given = [value.name for value in content.graph.input]
        onnx.utils.extract_model(source, target, given, [chosen])
        return onnx.load(target)


def _type_of(value: Any) -> Any:
    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
