"""The manifest of a run: every artifact with its hashes, its origin, and the tier that it must reach."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.reporting.latex import tex_version
from sustainable.verification.content import content_sha256
from sustainable.verification.items import Item, none_wrong
from sustainable.verification.lock import Stage, files_in, inside, md5_of, read_lock, read_yaml
from sustainable.verification.packages import with_packages
from sustainable.verification.place import HOST, MANIFEST, REFERENCE, SETTINGS, TASKS
from sustainable.verification.place import Place, read_claims
from sustainable.verification.tiers.integrity import recorded_md5, shipped_name

PAPER = "paper/paper.pdf"
"""Not an output that DVC knows: it is only made if TeX is installed."""
LEFT_OUT = (
    "data/processed/*", *(f"data/models/{task}/*" for task in TASKS), "data/models/quantized_policies/*",
    "paper/figures/*", "paper/report.html", "paper/paper.pdf",
)  # fmt: skip
"""Artifacts of which only the hashes are shipped: too large, or rendered in seconds."""


def declared_tiers(root: Path) -> dict[str, str]:
    """The tier by pattern of paths (the first that matches counts), from verify.yaml; raises `UserError`."""
    try:
        return {str(key): str(tier) for key, tier in read_yaml(root / SETTINGS)["tiers"].items()}
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{SETTINGS}: tiers are missing; restore the file from git") from None


def manifest_of(root: Path, stages: Mapping[str, Stage]) -> dict[str, Any]:
    return {
        "version": 1,
        "artifacts": entries_of(root, stages, declared_tiers(root)),
        "claims": claim_entries(root / "paper/claims.json"),
    }


def claim_entries(path: Path) -> dict[str, dict[str, str]]:
    """Verdict and hash of every claim of a claims.json."""
    claims = read_claims(path).items()
    return {name: {"verdict": one["verdict"], "sha256": fingerprint(one)} for name, one in claims}


def entries_of(root: Path, stages: Mapping[str, Stage], tiers: Mapping[str, str]) -> dict[str, Any]:
    """The manifest's entries of all files that `stages` made; raises `UserError` if one is missing."""
    return {
        path: {
            "sha256": file_sha256(root / path),
            "md5": md5_of(root / path),  # DVC's, so that whole folders can be compared with its lock
            "size": (root / path).stat().st_size,
            "content": content_sha256(root / path),
            **declared_of(path, stage, tiers),
            **({"tex": tex_version()} if path == PAPER else {}),
        }
        for path, stage in _made_files(root, stages)
    }


def _made_files(root: Path, stages: Mapping[str, Stage]) -> Iterator[tuple[str, Stage]]:
    for stage in stages.values():
        for out in stage.outputs:
            path = root / out
            if not path.exists():
                raise UserError(f"{path}: missing, though {stage.name} makes it; run `make reproduce` first")
            for file in files_in(path).values() if path.is_dir() else [path]:
                yield file.relative_to(root).as_posix(), stage
    if "report" in stages and (root / PAPER).is_file():
        yield PAPER, stages["report"]


def declared_of(path: str, stage: Stage, tiers: Mapping[str, str]) -> dict[str, Any]:
    """The part of an entry that follows from the lock and the declared tiers."""
    left_out = any(fnmatch(path, pattern) for pattern in LEFT_OUT)
    return {
        "stage": stage.name,
        "parameters": fingerprint(dict(stage.parameters)),
        "code": fingerprint(stage.code),
        "inputs": sorted(stage.data),
        "tier": tier_of(path, tiers),
        "shipped": None if left_out else f"{REFERENCE}/{shipped_name(path)}",
    }


def check_manifest(place: Place) -> Iterator[Item]:
    """Check that the manifest has every output of the lock, complete, and that each entry says what follows
    from the lock and from the declared tiers."""
    tiers = declared_tiers(place.root)
    for stage in place.lock.values():
        entries = {
            path: entry
            for path, entry in place.artifacts.items()
            if any(inside(path, out) for out in stage.outputs) or (entry["stage"] == stage.name)
        }
        declared = {path: declared_of(path, stage, tiers).items() for path in entries}
        wrong = [path for path, entry in entries.items() if not declared[path] <= entry.items()]
        wrong += [out for out, md5 in stage.outputs.items() if recorded_md5(entries, out) != md5]
        expected = f"{len(stage.outputs)} outputs, as locked and declared"
        name, wrong = f"{MANIFEST}: entries of {stage.name}", [f"{path} differs" for path in wrong]
        yield none_wrong("T0", name, "shipped", expected, wrong, stage=stage.name)


def tier_of(path: str, tiers: Mapping[str, str]) -> str:
    """The tier that an artifact must reach; raises `UserError` if none is declared."""
    for pattern, tier in tiers.items():
        if fnmatch(path, pattern):
            return tier
    raise UserError(f"{SETTINGS}: tiers: no pattern matches {path}; add one")


def host_of(root: Path) -> dict[str, Any]:
    """The hosts of a run as its measuring stages described them, and the packages of its stages."""
    host = {"measured_on": measured_on(root / "data"), "packages": []}
    return with_packages(host, read_lock(root / "dvc.lock"), root)


def measured_on(data: Path) -> dict[str, Any]:
    """The host of each measurement, by the name of its table: stages may run on different hosts."""
    ending = ".conditions.json"
    paths = sorted((data / "benchmark").glob(f"*{ending}")) + sorted((data / "search").glob(f"*/*{ending}"))
    names = (
        path.relative_to(data).as_posix().removeprefix("benchmark/").removesuffix(ending) for path in paths
    )
    return {name: read_json(path)["host"] for name, path in zip(names, paths, strict=True)}


def check_host(place: Place) -> Iterator[Item]:
    """Check that host.json describes the hosts of the shipped rows."""
    stated = dict(read_json(place.reference / HOST)["measured_on"])
    found = measured_on(place.reference)
    wrong = [f"{name} has another host" for name in found | stated if found.get(name) != stated.get(name)]
    advice = "`make reference PAGES=1` writes it again"
    yield none_wrong("T0", HOST, "shipped", f"hosts of {len(found)} tables", wrong, advice=advice)
