"""`make verify RUN=1` on the same kind of CPU and on another, honest or edited, idle or busy.

The own run is made of rows that other hosts measured (`data/hosts`), so that their differences are real.
"""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.core.files import write_text
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import EXACT_COUNT, Claim
from sustainable.tools.verify import exit_status
from sustainable.verification.items import Item
from sustainable.verification.lock import md5_of
from sustainable.verification.manifest import check_host, measured_on
from sustainable.verification.place import HOST, SETTINGS, Place
from sustainable.verification.tiers import integrity, orders, own_run, statistical
from sustainable.verification.tiers.kinds import conditions_of, other_kind, other_kinds
from sustainable.verification.tiers.statistical import Margin
from sustainable.verification.tiers.verdicts import check_verdicts

ROOT = STAGES.parent
ZEN3 = {"vendor": "AuthenticAMD", "family": 25, "model": 1, "isa": "AVX2"}
ZEN5 = {"vendor": "AuthenticAMD", "family": 26, "model": 2, "isa": "AVX2, AVX-512"}
POLICIES = "data/benchmark/policies.csv"
TABLES = (POLICIES, "data/benchmark/workload.csv")
CLOCKS = ("wall_time_s", "cpu_time_s", "cpu_time_per_step_us")
WIDE = Margin(0.25, 0.95)


@pytest.fixture(autouse=True)
def only_two_tables(monkeypatch):
    """Compare those tables that other hosts measured, too."""
    few = tuple(measured for measured in statistical.MEASURED if measured.path in TABLES)
    for module in (statistical, orders):
        monkeypatch.setattr(module, "MEASURED", few)
    monkeypatch.setattr(statistical, "CANDIDATE_TABLES", ())


@pytest.fixture
def project(tmp_path):
    """The shipped windows of a Zen 3, and the settings that judge; without a run."""
    for name in ("data/reference/benchmark", "stages/sustainable/verification"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copyfile(ROOT / "data/reference/dvc.lock", tmp_path / "data/reference/dvc.lock")
    settings = yaml.safe_load((ROOT / SETTINGS).read_text())
    settings["orders"] = [order for order in settings["orders"] if order["table"] in TABLES]
    (tmp_path / SETTINGS).write_text(yaml.safe_dump(settings))
    put(ROOT / "data/reference/benchmark", tmp_path / "data/reference/benchmark", ZEN3)
    return tmp_path


def put(source, target, host, scale=1.0):
    """Copy windows, with their times multiplied by `scale`, and their conditions; `host` completes the
    description of the CPU."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("policies.csv", "workload.csv"):
        rows = pd.read_csv(source / name)
        rows.assign(**{clock: rows[clock] * scale for clock in CLOCKS}).to_csv(target / name, index=False)
    content = json.loads((source / "policies.conditions.json").read_text())
    content["host"] |= host
    (target / "policies.conditions.json").write_text(json.dumps(content))


def own_run_of(project, source, host):
    put(source, project / "data/benchmark", host, scale=1 + 1e-9)  # rows with equal times are a copy
    return Place(project)


def change(project, edit):
    rows = pd.read_csv(project / POLICIES)
    edit(rows)
    rows.to_csv(project / POLICIES, index=False)


def compare(place):
    """The items of the ratios, and those of the declared orders."""
    items = [item for item in own_run.check_rows(place, {"benchmark_policies"}) if item.tier == "T3"]
    ordered = [item for item in items if " costs " in item.name]
    return [item for item in items if item not in ordered], ordered


def assert_orders_hold(ordered):
    """All are ok but a few whose intervals are too wide: of masked policies, with three training seeds."""
    others = [item for item in ordered if item.status != "ok"]
    assert all(item.detail.startswith("undecided") for item in others)
    assert all(item.name.endswith("unstructured_l1_50 costs the same") for item in others)
    assert len(others) <= 5 < len(ordered) / 5


def test_the_same_kind_of_cpu_must_have_the_same_ratios(project):
    ratios, ordered = compare(own_run_of(project, ROOT / "data/reference/benchmark", ZEN3))
    assert sum(item.status == "ok" for item in ratios) > 70
    assert {item.status for item in ratios} <= {"ok", "skipped"}  # skipped: noisy doses decide nothing
    assert_orders_hold(ordered)
    assert exit_status([*ratios, *ordered]) == 0


def test_an_honest_run_on_another_kind_passes_where_the_same_kind_would_fail(project):
    place = own_run_of(project, ROOT / "data/hosts/amd-avx512", ZEN5)
    ratios, ordered = compare(place)
    assert {item.status for item in ratios} == {"other CPU", "skipped"}  # skipped: not measured there
    assert_orders_hold(ordered)
    assert exit_status([*ratios, *ordered]) == 0
    item = next(item for item in ratios if item.name.endswith("Pendulum-v1 PPO numpy"))
    assert item.line.startswith("other CPU T3")
    assert "ratio 0.4" in item.detail
    assert item.detail.endswith("(amd-zen5 here, amd-zen3 there)")
    ratios, _ = compare(own_run_of(project, ROOT / "data/hosts/amd-avx512", ZEN3))
    assert sum(item.status == "FAIL" for item in ratios) > 3


def test_an_unknown_kind_is_compared_with_none(project):
    host = dict.fromkeys(ZEN3) | {"isa": "AVX2"}
    ratios, ordered = compare(own_run_of(project, ROOT / "data/reference/benchmark", host))
    assert {item.status for item in ratios} == {"other CPU"}
    assert "(unknown here, amd-zen3 there)" in ratios[0].detail
    assert_orders_hold(ordered)


def test_rows_edited_on_another_kind_contradict_a_declared_order(project):
    place = own_run_of(project, ROOT / "data/hosts/amd-avx512", ZEN5)

    def improve(rows):
        rows.loc[rows["configuration"] == "ptdq", "cpu_time_per_step_us"] *= 0.4

    change(project, improve)
    ratios, ordered = compare(place)
    assert not [item for item in ratios if item.status == "FAIL"]  # no ratio is expected of another kind
    failed = [item.name for item in ordered if item.status == "FAIL"]
    assert len(failed) == 4  # cells
    assert all(name.endswith("ptdq costs more") for name in failed)
    assert exit_status(ordered) == 1


def test_rows_and_kinds_that_were_edited_differ_from_the_lock(project):
    place = own_run_of(project, ROOT / "data/hosts/amd-avx512", ZEN5)
    names = [*TABLES, "data/benchmark/policies.conditions.json"]
    outs = [{"path": name, "md5": md5_of(project / name)} for name in names]
    stage = {"benchmark_policies": {"cmd": "measure", "outs": outs}}
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": stage}))
    item = next(own_run.check_own_lock(place, {"benchmark_policies"}))
    assert item.status == "ok"

    def one_digit(rows):
        rows.loc[0, "cpu_time_per_step_us"] += 0.001

    change(project, one_digit)
    (project / names[2]).write_text(json.dumps({"host": ZEN3}))
    item = next(own_run.check_own_lock(place, {"benchmark_policies"}))
    assert (item.status, item.found) == ("FAIL", f"{POLICIES} has changed (2 in all)")


def test_stages_that_measure_nothing_are_a_run_of_their_own(project):
    made, other, name = project / "data/processed/weather/windows", project / "data/new", "preprocess@weather"
    made.mkdir(parents=True)
    (made / "windows.safetensors").write_bytes(b"made here")
    lock = yaml.safe_load((project / "data/reference/dvc.lock").read_text())
    stage = {"cmd": "make", "outs": [{"path": made.relative_to(project).as_posix(), "md5": md5_of(made)}]}

    def own(**changes):
        stages = {"stages": lock["stages"] | {name: stage} | changes}
        (project / "dvc.lock").write_text(yaml.safe_dump(stages))
        return integrity.own_outputs(Place(project))

    assert own() == {stage["outs"][0]["path"]: md5_of(made), "dvc.lock": ""}
    assert own(notebook={"cmd": "edit"}) == {}  # a stage that was not run here must be the shipped one
    other.write_text("rendered anew")  # a new report without new rows would say what no run said
    assert own(report={"cmd": "render", "outs": [{"path": "data/new", "md5": md5_of(other)}]}) == {}
    (made / "windows.safetensors").write_bytes(b"edited")
    assert own() == {}
    shutil.rmtree(made)
    (project / "data/benchmark").mkdir()
    (project / "dvc.lock").write_text(yaml.safe_dump(lock) + "\n")
    assert integrity.own_outputs(Place(project)) == {}  # an empty folder excuses no edit


def test_claims_are_judged_without_networks_that_the_searches_here_did_not_choose(tmp_path):
    root, folder = tmp_path / "project", tmp_path / "judged"
    rows, table = "data/benchmark/weather.csv", "data/policies/table.json"
    networks = "data/models/weather/confirmed/narrow/l1"
    theirs, ours = f"{networks}/32x16/seed_11", f"{networks}/16x16/seed_11"
    for path in (rows, ours, f"data/reference/{rows}", "data/reference/policies/table.json"):
        write_text(root / path, f"in {path}")
    artifacts = {
        rows: {"stage": "benchmark@weather", "shipped": f"data/reference/{rows}"},
        theirs: {"stage": "confirm@weather", "shipped": None},
        table: {"stage": "train_policies", "shipped": "data/reference/policies/table.json"},
    }
    write_text(root / "data/reference/manifest.json", json.dumps({"artifacts": artifacts, "claims": {}}))
    completed = own_run._completed(Place(root), {"benchmark@weather", "confirm@weather"}, folder)
    assert completed == folder / "data"
    assert (folder / rows).read_text() == f"in {rows}"
    assert (folder / table).read_text() == "in data/reference/policies/table.json"  # not run here
    assert not (folder / theirs).exists()


def test_on_a_busy_machine_flagged_windows_decide_nothing(project):
    place = own_run_of(project, ROOT / "data/reference/benchmark", ZEN3)

    def disturb(rows):
        late = (rows["block"] >= 3) & (rows["configuration"] != "baseline")
        rows.loc[late, "cpu_time_per_step_us"] *= 4
        rows.loc[late, "flags"] = "neighbours"

    change(project, disturb)
    ratios, ordered = compare(place)
    assert exit_status([*ratios, *ordered]) == 0
    busy = [item for item in ratios if "flagged windows decide it" in item.detail]
    assert len(busy) > 5
    assert {item.status for item in busy} == {"skipped"}
    change(project, lambda rows: rows.__setitem__("flags", None))
    assert exit_status(compare(place)[0]) == 1  # the same slow windows without flags


@pytest.mark.parametrize(
    ("ratio", "spread", "costs", "status"),
    [
        (2.0, 0.01, "more", "ok"),
        (0.5, 0.01, "more", "FAIL"),
        (0.5, 0.01, "less", "ok"),
        (2.0, 0.01, "less", "FAIL"),
        (1.1, 0.01, "the same", "ok"),
        (1.5, 0.01, "the same", "FAIL"),
        (1.0, 0.50, "more", "skipped"),
        (1.0, 0.50, "the same", "skipped"),
    ],
)
def test_an_order_holds_fails_or_stays_open(ratio, spread, costs, status):
    import math

    logs = [math.log(ratio) + spread * step for step in (-1, 1, -1, 1)]
    group = pd.DataFrame({"log": logs, "flagged": False})
    item = orders.check_order("x", group, costs, WIDE, "shipped")
    assert item.status == status, item.line
    alone = orders.check_order("x", group.head(1), costs, WIDE, "shipped")
    assert (alone.status, alone.detail) == ("skipped", "undecided: too few blocks for an interval")


def test_flagged_windows_decide_no_order():
    group = pd.DataFrame({"log": [0.5, 0.6, 0.5, 0.6], "flagged": [True, True, True, False]})
    item = orders.check_order("x", group, "more", WIDE, "shipped")
    assert item.status == "skipped"
    assert "3 flagged windows" in item.detail


def test_declared_orders_name_tables_and_sides(project):
    assert {order.costs for order in orders.declared_orders(project)} == {"more", "less", "the same"}
    path = project / SETTINGS
    content = yaml.safe_load(path.read_text())
    content["orders"] = [{"table": POLICIES, "configurations": ["ptdq"], "costs": "nothing", "reason": "x"}]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=f"orders: {POLICIES}, nothing: unknown"):
        orders.declared_orders(project)
    path.write_text(yaml.safe_dump(content | {"orders": [{"table": POLICIES}]}))
    with pytest.raises(UserError, match="orders are missing or malformed"):
        orders.declared_orders(project)


def test_each_table_has_the_conditions_of_its_stage(project):
    place = own_run_of(project, ROOT / "data/hosts/amd-avx512", ZEN5)
    assert conditions_of("data/benchmark/memory.csv") == "data/benchmark/policies.conditions.json"
    assert (
        conditions_of("data/search/weather/candidates.csv")
        == "data/search/weather/candidates.conditions.json"
    )
    assert other_kind(place, TABLES[1]) == "amd-zen5 here, amd-zen3 there"
    assert other_kinds(place, ["data/policies/returns.csv"]) is None  # counted: no host is described
    assert other_kinds(place, ["data/policies/returns.csv", POLICIES]) == "amd-zen5 here, amd-zen3 there"
    (project / "data/benchmark/policies.conditions.json").write_text("[]")
    with pytest.raises(UserError, match="it describes no host"):
        other_kind(place, POLICIES)


@pytest.mark.parametrize(
    ("claim", "kinds", "status"),
    [
        ("C1", "amd-zen5 here, amd-zen3 there", "other CPU"),  # declared to depend on the host
        ("C1", None, "FAIL"),
        ("B1", "amd-zen5 here, amd-zen3 there", "FAIL"),  # about the method
    ],
)
def test_the_opposite_verdict_is_allowed_only_where_it_is_declared(claim, kinds, status):
    own = Claim(claim, "said", "rule", "refuted", "because", "clock")
    (item,) = check_verdicts([own], {claim: {"verdict": "confirmed"}}, {claim: kinds})
    assert item.status == status
    assert isinstance(item, Item)
    turned = replace(own, verdict="inconclusive", this_run="refuted")  # by other hosts: still the opposite
    (item,) = check_verdicts([turned], {claim: {"verdict": "confirmed"}}, {claim: kinds})
    assert item.status == status
    undecided = replace(own, verdict="inconclusive")
    (item,) = check_verdicts([undecided], {claim: {"verdict": "confirmed"}}, {claim: kinds})
    assert item.status in ("skipped", "other CPU")


def test_a_claim_that_only_counts_depends_on_no_host():
    claims = json.loads((ROOT / "data/reference/claims.json").read_text())
    counted = {claim["id"] for claim in claims if claim["evidence"] == EXACT_COUNT}
    dependent = {name for name, declaration in DECLARATIONS.items() if declaration.host_dependent}
    assert dependent
    assert not counted & dependent


def test_the_description_of_the_hosts_follows_from_the_conditions(project):
    folder = project / "data/reference"
    described = measured_on(folder)
    assert list(described) == ["policies"]
    for stated, status in ((described, "ok"), ({"policies": ZEN5}, "FAIL"), ({}, "FAIL")):
        (folder / HOST).write_text(json.dumps({"measured_on": stated, "packages": {}}))
        (item,) = check_host(Place(project))
        assert item.status == status
