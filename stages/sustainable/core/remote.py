"""What runs on a node of a cluster: one cell, in an empty folder that holds only the files it reads."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import joblib

from sustainable.core.errors import UserError

COMPARED = (
    "gymnasium",
    "mujoco",
    "numpy",
    "onnxruntime",
    "sb3_contrib",
    "scipy",
    "stable_baselines3",
    "torch",
)
"""Packages whose version may change results."""


@dataclass(frozen=True)
class SentFile:
    """A file on its way between two machines."""

    path: str  # relative to the working folder
    sha256: str
    content: bytes


@dataclass(frozen=True)
class Delivery:
    """What a cell sends back."""

    value: Any
    value_hash: str  # see `value_hash`
    files: tuple[SentFile, ...]
    node: str  # host name of the machine that ran the cell


def pack(path: Path) -> SentFile:
    """Read a file for sending."""
    content = path.read_bytes()
    return SentFile(path.as_posix(), hashlib.sha256(content).hexdigest(), content)


def check_file(file: SentFile) -> None:
    """Raise `UserError` if the content is not the one that was sent."""
    if hashlib.sha256(file.content).hexdigest() != file.sha256:
        raise UserError(f"{file.path}: damaged on its way between two machines; run the stage again")


def value_hash(value: Any) -> str:
    """Return a hash of an object that is the same in every process."""
    return str(joblib.hash(value, hash_name="sha1"))


def run_cell(
    versions: Mapping[str, str],
    function: Callable[..., Any],
    task: tuple[Any, ...],
    reads: Sequence[SentFile],
    writes: Sequence[str],
) -> Delivery:
    """Run one cell in a folder of its own, with `reads` in place, and return its value and its `writes`.

    Raises `UserError` if a file was damaged on its way, or if the packages here are not those in `versions`.
    """
    refuse_other_versions(versions)
    with empty_folder():
        for file in reads:
            check_file(file)
            path = Path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        value = function(*task)
        files = tuple(pack(Path(path)) for path in writes if Path(path).is_file())
    return Delivery(value, value_hash(value), files, socket.gethostname())


@contextmanager
def empty_folder() -> Iterator[None]:
    """Work in a new temporary folder, and remove it at the end."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sustainable-cell-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@cache
def installed_versions() -> Mapping[str, str]:
    """Return the version of Python and of each package of `COMPARED` (`missing` without it)."""
    versions = {"python": python_version()}
    for name in COMPARED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return versions


def refuse_other_versions(expected: Mapping[str, str]) -> None:
    """Raise `UserError` if this node would compute with other packages than the one that asks."""
    for name, found in installed_versions().items():
        if found != expected[name]:
            raise UserError(
                f"node {socket.gethostname()}: {name} is {found}, but {expected[name]} is needed; "
                "install requirements.txt there"
            )
