"""Designs that are measured alone: the settings of their process, their node, and what is kept of them."""

import operator
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sustainable.core import engine
from sustainable.core.errors import UserError
from sustainable.core.pins import PINS
from sustainable.measuring.alone import in_fresh_process, refuse_other_kinds
from sustainable.measuring.process import KEEP_MEMORY, THREAD_VARIABLES
from sustainable.policies.benchmark import designs
from sustainable.policies.environments.guarded import FAULT
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.policies.costs import EFFECTS, measures_of, with_outcomes
from sustainable.reporting.policies.run import check_nodes
from test_policies_reporting import make_rows

HOPPER = "Hopper-v5 PPO"
ZEN3 = {"vendor": "AuthenticAMD", "family": 25, "model": 1, "isa": "AVX2"}


def test_a_fresh_process_has_the_settings_of_measuring(monkeypatch):
    for name, value in PINS.items():  # as in the process in which a cluster runs cells
        monkeypatch.setenv(name, value)
    lines = in_fresh_process(3, True, subprocess.check_output, ["env"]).decode().splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert {environment[name] for name in THREAD_VARIABLES} == {"3"}
    assert KEEP_MEMORY.items() <= environment.items()
    assert not (PINS.keys() - set(THREAD_VARIABLES)) & environment.keys()


def test_a_fresh_process_that_fails_ends_in_one_line():
    with pytest.raises(UserError, match=r"^measuring on .*: the process failed: ZeroDivisionError") as raised:
        in_fresh_process(1, False, operator.truediv, 1, 0)
    assert "\n" not in str(raised.value)


def test_nodes_must_have_one_kind_of_cpu():
    refuse_other_kinds({"a": ZEN3})
    refuse_other_kinds({"a": ZEN3, "b": dict(ZEN3)})
    with pytest.raises(UserError, match=r"a and b have different kinds of CPU .* measure on nodes of one"):
        refuse_other_kinds({"a": ZEN3, "b": ZEN3 | {"model": 97}})
    with pytest.raises(UserError, match="a and b have different kinds"):
        refuse_other_kinds({"a": ZEN3, "b": ZEN3 | {"isa": "AVX2, AVX-512"}})


def test_a_cluster_that_is_started_here_has_no_other_nodes(monkeypatch):
    monkeypatch.setenv(engine.ENGINE, engine.RAY)
    for address, nodes in {"": False, "local": False, "auto": True, "10.0.0.1:6379": True}.items():
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert engine.has_nodes() is nodes
    monkeypatch.setenv(engine.ENGINE, engine.LOCAL)
    assert not engine.has_nodes()


class FewDesigns:
    """Stands in for the bench: two designs, of which the second may fail."""

    folder, identity = Path("journals"), ("identity",)

    def __init__(self):
        self.measured, self.fails, self.records = [], False, []

    def designs(self, parameters):
        return {HOPPER: ("Hopper-v5", "PPO"), "memory": ("Hopper-v5", "PPO")}

    def files_of(self, name, parameters):
        return [Path("policy")]


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A cluster of two nodes, one per design, that runs cells here; it returns how cells were asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(engine.ENGINE, engine.RAY)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    Path("policy").write_text("weights")
    seen = SimpleNamespace(alone=None, files=None)

    def run_cells(function, tasks, what, files, alone):
        seen.alone, seen.files = alone, files
        return [function(*task) for task in tasks]

    def in_fresh_process(threads, keep_memory, function, bench, name, *rest):
        assert (function, threads, keep_memory) == (designs.measure_design, 1, True)
        if bench.fails and name == "memory":
            raise UserError("the process failed")
        bench.measured.append(name)
        return {"rows": [{"block": 0}], "host": ZEN3, "node": f"node of {name}", "frozen": {}}

    monkeypatch.setattr(designs, "run_cells", run_cells)
    monkeypatch.setattr(designs, "on_every_machine", lambda function: [("a", ZEN3), ("b", ZEN3)])
    monkeypatch.setattr(designs, "in_fresh_process", in_fresh_process)
    monkeypatch.setattr(designs, "asdict", lambda settings: sorted(vars(settings)))
    return seen


def measured_by(bench):
    parameters = SimpleNamespace(windows=SimpleNamespace(threads=1, keep_memory=True))
    return designs.measure_designs(bench, parameters, SimpleNamespace(meter="fake"))


def test_a_design_has_a_node_for_itself_and_its_rows_name_it(cluster):
    records = measured_by(FewDesigns())
    assert cluster.alone is True
    assert [own.reads for own in cluster.files] == [(Path("policy"),)] * 2
    assert records[HOPPER]["rows"] == [{"block": 0, "node": f"node of {HOPPER}"}]
    conditions = designs.conditions_of(records)
    assert conditions["nodes"] == {f"node of {name}": ZEN3 for name in records}


def test_designs_that_are_done_are_kept_and_a_failed_one_starts_again(cluster):
    bench = FewDesigns()
    bench.fails = True
    assert measured_by(bench)["memory"] == {FAULT: "the process failed"}
    bench.fails = False
    assert FAULT not in measured_by(bench)["memory"]
    assert bench.measured == [HOPPER, "memory"]
    Path("policy").write_text("other weights")
    measured_by(bench)
    assert bench.measured[2:] == [HOPPER, "memory"]


def test_rows_without_a_node_are_of_one_host_and_a_cell_may_not_have_two():
    rows = make_rows()
    check_nodes(rows, "policies.csv")
    check_nodes(rows.assign(node=rows["environment"]), "policies.csv")  # each cell has its own
    nodes = rows["environment"].where(rows["block"] > 0, "another")
    with pytest.raises(UserError, match=r"policies\.csv: HalfCheetah-v5 PPO was measured on 2 nodes"):
        check_nodes(rows.assign(node=nodes), "policies.csv")
    some = rows["environment"].where(rows["block"] > 0)
    with pytest.raises(UserError, match="was measured on 2 nodes, not on one"):
        check_nodes(rows.assign(node=some), "policies.csv")


def test_the_speed_and_the_power_of_a_node_cancel_in_every_ratio():
    """A node is constant within a block, so that its factor is in both parts of a ratio."""
    rows = make_rows(environments=["Hopper-v5"])
    slow = rows.assign(node="slow")
    slow[["cpu_time_s", "wall_time_s", "cpu_time_per_step_us", "policy_us"]] *= 3.0
    slow[["cpu_j", "ram_j"]] *= 2.0
    here, there = (measures_of(with_outcomes(own), 0.95) for own in (rows, slow))
    for outcome in EFFECTS:
        for key in here.tables[outcome]:
            logs = here.logs(outcome, key, BASELINE)
            assert there.logs(outcome, key, BASELINE) == pytest.approx(logs, abs=1e-9), outcome
    assert there.tables["step"].to_numpy() == pytest.approx(3.0 * here.tables["step"].to_numpy())
