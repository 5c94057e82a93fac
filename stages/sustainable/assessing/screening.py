"""Refuse model files that could run code: a model is loaded only if loading and running it is data flow.

`torch.export.load` unpickles parts of an archive and evaluates its symbolic shapes as Python. So the archive
is read as JSON first, and every part that Python would execute must be one of a few known forms.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from sustainable.core.errors import UserError
from sustainable.core.reading import FILE_BYTES, one_line, opened, parsed_json

Kind = Literal["pt2", "torchscript", "onnx", "stable-baselines3"]

SAVE_INSTEAD = (
    "save the model with torch.export.save (.pt2), torch.jit.save or as ONNX; stages/README.md shows how"
)
PICKLE = "this is a pickle, which can run any code when it is loaded"
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prim|prims|quantized_decomposed|higher_order)"
    r"\.(_?[A-Za-z]\w*|__i?(and|or|xor|lshift|rshift)__)(\.[A-Za-z]\w*)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|lt|le|gt|ge|eq|ne|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_\w+"
)
"""Targets of calls in an exported program. Others may be custom operators, or any function of a module."""
OPENS_FILES = re.compile(r"\.(from_file|save)\b")
SYMBOLS = re.compile(
    r"[a-z]+\d+|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|ModularIndexing|Where|Eq|Ne|Lt|Le|Gt|Ge|And"
    r"|Or|Not|CeilToInt|FloorToInt|TruncToInt|TruncToFloat|IntTrueDiv|FloatTrueDiv|FloatPow|PowByNatural"
    r"|ToFloat|RoundToInt|RoundDecimal|LShift|RShift|True|False|oo|int_oo|Symbol|Integer|Rational|Add|Mul|Pow"
    r"|positive|nonnegative|integer|real"
)
"""Names that a symbolic size may contain: PyTorch evaluates it as Python."""
CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}
"""Containers of inputs and outputs. Others import the module that they name."""
SCRIPT_FORBIDDEN = re.compile(r"__setstate__|\btorch\.(save|from_file)\b|\bops\.(?!aten|prim|quantized)\w+")
SCRIPT_PRINTS = re.compile(r"^\s*print\(", re.MULTILINE)


def file_kind(path: Path) -> Kind:
    """Return what a model file is, by its content; raises `UserError` for a pickle or a missing file."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a .pt2, TorchScript or .onnx file")
    if not zipfile.is_zipfile(path):
        with opened(path) as file:
            head = file.read(2)
        if head[:1] == b"\x80" and head[1:2] <= bytes([pickle.HIGHEST_PROTOCOL]):
            raise UserError(f"{path}: {PICKLE}; {SAVE_INSTEAD}")
        return "onnx"
    refuse_larger_archive(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("data/aotinductor/" in name for name in names):
        raise UserError(f"{path}: it holds compiled machine code (AOTInductor), not a model; {SAVE_INSTEAD}")
    if any(re.search(r"(^|/)models/[^/]+\.json$", name) for name in names):
        return "pt2"
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return "torchscript"
    if {"data", "policy.pth"} <= set(names):
        return "stable-baselines3"
    if any(name.endswith("data.pkl") for name in names):
        raise UserError(f"{path}: {PICKLE} (torch.save); {SAVE_INSTEAD}")
    raise UserError(f"{path}: this zip archive holds no model; {SAVE_INSTEAD}")


def refuse_larger_archive(path: Path) -> None:
    """Raise `UserError` for an archive that is damaged, or much larger when it is unpacked."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: a damaged archive ({one_line(error)[:120]}); {SAVE_INSTEAD}") from None
    if unpacked > FILE_BYTES:
        raise UserError(
            f"{path}: it unpacks to {unpacked:,} bytes, more than {FILE_BYTES:,}; save it smaller"
        )


def screen_exported_program(path: Path) -> None:
    """Raise `UserError` if loading or running an exported program (.pt2) could run code of the file."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            problem = _problem_in(name.partition("/")[2], archive, name)
            if problem:
                raise UserError(f"{path}: {name}: {problem}; {SAVE_INSTEAD}")


def screen_torchscript(path: Path) -> None:
    """Raise `UserError` if a TorchScript file has code that runs when it is loaded, prints or opens files."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "/code/" not in name or not name.endswith(".py"):
                continue
            code = archive.read(name).decode("utf-8", errors="replace")
            if found := SCRIPT_FORBIDDEN.search(code):
                raise UserError(f"{path}: {name}: {found[0]} could act outside the model; {SAVE_INSTEAD}")
            if SCRIPT_PRINTS.search(code):
                raise UserError(
                    f"{path}: {name}: the model prints, and printing would be measured; remove it"
                )


def _problem_in(inside: str, archive: zipfile.ZipFile, name: str) -> str:
    """Return why a member of a .pt2 archive is refused; empty if it is data."""
    if re.fullmatch(r"data/(weights|constants)/[^/]+\.pt", inside):
        return "its tensors are pickled, in a format of older versions of PyTorch"
    if inside.startswith("data/sample_inputs/"):
        return _problem_in_samples(archive.read(name))
    if inside.endswith("_config.json"):
        return _problem_in_payloads(_parsed(archive.read(name)))
    if inside.startswith("models/"):
        return next(_problems_in_graph(_parsed(archive.read(name))), "")
    return ""


def _parsed(content: bytes) -> Any:
    """Return parsed JSON; what cannot be parsed is returned as a call that is refused."""
    try:
        return parsed_json(content.decode())
    except ValueError:
        return {"target": "what is no JSON"}


def _problem_in_samples(content: bytes) -> str:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # of any kind: PyTorch would then unpickle it
        return "its example inputs are a pickle of other things than tensors"
    return ""


def _problem_in_payloads(config: Any) -> str:
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        return "not a table of tensors"
    for tensor, entry in config["config"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("path_name"), str):
            return f"{tensor} has no place"
        if entry.get("use_pickle") is not False or not re.match(r"(weight|tensor)_", entry["path_name"]):
            return f"{tensor} is pickled"
    return ""


def _problems_in_graph(node: Any) -> Iterator[str]:
    """Yield every part of a serialised graph that PyTorch could execute and that is not known."""
    if isinstance(node, list):
        for entry in node:
            yield from _problems_in_graph(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _problems_in_entry(key, value)


def _problems_in_entry(key: str, value: Any) -> Iterator[str]:
    if key == "target" and isinstance(value, str):
        if not OPERATOR.fullmatch(value) or OPENS_FILES.search(value):
            yield f"it calls {value[:80]}, which is not an operator of PyTorch's own (aten)"
    elif key == "expr_str":
        names = re.findall(r"[A-Za-z_]\w*", str(value))
        if re.search(r"[^\w\s+\-*/%(),.<>=']", str(value)) or not all(map(SYMBOLS.fullmatch, names)):
            yield f"the symbolic size {str(value)[:80]!r} is no arithmetic"
    elif key in ("in_spec", "out_spec") and isinstance(value, str):
        unknown = _containers(_parsed(value.encode())) - CONTAINERS
        if unknown:
            yield f"inputs or outputs are of type {min(map(str, unknown))[:80]}; use tensors"
    elif isinstance(value, dict | list):
        yield from _problems_in_graph(value)


def _containers(spec: Any) -> set[Any]:
    """Return the types of all containers of a serialised tree of inputs or outputs."""
    if isinstance(spec, list):
        return set().union(*map(_containers, spec)) if spec else set()
    if not isinstance(spec, dict):
        return set()
    return {spec.get("type")} | _containers(spec.get("children_spec", []))
