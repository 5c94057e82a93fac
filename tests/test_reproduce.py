"""`make reproduce`: what it refuses first, and what it prints at the end."""

from types import SimpleNamespace

import pytest

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.tools import profiles

ROOT = STAGES.parent


@pytest.fixture
def project(tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def repro(monkeypatch):
    """Stand in for DVC: `status` is the exit status it will have, `ran` the folders in which it ran, and
    `stages` those that it was asked for (none: all)."""
    stand_in = SimpleNamespace(status=0, ran=[], stages=[])

    def run(folder, *stages):
        stand_in.ran.append(folder)
        stand_in.stages += stages
        return SimpleNamespace(returncode=stand_in.status)

    monkeypatch.setattr(profiles, "repro", run)
    return stand_in


def test_a_date_without_quotes_is_named_before_dvc_stumbles_over_it(project, repro):
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace('train_until: "2013-12-31"', "train_until: 2013-12-31"), encoding="utf-8")
    expected = r"preprocess\.weather\.split\.train_until: write the date in quotes: \"2013-12-31\""
    with pytest.raises(UserError, match=expected):
        profiles.reproduce(project)
    assert repro.ran == []


def test_it_ends_with_what_to_open(project, repro, capsys):
    for path in ("paper/report.html", "paper/claims.json", "data/benchmark/weather.csv"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    assert profiles.reproduce(project) == 0
    *places, last = capsys.readouterr().out.splitlines()
    assert last == "open paper/report.html, then run `make verify RUN=1`"
    assert [place.split()[-1] for place in places if place] == [
        "paper/report.html", "paper/claims.json", "data/benchmark/",
    ]  # fmt: skip


def test_a_failed_run_names_no_results(project, repro, capsys):
    repro.status = 255
    assert profiles.reproduce(project) == 255
    assert capsys.readouterr().out == ""


def test_some_stages_run_alone_and_only_the_check_is_named(project, repro, capsys):
    (project / "paper").mkdir()
    (project / "paper/report.html").touch()  # an earlier run's, which these stages do not renew
    assert profiles.reproduce(project, ["benchmark_policies", "notebook"]) == 0
    assert repro.stages == ["benchmark_policies", "notebook"]
    (line,) = capsys.readouterr().out.split("\n")[1:-1]
    assert line.startswith("benchmark_policies, notebook: done; run `make verify RUN=1`")
