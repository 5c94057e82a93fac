"""Study B's claims on rows of other hosts."""

import json
from dataclasses import replace

import pytest

from judging import analysis_of
from sustainable.core.errors import UserError
from sustainable.reporting.policies.hosts import ON_WINDOWS, cpu_of, judge_hosts, same_policies
from sustainable.reporting.policies.hosts_tables import hosts_table
from test_policies_reporting import PARAMETERS, make_run, summarised

STATEMENTS = {"B1": "b1", "B2": "b2"}


def write_host(folder, run, isa="AVX2"):
    folder.mkdir()
    run.rows.to_csv(folder / "policies.csv", index=False)
    run.workload.to_csv(folder / "workload.csv", index=False)
    (folder / "policies.conditions.json").write_text(json.dumps({"host": {"cpu": "A CPU", "isa": isa}}))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Verdicts on three hosts: an equal one, one where PTDQ saves 40 %, and one with another policy."""
    folder, run = tmp_path_factory.mktemp("hosts"), make_run()
    rows = run.rows.copy()
    quick = rows["configuration"].isin(["ptdq", "qat"])
    rows.loc[quick, ["cpu_time_per_step_us", "cpu_time_s"]] *= 0.3
    other = run.rows.assign(weights_sha256="other")
    for name, windows in (("equal", run.rows), ("quick", rows), ("stranger", other)):
        write_host(folder / name, replace(run, rows=windows))
    analysis = analysis_of(policies=summarised(), parameters=PARAMETERS)
    return judge_hosts(folder, run, analysis, STATEMENTS), analysis


def test_claims_that_windows_decide_are_judged_on_each_host_of_the_same_policies(judged):
    hosts, analysis = judged
    assert [host.name for host in hosts] == ["equal", "quick"]
    here = {own.id: own.judge(analysis).verdict for own in ON_WINDOWS}
    assert {"B1", "B2"} <= here.keys()
    assert {name: claim.verdict for name, claim in hosts[0].judged.items()} == here
    assert hosts[1].judged["B1"].verdict != here["B1"]
    assert hosts[0].cpu == "A CPU, AVX2"


def test_the_table_has_a_column_per_host(judged):
    hosts, _ = judged
    table = hosts_table(list(hosts[0].judged.values()), hosts)
    assert [column.header for column in table.columns] == ["", "Claim", "This run", "equal", "quick"]
    assert len(table.rows) == len(ON_WINDOWS)
    assert "equal: A CPU, AVX2" in table.caption
    assert hosts_table(list(hosts[0].judged.values()), []).caption.endswith("Other hosts: n/a.")


def test_rows_of_other_policies_are_told_apart():
    rows = make_run().rows
    assert same_policies(rows, rows.sample(frac=1, random_state=1))
    assert not same_policies(rows, rows[rows["training_seed"] != rows["training_seed"].max()])
    assert same_policies(rows, rows[rows["configuration"] != "ptdq"])  # a configuration may be missing


def test_conditions_without_a_cpu_are_one_line(tmp_path):
    (tmp_path / "conditions.json").write_text("{}")
    with pytest.raises(UserError, match="the host's cpu or isa is missing"):
        cpu_of(tmp_path / "conditions.json")
