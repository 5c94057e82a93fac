"""`make add-host`: rows of another machine are taken, or refused with one line."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError, exit_on_error
from sustainable.reporting.host_folders import read_host
from sustainable.reporting.policies.hosts import equal_cells
from sustainable.tools.add_host import main
from sustainable.verification.lock import md5_of
from sustainable.verification.place import Place
from sustainable.verification.sent_rows import (
    BENCHMARKS,
    LIMIT_BYTES,
    PLACES,
    check_hosts,
    problems_of,
    take_host,
)

ROOT = STAGES.parent
STAGE = "benchmark_policies"
FILES = BENCHMARKS[STAGE]
SHIPPED_HOSTS = ["amd-avx2", "amd-avx512", "amd-zen4", "intel-cascadelake"]
ZEN5 = {"vendor": "AuthenticAMD", "family": 26, "model": 2, "stepping": 1, "hypervisor": "KVM"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """What the check reads of this project, with the hosts that it ships."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("data/hosts", "data/reference/benchmark", "data/reference/search/weather", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml", "data/reference/dvc.lock", "data/reference/manifest.json"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def measured(project, tmp_path_factory):
    """A folder as a sender has it: the shipped windows, each 1 % slower, on an AMD Zen 5."""
    folder = tmp_path_factory.mktemp("sent") / "run"
    (folder / "benchmark").mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(project / "data/reference/benchmark" / name, folder / "benchmark" / name)
    for name in ("policies.csv", "workload.csv"):
        rows = pd.read_csv(folder / "benchmark" / name)
        rows[["cpu_time_s", "cpu_time_per_step_us"]] *= 1.01
        rows["flags"] = None
        rows.to_csv(folder / "benchmark" / name, index=False)
    shutil.copyfile(project / "data/reference/dvc.lock", folder / "dvc.lock")
    describe(folder, ZEN5 | {"kind": "amd-zen5"})
    return folder


@pytest.fixture
def sent(measured, tmp_path):
    shutil.copytree(measured, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def no_host_is_left(project):
    yield
    for name in ("amd-zen5", "mine"):
        shutil.rmtree(project / "data/hosts" / name, ignore_errors=True)
    assert sorted(path.name for path in (project / "data/hosts").iterdir()) == SHIPPED_HOSTS


def describe(folder, host):
    """Describe the host, and lock all files."""
    path = folder / "benchmark/policies.conditions.json"
    content = json.loads(path.read_text())
    content["host"] |= host
    path.write_text(json.dumps(content))
    lock(folder)


def lock(folder):
    """Record the files as the stage's outputs, as DVC does."""
    content = yaml.safe_load((folder / "dvc.lock").read_text())
    for entry in content["stages"][STAGE]["outs"]:
        path = folder / "benchmark" / Path(entry["path"]).name
        if path.is_file():
            entry["md5"] = md5_of(path)
    content["stages"] = {STAGE: content["stages"][STAGE]}
    (folder / "dvc.lock").write_text(yaml.safe_dump(content))


def edit(folder, change, name="policies.csv"):
    path = folder / "benchmark" / name
    rows = pd.read_csv(path)
    change(rows)
    rows.to_csv(path, index=False)
    lock(folder)


def test_rows_are_taken_under_the_kind_of_their_cpu(project, sent):
    taken = take_host(project, sent)
    assert taken == project / "data/hosts/amd-zen5"
    assert sorted(path.name for path in taken.iterdir()) == sorted([*FILES, "host.json"])
    assert read_host(taken).description["model"] == 2
    stated = json.loads((taken / "host.json").read_text())
    entry = Place(project).artifacts["data/benchmark/policies.csv"]
    assert stated["measured_by"] == {STAGE: {key: entry[key] for key in ("code", "parameters")}}
    assert [item.status for item in check_hosts(Place(project))] == ["ok"] * (len(SHIPPED_HOSTS) + 1)
    with pytest.raises(UserError, match="these are the rows of amd-zen5"):
        take_host(project, sent, "mine")
    edit(sent, lambda rows: rows.__setitem__("meter", "another"))
    with pytest.raises(UserError, match="amd-zen5: this name is taken; choose another with NAME="):
        take_host(project, sent)


def test_a_checkout_is_a_folder_too_and_may_be_named(project, sent, tmp_path):
    (tmp_path / "checkout/data").mkdir(parents=True)
    shutil.copytree(sent / "benchmark", tmp_path / "checkout/data/benchmark")
    shutil.copyfile(sent / "dvc.lock", tmp_path / "checkout/dvc.lock")
    assert take_host(project, tmp_path / "checkout", "mine").name == "mine"


def add_candidates(folder, host=ZEN5):
    """Add the shipped candidates of the weather, timed on the host, to what is sent."""
    (folder / "search/weather").mkdir(parents=True)
    content = yaml.safe_load((folder / "dvc.lock").read_text())
    shipped = yaml.safe_load((ROOT / "data/reference/dvc.lock").read_text())["stages"]["candidates@weather"]
    for name in ("candidates.csv", "candidates.conditions.json"):
        shutil.copyfile(ROOT / "data/reference/search/weather" / name, folder / "search/weather" / name)
    path = folder / "search/weather/candidates.conditions.json"
    shipped_host = json.loads(path.read_text())["host"]
    shipped_host.pop("kind", None)  # it is another's
    path.write_text(json.dumps({"host": shipped_host | host, "refused": {}}))
    next(out for out in shipped["outs"] if out["path"].endswith("conditions.json"))["md5"] = md5_of(path)
    content["stages"]["candidates@weather"] = shipped
    (folder / "dvc.lock").write_text(yaml.safe_dump(content))


def test_tables_of_candidates_are_taken_too(project, sent):
    add_candidates(sent)
    taken = take_host(project, sent)
    assert (taken / "weather.candidates.csv").is_file()
    assert (taken / "weather.candidates.conditions.json").is_file()
    assert {item.status for item in check_hosts(Place(project))} == {"ok"}


def test_candidates_of_another_host_or_changed_ones_are_refused(project, sent):
    add_candidates(sent, ZEN5 | {"family": 25, "model": 17})
    with pytest.raises(UserError, match=r"measured on amd-zen4, but policies\.conditions\.json on amd-zen5"):
        take_host(project, sent)
    (sent / "search/weather/candidates.csv").write_text("x\n")
    with pytest.raises(UserError, match=r"candidates\.csv: damaged"):
        take_host(project, sent)
    (sent / "search/weather/candidates.conditions.json").unlink()
    with pytest.raises(UserError, match=r"candidates\.conditions\.json: missing"):
        take_host(project, sent)


def measure_a_task(folder, peak=1, **changes):
    """Send the shipped benchmark of the weather, each window 1 % slower, instead of the policies' windows.

    `peak` multiplies the measured ceiling of fp32.
    """
    shutil.rmtree(folder / "benchmark")
    (folder / "benchmark").mkdir()
    stage = yaml.safe_load((ROOT / "data/reference/dvc.lock").read_text())["stages"]["benchmark@weather"]
    for entry in stage["outs"]:
        path = folder / "benchmark" / Path(entry["path"]).name
        shutil.copyfile(ROOT / "data/reference" / PLACES[path.name], path)
        if path.name == "weather.csv":
            rows = pd.read_csv(path)
            rows[["cpu_time_s", "cpu_time_ms"]] *= 1.01
            rows.assign(flags=None, **changes).to_csv(path, index=False)
        elif path.suffix == ".json":
            content = json.loads(path.read_text())
            content["frozen"]["roofline"]["fp32"]["flops_per_s"] *= peak
            path.write_text(json.dumps(content | {"host": content["host"] | ZEN5 | {"kind": "amd-zen5"}}))
        entry["md5"] = md5_of(path)
    (folder / "dvc.lock").write_text(
        yaml.safe_dump({"schema": "2.0", "stages": {"benchmark@weather": stage}})
    )


def test_the_benchmark_of_a_task_is_enough(project, sent):
    measure_a_task(sent)
    taken = take_host(project, sent)
    assert {path.name for path in taken.iterdir()} == {*BENCHMARKS["benchmark@weather"], "host.json"}
    assert {item.status for item in check_hosts(Place(project))} == {"ok"}
    with pytest.raises(UserError, match=r"weather\.csv: these are the rows of amd-zen5"):
        take_host(project, sent, "mine")


def test_a_host_that_exceeds_its_own_ceiling_is_refused(project, sent):
    measure_a_task(sent, peak=1e-3)
    with pytest.raises(UserError, match=r"of the core's peak rate in fp32, so the ceiling was"):
        take_host(project, sent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "smoke"}, "rows of profile smoke"),
        ({"weights_sha256": "f" * 64}, "other baselines"),
        ({"cpu_time_ms": 1.0}, "cpu_time_ms contradicts cpu_time_s"),
        ({"more": 1}, r"other columns than in the shipped table \(more\)"),
    ],
)
def test_a_task_with_other_rows_is_refused(project, sent, changes, message):
    measure_a_task(sent, **changes)
    with pytest.raises(UserError, match=message):
        take_host(project, sent)


def test_a_folder_without_a_benchmark_is_refused(project, sent):
    add_candidates(sent)
    for name in FILES:
        (sent / "benchmark" / name).unlink()
    with pytest.raises(UserError, match="no benchmark's rows; send those of benchmark_policies, benchmark@w"):
        take_host(project, sent)


def test_an_unknown_kind_needs_a_name(project, sent):
    describe(sent, dict.fromkeys(ZEN5) | {"kind": "unknown"})
    with pytest.raises(UserError, match="the kind of CPU is unknown; choose a name"):
        take_host(project, sent)
    assert take_host(project, sent, "mine").name == "mine"


def remove(folder):
    (folder / "benchmark/workload.csv").unlink()


def cut(folder):
    path = folder / "benchmark/policies.csv"
    path.write_bytes(path.read_bytes()[:-100])


def link(folder):
    path = folder / "benchmark/policies.csv"
    path.rename(folder.parent / "elsewhere.csv")
    path.symlink_to(folder.parent / "elsewhere.csv")


def link_folder(folder):
    (folder / "benchmark").rename(folder.parent / "elsewhere")
    (folder / "benchmark").symlink_to(folder.parent / "elsewhere")


def grow(folder):
    with (folder / "benchmark/policies.csv").open("r+b") as file:
        file.truncate(LIMIT_BYTES + 1)


def change_code(folder):
    text = (folder / "dvc.lock").read_text()
    content = yaml.safe_load(text)
    next(entry for entry in content["stages"][STAGE]["deps"] if "stages" in entry["path"])["md5"] = "0" * 32
    (folder / "dvc.lock").write_text(yaml.safe_dump(content))


def forget_stage(folder):
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")


def send_shipped(folder):
    for name in ("policies.csv", "workload.csv"):
        shutil.copyfile(ROOT / "data/reference/benchmark" / name, folder / "benchmark" / name)
    lock(folder)


def with_values(column, value, name="policies.csv"):
    def change(rows):
        rows[column] = value

    return lambda folder: edit(folder, change, name)


def retrain(rows):
    rows.loc[rows["environment"] == "Hopper-v5", "weights_sha256"] = "0" * 64


def improve(rows):
    rows.loc[rows["configuration"] == "ptdq", "cpu_time_per_step_us"] /= 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "workload.csv: missing"),
        (cut, "policies.csv: damaged, it is not the file that dvc.lock records"),
        (link, "policies.csv: not a regular file of this folder"),
        (link_folder, "policies.csv: not a regular file of this folder"),
        (grow, f"{LIMIT_BYTES + 1} bytes; at least 1 and at most {LIMIT_BYTES}"),
        (change_code, r"benchmark_policies: measured by other code than the shipped rows \(code: stages/"),
        (forget_stage, "it does not record benchmark_policies, so its code is unknown"),
        (send_shipped, "these are the rows of the shipped run"),
        (with_values("profile", "smoke"), "rows of profile smoke, not evidence"),
        (with_values("more", 1), r"other columns than in the shipped table \(more\)"),
        (with_values("configuration", "baseline"), "column 'method': line 3: the cell is empty"),
        (with_values("cpu_evidence", "replay"), "evidence 'replay' is no measurement"),
        (with_values("cpu_evidence", "guess"), "column 'cpu_evidence': line 2: 'guess' is not one of"),
        (
            with_values("cpu_time_per_step_us", "fast", "workload.csv"),
            "column 'cpu_time_per_step_us': line 2: 'fast' is not a number",
        ),
        (with_values("flags", "neighbours"), "100.0% of the windows are flagged, more than 2.0%"),
        (lambda folder: edit(folder, retrain), r"other policies in Hopper-v5 PPO"),
        (lambda folder: edit(folder, improve), "cpu_time_per_step_us contradicts cpu_time_s"),
        (
            lambda folder: describe(folder, {"kind": "amd-zen4"}),
            "kind 'amd-zen4', but its numbers say amd-zen5",
        ),
        (lambda folder: describe(folder, {"cpu": r"\input{x}"}), "cpu is .* not a plain text"),
        (lambda folder: describe(folder, {"caches_kib": {"L2": "much"}}), "caches_kib are not sizes"),
    ],
)
def test_other_rows_are_refused_and_nothing_is_written(project, sent, damage, message):
    damage(sent)
    with pytest.raises(UserError, match=message):
        take_host(project, sent)


@pytest.mark.parametrize("name", ["../x", "a b", "A", "", "x" * 41, "-x"])
def test_a_name_is_that_of_a_folder(project, sent, name):
    if name:
        with pytest.raises(UserError, match="not a name for a folder"):
            take_host(project, sent, name)
    else:
        assert take_host(project, sent, name).name == "amd-zen5"


def test_without_a_folder_it_says_so(monkeypatch, capsys, tmp_path):
    for folder in ("", str(tmp_path / "none")):
        monkeypatch.setattr(sys, "argv", ["add_host.py", folder])
        with pytest.raises(SystemExit, match="1"):
            exit_on_error(main)
        assert capsys.readouterr().err.endswith("not found; name the rows with FOLDER=...\n")
    with pytest.raises(UserError, match="neither the folder benchmark nor data/benchmark"):
        take_host(ROOT, tmp_path)


def test_a_changed_or_added_file_of_a_host_is_noticed(project, sent):
    taken = take_host(project, sent, "mine")
    (taken / "notes.txt").write_text("x")
    with (taken / "policies.csv").open("a") as file:
        file.write("\n")
    item = next(item for item in check_hosts(Place(project)) if item.name.endswith("mine"))
    assert item.status == "FAIL"
    assert item.found == "notes.txt is not described (2 in all)"


def test_a_host_without_a_whole_benchmark_is_noticed(project, sent):
    taken = take_host(project, sent, "mine")
    path = taken / "host.json"
    content = json.loads(path.read_text())
    content["rows"]["weather.csv"] = md5_of(taken / "policies.csv")
    path.write_text(json.dumps(content))
    shutil.copyfile(taken / "policies.csv", taken / "weather.csv")
    item = next(item for item in check_hosts(Place(project)) if item.name.endswith("mine"))
    assert item.status == "FAIL"
    assert item.found == "weather.conditions.json is missing (2 in all)"


def test_two_shipped_hosts_measured_the_same_policies_by_one_code():
    """The others were measured by the code of other versions; their host.json has its hash."""
    folders = [ROOT / "data/hosts" / name for name in ("amd-avx512", "amd-zen4")]
    stated = [json.loads((folder / "host.json").read_text()) for folder in folders]
    assert len({one["measured_by"][STAGE]["code"] for one in stated}) == 1
    tables = [pd.read_csv(folder / "policies.csv") for folder in folders]
    assert len(equal_cells(*tables)) == 4
    assert next(problems_of(tables[0], tables[1], 0.02), None) is None
