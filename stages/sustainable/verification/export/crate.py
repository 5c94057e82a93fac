"""The shipped run as an RO-Crate: the same files and hashes as the manifest, in the words of archives."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import write_json
from sustainable.core.hashing import file_sha256
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import REFERENCE, UNLISTED
from sustainable.verification.export.witness import CRATE, MEDIA_TYPES

VERSION = "1.2"
"""Of the RO-Crate specification: the first whose own terms include `sha256`."""

PIPELINE = "dvc.yaml"
DESCRIPTION = (
    "The shipped run: raw rows, metrics, training curves, weights, what the searchers found, the claims with "
    "their verdicts, and the hashes to check them by. Nothing needs to be trained or measured to read it."
)


def write_crate(
    reference: Path, artifacts: Mapping[str, Mapping[str, Any]], out: Path, *, project: Path, published: str
) -> None:
    """Write the crate's metadata for the files of `reference`, its root, to `out`; nothing is copied.

    `artifacts` are the manifest's, by path: they tell which stage made a file. Title, authors and licence
    come from CITATION.cff of `project`, the pipeline is its dvc.yaml, and `published` is a date (YYYY-MM-DD).
    The same files give the same bytes. Raises `UserError` where the library for it is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("rocrate is not installed: `make reference` needs requirements-dev.txt") from None
    crate = ROCrate(version=VERSION)
    citation = read_yaml(project / "CITATION.cff")
    licence = _added(crate, "#license", "CreativeWork", _licence(citation))
    authors = [_author(crate, number, one) for number, one in enumerate(citation.get("authors", []), 1)]
    pipeline = _pipeline(crate, project)
    for name, properties in _files(reference, artifacts):
        crate.add_file(dest_path=name, properties=properties)
    root = {
        "name": citation["title"], "description": DESCRIPTION, "datePublished": published, "license": licence,
        "author": authors, "keywords": ", ".join(citation["keywords"]), "version": citation["version"],
        "mentions": pipeline,
    }  # fmt: skip
    for key, value in root.items():
        crate.root_dataset[key] = value
    write_json(out, crate.metadata.generate())


def _files(
    reference: Path, artifacts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file of the reference by its path in it, in order; not the crate, nor what lists its hash."""
    stages = {entry["shipped"]: entry["stage"] for entry in artifacts.values()}
    for path in sorted(path for path in reference.rglob("*") if path.is_file()):
        name = path.relative_to(reference).as_posix()
        if name in (CRATE, *UNLISTED):
            continue
        stage = stages.get(f"{REFERENCE}/{name}")
        made = f"made by stage {stage} of {PIPELINE}" if stage else "written when this run was taken"
        properties = {
            "name": name,
            "description": f"{name}, {made}",
            "contentSize": str(path.stat().st_size),
            "encodingFormat": MEDIA_TYPES.get(path.suffix, "text/plain"),
            "sha256": file_sha256(path),
        }
        yield name, properties


def _licence(citation: Mapping[str, Any]) -> dict[str, Any]:
    identifier = citation["license"]
    said = "By its SPDX identifier; the text is the project's file LICENSE."
    return {"name": f"{identifier} License", "identifier": identifier, "description": said}


def _author(crate: Any, number: int, entry: Mapping[str, str]) -> Any:
    """A person, or (where CITATION.cff gives a `name` alone) an organisation."""
    kind = "Organization" if "name" in entry else "Person"
    name = entry.get("name") or f"{entry['given-names']} {entry['family-names']}"
    return _added(crate, entry.get("orcid", f"#author-{number}"), kind, {"name": name})


def _pipeline(crate: Any, project: Path) -> Any:
    """dvc.yaml, which lies outside the crate: its own hash is an identifier, not one of a file here."""
    language = _added(crate, "#dvc", "ComputerLanguage", {"name": "DVC pipeline (YAML)"})
    properties = {
        "name": PIPELINE,
        "description": "The stages that made the files; dvc.lock holds what each of them read and wrote.",
        "identifier": f"sha256:{file_sha256(project / PIPELINE)}",
        "programmingLanguage": language,
    }
    return _added(crate, f"#{PIPELINE}", ["SoftwareSourceCode", "ComputationalWorkflow"], properties)


def _added(crate: Any, identifier: str, kind: str | list[str], properties: Mapping[str, Any]) -> Any:
    """An entity of the crate that is no file in it."""
    from rocrate.model import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))
