"""The manifest of a run: every artifact with its hashes, where it comes from, and the tier that it must
reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parameters import read_csv_path
from sustainable.reporting.latex import tex_version
from sustainable.verification.content import content_sha256
from sustainable.verification.tiers.integrity import recorded_md5, shipped_name
from sustainable.verification.items import Item, compared
from sustainable.verification.lock import Stage, inside, md5_of, read_yaml
from sustainable.verification.place import MANIFEST, REFERENCE, Place
from sustainable.verification.tiers.tolerances import tolerances_for, tolerances_of
from sustainable.verification.tiers.verdicts import read_claims

PAPER = "paper/paper.pdf"
"""No output that DVC knows: it is there only where TeX is."""
SETTINGS = "stages/sustainable/verification/verify.yaml"
SOURCES = (
    SETTINGS,
    "params.yaml",
    "dvc.yaml",
    "requirements.txt",
    "paper/published.yaml",
)
LEFT_OUT = (
    "data/processed/*", "data/models/audited/*", "data/models/quantized_policies/*", "paper/figures/*",
    "paper/report.html", "paper/paper.pdf",
)  # fmt: skip
"""Artifacts that are not shipped: too large, or rendered again in seconds. Their hashes are."""


@dataclass(frozen=True)
class Declared:
    """What is declared of artifacts: the tier by pattern of paths (the first that fits counts), and measured
    tolerances by pattern and column."""

    tiers: Mapping[str, str]
    tolerances: Mapping[str, Mapping[str, float | None]]

    @classmethod
    def of(cls, root: Path) -> "Declared":
        """As the project in `root` declares it; raises `UserError` for a file that is not what it should
        be."""
        try:
            tiers = {str(key): str(tier) for key, tier in read_yaml(root / SETTINGS)["tiers"].items()}
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{SETTINGS}: tiers are missing; restore the file from git") from None
        return cls(tiers, tolerances_of(root / REFERENCE / "tolerances.json"))


def manifest_of(root: Path, stages: Mapping[str, Stage], declared: Declared) -> dict[str, Any]:
    """The manifest of the run in `root`."""
    artifacts = {path: entry_of(root, path, stage, declared) for path, stage in outputs_of(root, stages)}
    if PAPER in artifacts:
        artifacts[PAPER]["tex"] = tex_version()
    claims = {
        str(claim["id"]): {"verdict": claim["verdict"], "sha256": fingerprint(claim)}
        for claim in read_claims(root / "paper/claims.json")
    }
    csv = str(read_csv_path(root / "params.yaml"))
    return {
        "version": 1,
        "artifacts": artifacts,
        "claims": claims,
        "sources": {name: file_sha256(root / name) for name in (*SOURCES, csv)},
    }


def outputs_of(root: Path, stages: Mapping[str, Stage]) -> Iterator[tuple[str, Stage]]:
    """Every file that a stage has made, with the stage; raises `UserError` for an output that is not
    there."""
    for stage in stages.values():
        for out in stage.outputs:
            path = root / out
            if not path.exists():
                raise UserError(f"{path}: missing, though {stage.name} makes it; `make reproduce` first")
            files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in files:
                yield file.relative_to(root).as_posix(), stage
    if (root / PAPER).is_file():
        yield PAPER, stages["report"]


def entry_of(root: Path, path: str, stage: Stage, declared: Declared) -> dict[str, Any]:
    """The manifest's entry of one artifact."""
    return {
        "sha256": file_sha256(root / path),
        "md5": md5_of(root / path),  # DVC's, so that whole folders can be held against its lock
        "size": (root / path).stat().st_size,
        "content": content_sha256(root / path),
        "stage": stage.name,
        **declared_of(path, stage, declared),
    }


def declared_of(path: str, stage: Stage, declared: Declared) -> dict[str, Any]:
    """What an entry says beside the file's own hashes: it follows from the lock and the parameters."""
    left_out = any(fnmatch(path, pattern) for pattern in LEFT_OUT)
    tolerances = tolerances_for(path, declared.tolerances)
    return {
        **({"tolerances": dict(tolerances)} if tolerances else {}),
        "stage": stage.name,
        "parameters": fingerprint(dict(stage.parameters)),
        "code": fingerprint(stage.code),
        "inputs": sorted(stage.data),
        "tier": tier_of(path, declared.tiers),
        "shipped": None if left_out else f"{REFERENCE}/{shipped_name(path)}",
    }


def check_manifest(place: Place) -> Iterator[Item]:
    """Every output of the lock is in the manifest, whole, and each entry says what follows from the lock and
    from the declared tiers."""
    declared = Declared.of(place.root)
    for stage in place.lock.values():
        own = {
            path: entry
            for path, entry in place.artifacts.items()
            if any(inside(path, out) for out in stage.outputs) or (entry["stage"] == stage.name)
        }
        wrong = [path for path in own if _says_otherwise(own[path], declared_of(path, stage, declared))]
        wrong += [out for out, md5 in stage.outputs.items() if recorded_md5(own, out) != md5]
        expected = f"{len(stage.outputs)} outputs, as locked and declared"
        found = expected if not wrong else f"{wrong[0]} is not ({len(wrong)} in all)"
        name = f"{MANIFEST}: entries of {stage.name}"
        yield compared("T0", name, "shipped", expected, found, stage=stage.name)


def _says_otherwise(entry: Mapping[str, Any], declared: Mapping[str, Any]) -> bool:
    return any(entry.get(key) != value for key, value in {"tolerances": None, **declared}.items())


def tier_of(path: str, tiers: Mapping[str, str]) -> str:
    """The tier that an artifact must reach; raises `UserError` where none is declared."""
    for pattern, tier in tiers.items():
        if fnmatch(path, pattern):
            return tier
    raise UserError(f"{SETTINGS}: tiers: no pattern fits {path}; add one")


def host_of(root: Path) -> dict[str, Any]:
    """The host of a run as its measuring stages have described it, and every pinned package."""
    folder = root / "data/benchmark"
    described = {
        name: read_json(folder / f"{name}.conditions.json")["host"] for name in ("audited", "policies")
    }
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {"measured_on": described, "packages": packages}
