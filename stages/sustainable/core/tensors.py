"""Save tensors as safetensors, and hash them by content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sustainable.core.files import write_bytes
from sustainable.core.reading import damaged, existing, one_line, opened, parsed_json

HEADER_BYTES = 2**24
"""More than the header of any safetensors file may take. It holds the description, too."""


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any] | None = None
) -> None:
    """Write safetensors with a JSON description under one metadata key (several have no fixed order)."""
    metadata = {"description": json.dumps(description, sort_keys=True)} if description else None
    write_bytes(path, save(_in_order(tensors), metadata=metadata))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors of a safetensors artifact and its JSON description (empty if it has none)."""
    try:
        check_header(existing(path))
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            description = parsed_json((file.metadata() or {}).get("description", "{}"))
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, ValueError, AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise damaged(path, f"not a safetensors file ({one_line(error)[:200]})") from None
    if not isinstance(description, dict):
        raise damaged(path, "not a safetensors file (its description is not a mapping)")
    return tensors, description


def check_header(path: Path) -> None:
    """Raise `UserError` unless `path` is a regular file whose safetensors header is of bounded size."""
    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_BYTES:
        what = f"its header would take {length:,} bytes, more than {HEADER_BYTES:,}"
        raise damaged(path, f"not a safetensors file ({what})")


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write the state of a training, with a hash of all of it."""
    described = json.loads(json.dumps(description))
    write_tensors(path, tensors, described | {"sha256": _state_sha256(tensors, described)})


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the state of a training; raises `UserError` unless it is what `write_checkpoint` wrote.

    A training that went on from tensors with one wrong bit would end with other weights.
    """
    tensors, description = read_tensors(path)
    expected = description.pop("sha256", None)
    if expected != _state_sha256(tensors, description):
        raise damaged(path, "its hash is not that of its content")
    return tensors, description


def _state_sha256(tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> str:
    text = json.dumps([tensors_sha256(tensors), description], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def serialise(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return tensors as safetensors bytes; the order of `tensors` does not matter."""
    return save(_in_order(tensors))


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values: models with equal hashes are equal."""
    return hashlib.sha256(serialise(tensors)).hexdigest()


def _in_order(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensors[name].detach().contiguous() for name in sorted(tensors)}
