"""Study B's stages in the small pipeline: their rows, and what they say to what is wrong."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from conftest import stage_command
from sustainable.core.files import write_json
from sustainable.core.hashing import file_sha256
from sustainable.core.tensors import read_tensors, write_tensors

POLICY = "CartPole-v1/PPO/seed_1"


@pytest.fixture(scope="module")
def windows(pipeline):
    return pd.read_csv(pipeline / "data/benchmark/policies.csv")


@pytest.fixture(scope="module")
def returns(pipeline):
    return pd.read_csv(pipeline / "data/policies/returns.csv")


def test_each_block_holds_each_configuration_once(pipeline, windows):
    asked = yaml.safe_load((pipeline / "params.yaml").read_text())["benchmark_policies"]
    wanted = {*asked["configurations"], "idle"}
    for _, own in windows.groupby("block"):
        assert sorted(own["configuration"]) == sorted(wanted)
    assert set(windows["block"]) == set(range(asked["windows"]["blocks"]))
    assert set(windows["profile"]) == {"smoke"}


def test_the_parts_of_a_step_add_up_to_it(windows):
    models = windows[windows["configuration"] != "idle"]
    whole = models["policy_us"] + models["environment_us"] + models["remainder_us"]
    assert whole.to_list() == pytest.approx(models["cpu_time_per_step_us"].to_list())
    found = 1e6 * models["cpu_time_s"] / models["steps"]
    assert found.to_list() == pytest.approx(models["cpu_time_per_step_us"].to_list())


def test_the_twin_is_the_baseline_and_compression_changes_the_model(windows):
    hashes = windows.groupby(["training_seed", "configuration"])["weights_sha256"].first().unstack()
    same = ["baseline", "baseline_twin", "sb3_predict", "onnxruntime", "numpy"]
    assert (hashes[same].nunique(axis=1) == 1).all()
    others = hashes[["baseline", "ptdq", "ptsq", "qat", "unstructured_l1_50", "structured_l1_50", "high"]]
    assert (others.nunique(axis=1) == 7).all()


def test_one_model_returns_the_same_in_every_runtime(windows):
    models = windows[windows["configuration"].isin(["baseline", "baseline_twin"])]
    columns = ["return_mean", "steps", "episodes"]
    paired = models.pivot(index="block", columns="configuration", values=columns)
    # A window that is too short goes on with further episodes: then its block pairs other numbers of them.
    paired = paired[paired["episodes"]["baseline"] == paired["episodes"]["baseline_twin"]]
    assert len(paired) > 0
    for column in ("return_mean", "steps"):
        assert paired[column]["baseline"].to_list() == paired[column]["baseline_twin"].to_list()


def test_every_policy_is_evaluated_in_every_variant(returns):
    counts = returns.groupby(["environment", "algorithm", "seed"])["variant"].nunique()
    assert (counts == counts.iloc[0]).all()
    assert len(counts) == 8
    smaller = returns[returns["variant"] == "structured_l1_50"].groupby("environment")["parameters"].first()
    plain = returns[returns["variant"] == "none"].groupby("environment")["parameters"].first()
    assert (smaller < plain).all()


def test_the_doses_are_those_that_were_asked_for(pipeline):
    rows = pd.read_csv(pipeline / "data/benchmark/workload.csv")
    models = rows[rows["configuration"] != "idle"]
    assert set(models["dose_us"]) == {0.0, 100.0}
    costs = models.groupby("dose_us")["environment_us"].median()
    assert costs[100.0] > costs[0.0] + 30
    assert models["cpu_j"].isna().all()


def test_memory_is_read_in_processes_of_their_own(pipeline):
    rows = pd.read_csv(pipeline / "data/benchmark/memory.csv")
    assert (rows.groupby(["network", "configuration"])["repeat"].nunique() == 2).all()
    assert (rows["process_rss_bytes"] == rows["rss_before_bytes"] + rows["policy_rss_bytes"]).all()
    bytes_of = rows.groupby(["network", "configuration"])["weights_bytes_memory"].first()
    for network in ("policy", "large"):
        assert bytes_of[network, "ptdq"] < bytes_of[network, "baseline"] < bytes_of["large", "baseline"] + 1


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(("train_", "compress_", "bench"))]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in lines[0]


def changed(pipeline: Path, tmp_path: Path, change: dict[str, dict]) -> str:
    """A params.yaml with sections updated, beside a copy of dvc.yaml."""
    content = yaml.safe_load((pipeline / "params.yaml").read_text())
    for section, values in change.items():
        content[section] |= values
    shutil.copy(pipeline / "dvc.yaml", tmp_path / "dvc.yaml")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return str(tmp_path / "params.yaml")


def test_an_unknown_environment_is_named_and_the_others_are_trained(pipeline, tmp_path):
    content = yaml.safe_load((pipeline / "params.yaml").read_text())["train_policies"]
    recipes = content["recipes"]
    recipes["CartPole-v1"]["PPO"]["steps"] = 256
    recipes["CartPoll-v1"] = recipes["CartPole-v1"]
    cells = {"PPO": ["CartPole-v1", "CartPoll-v1"], "TRPO": [], "SAC": [], "TD3": [], "DDPG": []}
    params = changed(
        pipeline, tmp_path, {"train_policies": {"cells": cells, "seeds": [1], "recipes": recipes}}
    )
    replaced = {
        "params.yaml": params,
        "data/checkpoints/policies/training": str(tmp_path / "work"),
        "data/models/policies": str(tmp_path / "policies"),
        "data/policies/learning.csv": str(tmp_path / "learning.csv"),
        "data/policies/table.json": str(tmp_path / "table.json"),
        "data/metrics/policies/training_cost.json": str(tmp_path / "cost.json"),
    }
    command = stage_command(pipeline, "train_policies", replaced)
    done = subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=False)
    refused(done, "1 of 2 policies failed", "CartPoll-v1", "CartPole-v1")
    assert len(list((tmp_path / "work").rglob("seed_1.safetensors"))) == 1
    assert not (tmp_path / "table.json").exists()


def test_bad_policies_are_named_and_when_they_are_repaired_nothing_else_is_done_again(
    pipeline, stop_stage, stage_main, tmp_path
):
    policies = tmp_path / "policies"
    shutil.copytree(pipeline / "data/models/policies", policies)
    for ending in ("safetensors", "json"):  # of another environment: its sizes do not fit
        shutil.copy(policies / f"Hopper-v5/TRPO/seed_1.{ending}", policies / f"{POLICY}.{ending}")
    (policies / "Hopper-v5/TRPO/seed_2.safetensors").write_bytes(b"cut")
    spoilt = policies / "Pendulum-v1/TRPO/seed_1.safetensors"
    tensors, _ = read_tensors(spoilt)
    write_tensors(spoilt, tensors | {"mean": tensors["mean"] * float("nan")})
    replaced = {
        "data/models/policies": str(policies),
        "data/checkpoints/policies/compression": str(tmp_path / "work"),
        "data/models/quantized_policies": str(tmp_path / "prepared"),
        "data/policies/returns.csv": str(tmp_path / "returns.csv"),
        "data/metrics/policies/compress_cost.json": str(tmp_path / "cost.json"),
    }
    done = stop_stage("compress_policies", replaced)
    refused(done, "3 of 8 policies failed", "does not fit CartPole-v1", "seed_2.safetensors", "Pendulum")
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("record.json")}
    assert len(records) == 5
    assert not (tmp_path / "returns.csv").exists()
    shutil.rmtree(policies)
    shutil.copytree(pipeline / "data/models/policies", policies)
    (tmp_path / "cost.json").mkdir()  # so that the run ends before it clears its work away
    with pytest.raises(IsADirectoryError):
        stage_main("compress_policies", replaced)()
    assert {path: path.stat().st_mtime_ns for path in records} == records
    assert file_sha256(tmp_path / "returns.csv") == file_sha256(pipeline / "data/policies/returns.csv")


def test_a_cell_that_was_never_trained_cannot_be_measured(pipeline, stop_stage, tmp_path):
    params = changed(pipeline, tmp_path, {"benchmark_policies": {"cells": {"SAC": ["CartPole-v1"]}}})
    replaced = {
        "params.yaml": params,
        "data/checkpoints/policies/benchmark": str(tmp_path / "journals"),
        **{
            f"data/benchmark/{name}": str(tmp_path / name)
            for name in ("policies.csv", "workload.csv", "memory.csv", "policies.conditions.json")
        },
    }
    done = stop_stage("benchmark_policies", replaced)
    refused(done, "CartPole-v1 SAC is not among train_policies.cells")
    assert not (tmp_path / "policies.csv").exists()


def test_the_table_tells_what_was_trained(pipeline, tmp_path):
    table = json.loads((pipeline / "data/policies/table.json").read_text())
    assert [(entry["environment"], entry["algorithm"]) for entry in table] == [
        ("CartPole-v1", "PPO"),
        ("SimulatedWorkload-v0", "PPO"),
        ("Hopper-v5", "TRPO"),
        ("Pendulum-v1", "TRPO"),
    ]
    assert all(entry["reference_source"] for entry in table)
    write_json(tmp_path / "again.json", table)
    assert file_sha256(tmp_path / "again.json") == file_sha256(pipeline / "data/policies/table.json")
