"""The inputs and the target that a model is assessed on, and whether they fit it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import zipfile
from pathlib import Path

import numpy as np

from sustainable.assessing.model import Batch, InputSpec, Model
from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.core.reading import opened
from sustainable.assessing.screening import refuse_larger_archive


@dataclass(frozen=True)
class Examples:
    """Example inputs, cut into calls."""

    batches: Sequence[Batch]
    names: Sequence[str]  # of the inputs, in the model's order
    batch_size: int

    @property
    def count(self) -> int:
        return self.batch_size * len(self.batches)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read arrays from .npz, or one from .npy; raises `UserError` if that is not possible."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; save inputs with numpy.savez({path.name!r}, x=...)")
    try:
        with opened(path) as file:
            if zipfile.is_zipfile(file):
                refuse_larger_archive(path)
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            return dict(content) if isinstance(content, np.lib.npyio.NpzFile) else {"arr_0": content}
    except UserError:
        raise
    except Exception as error:  # of any kind: numpy and zlib raise what they like for a damaged file
        raise UserError(f"{path}: not arrays of numbers in .npz or .npy ({one_line(error)[:150]})") from None


def cut_examples(
    model: Model, arrays: Mapping[str, np.ndarray], source: Path, batch_size: int | None
) -> Examples:
    """Cut `arrays` [n, ...] into calls of `batch_size`; by default that of the model, or 1 if it takes any.

    Examples that do not fill a last call are left out. Raises `UserError` if the arrays do not fit the model.
    """
    ordered = fit_inputs(model, arrays, source)
    counts = {len(array) if array.ndim else 0 for array in ordered.values()}
    if len(counts) != 1 or not min(counts):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in ordered.items())
        raise UserError(f"{source}: every array needs the same number of examples first; found {shapes}")
    count, fixed = counts.pop(), model.fixed_batch
    size = batch_size or fixed or 1
    if fixed is not None and size != fixed:
        raise UserError(
            f"{model.source}: it takes batches of {fixed} only; leave out the batch size, or export it"
        )
    if size > count:
        raise UserError(f"{source}: {count} examples do not fill one batch of {size}; give more")
    starts = range(0, count - size + 1, size)
    batches = [tuple(array[start : start + size] for array in ordered.values()) for start in starts]
    return Examples(batches, list(ordered), size)


def fit_inputs(model: Model, arrays: Mapping[str, np.ndarray], source: Path) -> dict[str, np.ndarray]:
    """Return the arrays in the order of the model's inputs, in its types: by name, or by their order."""
    specs = model.inputs
    if specs is None:  # TorchScript states neither names nor types
        return {name: _single(array) for name, array in arrays.items()}
    if len(specs) != len(arrays):
        needed = ", ".join(f"{spec.name} {_shown(spec)}" for spec in specs)
        raise UserError(f"{source}: {len(arrays)} arrays, but {model.source} takes {len(specs)}: {needed}")
    by_name = set(arrays) == {spec.name for spec in specs}
    values = [arrays[spec.name] for spec in specs] if by_name else list(arrays.values())
    return {spec.name: _fitted(spec, array, source) for spec, array in zip(specs, values, strict=True)}


def _fitted(spec: InputSpec, array: np.ndarray, source: Path) -> np.ndarray:
    expected = np.dtype(spec.dtype)
    shapes_fit = array.ndim == len(spec.shape) and all(
        size in (None, actual) for size, actual in zip(spec.shape[1:], array.shape[1:], strict=False)
    )
    if not shapes_fit or array.dtype.kind != expected.kind:
        found = f"{array.dtype} {list(array.shape)}"
        raise UserError(f"{source}: input {spec.name} is {found}, the model takes {_shown(spec)}")
    if not np.isfinite(array).all():
        raise UserError(f"{source}: input {spec.name} has NaN or infinity; no output could be compared")
    return np.ascontiguousarray(array, dtype=expected)


def _single(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype)


def _shown(spec: InputSpec) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype} [{sizes}]"


def read_target(path: Path, examples: Examples) -> np.ndarray:
    """Read the target [n, ...] of the examples; raises `UserError` if it does not fit them."""
    (name, target), *more = read_arrays(path).items()
    if more:
        raise UserError(f"{path}: one array is needed, found {name} and {len(more)} more")
    if target.ndim == 0 or len(target) < examples.count:
        found = len(target) if target.ndim else "no"
        raise UserError(f"{path}: {found} targets for {examples.count} examples; give one for each")
    if target.dtype.kind not in "biuf" or not np.isfinite(target).all():
        raise UserError(
            f"{path}: a target must be classes (integers) or finite numbers, found {target.dtype}"
        )
    return target[: examples.count]
