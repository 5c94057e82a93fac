"""Taking some stages of a run into the reference: what is taken, what becomes stale, and what is refused."""

import json
import re
import shutil
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sustainable.core.errors import UserError
from sustainable.core.files import write_bytes
from sustainable.verification import rerender
from sustainable.verification.lock import Stage, md5_of
from sustainable.verification.place import REFERENCE, Place
from sustainable.verification.rerender import with_recorded_inputs, write_lock
from sustainable.verification.taking import take_stages
from sustainable.verification.tiers.integrity import check_inputs

SEARCH = "rl_search@published"
BEST = "data/search/published/best_action.json"


@pytest.fixture
def copy(tmp_path, project):
    """A copy of the project in which the shipped search is the run of this folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, target)
    place = Place(tmp_path)
    for path, entry in place.artifacts.items():
        if entry["stage"] == SEARCH and not (tmp_path / path).exists():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / entry["shipped"], tmp_path / path)
    return tmp_path


@pytest.fixture
def pages(monkeypatch):
    """Instead of rendering, which takes a minute, copy the shipped pages."""

    def render(place, folder):
        made = {
            path: entry["shipped"] for path, entry in place.artifacts.items() if entry["stage"] == "report"
        }
        for path, shipped in made.items():
            write_bytes(folder / path, (place.root / shipped).read_bytes() if shipped else b"not shipped")

    monkeypatch.setattr(rerender, "render", render)


def run_again(root):
    """Write what `dvc repro` would: another best_action.json, and a lock that describes it."""
    best = root / BEST
    best.write_text(json.dumps(json.loads(best.read_text()) | {"note": "again"}))
    place = Place(root)
    stage = with_recorded_inputs(place, place.declared[SEARCH])
    stage = replace(stage, outputs={path: md5_of(root / path) for path in stage.outputs})
    write_lock(root / "dvc.lock", {SEARCH: stage}, place.artifacts, root)


REPORT = Stage(
    name="report",
    command="python show.py --data data --raw data/raw --out paper --claims paper/claims.json --sum data/a",
    parameters={},
    inputs={},
    outputs=dict.fromkeys(("paper/tables", "paper/claims.json", "data/a"), ""),
)


@pytest.mark.parametrize(("end", "message"), [("", None), ("sys.exit('no rows')", r"failed \(no rows\)")])
def test_pages_are_rendered_from_the_shipped_rows_into_another_folder(tmp_path, end, message):
    (tmp_path / "show.py").write_text(f"import json, sys\njson.dump(sys.argv[1:], open('said', 'w'))\n{end}")
    place = SimpleNamespace(root=tmp_path, reference=tmp_path / "shipped", declared={"report": REPORT})
    with pytest.raises(UserError, match=message) if message else nullcontext():
        rerender.render(place, tmp_path / "new")
    said = json.loads((tmp_path / "said").read_text())
    assert dict(zip(said[::2], said[1::2], strict=True)) == {
        "--data": str(tmp_path / "shipped"),
        "--raw": "data/raw",
        "--out": str(tmp_path / "new/paper"),
        "--claims": str(tmp_path / "new/paper/claims.json"),
        "--sum": str(tmp_path / "new/data/a"),
    }


def test_a_stage_that_never_ran_is_refused(copy):
    with pytest.raises(UserError, match=r"search: dvc\.lock has no such stage; it has preprocess@published"):
        take_stages(copy, ["search"], [])


def test_a_file_that_is_not_the_runs_is_refused_and_nothing_changes(copy):
    run_again(copy)
    before = (copy / REFERENCE / "manifest.json").read_bytes()
    (copy / BEST).write_text("{}")
    with pytest.raises(UserError, match=r"best_action\.json: differs from what dvc\.lock records"):
        take_stages(copy, [SEARCH], [])
    assert (copy / REFERENCE / "manifest.json").read_bytes() == before


def test_a_new_search_is_taken_and_its_readers_are_stale(copy, pages):
    old = Place(copy).artifacts[BEST]["md5"]
    run_again(copy)
    changed = take_stages(copy, [SEARCH], [{"stage": SEARCH, "wall_s": 1.0, "memory_mib": 2.0}])
    assert "search/published/best_action.json" in changed
    place = Place(copy)
    assert json.loads((copy / REFERENCE / "search/published/best_action.json").read_text())["note"] == "again"
    assert old in place.manifest["renewed"][BEST]
    stale = {item.stage for item in check_inputs(place) if item.status == "stale"}
    assert stale >= {"benchmark@remeasured"}
    assert all(item.status in ("ok", "stale") for item in check_inputs(place))
    efforts = json.loads((copy / REFERENCE / "effort.json").read_text())
    assert [one["wall_s"] for one in efforts if one["stage"] == SEARCH] == [1.0]


def test_a_stage_that_the_pipeline_no_longer_has_leaves_the_reference(copy, pages):
    table = "weather-amd-avx512"
    gone = f"compare_searchers@{table}"
    for name, text in (("params.yaml", rf"  {table}: .*\n"), ("dvc.yaml", rf"data/metrics/{table},\s")):
        path = copy / name
        path.write_text(re.sub(text, "", path.read_text()))
    run_again(copy)
    assert gone in Place(copy).lock
    changed = take_stages(copy, [SEARCH], [])
    assert f"search/{table}/choices.json" in changed
    place = Place(copy)
    assert gone not in place.lock
    assert gone not in {entry["stage"] for entry in place.artifacts.values()}
    for name in ("manifest.json", "effort.json", "host.json", "repro.yaml"):
        assert table not in (copy / REFERENCE / name).read_text().replace(f"data/hosts/{table}", ""), name
    assert not (copy / REFERENCE / f"search/{table}/choices.json").exists()
