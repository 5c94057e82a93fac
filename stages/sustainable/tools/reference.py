"""For maintainers: take the present run as the new reference, `data/reference`, and show what it changes.

With --stages only the outputs of these stages are taken. With --pages nothing is: claims, tables, figures and
pages are rendered again from the shipped rows.
"""

import argparse
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sustainable.core.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

import pandas as pd

from sustainable.core.effort import LOG, latest_efforts
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_json, write_json
from sustainable.reporting.documents import write_documents
from sustainable.reporting.pages import report_on
from sustainable.verification.folders import copy
from sustainable.verification.listed import LIST
from sustainable.verification.lock import read_lock, read_yaml
from sustainable.verification.manifest import host_of, manifest_of
from sustainable.verification.place import HOST, HOSTS, MANIFEST, REFERENCE, ROOT, SETTINGS, read_claims
from sustainable.verification.rerender import rerender, write_descriptions
from sustainable.verification.taking import refuse_changed, take_stages
from sustainable.verification.tiers.integrity import shipped_name, write_list

IN_GIT = ("stages", "paper/templates", "paper/published.yaml", "params.yaml", "dvc.yaml", "requirements.txt")
"""What must be in git before a run of it becomes the reference."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    pages = "only render the pages again from the shipped rows"
    parser.add_argument("--pages", action="store_true", help=pages)
    rules = "claims whose rule is new, so that their verdicts may change with --pages"
    parser.add_argument("--rules", nargs="+", default=[], help=rules)
    parser.add_argument("--stages", nargs="+", default=[], help="take only the outputs of these stages")
    listing = f"only write {LIST} for the files as they are"
    parser.add_argument("--list", action="store_true", help=listing)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if arguments.list:
        print(f"{LIST}: {write_list(root)}")
        return
    if arguments.pages or arguments.stages:
        changed = (
            take_some(root, arguments.stages)
            if arguments.stages
            else rerender(root, new_rules=arguments.rules)
        )
        print("\n".join(changed))
        print(f"{REFERENCE}: {len(changed)} files changed")
    else:
        take(root)
    report = report_on(root / REFERENCE, root / "paper/published.yaml", root / "params.yaml", root / HOSTS)
    write_documents(root, root / REFERENCE, report)
    print(f"{LIST}: {write_list(root)}")
    tracked = "data/reference, data/metrics, dvc.lock and paper/claims.json"
    print(f"now `make verify`, and commit {LIST}, README.md, paper/EXPERIMENTS.md, {tracked}")


def take_some(root: Path, stages: Sequence[str]) -> list[str]:
    refuse_uncommitted(root)
    refuse_no_evidence(root)
    return take_stages(root, stages, latest_efforts((root / LOG).read_text(encoding="utf-8")))


def take(root: Path) -> None:
    refuse_uncommitted(root)
    refuse_no_evidence(root)
    manifest = manifest_of(root, read_lock(root / "dvc.lock"))
    refuse_changed(root, read_lock(root / "dvc.lock"))
    show_differences(root, manifest)
    new = root / f"{REFERENCE}.new"
    shutil.rmtree(new, ignore_errors=True)
    fill_reference(root, new, manifest)
    shutil.rmtree(root / REFERENCE)
    new.rename(root / REFERENCE)
    print(f"{REFERENCE}: {len(manifest['artifacts'])} artifacts")


def refuse_uncommitted(root: Path) -> None:
    """Raise `UserError` unless the code that the run was made with is in git."""
    changed = run_git(root, "status", "--porcelain", "--", *IN_GIT).split()
    if changed:
        raise UserError(f"uncommitted: {changed[1]}; commit the code first, run `make reproduce` again")


def run_git(root: Path, *arguments: str) -> str:
    """Return what a git command prints; raises `UserError` outside a git repository."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{root}: not a git repository; take the reference in a clone")
    return done.stdout


def refuse_no_evidence(root: Path) -> None:
    """Raise `UserError` for a smoke run or a disturbed one.

    A few short windows are flagged on an idle machine too; verdicts that they would change are inconclusive
    in any case.
    """
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
            share = f"{flagged:.1%} of the windows are flagged, more than {limit:.1%}"
            raise UserError(f"{path}: {share}: measure again with `dvc repro -s -f` on an idle machine")


def show_differences(root: Path, manifest: Mapping[str, Any]) -> None:
    """Print what the new reference changes: artifacts by tier, and verdicts."""
    old_path = root / REFERENCE / MANIFEST
    old = read_json(old_path) if old_path.is_file() else {"artifacts": {}, "claims": {}}
    for path, entry in manifest["artifacts"].items():
        before = old["artifacts"].get(path, {}).get("content")
        if before != entry["content"]:
            print(f"{'new' if before is None else 'changed':<8} {entry['tier']:<5} {path}")
    for path in sorted(old["artifacts"].keys() - manifest["artifacts"].keys()):
        print(f"{'gone':<8}       {path}")
    old_claims = root / REFERENCE / "claims.json"
    claims = read_claims(old_claims) if old_claims.is_file() else {}
    for claim, entry in manifest["claims"].items():
        before = claims[claim]["verdict"] if claim in claims else "none"
        if before != entry["verdict"]:
            print(f"verdict  {claim}: {before} -> {entry['verdict']}")


def fill_reference(root: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write everything that is shipped to `folder`."""
    copy(root / REFERENCE / "README.md", folder / "README.md")
    for path, entry in manifest["artifacts"].items():
        if entry["shipped"]:
            copy(root / path, folder / shipped_name(path))
    copy(root / "dvc.lock", folder / "dvc.lock")
    write_json(folder / HOST, host_of(root))
    write_json(folder / "effort.json", latest_efforts((root / LOG).read_text(encoding="utf-8")))
    write_json(folder / MANIFEST, manifest)
    write_descriptions(folder, manifest, root, run_git(root, "log", "-1", "--format=%cs").strip())


if __name__ == "__main__":
    exit_on_error(main)
