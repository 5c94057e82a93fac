"""What may become the reference, and what is shown before it does."""

import subprocess

import pandas as pd
import pytest

from sustainable.core.errors import UserError
from sustainable.core.files import write_json, write_text
from sustainable.tools.reference import (
    refuse_no_evidence,
    refuse_uncommitted,
    show_differences,
)


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_code_that_is_not_in_git_makes_no_reference(tmp_path):
    with pytest.raises(UserError, match="not a git repository"):
        refuse_uncommitted(tmp_path)
    write_text(tmp_path / "stages/a.py", "1\n")
    write_text(tmp_path / "data/rows.csv", "1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    write_text(tmp_path / "data/rows.csv", "2\n")  # rows may differ: they are what is taken
    refuse_uncommitted(tmp_path)
    write_text(tmp_path / "stages/a.py", "2\n")
    with pytest.raises(UserError, match=r"uncommitted: stages/a\.py; commit the code first"):
        refuse_uncommitted(tmp_path)


def project(folder, profile="paper", flagged=0, rows=200):
    flags = ["neighbours"] * flagged + [None] * (rows - flagged)
    (folder / "data/benchmark").mkdir(parents=True)
    pd.DataFrame({"profile": profile, "flags": flags}).to_csv(folder / "data/benchmark/a.csv", index=False)
    write_text(folder / "stages/sustainable/verification/verify.yaml", "flagged_limit: 0.01\n")
    return folder


def test_a_smoke_run_and_a_disturbed_one_make_no_reference(tmp_path):
    refuse_no_evidence(project(tmp_path / "quiet", flagged=2))  # 1 %: the odd window of an idle machine
    with pytest.raises(UserError, match=r"a\.csv: rows of profile smoke"):
        refuse_no_evidence(project(tmp_path / "smoke", profile="smoke"))
    with pytest.raises(UserError, match=r"1\.5% of the windows are flagged, more than 1\.0%"):
        refuse_no_evidence(project(tmp_path / "busy", flagged=3))


def test_differences_are_shown_first(tmp_path, capsys):
    before = {"artifacts": {"data/a.csv": {"content": "1"}, "data/old.csv": {"content": "1"}}, "claims": {}}
    write_json(tmp_path / "data/reference/manifest.json", before)
    write_json(tmp_path / "data/reference/claims.json", [{"id": "A1", "verdict": "refuted"}])
    now = {
        "artifacts": {
            "data/a.csv": {"content": "2", "tier": "T3"},
            "data/new.csv": {"content": "1", "tier": "T1"},
        },
        "claims": {"A1": {"verdict": "confirmed"}},
    }
    show_differences(tmp_path, now)
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["changed", "T3", "data/a.csv"] in shown
    assert ["new", "T1", "data/new.csv"] in shown
    assert ["gone", "data/old.csv"] in shown
    assert ["verdict", "A1:", "refuted", "->", "confirmed"] in shown
