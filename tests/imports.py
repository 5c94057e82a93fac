"""The library files that a stage script imports, directly or through others."""

import ast
from pathlib import Path

STAGES = Path(__file__).parent.parent / "stages"


def modules_of(path: Path) -> set[str]:
    """Dotted names under `sustainable` that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "sustainable"}


def files_of(module: str) -> set[Path]:
    """A module's file and those of the packages above it (none if it is no module)."""
    parts, found = module.split("."), set()
    for depth in range(1, len(parts) + 1):
        base = STAGES.joinpath(*parts[:depth])
        found |= {path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()}
    return found


def library_files(script: Path) -> set[Path]:
    """Every library file that running `script` loads."""
    seen: set[Path] = set()
    left = [script]
    while left:
        new = set().union(*(files_of(name) for name in modules_of(left.pop()))) - seen
        seen |= new
        left.extend(new)
    return seen
