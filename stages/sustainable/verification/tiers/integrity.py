"""Tier T0: the shipped files are complete, and code, parameters, lock and files agree. Nothing runs."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.core.reading import contained, read_text
from sustainable.verification.items import HERE, Item, compared, current, none_wrong, skipped
from sustainable.verification.lock import differences, folder_md5, md5_of
from sustainable.verification.place import MANIFEST, REFERENCE, Place

EDITABLE = ("params.yaml", "dvc.yaml", "requirements.txt")
"""Sources that a developer edits: a change makes the shipped rows stale, it does not damage them."""


def compared_file(place: Place, path: str, name: str, expected: str | None, stage: str | None = None) -> Item:
    """Compare the SHA-256 of a file that git restores with the expected one."""
    found, advice = sha256_or_none(place.root / path), f"`git checkout -- {path}`"
    return compared("T0", name, "shipped", expected, found, stage=stage, advice=advice)


def sha256_or_none(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def check_sums(place: Place) -> Iterator[Item]:
    """Check every file of the reference against `SHA256SUMS`: none changed, missing or added."""
    try:
        stages = {entry["shipped"]: entry["stage"] for entry in place.artifacts.values()}
    except (UserError, KeyError, TypeError):  # a damaged manifest is another check's finding
        stages = {}
    for name in sorted({*place.sums, *place.shipped_files}):
        path = f"{REFERENCE}/{name}"
        yield compared_file(place, path, path, place.sums.get(name), stages.get(path))


def check_entries(place: Place) -> Iterator[Item]:
    """Check the manifest's entry of every shipped artifact against its file."""
    for path, entry in place.artifacts.items():
        if entry["shipped"] is None:
            continue
        file = contained(place.root, entry["shipped"])
        found = f"{file_sha256(file)} {md5_of(file)}" if file.is_file() else None
        expected, advice = f"{entry['sha256']} {entry['md5']}", f"`git checkout -- {entry['shipped']}`"
        name = f"{MANIFEST}: {path}"
        yield compared("T0", name, "shipped", expected, found, stage=entry["stage"], advice=advice)


def check_sources(place: Place) -> Iterator[Item]:
    """Check the files that the reference run was made from besides code.

    Those that a developer edits (`EDITABLE`) may be stale. What was declared before any measurement, the
    published numbers and the raw data must not differ.
    """
    for name, expected in place.manifest["sources"].items():
        contained(place.root, name)
        found = sha256_or_none(place.root / name)
        if name in EDITABLE and found is not None:
            yield current(f"source {name}", [] if found == expected else [f"{name} has changed"])
        else:
            yield compared_file(place, name, f"source {name}", expected)


def check_making(place: Place) -> Iterator[Item]:
    """Check for every stage that this checkout has the command, code and parameters that made its rows.

    A difference is `stale`: the rows are what they were, but this code has not made them.
    """
    for name in sorted({*place.declared, *place.lock}):
        recorded, present = place.lock.get(name), place.declared.get(name)
        if recorded is None or present is None:
            changed = ["dvc.yaml has no such stage" if recorded else "no run of this stage is shipped"]
        else:
            changed = differences(recorded, present)
        yield current(f"making of {name}", changed, name)


def check_inputs(place: Place) -> Iterator[Item]:
    """Check that each stage read what the stages before it made, and the raw data.

    A stage is `stale` if it read what the manifest names as made anew since (see `taking`).
    """
    renewed: Mapping[str, Sequence[str]] = place.manifest.get("renewed", {})
    for stage in place.lock.values():
        changed = {path: md5 for path, md5 in stage.data.items() if _recorded(place, path) != md5}
        since = [f"{path} was made anew" for path, md5 in changed.items() if md5 in renewed.get(path, ())]
        expected, name = f"{len(stage.data)} inputs as made", f"inputs of {stage.name}"
        if since and len(since) == len(changed):
            yield current(name, since, stage.name)
        else:
            wrong = [f"{path} has changed" for path in changed]
            yield none_wrong("T0", name, "shipped", expected, wrong, stage=stage.name)


def _recorded(place: Place, path: str) -> str | None:
    """The MD5 that the manifest gives an input; of sources, that of the file or folder."""
    if any(Path(path) in (Path(name), *Path(name).parents) for name in place.manifest["sources"]):
        return md5_of(place.root / path) if (place.root / path).exists() else None
    return recorded_md5(place.artifacts, path)


def recorded_md5(artifacts: Mapping[str, Mapping[str, object]], path: str) -> str | None:
    """The MD5 that the manifest's entries give for a file or a whole folder; None if it has neither."""
    if path in artifacts:
        return str(artifacts[path]["md5"])
    prefix = path + "/"
    files = {name: str(entry["md5"]) for name, entry in artifacts.items() if name.startswith(prefix)}
    return folder_md5({name.removeprefix(prefix): md5 for name, md5 in files.items()}) if files else None


def shipped_name(path: str) -> str:
    """Where a copy of an artifact lies in the reference: without `data/`; claims.json at the top."""
    return "claims.json" if path == "paper/claims.json" else path.removeprefix("data/")


def check_tracked(place: Place) -> Iterator[Item]:
    """Check that dvc.lock, metrics and claims that git tracks elsewhere equal the reference's copies."""
    tracked = {"dvc.lock": (file_sha256(place.reference / "dvc.lock"), None)}
    for path, entry in place.artifacts.items():
        if path.startswith(("data/metrics/", "paper/claims.json")):
            tracked[path] = (entry["sha256"], entry["stage"])
    for path, (expected, stage) in tracked.items():
        name = f"{path} (tracked)"
        if place.has_own_run and sha256_or_none(place.root / path) != expected:
            yield skipped("T0", name, "it is from your own run: `make verify RUN=1` compares it")
        else:
            yield compared_file(place, path, name, expected, stage)


def check_packages(place: Place) -> Iterator[Item]:
    """Check that the installed packages are those that requirements.txt pins."""
    pinned = pins(place.root)
    wrong = [f"{name} {found}" for name, version in pinned.items() if (found := _version(name)) != version]
    expected, advice = f"{len(pinned)} packages as pinned", "remove .venv and run `make setup`"
    yield none_wrong("T0", "installed packages", HERE, expected, wrong, advice=advice)


def pins(root: Path) -> dict[str, str]:
    """The versions by package that requirements.txt of the project in `root` pins."""
    lines = read_text(root / "requirements.txt").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _version(package: str) -> str:
    """The installed version, without the local part that a CPU build adds."""
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"


def root_sha256(sums: Mapping[str, str]) -> str:
    """One hash for a whole list of hashes."""
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(text.encode()).hexdigest()
