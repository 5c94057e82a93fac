"""Study B's claims on rows of other hosts."""

import json
from dataclasses import replace

import pytest

from judging import analysis_of
from sustainable.core.errors import UserError
from sustainable.reporting.host_folders import read_host, read_hosts
from sustainable.reporting.hosts_tables import hosts_tables
from sustainable.reporting.over_hosts import DIFFER, judge_over_hosts
from sustainable.reporting.policies.hosts import ON_WINDOWS, equal_cells, judge_hosts
from sustainable.reporting.policies.summary import with_windows
from test_policies_reporting import PARAMETERS, make_run, summarised

STATEMENTS = {"B1": "b1", "B2": "b2"}
ZEN3 = {"cpu": "AMD EPYC", "isa": "AVX2", "vendor": "AuthenticAMD", "family": 25, "model": 1}
HOPPER, CHEETAH = ("Hopper-v5", "PPO"), ("HalfCheetah-v5", "PPO")


def write_host(folder, run, host=ZEN3, kind="amd-zen3", noted=None):
    folder.mkdir()
    run.rows.to_csv(folder / "policies.csv", index=False)
    run.workload.to_csv(folder / "workload.csv", index=False)
    (folder / "policies.conditions.json").write_text(json.dumps({"host": host, "frozen": {}}))
    described = {"kind": kind, "noted_by_hand": noted or {}, "measured_by": {}, "rows": {}}
    (folder / "host.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Verdicts on hosts: an equal one, one where PTDQ and QAT save 70 %, and two with other policies, in one
    cell and in all."""
    folder, run = tmp_path_factory.mktemp("hosts"), make_run()
    quick, part = run.rows.copy(), run.rows.copy()
    saving = quick["configuration"].isin(["ptdq", "qat"])
    quick.loc[saving, ["cpu_time_per_step_us", "cpu_time_s"]] *= 0.3
    part.loc[part["environment"] == "HalfCheetah-v5", "weights_sha256"] += " retrained"
    part = part[part["configuration"] != "ptsq"]
    other = run.rows.assign(weights_sha256="other")
    for name, windows in (("equal", run.rows), ("part", part), ("quick", quick), ("stranger", other)):
        write_host(folder / name, replace(run, rows=windows))
    analysis = analysis_of(policies=summarised(), parameters=PARAMETERS)
    judged = judge_hosts(read_hosts(folder), run, analysis, STATEMENTS)
    return {host.name: host for host in judged}, analysis


def test_claims_that_windows_decide_are_judged_on_each_host(judged):
    hosts, analysis = judged
    here = {own.id: own.judge(analysis).verdict for own in ON_WINDOWS}
    assert {"B1", "B2"} <= here.keys()
    for claims in (hosts["equal"].judged, hosts["equal"].here):
        assert {name: claim.verdict for name, claim in claims.items()} == here
    assert hosts["quick"].judged["B1"].verdict != here["B1"]


def test_a_host_is_judged_on_the_cells_whose_policies_are_the_same(judged):
    part, stranger = judged[0]["part"], judged[0]["stranger"]
    cells = judged[0]["equal"].cells
    assert (len(cells), len(part.cells), len(stranger.cells)) == (part.of, part.of - 1, 0)
    assert set(cells) - set(part.cells) == {"HalfCheetah-v5 PPO"}
    assert part.missing == ["ptsq"]
    assert (
        "HalfCheetah-v5" in part.judged["F2"].reason
        or "HalfCheetah-v5" in judged[0]["equal"].judged["F2"].reason
    )
    assert "HalfCheetah-v5" not in part.judged["F2"].reason  # neither there
    assert part.judged["F2"].reason == part.here["F2"].reason  # nor here: both hold the same windows
    assert not stranger.judged


def test_only_the_shared_cells_episodes_count():
    rows = make_run().rows
    shared = make_run(rows=rows[rows["environment"] == "HalfCheetah-v5"])
    lengths = with_windows(summarised(), shared, PARAMETERS).lengths  # no episode of HalfCheetah ends early
    assert (lengths.lost.share, lengths.kept.share) == (None, None)
    same = with_windows(summarised(), make_run(), PARAMETERS)
    assert same.lengths == summarised().lengths


def test_the_tables_have_a_column_and_a_row_per_host(judged):
    hosts = list(judged[0].values())
    own = list(hosts[0].judged.values())
    over = judge_over_hosts(own, {host.name: host.twice for host in hosts}, {})
    folders = [host.folder for host in hosts]
    verdicts, described = hosts_tables(over, folders, hosts, {"policies": {"host": ZEN3}})
    headers = [column.header for column in verdicts.columns]
    assert headers == ["", "Claim", "This run", "equal", "part", "quick", "Hosts", "Verdict"]
    first = next(row.values for row in verdicts.rows if row.values[0] == "B1")
    assert first[2:] == ["confirmed", "confirmed", "inconclusive", "refuted", DIFFER, "inconclusive"]
    assert len(verdicts.rows) == len(ON_WINDOWS)
    assert [row.values[0] for row in described.rows] == ["This run", "equal", "part", "quick", "stranger"]
    assert [row.values[1] for row in described.rows] == ["amd-zen3"] * 5
    notes = {row.values[0]: row.note for row in described.rows}
    assert notes["equal"] == ""
    assert "judged only on the cells with equal weights: Hopper-v5 PPO" in notes["part"]
    assert "not measured there: ptsq" in notes["part"]
    assert "other weights in every cell, so study B's rows are left out" in notes["stranger"]


def test_a_run_of_several_hosts_has_a_row_for_each(judged):
    claims = list(judged[0]["equal"].judged.values())
    conditions = {"weather": {}, "mnist1d": {}, "policies": {"host": ZEN3 | {"caches_kib": {"L2": 512}}}}
    verdicts, described = hosts_tables(claims, [], [], conditions)
    assert "claims: n/a." in verdicts.caption
    assert [row.values[1] for row in described.rows] == ["unknown", "amd-zen3"]
    assert described.rows[0].note == "This run: measured weather, mnist1d."
    assert described.rows[1].values[4] == "L2 512"


def test_cells_are_equal_if_seeds_and_weights_are():
    rows = make_run().rows
    every = {HOPPER, CHEETAH} & equal_cells(rows, rows.sample(frac=1, random_state=1))
    assert every == {HOPPER, CHEETAH}
    assert equal_cells(rows, rows[rows["training_seed"] != rows["training_seed"].max()]) == set()
    assert HOPPER in equal_cells(
        rows, rows[rows["configuration"] != "ptdq"]
    )  # a configuration may be missing
    assert CHEETAH not in equal_cells(rows, rows[rows["environment"] == "Hopper-v5"])


def test_what_was_noted_by_hand_completes_a_description(tmp_path):
    recorded = {"cpu": "AMD EPYC", "isa": "AVX2"}
    numbers = {"vendor": "AuthenticAMD", "family": 25, "model": 17}
    write_host(tmp_path / "a", make_run(), recorded, "amd-zen4", numbers)
    host = read_host(tmp_path / "a")
    assert (host.description, host.noted) == (recorded | numbers, ("family", "model", "vendor"))
    write_host(tmp_path / "b", make_run(), recorded, "unknown")
    assert read_host(tmp_path / "b").noted == ()


def test_a_host_may_have_measured_study_a_only(tmp_path):
    place = tmp_path / "a"
    place.mkdir()
    frozen = {"latency": {}, "loops": {}, "roofline": {"bytes_per_s": 1.0, "flops_per_s": 1.0}}
    (place / "lake.conditions.json").write_text(json.dumps({"host": ZEN3, "frozen": frozen}))
    (place / "lake.csv").write_text("x\n")
    described = {"kind": "amd-zen3", "noted_by_hand": {}, "measured_by": {}, "rows": {}}
    (place / "host.json").write_text(json.dumps(described))
    host = read_host(place)
    assert (host.measured("lake"), host.measured("policies")) == (True, False)
    assert judge_hosts([host], make_run(), None, {}) == []
    _, table = hosts_tables([], [host], [], {})
    assert (table.rows[0].values[0], table.rows[0].note) == ("a", "a: it measured study A only.")


@pytest.mark.parametrize(
    ("host", "kind", "message"),
    [
        ({"cpu": "A CPU"}, "unknown", "not a description of a host"),
        ({"cpu": "A CPU", "isa": "AVX2"}, "amd-zen3", "kind amd-zen3, but its numbers say unknown"),
        (ZEN3, "amd-zen4", "kind amd-zen4, but its numbers say amd-zen3"),
    ],
)
def test_a_description_that_says_something_else_is_one_line(tmp_path, host, kind, message):
    write_host(tmp_path / "a", make_run(), host, kind)
    with pytest.raises(UserError, match=message):
        read_host(tmp_path / "a")
