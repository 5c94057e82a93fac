"""Tier T0: the shipped files are complete, and code, parameters, lock and files agree. Nothing runs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.core.files import write_text
from sustainable.core.hashing import file_sha256
from sustainable.core.reading import contained
from sustainable.verification.items import Item, compared, current, none_wrong, passed, skipped
from sustainable.verification.listed import LIST, ListError, compare, list_of, read_list, root_hash, shown
from sustainable.verification.lock import differences, files_in, folder_md5, made_by, md5_of, read_lock
from sustainable.verification.place import MANIFEST, REFERENCE, SETTINGS, Place

GUARDED = ("data/", "paper/published.yaml", SETTINGS)
"""What no developer edits, documents apart: rows, raw data, published numbers, and what was declared before
any measurement."""
IN_GIT = ("data/metrics/", "paper/claims.json")
"""Outputs of stages that git tracks outside the reference."""
NAMED_FILES = 20
"""How many differing files a line names."""


def sha256_or_none(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def check_files(place: Place) -> Iterator[Item]:
    """Check every file of the project against `SHA256SUMS`: none changed, missing or added.

    A difference in what is `GUARDED` is a failure. Elsewhere it is `stale`: a developer may edit. Tracked
    results of a run of the user's own are left to `check_tracked`.
    """
    left = tracked_files(place) if ran_here(place) else ()
    wrong = {path: what for path, what in compare(place.root).items() if path not in left}
    guarded = [path for path, what in wrong.items() if _is_guarded(path, "not listed" in what)]
    for path in guarded:
        advice = f"`git checkout -- {shown(path)}`; remove it if git does not know it"
        stage = stage_of(place, path)
        yield compared("T0", shown(path), "shipped", "as listed", wrong[path], stage=stage, advice=advice)
    counted = Counter(_top(path) for path in read_list(place.root / LIST))
    changes: dict[str, list[str]] = {folder: [] for folder in counted}
    for path in wrong.keys() - {*guarded}:
        changes[_top(path)].append(f"{shown(path)} {wrong[path]}")
    for folder, count in counted.items():
        yield _item_of_folder(folder, count, sorted(changes[folder]))


def _top(path: str) -> str:
    folder, inside, _ = path.partition("/")
    return f"files in {folder}" if inside else "files at the top"


def _is_guarded(path: str, added: bool) -> bool:
    return path.startswith(f"{REFERENCE}/" if added else GUARDED) and not path.endswith(".md")


def stage_of(place: Place, path: str) -> str | None:
    """The stage that made a shipped file; None if none did, or if the manifest does not say."""
    try:
        stages = {entry["shipped"]: str(entry["stage"]) for entry in place.artifacts.values()}
    except (UserError, KeyError, TypeError):  # a damaged manifest is another check's finding
        return None
    return stages.get(path)


def _item_of_folder(name: str, count: int, changes: Sequence[str]) -> Item:
    """One item for the files of a folder that a developer may edit."""
    if not changes:
        return passed("T0", name, "shipped", f"{count} files as listed")
    more = [f"{len(changes) - NAMED_FILES} more"] if len(changes) > NAMED_FILES else []
    found = "; ".join([*changes[:NAMED_FILES], *more])
    advice = f"restore it from git, or remove it; `make reference PAGES=1` writes {LIST} again"
    return Item("T0", name, "stale", "shipped", "", f"{count} files as listed", found, None, advice)


def write_list(root: Path) -> str:
    """Write `SHA256SUMS` for the files of the project as they are now, and return its hash."""
    try:
        write_text(root / LIST, list_of(root))
    except ListError as error:
        raise UserError(str(error)) from None
    return root_hash(root)


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
    """The MD5 that the manifest gives an input; of one that no stage makes, that of the file or folder."""
    recorded = recorded_md5(place.artifacts, path)
    if recorded is None and made_by(place.lock, path) is None and (place.root / path).exists():
        return md5_of(place.root / path)
    return recorded


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
    own = own_outputs(place) if ran_here(place) else {}
    for path, (expected, stage) in tracked_files(place).items():
        file, name, found = place.root / path, f"{path} (tracked)", sha256_or_none(place.root / path)
        if found not in (None, expected) and path in own and own[path] in ("", md5_of(file)):
            yield skipped("T0", name, "it is from your own run: `make verify RUN=1` compares it")
        else:
            advice = f"`git checkout -- {path}`"
            yield compared("T0", name, "shipped", expected, found, stage=stage, advice=advice)


def tracked_files(place: Place) -> dict[str, tuple[str, str | None]]:
    """SHA-256 and stage of what git tracks outside the reference, by path, as the reference has them."""
    lock = file_sha256(place.reference / "dvc.lock")
    tracked: dict[str, tuple[str, str | None]] = {"dvc.lock": (lock, None)}
    for path, entry in place.artifacts.items():
        if path.startswith(IN_GIT):
            tracked[path] = (entry["sha256"], entry["stage"])
    return tracked


def ran_here(place: Place) -> bool:
    """Whether a stage was run here, even if it measured nothing; the lock is then that run's."""
    return place.has_own_run or ((place.root / "dvc.lock").is_file() and bool(stages_run(place)))


def stages_run(place: Place) -> set[str]:
    """The stages that left a file here; what git tracks is in every checkout."""
    return {
        name
        for name, stage in read_lock(place.root / "dvc.lock").items()
        if any(_has_files(place.root / path) for path in stage.outputs if not path.startswith(IN_GIT))
    }


def _has_files(path: Path) -> bool:
    """Whether `path` is a file, or a folder with one: an empty folder is no result."""
    return path.is_file() or any(one.is_file() for one in path.rglob("*"))


def own_outputs(place: Place) -> dict[str, str]:
    """The MD5 of what a run of the user's own has made, by path; empty for the lock itself.

    A folder of rows alone is no run. dvc.lock must have the hashes of the rows here, and they must be others
    than the shipped ones, from which the same results would follow. A run without rows made something else,
    but no report, and dvc.lock must have the hashes of all that it made. For stages that were not run here it
    must say what the shipped lock says.
    """
    own, run = read_lock(place.root / "dvc.lock"), stages_run(place)
    outputs = {path: md5 for name in run for path, md5 in own[name].outputs.items()}
    rows = [path for path in outputs if path.startswith("data/benchmark/")]
    files = {path: place.root / path for path in rows or outputs}
    here = all(file.exists() and md5_of(file) == outputs[path] for path, file in files.items())
    new = any(outputs[path] != recorded_md5(place.artifacts, path) for path in rows)
    a_run = new if rows else bool(run) and "report" not in run
    others = all(own.get(name) == stage for name, stage in place.lock.items() if name not in run)
    return outputs | {"dvc.lock": ""} if here and a_run and others else {}


def check_json(place: Place) -> Iterator[Item]:
    """Check that no object of a shipped JSON file has a key twice: programs differ in the value they take."""
    files = {name: path for name, path in files_in(place.reference).items() if path.suffix == ".json"}
    wrong = [f"{shown(name)}: {key} is repeated" for name, path in files.items() for key in _repeated(path)]
    expected = f"{len(files)} files with every key once"
    yield none_wrong("T0", "keys of JSON objects", "shipped", expected, wrong)


def _repeated(path: Path) -> list[str]:
    """The keys that stand twice in an object of a JSON file."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        repeated.extend(shown(key) for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    json.loads(path.read_bytes(), object_pairs_hook=note)
    return repeated
