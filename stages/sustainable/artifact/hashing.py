"""Hashes of files, of tensors and of settings."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def serialise(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Safetensors bytes of tensors; the same content gives the same bytes, whatever its order."""
    return save({name: tensors[name].detach().contiguous() for name in sorted(tensors)})


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values: two models with one hash are one model."""
    return hashlib.sha256(serialise(tensors)).hexdigest()


def fingerprint(settings: Any) -> str:
    """SHA-256 of JSON-like settings, independent of the order of keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
