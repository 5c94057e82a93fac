"""Hashes of files and of settings."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sustainable.core.reading import opened


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(settings: Any) -> str:
    """Return the SHA-256 of JSON-like settings; the order of keys does not matter."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
