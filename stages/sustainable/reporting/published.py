"""Numbers of the two sources, from paper/published.yaml."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.reading import one_line, parsed_yaml, read_text


def read_source(path: Path, study: str, needed: Collection[str]) -> dict[str, Any]:
    """Read the section `study` of a file of published numbers.

    Raises `UserError` if the file cannot be read, or one of the `needed` keys is missing.
    """
    try:
        content = parsed_yaml(read_text(path))[study]
        missing = set(needed) - content.keys()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); restore it from git") from None
    if missing:
        raise UserError(f"{path}: {study}.{min(missing)} is missing; restore the file from git")
    return dict(content)


def read_citation(path: Path) -> dict[str, Any]:
    """Read the title and the authors of this artifact from its CITATION.cff.

    Raises `UserError` if the file cannot be read, or has neither.
    """
    try:
        content = parsed_yaml(read_text(path))
        authors = [
            entry.get("name") or f"{entry['given-names']} {entry['family-names']}"
            for entry in content["authors"]
        ]
        return {"title": str(content["title"]), "authors": authors, "version": str(content["version"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"needs a title, authors and a version ({one_line(error)})"
        raise UserError(f"{path}: {problem}; restore it from git") from None
