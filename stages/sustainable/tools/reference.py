"""For maintainers: take the present run as the new reference, `data/reference`. Shows the differences
first."""

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sustainable.core.effort import LOG
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256
from sustainable.verification.export.crate import write_crate
from sustainable.verification.tiers.integrity import root_sha256, shipped_name
from sustainable.verification.lock import md5_of, read_lock, read_yaml
from sustainable.verification.manifest import SETTINGS, Declared, host_of, manifest_of
from sustainable.verification.place import MANIFEST, REFERENCE, SUMS, Place
from sustainable.verification.tiers.verdicts import read_claims
from sustainable.verification.export.witness import CRATE, WITNESS, write_witness

ROOT = Path(__file__).resolve().parents[3]
CODE = ("stages", "paper/templates", "paper/published.yaml", "params.yaml", "dvc.yaml", "requirements.txt")
KEPT = ("README.md", "tolerances.json")
"""Files of the reference that no run makes."""


def main() -> None:
    arguments = parse_arguments()
    root = arguments.root.resolve()
    refuse_uncommitted(root)
    refuse_no_evidence(root)
    manifest = manifest_of(root, read_lock(root / "dvc.lock"), Declared.of(root))
    refuse_stale(root)
    show_differences(root, manifest)
    new = root / f"{REFERENCE}.new"
    shutil.rmtree(new, ignore_errors=True)
    fill(root, new, manifest)
    shutil.rmtree(root / REFERENCE)
    new.rename(root / REFERENCE)
    print(f"{REFERENCE}: {len(manifest['artifacts'])} artifacts, {root_sha256(Place(root).sums())}")
    print("now `make verify`, and commit data/reference, data/metrics, dvc.lock and paper/claims.json")


def refuse_uncommitted(root: Path) -> None:
    """The code that a reference claims to come from must be in git."""
    changed = run_git(root, "status", "--porcelain", "--", *CODE)
    if changed:
        raise UserError(
            f"uncommitted: {changed.split()[1]}; commit the code first, run `make reproduce` again"
        )


def run_git(root: Path, *arguments: str) -> str:
    """What a git command prints; `UserError` where there is no git."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{root}: no git here; a reference is taken in a clone")
    return done.stdout


def refuse_no_evidence(root: Path) -> None:
    """No smoke run, and none that was disturbed, may become the reference. On an idle machine, too, the odd
    short window is flagged; verdicts that flagged windows would change are inconclusive in any case."""
    limit = float(read_yaml(root / SETTINGS)["flagged_limit"])
    for path in sorted((root / "data/benchmark").glob("*.csv")):
        rows = pd.read_csv(path)
        if "profile" not in rows:
            continue
        profiles = set(rows["profile"])
        if profiles != {"paper"}:
            raise UserError(f"{path}: rows of profile {min(profiles)}; a reference is a run of profile paper")
        flagged = rows["flags"].notna().mean() if "flags" in rows.columns else 0.0
        if flagged > limit:
            raise UserError(
                f"{path}: {flagged:.1%} of the windows are flagged, more than {limit:.1%}: measure again "
                "with `dvc repro -s -f` on an idle machine"
            )


def refuse_stale(root: Path) -> None:
    """dvc.lock is that of the files here."""
    for stage in read_lock(root / "dvc.lock").values():
        for path, md5 in {**stage.code, **stage.outputs}.items():
            if md5_of(root / path) != md5:
                raise UserError(f"{path}: not as dvc.lock says of {stage.name}; run `make reproduce` first")


def show_differences(root: Path, manifest: Mapping[str, Any]) -> None:
    """What the new reference changes: artifacts by tier, and verdicts."""
    old_path = root / REFERENCE / MANIFEST
    old = read_json(old_path) if old_path.is_file() else {"artifacts": {}, "claims": {}}
    for path, entry in manifest["artifacts"].items():
        before = old["artifacts"].get(path, {}).get("content")
        if before != entry["content"]:
            print(f"{'new' if before is None else 'changed':<8} {entry['tier']:<5} {path}")
    for path in sorted(old["artifacts"].keys() - manifest["artifacts"].keys()):
        print(f"{'gone':<8}       {path}")
    before_claims = root / REFERENCE / "claims.json"
    verdicts = (
        {one["id"]: one["verdict"] for one in read_claims(before_claims)} if before_claims.is_file() else {}
    )
    for claim, entry in manifest["claims"].items():
        if verdicts.get(claim) != entry["verdict"]:
            print(f"verdict  {claim}: {verdicts.get(claim, 'none')} -> {entry['verdict']}")


def fill(root: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Everything that is shipped, into `folder`."""
    for name in KEPT:
        copy(root / REFERENCE / name, folder / name)
    for path, entry in manifest["artifacts"].items():
        if entry["shipped"]:
            copy(root / path, folder / shipped_name(path))
    copy(root / "dvc.lock", folder / "dvc.lock")
    write_json(folder / "host.json", host_of(root))
    write_json(folder / "effort.json", list(latest_efforts((root / LOG).read_text(encoding="utf-8"))))
    write_json(folder / MANIFEST, manifest)
    write_witness(folder, folder / WITNESS)
    day = run_git(root, "log", "-1", "--format=%cs").strip()
    write_crate(folder, manifest["artifacts"], folder / CRATE, project=root, published=day)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    write_text(folder / SUMS, "".join(lines))


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def latest_efforts(log: str) -> Iterator[dict[str, Any]]:
    """The last entry of every stage of the log of efforts."""
    efforts = [json.loads(line) for line in log.splitlines()]
    yield from {effort["stage"]: effort for effort in efforts}.values()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
