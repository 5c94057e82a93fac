"""The shipped artifact: `verify` accepts it, and notices what is forged in a copy of it."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from imports import STAGES
from sustainable.core.errors import UserError, exit_on_error
from sustainable.tools.verify import main
from sustainable.verification.items import counts
from sustainable.verification.place import Place
from sustainable.verification.rerender import refuse_other_verdicts, rerender
from sustainable.verification.tamper.attacks import Watch, attacked, one_of_each_kind, released_copy
from sustainable.verification.tiers import own_run as own_run_tier
from sustainable.verification.tiers.integrity import IN_GIT
from sustainable.verification.tiers.own_run import check_run
from sustainable.verification.tiers.shipped import check_shipped

ROOT = STAGES.parent
pytestmark = pytest.mark.usefixtures("shared_reports")


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    released_copy(ROOT, folder)
    return Watch(folder)


def test_nothing_shipped_fails_and_rows_are_stale_only_in_a_development_version():
    items = check_shipped(ROOT)
    assert [item.line for item in items if item.status == "FAIL"] == []
    assert Place(ROOT).in_development or not [item.line for item in items if item.status == "stale"]


def test_a_release_verifies_without_git_cache_or_tex(watch):
    items = check_shipped(watch.folder)
    assert [item.line for item in items if item.status in ("FAIL", "stale")] == []
    found = counts(items)
    assert found["T0"]["ok"] > 290
    assert found["T1"]["ok"] > 50
    assert found["T4"]["ok"] > 30
    assert found["T3"]["ok"] > 50  # the declared orders of CPU time
    undecided = [item for item in items if item.detail.startswith("undecided")]
    assert found["T3"]["skipped"] == 1 + len(undecided)  # no ratio was measured: no pass
    assert not list(watch.folder.glob("*.json"))


def kinds():
    """One forgery of every kind; `make tamper` tries all, and those that render everything again."""
    return [attack for attack in one_of_each_kind(ROOT, 7) if "rendered again" not in attack.kind]


@pytest.mark.parametrize("attack", kinds(), ids=lambda attack: attack.name)
def test_every_kind_of_forgery_is_noticed(watch, attack):
    with attacked(watch.folder, attack):
        assert watch.noticed(attack, 1), attack.name
    assert not watch.first_failures(1)


def test_a_damaged_file_does_not_hide_the_other_items(watch):
    claims = watch.folder / "data/reference/claims.json"
    content = claims.read_bytes()
    claims.write_bytes(content[:100])
    items = check_shipped(watch.folder)
    claims.write_bytes(content)
    assert {item.tier for item in items if item.status == "FAIL"} >= {"T0", "T4"}
    assert counts(items)["T0"]["ok"] > 290


@pytest.fixture
def verify(monkeypatch, capsys):
    """The command, in this process."""

    def run(folder, *arguments):
        monkeypatch.setattr(sys, "argv", ["verify", "--root", str(folder), *map(str, arguments)])
        monkeypatch.chdir(folder)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            exit_on_error(main)
        said = capsys.readouterr()
        return SimpleNamespace(returncode=stopped.value.code, stdout=said.out, stderr=said.err)

    return run


def test_the_command_reports_for_people_and_machines(watch, verify, tmp_path):
    done = verify(watch.folder, "--out", tmp_path / "verify.json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    report = json.loads((tmp_path / "verify.json").read_text())
    assert len(done.stdout.splitlines()) <= 12 < 400 < len(report["items"])
    assert done.stdout.splitlines()[-1].endswith("next: `make tables`")
    assert {item["status"] for item in report["items"]} == {"ok", "skipped"}
    assert report["root"] == watch.root_hash
    assert report["root"] in done.stdout


def edited(path, old, new):
    """Edit a file as a developer would; returns how to undo it."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    return lambda: path.write_text(content)


def test_an_edit_of_code_or_parameters_is_stale_in_a_development_version(watch, verify, tmp_path):
    if not Place(watch.folder).in_development:
        pytest.skip("not a development version")
    undo = [
        edited(watch.folder / "stages/shrink.py", '"""', '"""Now: '),
        edited(watch.folder / "params.yaml", "seeds: [1, 2, 3, 4, 5]", "seeds: [1, 2, 3, 4, 6]"),
    ]
    done = verify(watch.folder, "--out", tmp_path / "verify.json")
    strict = verify(watch.folder, "--strict", "--out", tmp_path / "strict.json")
    for restore in undo:
        restore()
    assert (done.returncode, strict.returncode) == (3, 1), done.stdout[-2000:] + done.stderr
    items = json.loads((tmp_path / "verify.json").read_text())["items"]
    stale = {item["name"]: item["found"] for item in items if item["status"] == "stale"}
    assert stale["making of shrink@weather"] == "code: stages/shrink.py changed (1 changed)"
    assert "seeds [1, 2, 3, 4, 5] -> [1, 2, 3, 4, 6]" in stale["making of train_baseline@weather"].replace(
        ".0", ""
    )
    assert "params.yaml has changed" in stale["files at the top"]
    assert stale["files in stages"] == "stages/shrink.py has changed"
    assert not any(item["status"] == "FAIL" for item in items)
    assert "stages were run with other code or packages" in done.stdout


def test_pages_are_not_rendered_again_from_edited_rows(watch):
    before = {path: path.read_bytes() for path in watch.folder.rglob("*") if path.is_file()}
    undo = edited(watch.folder / "data/reference/search/weather/repairs.csv", "0.", "1.")
    with pytest.raises(UserError, match=r"search/weather/repairs\.csv: expected .*, found"):
        rerender(watch.folder)
    undo()
    assert before == {path: path.read_bytes() for path in watch.folder.rglob("*") if path.is_file()}


def test_pages_with_another_verdict_are_refused(tmp_path):
    for name, verdict in (("one", "confirmed"), ("other", "refuted")):
        (tmp_path / name).write_text(json.dumps([{"id": "A1", "verdict": verdict}]))
    refuse_other_verdicts(tmp_path / "one", tmp_path / "one")
    with pytest.raises(UserError, match=r"claim A1: confirmed in .*, refuted with this code"):
        refuse_other_verdicts(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other").write_text("[]")
    with pytest.raises(UserError, match="no such claim with this code"):
        refuse_other_verdicts(tmp_path / "one", tmp_path / "other")


def test_a_verdict_may_change_with_its_rule_alone(tmp_path):
    for name, verdict, rule in (("old", "confirmed", "r"), ("new", "refuted", "s"), ("same", "refuted", "r")):
        (tmp_path / name).write_text(json.dumps([{"id": "A1", "verdict": verdict, "rule": rule}]))
    refuse_other_verdicts(tmp_path / "old", tmp_path / "new", ["A1"])
    with pytest.raises(UserError, match=r"changes only with a new run .* or a new rule \(RULES=A1\)"):
        refuse_other_verdicts(tmp_path / "old", tmp_path / "new")
    with pytest.raises(UserError, match="claim A1: it has no new rule"):
        refuse_other_verdicts(tmp_path / "old", tmp_path / "same", ["A1"])


def test_rows_of_another_host_may_turn_a_verdict_over_hosts(tmp_path):
    def write(name, verdict, this_run, hosts):
        one = {"id": "B1", "verdict": verdict, "this_run": this_run, "hosts": hosts, "rule": "r"}
        (tmp_path / name).write_text(json.dumps([one]))
        return tmp_path / name

    alone = write("alone", "confirmed", "confirmed", {})
    host = {"amd-zen4": {"verdict": "refuted", "this_run": "confirmed"}}
    refuse_other_verdicts(alone, write("differs", "inconclusive", "confirmed", host))
    for changed in (write("code", "inconclusive", "confirmed", {}), write("run", "refuted", "refuted", host)):
        with pytest.raises(UserError, match="claim B1: confirmed in"):
            refuse_other_verdicts(alone, changed)


def test_a_run_that_is_not_there_is_one_line(watch, verify):
    done = verify(watch.folder, "--run")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "run `make reproduce` first" in done.stderr


@pytest.fixture(scope="module")
def own_run(watch, tmp_path_factory):
    """The shipped run as if it had been made here; what is not shipped is taken out of the lock's reach."""
    folder = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(watch.folder, folder)
    place = Place(folder)
    for path, entry in place.artifacts.items():
        if entry["shipped"]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / entry["shipped"], folder / path)
    return folder


def failed(items, tier):
    return [item.name for item in items if item.status == "FAIL" and item.tier == tier]


@pytest.fixture
def same_kind(monkeypatch):
    """The shipped rows do not record their kind of CPU, so this run counts as made on the same one."""
    monkeypatch.setattr(own_run_tier, "other_kind", lambda place, path: None)


@pytest.fixture
def as_if_measured(monkeypatch):
    """Rows of the reference count as measured here, as far as a test has not changed them."""
    monkeypatch.setattr(own_run_tier, "is_copy", lambda own, reference: False)


def test_the_shipped_rows_are_no_run_of_ones_own(own_run, same_kind):
    items = check_run(own_run)
    copied = [item.name for item in items if item.detail == own_run_tier.COPIED]
    assert {"data/benchmark/weather.csv", "data/search/weather/candidates.csv"} <= set(copied)
    assert {item.name.split(":")[0] for item in items if (item.tier, item.status) == ("T3", "ok")} == {
        "data/benchmark/memory.csv"
    }


def test_an_own_run_is_compared_in_all_tiers(own_run, same_kind, as_if_measured):
    items = check_run(own_run)
    assert failed(items, "T3") == failed(items, "T4") == []
    missing = [item for item in items if item.status == "FAIL" and item.tier == "T1"]
    assert missing
    assert {item.found for item in missing} == {"nothing"}  # what is not shipped
    assert counts(items)["T3"]["ok"] > 80


def test_an_own_run_of_other_weights_fails_where_it_began(own_run):
    path = own_run / "data/metrics/published/baseline.json"
    content = path.read_text()
    path.write_text(content.replace('"weights_sha256": "5', '"weights_sha256": "6'))
    items = {item.name: item for item in check_run(own_run)}
    path.write_text(content)
    item = items["data/metrics/published/baseline.json"]
    assert (item.status, item.tier) == ("FAIL", "T1")
    assert item.stage in ("preprocess@published", "train_baseline@published")


def test_an_own_run_with_other_ratios_fails(own_run, same_kind, as_if_measured):
    import pandas as pd

    path = own_run / "data/benchmark/remeasured.csv"
    content = path.read_bytes()
    rows = pd.read_csv(path)
    rows.loc[rows["configuration"] == "manual_quantization", "cpu_time_ms"] *= 2
    rows.to_csv(path, index=False)
    items = check_run(own_run)
    path.write_bytes(content)
    assert "data/benchmark/remeasured.csv: 64 manual_quantization" in failed(items, "T3")
    assert failed(items, "T4")  # claims.json no longer follows from the rows


def test_of_a_part_of_the_pipeline_only_what_it_measured_is_judged(own_run, same_kind, as_if_measured):
    """As after `dvc repro -s benchmark_policies`: everything else is skipped, and that is no pass."""
    place, kept = Place(own_run), own_run.with_name("kept")
    stage = place.lock["benchmark_policies"]
    for folder in ("data", "paper"):
        shutil.copytree(own_run / folder, kept / folder)
    for path in place.artifacts:
        if path not in stage.outputs and not path.startswith(IN_GIT):
            (own_run / path).unlink(missing_ok=True)
    items = check_run(own_run)
    for folder in ("data", "paper"):
        shutil.copytree(kept / folder, own_run / folder, dirs_exist_ok=True)
    assert [item.line for item in items if item.status == "FAIL"] == []
    by_status = {
        status: {item.name for item in items if item.tier == "T4" and item.status == status}
        for status in ("ok", "skipped")
    }
    assert {"verdict on B1", "verdict on F1"} <= by_status["ok"]
    assert {"verdict on A1", "verdict on C1", "verdict on B5"} <= by_status["skipped"]  # B5: returns
    assert {item.stage for item in items if item.tier == "T3" and item.status == "ok"} <= {stage.name, None}
    skipped = {item.name for item in items if item.detail == own_run_tier.NOT_RUN}
    assert skipped == {f"outputs of {name}" for name in place.lock if name != stage.name}


def test_a_smoke_run_is_refused(own_run, verify):
    path = own_run / "data/benchmark/weather.csv"
    content = path.read_text()
    path.write_text(content.replace(",paper,", ",smoke,"))
    done = verify(own_run, "--run")
    path.write_text(content)
    assert done.returncode == 1
    assert "not evidence" in done.stderr
