"""The shipped run as an RO-Crate: the same files and hashes as the manifest, in the words of archives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import write_json
from sustainable.core.hashing import file_sha256
from sustainable.verification.export.witness import CRATE, media_type
from sustainable.verification.lock import files_in, read_yaml
from sustainable.verification.place import EXPLAINED, REFERENCE

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
        from rocrate.model import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("rocrate is not installed: `make reference` needs requirements-dev.txt") from None
    crate, citation = ROCrate(version=VERSION), read_yaml(project / "CITATION.cff")
    licence, *authors, language, pipeline = (
        crate.add(ContextEntity(crate, identifier, properties=properties))
        for identifier, properties in _entities(citation, project).items()
    )
    pipeline["programmingLanguage"] = language
    for name, properties in _files(reference, artifacts).items():
        crate.add_file(dest_path=name, properties=properties)
    root = {
        "name": citation["title"], "description": DESCRIPTION, "datePublished": published, "license": licence,
        "author": authors, "keywords": ", ".join(citation["keywords"]), "version": citation["version"],
        "mentions": pipeline,
    }  # fmt: skip
    for key, value in root.items():
        crate.root_dataset[key] = value
    write_json(out, crate.metadata.generate())


def _entities(citation: Mapping[str, Any], project: Path) -> dict[str, dict[str, Any]]:
    """Licence, authors, language and pipeline by identifier. An author is a person, or an organisation if
    there is only a `name`. dvc.yaml lies outside the crate: its hash is an identifier, not one of a file."""
    identifier = citation["license"]
    said = "By its SPDX identifier; the text is the project's file LICENSE."
    licence = {"name": f"{identifier} License", "identifier": identifier, "description": said}
    entities: dict[str, dict[str, Any]] = {"#license": {"@type": "CreativeWork", **licence}}
    for number, author in enumerate(citation.get("authors", []), 1):
        kind = "Organization" if "name" in author else "Person"
        name = author.get("name") or f"{author['given-names']} {author['family-names']}"
        entities[author.get("orcid", f"#author-{number}")] = {"@type": kind, "name": name}
    entities["#dvc"] = {"@type": "ComputerLanguage", "name": "DVC pipeline (YAML)"}
    entities[f"#{PIPELINE}"] = {
        "@type": ["SoftwareSourceCode", "ComputationalWorkflow"],
        "name": PIPELINE,
        "description": "The stages that made the files; dvc.lock holds what each of them read and wrote.",
        "identifier": f"sha256:{file_sha256(project / PIPELINE)}",
    }
    return entities


def _files(reference: Path, artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Properties of every file of the reference by path; not of the crate itself."""
    stages = {entry["shipped"]: entry["stage"] for entry in artifacts.values()}
    files = {}
    for name, path in files_in(reference).items():
        if name in (CRATE, EXPLAINED):
            continue
        stage = stages.get(f"{REFERENCE}/{name}")
        made = f"made by stage {stage} of {PIPELINE}" if stage else "written when this run was taken"
        files[name] = {
            "name": name,
            "description": f"{name}, {made}",
            "contentSize": str(path.stat().st_size),
            "encodingFormat": media_type(name),
            "sha256": file_sha256(path),
        }
    return files
