"""The same cells on this machine and on a cluster of two nodes: same values, same files, clear errors.

The nodes are processes of this machine. Ray is optional (`make setup ENGINE=ray`); these tests need it.
"""

import operator
import os
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from imports import STAGES
from sustainable.core.cells import CellFiles, on_every_machine, run_cells
from sustainable.core.engine import ENGINE
from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_section
from sustainable.core.tasks import finish
from sustainable.energy.choice import MeterParameters
from sustainable.policies.benchmark.bench import Bench, PolicyBenchmarkParameters
from sustainable.policies.benchmark.deployments import PolicyFolders
from sustainable.policies.benchmark.designs import conditions_of, measure_designs
from sustainable.policies.compression.static_int8 import QATParameters, prepare_int8, save_prepared
from sustainable.policies.environments.guarded import refuse_faults
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan
from sustainable.policies.learning.tasks import train_policies
from sustainable.policies.policy import Actor, ActorArchitecture, Policy, save_policy
from test_learning import METERING, parameters, recipe

pytest.importorskip("ray", reason="Ray is not installed: `make setup ENGINE=ray`")

from ray.cluster_utils import Cluster

MEMORY_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one core each."""
    node = {"num_cpus": 1, "resources": {"machine": 1}, "object_store_memory": MEMORY_BYTES}
    nodes = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    nodes.add_node(**node)
    yield nodes
    from sustainable.core import ray_engine

    ray_engine.ray.shutdown()
    ray_engine.connect.cache_clear()
    nodes.shutdown()


@pytest.fixture
def on_cluster(cluster, monkeypatch, tmp_path):
    """Cells run on the cluster; the working folder is empty."""
    monkeypatch.setenv(ENGINE, "ray")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.chdir(tmp_path)


def test_values_come_in_the_order_of_the_tasks(on_cluster):
    tasks = [(number, 2) for number in range(40)]
    assert list(run_cells(pow, tasks, "squares")) == [number**2 for number in range(40)]
    assert list(run_cells(pow, [], "nothing")) == []
    assert list(run_cells(pow, tasks[:3], "squares", alone=True)) == [0, 1, 4]


def test_every_node_is_asked(on_cluster):
    assert len(on_every_machine(os.getpid)) == 2


def test_files_travel_to_the_cell_and_back(on_cluster):
    source, target = Path("in/source.txt"), Path("out.txt")
    source.parent.mkdir()
    source.write_text("as it was")
    files = [CellFiles((source,), (target,))]
    assert list(run_cells(shutil.move, [(source, target)], "moving", files)) == [target]
    assert target.read_text() == "as it was" == source.read_text()  # the cell has moved its copy


def test_a_finished_cell_is_found_finished(on_cluster):
    record = Path("record.json")
    write_json(record, {"made": "earlier"})
    (again,) = run_cells(finish, [(record, dict)], "keeping", [CellFiles(writes=(record,))])
    assert again == {"made": "earlier"}


def test_an_exception_of_a_cell_is_raised_here(on_cluster):
    with pytest.raises(UserError, match="nowhere: missing"):
        list(run_cells(read_json, [(Path("nowhere"),)], "reading"))
    with pytest.raises(ZeroDivisionError):
        list(run_cells(operator.truediv, [(1, 1), (1, 0)], "dividing"))


def test_a_worker_that_is_killed_each_time_ends_in_one_clear_line(on_cluster):
    with pytest.raises(UserError, match="ending: the cluster lost a worker or a node") as raised:
        list(run_cells(os._exit, [(1,)], "ending"))
    assert "\n" not in str(raised.value)


def test_trained_policies_are_the_same_here_and_on_both_nodes(on_cluster, monkeypatch):
    recipes = {"CartPole-v1": {"PPO": vars(recipe())}, "Pendulum-v1": {"TRPO": vars(recipe("TRPO"))}}
    section = parameters({"PPO": ["CartPole-v1"], "TRPO": ["Pendulum-v1"]}, recipes)
    trained = {}
    for engine in ("ray", "local"):
        monkeypatch.setenv(ENGINE, engine)
        cells = plan(section) if engine == "ray" else plan(section)[::-1]
        records, files = train_policies(cells, section, METERING, Path("actors"), Path(engine))
        hashes = {name: file_sha256(path) for name, path in files.items()}
        returns = {record["weights_sha256"]: (record["returns"], record["curve"]) for record in records}
        trained[engine] = hashes, returns
    assert trained["ray"] == trained["local"] and len(trained["ray"][0]) == 8


def small_benchmark():
    """Write params.yaml and an untrained policy into the working folder, and return its bench."""
    params = yaml.safe_load((STAGES.parent / "params.yaml").read_text())
    params["metering"]["meter"], params["profile"] = "fake", "smoke"
    training, asked = params["train_policies"], params["benchmark_policies"]
    training |= {"seeds": [1], "cells": {"PPO": ["SimulatedWorkload-v0"]}, "pinned": {}}
    training["recipes"]["SimulatedWorkload-v0"]["PPO"]["options"] = {"observations": 4, "actions": 2}
    names = ["baseline", "baseline_twin"]
    asked["cells"] = training["cells"]
    asked["configurations"] = {name: {"runtime": "torch-eager"} for name in names}
    asked["windows"] |= {"blocks": 2, "window_s": 0.05, "timed_steps": 20, "overhead_limit": 0.99}
    asked["windows"] |= {"warm_up_limit_s": 0.2, "repeats": 0}
    asked["workload"] |= {"doses_us": [0.0, 20.0], "window_s": 0.05, "configurations": names}
    asked["memory"] |= {"environment": "SimulatedWorkload-v0", "algorithm": "PPO", "configurations": names}
    asked["memory"]["large"]["configurations"] = names
    Path("params.yaml").write_text(yaml.safe_dump(params))
    shutil.copyfile(STAGES.parent / "dvc.yaml", "dvc.yaml")
    folders = PolicyFolders(Path("policies"), Path("prepared"), Path("exports"))
    (run,) = plan(read_section(Path("params.yaml"), "train_policies", PolicyTrainingParameters))
    actor = Actor(ActorArchitecture(4, 2, (8, 8), "tanh", (-1.0,) * 2, (1.0,) * 2)).eval()
    save_policy(folders.policies / run.file, Policy(actor, run.environment, run.algorithm, 1, 0))
    states = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    save_prepared(folders.prepared / run.file, prepare_int8(actor, states, 1, QATParameters(2, 8, 1e-3)))
    return Bench([run], folders, Path("journals"), ["test"])


def test_designs_are_measured_alone_on_nodes(on_cluster, monkeypatch):
    """Two designs of an untrained policy, two nodes; each in a process with the settings of measuring."""
    bench, path = small_benchmark(), Path("params.yaml")
    asked = read_section(path, "benchmark_policies", PolicyBenchmarkParameters)
    metering = read_section(path, "metering", MeterParameters)
    every = bench.designs(asked)
    windows, doses, _ = every
    monkeypatch.setattr(Bench, "designs", lambda *_: {name: every[name] for name in (windows, doses)})
    records = measure_designs(bench, asked, metering, path)
    refuse_faults(records, "designs")
    for name, items in {windows: 3, doses: 5}.items():  # an idle window in every block
        rows, host = records[name]["rows"], records[name]["host"]
        assert len({(row["block"], row["position"]) for row in rows}) == len(rows) == 2 * items
        assert {row["node"] for row in rows} == {records[name]["node"]} == {platform.node()}
        assert (host["threads"], host["keeps_memory"], len(host["cores"])) == (1, True, 1)
    assert conditions_of(records)["nodes"].keys() == {platform.node()}
    assert measure_designs(bench, asked, metering, path) == records  # kept, not measured again
    bench.discard()
    assert not list(Path("journals").glob("*.json"))


def test_an_address_that_answers_nothing_is_named(monkeypatch):
    from sustainable.core.ray_engine import connect

    for address, problem in {"127.0.0.1:9": "nothing answers there", "somewhere": "not an address"}.items():
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: {problem}"):
            connect.__wrapped__()
