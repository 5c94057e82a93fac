"""Packages: what requirements.txt pins, what is installed, and what each shipped stage was run with."""

from collections.abc import Iterable, Iterator, Mapping, Set
from importlib import metadata
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.reading import read_text
from sustainable.verification.items import HERE, Item, current, none_wrong
from sustainable.verification.place import HOST, REFERENCE, Place


def pins(root: Path) -> dict[str, str]:
    """The versions by package that requirements.txt of the project in `root` pins."""
    lines = read_text(root / "requirements.txt").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def packages_by_stage(host: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What the stages were run with, as host.json groups them; raises `UserError` for another structure."""
    try:
        return {str(name): dict(group["versions"]) for group in host["packages"] for name in group["stages"]}
    except (KeyError, TypeError, ValueError):
        problem = "packages: must be a list of groups with stages and versions"
        raise UserError(f"{REFERENCE}/{HOST}: {problem}; restore the file from git") from None


def grouped(packages: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """The inverse of `packages_by_stage`: stages that were run with equal packages stand together."""
    groups: list[dict[str, Any]] = []
    for stage, versions in sorted(packages.items()):
        group = next((one for one in groups if one["versions"] == versions), None)
        if group is None:
            groups.append({"stages": [stage], "versions": dict(versions)})
        else:
            group["stages"].append(stage)
    return groups


def with_packages(
    host: Mapping[str, Any], stages: Iterable[str], root: Path, gone: Set[str] = frozenset()
) -> dict[str, Any]:
    """The content of host.json after `stages` have been run with the packages that the project pins.

    The stages `gone` are left out.
    """
    known = packages_by_stage(host) | dict.fromkeys(stages, pins(root))
    return {**host, "packages": grouped({name: known[name] for name in known.keys() - gone})}


def check_packages(place: Place) -> Iterator[Item]:
    """Check that the pinned packages are installed, and that each shipped stage was run with them.

    Another version is `stale`: the rows are what they were, but these packages have not made them.
    """
    pinned = pins(place.root)
    wrong = [f"{name} {found}" for name, version in pinned.items() if (found := _version(name)) != version]
    expected, advice = f"{len(pinned)} packages as pinned", "remove .venv and run `make setup`"
    yield none_wrong("T0", "installed packages", HERE, expected, wrong, advice=advice)
    stated = packages_by_stage(read_json(place.reference / HOST))
    for stage in place.lock:
        yield current(f"packages of {stage}", _changes(stated.get(stage, {}), pinned), stage)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The packages that have another version, such as "numba 1.0 -> 1.1"."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in names]


def _version(package: str) -> str:
    """The installed version, without the local part that a CPU build adds."""
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"
