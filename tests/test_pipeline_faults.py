"""The whole pipeline, small: what it refuses, and what a kill or a damaged file leaves."""

import json
import signal
import subprocess
import time

import pandas as pd
import pytest
import yaml

from conftest import results_of, stage_command
from sustainable.core.hashing import file_sha256
from sustainable.core.tensors import read_tensors, tensors_sha256, write_tensors
from sustainable.tools import profiles

MODELS = "data/models/published/baseline"
WEIGHTS = f"{MODELS}/seed_42.safetensors"


def killed(command, folder, ready):
    """Start a stage, kill -9 it as soon as `ready` holds; it must not have ended by itself."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_training_that_is_killed_ends_with_the_same_weights(pipeline, tmp_path):
    paths = {
        f"data/{place}": str(tmp_path / place.replace("/", "_"))
        for place in (
            "checkpoints/published/training", "models/published/baseline", "training/published/history.csv",
            "metrics/published/baseline.json", "metrics/published/training_cost.json",
        )
    }  # fmt: skip
    command = stage_command(pipeline, "train_baseline", paths)
    checkpoint = tmp_path / "checkpoints_published_training/seed_42.safetensors"
    killed(command, pipeline, checkpoint.exists)
    done = subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=True)
    assert "resuming after epoch" in done.stdout
    mine, expected = tmp_path / "models_published_baseline/seed_42.safetensors", pipeline / WEIGHTS
    assert tensors_sha256(read_tensors(mine)[0]) == tensors_sha256(read_tensors(expected)[0])
    cost = json.loads((tmp_path / "metrics_published_training_cost.json").read_text())
    assert cost["sittings"] == 2
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize(("way", "cells"), [("published", 3 * 6), ("remeasured", 3 * 7)])
def test_a_benchmark_that_is_killed_loses_and_doubles_no_row(pipeline, tmp_path, way, cells):
    journal, table = tmp_path / "journal", tmp_path / "rows.csv"
    outputs = {
        f"data/checkpoints/{way}/benchmark.jsonl": str(journal),
        f"data/benchmark/{way}.csv": str(table),
        f"data/benchmark/{way}.hits.csv": str(tmp_path / "hits.csv"),
        f"data/benchmark/{way}.conditions.json": str(tmp_path / "conditions.json"),
    }
    command = stage_command(pipeline, "benchmark", outputs, way)
    killed(command, pipeline, lambda: journal.exists() and journal.read_text().count("\n") > 5)
    before = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
    assert not table.exists()
    done = subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=True)
    assert "resuming after" in done.stdout
    rows = pd.read_csv(table)
    assert (rows.groupby(["block", "configuration", "batch_size"]).size() == 1).all()
    assert len(rows) == cells
    kept = [row["wall_time_s"] for row in before if "wall_time_s" in row]
    assert len(kept) >= 4
    assert rows["wall_time_s"].tolist()[: len(kept)] == kept
    assert not journal.exists()


def refused(done, *parts):
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_window_too_short_for_evidence_is_refused(pipeline, changed_params):
    command = stage_command(pipeline, "benchmark", changed_params("profile", "paper"), "remeasured")
    done = subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=False)
    refused(done, "window_s: 0.1 s is too short for evidence")


@pytest.mark.parametrize(
    ("stage", "keys", "message"),
    [
        ("preprocess", ("preprocess", "published", "window_days", 0), "preprocess.published.window_days"),
        ("preprocess", ("preprocess", "published", "window_days", 5000), "preprocess.published.window_days"),
        (
            "train_baseline",
            ("train_baseline", "published", "epoch", 1),
            "train_baseline.published.epoch: unknown key",
        ),
        (
            "train_baseline",
            ("metering", "codecarbon", "tracking_mode", "guess"),
            "metering.codecarbon.tracking_mode",
        ),
        (
            "rl_search",
            ("rl_search", "published", "reward", "inaction", 1.0),
            "rl_search.published.reward.inaction",
        ),
        (
            "benchmark",
            ("benchmark", "published", "runs", 1),
            "benchmark.published.runs: input should be greater",
        ),
        ("benchmark", ("metering", "meter", "guess"), "metering.meter"),
        ("benchmark", ("profile", "fast"), "profile: 'fast' is none of paper, full, smoke"),
        ("report", ("report", "confidence", 2.0), "report.confidence"),
        ("report", ("colour", "red"), "colour: unknown section"),
    ],
)
def test_a_bad_parameter_is_one_line(stop_stage, changed_params, stage, keys, message):
    refused(stop_stage(stage, changed_params(*keys)), message)


UPSTREAM = [
    ("train_baseline", "data/processed/published/windows.safetensors", "cut"),
    ("shrink", "data/processed/weather/windows.safetensors", "cut"),
    ("tune_searchers", "data/search/weather/candidates.csv", "candidates: "),
    ("compare_searchers", "data/search/weather/candidates.csv", "candidates: "),
    ("compare_searchers", "data/search/mnist1d/tuned.json", "cut"),
    ("confirm", "data/search/weather/choices.json", "cut"),
    ("repair_search", "data/search/weather/candidates.csv", "candidates: "),
    ("benchmark", "data/search/published/best_action.json", "cut"),
    ("report", "paper/published.yaml", "cut"),
]


@pytest.mark.parametrize(("stage", "artifact", "message"), UPSTREAM)
def test_a_missing_or_truncated_artifact_is_one_line(
    pipeline, stop_stage, tmp_path, stage, artifact, message
):
    refused(stop_stage(stage, {artifact: str(tmp_path / "nowhere")}), "nowhere")
    cut = tmp_path / "cut"
    content = (pipeline / artifact).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    before = file_sha256(pipeline / "paper/report.html")
    done = stop_stage(stage, {artifact: str(cut)})
    refused(done, message)
    assert file_sha256(pipeline / "paper/report.html") == before


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "benchmark/published.csv",
            lambda lines: lines[: len(lines) // 2],
            "block 1, configuration",
        ),
        ("benchmark/remeasured.csv", lambda lines: [*lines, lines[-1]], "occurs 2 times, not once"),
        ("benchmark/remeasured.csv", lambda lines: lines[:1], "it has no rows"),
        ("benchmark/published.hits.csv", lambda lines: [line[:9] for line in lines], "not a CSV table"),
        ("benchmark/remeasured.conditions.json", lambda lines: lines[:3], "not valid JSON"),
        ("benchmark/weather.csv", lambda lines: lines[:-1], "block 1, configuration"),
        ("metrics/published/baseline.json", lambda lines: lines[:3], "not valid JSON"),
        ("search/mnist1d/improvements.csv", lambda lines: lines[:1], "it has no rows"),
        (
            "search/weather/candidates.csv",
            lambda lines: [line.split(",", 1)[1] for line in lines],
            "'family'",
        ),
        ("training/weather/narrow.csv", lambda lines: [], "narrow.csv"),
        ("benchmark/policies.csv", lambda lines: lines[:-3], "policies.csv"),
        ("policies/returns.csv", lambda lines: lines[:1], "it has no rows"),
        ("policies/table.json", lambda lines: lines[:3], "not valid JSON"),
    ],
)
def test_damaged_rows_are_one_line(pipeline, stop_stage, tmp_path, name, change, message):
    folder = results_of(pipeline, tmp_path)
    lines = (folder / name).read_text().splitlines()
    (folder / name).write_text("\n".join(change(lines)) + "\n")
    refused(stop_stage("report", {"data": str(folder)}), message)


def test_damaged_rows_render_nothing(pipeline, stop_stage, tmp_path):
    folder = results_of(pipeline, tmp_path)
    (folder / "benchmark/policies.csv").write_text("nothing\n")
    before = file_sha256(pipeline / "paper/report.html")
    refused(stop_stage("report", {"data": str(folder)}), "policies.csv", "is missing")
    assert file_sha256(pipeline / "paper/report.html") == before


def test_weights_that_do_not_fit_are_one_line(pipeline, stop_stage, tmp_path):
    tensors, shape = read_tensors(pipeline / WEIGHTS)
    write_tensors(tmp_path / "baseline/seed_42.safetensors", tensors, shape | {"hidden": 128})
    for stage, models, folder in (
        ("rl_search", MODELS, tmp_path / "baseline"),
        ("benchmark", "data/models/published", tmp_path),
    ):
        refused(stop_stage(stage, {models: str(folder)}), "weights do not fit the model")
        refused(stop_stage(stage, {models: str(tmp_path / "x")}), "there are no weights")


def test_codecarbon_settings_from_outside_are_one_line(stop_stage, monkeypatch, tmp_path):
    monkeypatch.setenv("CODECARBON_PUE", "2")
    for stage in ("train_baseline", "rl_search", "benchmark"):
        refused(stop_stage(stage, {}), "CODECARBON_PUE is set")
    monkeypatch.delenv("CODECARBON_PUE")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\n")
    refused(stop_stage("benchmark", {}), ".codecarbon.config")


def test_a_bad_table_stops_preprocess(pipeline, stop_stage, tmp_path):
    lines = (pipeline / "data/raw/seattle-weather.csv").read_text().splitlines()
    lines[99] = lines[99].replace(lines[99].split(",")[4], "windy")
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    out = tmp_path / "windows"
    replaced = {
        "data/raw/seattle-weather.csv": str(tmp_path / "bad.csv"),
        "data/processed/published/windows.safetensors": str(out),
    }
    refused(stop_stage("preprocess", replaced), "line 100, column 'wind': 'windy' is not a number")
    assert not out.exists()


def test_a_failing_stage_leaves_the_pipeline_repairable(pipeline):
    """A short stage, so that it runs again in seconds; DVC removes its output before it fails."""
    params, tuned = pipeline / "params.yaml", pipeline / "data/search/weather/tuned.json"
    good, before = params.read_text(), file_sha256(tuned)
    content = yaml.safe_load(good)
    content["tune_searchers"]["seeds"] = 0
    params.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        done = profiles.repro(pipeline, "tune_searchers@weather", capture_output=True)
        assert done.returncode != 0
        assert "tune_searchers.seeds" in done.stderr
        assert not tuned.exists()
    finally:
        params.write_text(good)
    done = profiles.repro(pipeline, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert file_sha256(tuned) == before
    assert (pipeline / "paper/report.html").is_file()
