"""Designs on reserved nodes: the settings of the process, the name of the node, and the kept records."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sustainable.core import engine
from sustainable.core.errors import UserError
from sustainable.core.files import write_json
from sustainable.core.pins import PINS
from sustainable.measuring.alone import refuse_other_kinds, run_afresh
from sustainable.measuring.process import KEEP_MEMORY, THREAD_VARIABLES
from sustainable.policies.benchmark import designs
from sustainable.policies.benchmark.deployments import PolicyFolders
from sustainable.policies.environments.guarded import FAULT
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.policies.costs import EFFECTS, measures_of, with_outcomes
from sustainable.reporting.policies.run import check_nodes
from test_policies_reporting import make_rows

HOPPER = "Hopper-v5 PPO"
ZEN3 = {"vendor": "AuthenticAMD", "family": 25, "model": 1, "isa": "AVX2"}


def test_a_fresh_process_has_the_settings_of_measuring(tmp_path, monkeypatch):
    for name, value in PINS.items():  # as in the process in which a cluster runs cells
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("show.py").write_text("import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))")
    run_afresh(3, True, "show", ["seen.json"])
    environment = json.loads(Path("seen.json").read_text())
    assert {environment[name] for name in THREAD_VARIABLES} == {"3"}
    assert KEEP_MEMORY.items() <= environment.items()
    assert not (PINS.keys() - set(THREAD_VARIABLES)) & environment.keys()


def test_a_fresh_process_that_fails_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fail.py").write_text("1 / 0")
    with pytest.raises(UserError, match=r"^measuring on .*: the process failed: ZeroDivisionError") as raised:
        run_afresh(1, False, "fail", [])
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
    """Stands in for the bench: two designs."""

    folder, identity = Path("journals"), ("identity",)
    sources = PolicyFolders(Path("policies"), Path("prepared"), Path("exports"))

    def __init__(self):
        self.records = []

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
    Path("params.yaml").write_text("{}")
    seen = SimpleNamespace(alone=None, files=None, fails=False, measured=[])

    def run_cells(function, tasks, what, files, alone):
        seen.alone, seen.files = alone, files
        return [function(*task) for task in tasks]

    def run_afresh(threads, keep_memory, module, arguments):
        assert (threads, keep_memory, module) == (1, True, designs.__name__)
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        name = options["--design"]
        if seen.fails and name == "memory":
            raise UserError("the process failed")
        seen.measured.append(name)
        record = {"rows": [{"block": 0}], "host": ZEN3, "node": f"node of {name}", "frozen": {}}
        write_json(Path(options["--record"]), record)

    monkeypatch.setattr(designs, "run_cells", run_cells)
    monkeypatch.setattr(designs, "on_every_machine", lambda function: [("a", ZEN3), ("b", ZEN3)])
    monkeypatch.setattr(designs, "run_afresh", run_afresh)
    monkeypatch.setattr(designs, "asdict", lambda settings: sorted(vars(settings)))
    return seen


def measured_by(bench):
    parameters = SimpleNamespace(windows=SimpleNamespace(threads=1, keep_memory=True))
    return designs.measure_designs(bench, parameters, SimpleNamespace(meter="fake"), Path("params.yaml"))


def test_a_design_has_a_node_for_itself_and_its_rows_name_it(cluster):
    records = measured_by(FewDesigns())
    assert cluster.alone is True
    assert [own.reads for own in cluster.files] == [
        (Path("params.yaml"), Path("dvc.yaml"), Path("policy"))
    ] * 2
    assert records[HOPPER]["rows"] == [{"block": 0, "node": f"node of {HOPPER}"}]
    conditions = designs.conditions_of(records)
    assert conditions["nodes"] == {f"node of {name}": ZEN3 for name in records}


def test_designs_that_are_done_are_kept_and_a_failed_one_starts_again(cluster):
    bench = FewDesigns()
    cluster.fails = True
    assert measured_by(bench)["memory"] == {FAULT: "the process failed"}
    cluster.fails = False
    assert FAULT not in measured_by(bench)["memory"]
    assert cluster.measured == [HOPPER, "memory"]
    Path("policy").write_text("other weights")
    measured_by(bench)
    assert cluster.measured[2:] == [HOPPER, "memory"]


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
