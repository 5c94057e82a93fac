"""Tier T0: the shipped files are whole, and code, parameters, lock and files fit each other. Nothing runs."""

import hashlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256
from sustainable.verification.items import Item, compared, skipped
from sustainable.verification.lock import (
    Stage,
    comparable,
    declared_commands,
    folder_md5,
    md5_of,
    read_yaml,
    value_at,
)
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, Place
from sustainable.verification.tiers.tolerances import tolerances_of

DESCRIPTIONS = ("repro.yaml", "ro-crate-metadata.json")
"""Files that list the hashes of the others, and cannot list their own."""
RERUN = "restore the file, or run `make reproduce` and then `make verify RUN=1`"


def check_integrity(place: Place) -> Iterator[Item]:
    """All items of T0."""
    yield from check_sums(place)
    yield from check_artifacts(place)
    yield from check_sources(place)
    yield check_lock(place)
    for stage in place.lock.values():
        yield check_code(place, stage)
        yield check_parameters(place, stage)
        yield check_inputs(place, stage)
        yield from check_outputs(place, stage)
    yield from check_commands(place)
    yield from check_tracked(place)
    yield check_packages(place)
    yield from check_crate(place)
    yield check_tolerances(place)


def check_sums(place: Place) -> Iterator[Item]:
    """Every file of the reference against `SHA256SUMS`, and none too many or too few."""
    listed = place.sums()
    for name in sorted({*listed, *place.shipped_files()}):
        path = place.reference / name
        found = file_sha256(path) if path.is_file() else None
        stage = _stage_of(place, name)
        yield compared("T0", f"{REFERENCE}/{name}", "shipped", listed.get(name), found, stage=stage)


def _stage_of(place: Place, name: str) -> str | None:
    """The stage that made a shipped file; None where it is none's, or where no one can say."""
    try:
        shipped = f"{REFERENCE}/{name}"
        owner = next((one for one in place.artifacts.values() if one["shipped"] == shipped), None)
        return owner["stage"] if owner else None
    except (UserError, KeyError, TypeError):
        return None


def check_artifacts(place: Place) -> Iterator[Item]:
    """The manifest's entry of every shipped artifact against its file; what is not shipped is named."""
    for path, entry in place.artifacts.items():
        if entry["shipped"] is None:
            continue
        file = place.root / entry["shipped"]
        found = f"{file_sha256(file)} {file.stat().st_size}" if file.is_file() else None
        expected = f"{entry['sha256']} {entry['size']}"
        yield compared("T0", f"{MANIFEST}: {path}", "shipped", expected, found, stage=entry["stage"])


def check_sources(place: Place) -> Iterator[Item]:
    """What the reference run was made of besides code: parameters, pipeline, requirements, raw data."""
    for name, expected in place.manifest["sources"].items():
        path = place.root / name
        found = file_sha256(path) if path.is_file() else None
        yield compared("T0", f"source {name}", "shipped", expected, found)


def check_lock(place: Place) -> Item:
    """dvc.lock is the reference run's, unless the pipeline was run here."""
    name = "dvc.lock is that of the reference run"
    own, reference = place.root / "dvc.lock", place.reference / "dvc.lock"
    found = file_sha256(own) if own.is_file() else None
    expected = file_sha256(reference)
    if found != expected and place.has_own_run:
        return skipped("T0", name, "it is that of your own run: `make verify RUN=1` compares it")
    return compared("T0", name, "shipped", expected, found, advice="`git checkout -- dvc.lock`")


def check_code(place: Place, stage: Stage) -> Item:
    """The code and the templates here are those that the stage ran with."""
    changed = [path for path, md5 in stage.code.items() if _md5(place.root / path) != md5]
    expected = f"{len(stage.code)} files as locked"
    found = expected if not changed else f"{changed[0]} changed ({len(changed)} in all)"
    return compared("T0", f"code of {stage.name}", "shipped", expected, found, stage=stage.name, advice=RERUN)


def check_parameters(place: Place, stage: Stage) -> Item:
    """The parameters here are those that the stage ran with."""
    changed = [key for key, value in stage.parameters.items() if _differs(place.parameters, key, value)]
    expected = f"{len(stage.parameters)} sections as locked"
    found = expected if not changed else f"params.yaml: {changed[0]} changed"
    name = f"parameters of {stage.name}"
    return compared("T0", name, "shipped", expected, found, stage=stage.name, advice=RERUN)


def _differs(parameters: Mapping[str, Any], key: str, value: Any) -> bool:
    try:
        return bool(comparable(value_at(parameters, key)) != value)
    except KeyError:
        return True


def check_inputs(place: Place, stage: Stage) -> Item:
    """What the stage read is what the stages before it made, and the raw data."""
    wrong = [path for path, md5 in stage.data.items() if _made(place, path) != md5]
    expected = f"{len(stage.data)} inputs as made"
    found = expected if not wrong else f"{wrong[0]} is another"
    return compared(
        "T0", f"inputs of {stage.name}", "shipped", expected, found, stage=stage.name, advice=RERUN
    )


def _made(place: Place, path: str) -> str | None:
    """The MD5 that the manifest gives an input, or that of a source."""
    if path in place.manifest["sources"]:
        return _md5(place.root / path)
    return recorded_md5(place.artifacts, path)


def recorded_md5(artifacts: Mapping[str, Mapping[str, Any]], path: str) -> str | None:
    """The MD5 that the manifest's entries give for a file, or for all files of a folder; None for neither."""
    if path in artifacts:
        return str(artifacts[path]["md5"])
    prefix = path + "/"
    files = {name: str(one["md5"]) for name, one in artifacts.items() if name.startswith(prefix)}
    return folder_md5({name.removeprefix(prefix): md5 for name, md5 in files.items()}) if files else None


def check_outputs(place: Place, stage: Stage) -> Iterator[Item]:
    """What is shipped of the stage's outputs is what the lock says that it made."""
    for path, expected in stage.outputs.items():
        shipped = _shipped(place, path)
        if shipped is not None:
            name = f"{path} is the output of {stage.name}"
            yield compared("T0", name, "shipped", expected, _md5(shipped), stage=stage.name)


def _shipped(place: Place, output: str) -> Path | None:
    """The shipped copy of a whole output; None where not all of it is shipped."""
    parts = [one for path, one in place.artifacts.items() if path == output or path.startswith(output + "/")]
    if not parts or any(one["shipped"] is None for one in parts):
        return None
    return place.reference / shipped_name(output)


def shipped_name(path: str) -> str:
    """Where a copy of an artifact lies in the reference: `data/` is left out, and claims.json is at the
    top."""
    if path == "paper/claims.json":
        return "claims.json"
    return path.removeprefix("data/")


def check_commands(place: Place) -> Iterator[Item]:
    """dvc.yaml declares the stages that were run, with the commands that were run."""
    try:
        declared = declared_commands(read_yaml(place.root / "dvc.yaml"), place.parameters)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"dvc.yaml: not this pipeline's (at {error}); restore it from git") from None
    for name in sorted({*declared, *place.lock}):
        stage = place.lock.get(name)
        locked = " ".join(stage.command.split()) if stage else None
        yield compared("T0", f"command of {name}", "shipped", locked, declared.get(name), stage=name)


def check_tracked(place: Place) -> Iterator[Item]:
    """The copies of metrics and claims that git tracks beside dvc.lock are the reference's."""
    for path, entry in place.artifacts.items():
        if entry["stage"] is None or not path.startswith(("data/metrics/", "paper/claims.json")):
            continue
        file, name = place.root / path, f"{path} (tracked)"
        found = file_sha256(file) if file.is_file() else None
        if place.has_own_run and found != entry["sha256"]:
            yield skipped("T0", name, "it is that of your own run: `make verify RUN=1` compares it")
        else:
            advice = f"`git checkout -- {path}`"
            yield compared("T0", name, "shipped", entry["sha256"], found, stage=entry["stage"], advice=advice)


def check_packages(place: Place) -> Item:
    """The packages that are installed are those that requirements.txt pins."""
    lines = (place.root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    wrong = [f"{name} {found}" for name, version in pins if (found := _version(name)) != version]
    expected = f"{len(pins)} packages as pinned"
    advice = "remove .venv and run `make setup`"
    found = expected if not wrong else f"{wrong[0]} ({len(wrong)} in all)"
    return compared("T0", "installed packages", "recomputed here", expected, found, advice=advice)


def _version(package: str) -> str:
    """The installed version, without the local part that a CPU build adds."""
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"


def check_crate(place: Place) -> Iterator[Item]:
    """The RO-Crate and repro.yaml give every shipped file the hash that `SHA256SUMS` gives it."""
    listed = place.sums()
    crate = read_json(place.reference / "ro-crate-metadata.json")
    own = {entry["@id"]: entry["sha256"] for entry in crate.get("@graph", []) if "sha256" in entry}
    yield _same_hashes("ro-crate-metadata.json", own, listed)
    text = (place.reference / "repro.yaml").read_text(encoding="utf-8")
    named = {path: digest for path, digest in listed.items() if path not in DESCRIPTIONS}
    lacking = [path for path, digest in named.items() if digest not in text]
    expected = f"{len(named)} hashes as in {SUMS}"
    found = expected if not lacking else f"that of {lacking[0]} is not there"
    yield compared("T0", "repro.yaml agrees", "shipped", expected, found, advice="run `make reference` again")


def _same_hashes(name: str, own: Mapping[str, str], listed: Mapping[str, str]) -> Item:
    """Item: the hashes of a description are those of `SHA256SUMS`."""
    wrong = [path for path, digest in own.items() if listed.get(path) != digest]
    expected = f"{len(own)} hashes as in {SUMS}" if own else f"hashes as in {SUMS}"
    found = "no hash at all" if not own else expected if not wrong else f"{wrong[0]} has another"
    return compared("T0", f"{name} agrees", "shipped", expected, found, advice="run `make reference` again")


def check_tolerances(place: Place) -> Item:
    """Every tolerance follows from the differences that were measured."""
    name, expected = "tolerances.json follows from what was measured", "tolerances as derived"
    try:
        found = tolerances_of(place.reference / "tolerances.json")
    except UserError as error:
        return compared("T0", name, "shipped", expected, str(error))
    detail = f"{sum(map(len, found.values()))} columns"
    return compared("T0", name, "shipped", expected, expected, detail=detail)


def _md5(path: Path) -> str | None:
    return md5_of(path) if path.exists() else None


def root_sha256(sums: Mapping[str, str]) -> str:
    """One hash for all of a list of hashes."""
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(text.encode()).hexdigest()
