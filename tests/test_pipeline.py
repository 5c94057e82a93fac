"""The whole pipeline, small: what it makes, what it refuses, and what a kill leaves."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import stage_command
from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.core.tensors import read_tensors, tensors_sha256, write_tensors
from sustainable.energy.meter import Reading
from sustainable.measuring.blocks import EMPTY_METERINGS, design
from sustainable.tools import profiles
from sustainable.verification.folders import merge

STAMP = "smoke run, not evidence"

MODELS = "data/models/published/baseline"
WEIGHTS = f"{MODELS}/seed_42.safetensors"
ENDINGS = ("csv", "hits.csv", "conditions.json")


@pytest.fixture(scope="module")
def rows(pipeline):
    return pd.read_csv(pipeline / "data/benchmark/published.csv")


def test_each_cell_of_the_design_is_there_once(rows):
    assert len(rows) == 3 * 6
    assert (rows.groupby(["block", "configuration"]).size() == 1).all()
    assert set(rows["profile"]) == {"smoke"}
    assert rows["cpu_evidence"].notna().all()


def test_the_blocks_hold_every_configuration_and_an_idle_window(pipeline):
    rows = pd.read_csv(pipeline / "data/benchmark/remeasured.csv")
    assert len(rows) == 3 * 7
    assert (rows.groupby(["block", "configuration"]).size() == 1).all()
    orders = rows.sort_values(["block", "position"]).groupby("block")["configuration"].agg(tuple)
    assert orders.nunique() > 1
    assert rows["meter_reason"].notna().all()
    conditions = json.loads((pipeline / "data/benchmark/remeasured.conditions.json").read_text())
    assert conditions["host"]["threads"] == len(conditions["host"]["cores"]) == 1
    hits = pd.read_csv(pipeline / "data/benchmark/remeasured.hits.csv")
    assert set(hits["training_seed"]) == {42}
    assert hits["persistence"].sum() == 206
    assert len(hits) == 287


def write_counter_trace(path, names, blocks, seed):
    """What a processor's counter would have said of the design: a quantized forecast takes 40 %."""
    rng = np.random.default_rng(0)
    ways = ["throw-away"] + ["gate"] * EMPTY_METERINGS
    ways += [cell.item for cell in design([*names, "idle"], blocks, seed)]
    rows = []
    for name in ways:
        cost = {"idle": 0.1, "gate": 0.001, "throw-away": 0.001}.get(name, 1.0)
        if name in ("manual_quantization", "agent_optimized", "published_choice"):
            cost = 0.4
        cost *= 1 + 0.01 * rng.standard_normal()
        row = dict.fromkeys(field.name for field in dataclasses.fields(Reading))
        row |= {"wall_time_s": cost, "cpu_time_s": cost, "cpu_j": 20 * cost, "cpu_evidence": "counter"}
        rows.append(row | {"meter": "rapl"})
    pd.DataFrame(rows).to_csv(path, index=False)


def test_a_replayed_counter_gives_verdicts_on_stamped_pages(pipeline, run_stage, changed_params, tmp_path):
    data, out = results_of(pipeline, tmp_path), tmp_path / "paper"
    folder = data / "benchmark"
    content = yaml.safe_load((pipeline / "params.yaml").read_text())
    blocks = content["benchmark"]["remeasured"] | {"blocks": 12, "window_s": 0.05, "overhead_limit": 0.99}
    write_counter_trace(tmp_path / "trace.csv", blocks["configurations"], 12, blocks["seed"])
    changed_params("benchmark", "remeasured", blocks)
    params = tmp_path / "params.yaml"
    content = yaml.safe_load(params.read_text())
    content["metering"] |= {"meter": "replay", "trace": str(tmp_path / "trace.csv")}
    params.write_text(yaml.safe_dump(content, sort_keys=False))
    replaced = {"params.yaml": str(params)}
    replaced |= {f"data/benchmark/remeasured.{end}": str(folder / f"remeasured.{end}") for end in ENDINGS}
    replaced["data/checkpoints/remeasured/benchmark.jsonl"] = str(tmp_path / "journal")
    command = stage_command(pipeline, "benchmark", replaced, "remeasured")
    subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=True)
    rows = pd.read_csv(folder / "remeasured.csv")
    assert set(rows["cpu_evidence"]) == {"replay-counter"}
    outputs = {"paper": str(out), "paper/claims.json": str(out / "claims.json"), "data": str(data)}
    outputs["data/metrics/benchmark.json"] = str(tmp_path / "summary.json")
    done = run_stage("report", {"params.yaml": str(params)} | outputs)
    assert done.returncode == 0, done.stderr
    verdicts = {claim["id"]: claim["verdict"] for claim in json.loads((out / "claims.json").read_text())}
    assert verdicts["A2"] in ("refuted", "inconclusive")
    assert verdicts["A3"] in ("refuted", "inconclusive")  # a saving of 60 % is not one of a few percent
    study = {verdict for name, verdict in verdicts.items() if name.startswith("A")}
    assert "not testable on this host" not in study
    assert "replay-counter energy, smoke run, not evidence" in (out / "report.html").read_text()


def test_a_window_too_short_for_evidence_is_refused(pipeline, changed_params):
    command = stage_command(pipeline, "benchmark", changed_params("profile", "paper"), "remeasured")
    done = subprocess.run(command, cwd=pipeline, capture_output=True, text=True, check=False)
    refused(done, "window_s: 0.2 s is too short for evidence")


def test_the_published_configurations_are_two_models(rows):
    by = rows.drop_duplicates("configuration").set_index("configuration")["weights_sha256"]
    assert by["baseline"] == by["manual_pruning"] == by["baseline_twin"]
    assert by["manual_quantization"] == by["published_choice"] != by["baseline"]


def test_the_search_is_a_tie(pipeline):
    best = json.loads((pipeline / "data/search/published/best_action.json").read_text())
    assert best["actions_sharing_best_reward"] == list(range(8, 16))
    assert best["is_tie"]
    actions = pd.read_csv(pipeline / "data/search/published/actions.csv")
    assert actions["weights_sha256"].nunique() == 2
    claims = {claim["id"]: claim for claim in json.loads((pipeline / "paper/claims.json").read_text())}
    assert (claims["A4"]["verdict"], claims["A5"]["verdict"]) == ("confirmed", "refuted")


def test_metrics_stand_beside_persistence(pipeline):
    metrics = json.loads((pipeline / "data/metrics/published/baseline.json").read_text())
    assert metrics["seeds"]["42"]["parameters"] == 38_465  # of 64 units per layer
    persistence = metrics["forecasters"]["persistence"]["test"]
    assert (persistence["correct"], persistence["n"]) == (206, 287)
    assert persistence["accuracy"] == 206 / 287
    cost = json.loads((pipeline / "data/metrics/published/training_cost.json").read_text())
    assert cost["cpu_time_s"] > 0
    assert cost["sittings"] == 1
    speed = json.loads((pipeline / "data/metrics/published/search_cost.json").read_text())
    assert speed["steps_per_s"] > 0


def test_everything_that_is_rendered_is_stamped(pipeline):
    pages = [
        pipeline / "paper/paper.tex",
        pipeline / "paper/report.html",
        *(pipeline / "paper/tables").iterdir(),
    ]
    assert len(pages) == 35
    for page in pages:
        assert STAMP in page.read_text(), page
    page = (pipeline / "paper/report.html").read_text()
    assert "modelled" not in page or "<b>estimate</b>" in page


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this host")
def test_the_paper_compiles_and_twice_to_the_same_bytes(pipeline, run_stage):
    paper = pipeline / "paper/paper.pdf"
    first = file_sha256(paper)
    assert run_stage("report").returncode == 0
    assert file_sha256(paper) == first


def test_the_same_rows_render_to_the_same_bytes(pipeline, run_stage):
    outputs = [
        p
        for p in (pipeline / "paper").rglob("*")
        if p.is_file() and p.parent.name in ("tables", "figures", "paper")
    ]
    before = {path: file_sha256(path) for path in outputs}
    assert run_stage("report").returncode == 0
    assert {path: file_sha256(path) for path in outputs} == before


def test_a_second_repro_does_nothing(pipeline):
    before = (pipeline / "dvc.lock").read_bytes()
    done = profiles.repro(pipeline, capture_output=True)
    assert done.returncode == 0
    assert "Data and pipelines are up to date." in done.stdout
    assert "Running stage" not in done.stdout
    assert (pipeline / "dvc.lock").read_bytes() == before


def test_metrics_and_plots_are_declared(pipeline):
    def dvc(*words):
        done = subprocess.run(
            [profiles.sys.executable, "-m", "dvc", *words],
            cwd=pipeline,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    shown = json.loads(dvc("metrics", "show", "--json"))[""]["data"]
    assert "data/metrics/published/baseline.json" in shown
    assert shown["data/metrics/benchmark.json"]["data"]["verdicts"]["A4"] == "confirmed"
    plots = json.loads(dvc("plots", "show", "--json"))["data"]
    assert {"data/training/published/history.csv", "data/search/published/curve.csv"} <= {
        key.split("::")[0] for key in plots
    }


def test_dvc_stays_offline(pipeline):
    config = (pipeline / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config


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


@pytest.fixture
def changed_params(pipeline, tmp_path):
    """Paths of a params.yaml with one key changed (None removes it)."""

    def change(*keys_and_value):
        *keys, value = keys_and_value
        content = yaml.safe_load((pipeline / "params.yaml").read_text())
        section = content
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        shutil.copy(pipeline / "dvc.yaml", tmp_path)
        return {"params.yaml": str(tmp_path / "params.yaml")}

    return change


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
    pipeline, run_stage, stop_stage, tmp_path, stage, artifact, message
):
    stop = run_stage if stage == "benchmark" else stop_stage
    refused(stop(stage, {artifact: str(tmp_path / "nowhere")}), "nowhere")
    cut = tmp_path / "cut"
    content = (pipeline / artifact).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    before = file_sha256(pipeline / "paper/report.html")
    done = stop(stage, {artifact: str(cut)})
    refused(done, message)
    assert file_sha256(pipeline / "paper/report.html") == before


def results_of(pipeline, tmp_path):
    """A copy of what the report reads."""
    folder = tmp_path / "data"
    skipped = shutil.ignore_patterns("*.safetensors", "checkpoints", "processed", "raw")
    return shutil.copytree(pipeline / "data", folder, ignore=skipped)


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


def test_weights_that_do_not_fit_are_one_line(pipeline, run_stage, stop_stage, tmp_path):
    tensors, shape = read_tensors(pipeline / WEIGHTS)
    write_tensors(tmp_path / "baseline/seed_42.safetensors", tensors, shape | {"hidden": 128})
    for stage, stop, replaced in (
        ("rl_search", stop_stage, {MODELS: str(tmp_path / "baseline")}),
        ("benchmark", run_stage, {"data/models/published": str(tmp_path)}),
    ):
        refused(stop(stage, replaced), "weights do not fit the model")
        refused(stop(stage, dict.fromkeys(replaced, str(tmp_path / "x"))), "there are no weights")


def test_codecarbon_settings_from_outside_are_one_line(pipeline, run_stage, tmp_path):
    for stage in ("train_baseline", "rl_search", "benchmark"):
        done = run_stage(stage, env=os.environ | {"CODECARBON_PUE": "2"})
        refused(done, "CODECARBON_PUE is set")
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\n")
    refused(run_stage("benchmark", env=os.environ | {"HOME": str(tmp_path)}), ".codecarbon.config")


def test_a_bad_table_stops_preprocess(pipeline, run_stage, tmp_path):
    lines = (pipeline / "data/raw/seattle-weather.csv").read_text().splitlines()
    lines[99] = lines[99].replace(lines[99].split(",")[4], "windy")
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    out = tmp_path / "windows"
    replaced = {
        "data/raw/seattle-weather.csv": str(tmp_path / "bad.csv"),
        "data/processed/published/windows.safetensors": str(out),
    }
    refused(run_stage("preprocess", replaced), "line 100, column 'wind': 'windy' is not a number")
    assert not out.exists()


def test_a_failing_stage_leaves_the_pipeline_repairable(pipeline):
    params = pipeline / "params.yaml"
    good = params.read_text()
    params.write_text(good.replace("bootstrap_resamples: 1000", "bootstrap_resamples: 1"))
    try:
        done = profiles.repro(pipeline, capture_output=True)
        assert done.returncode != 0
        assert "report.bootstrap_resamples" in done.stderr
    finally:
        params.write_text(good)
    done = profiles.repro(pipeline, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (pipeline / "paper/report.html").is_file()


def test_a_smoke_run_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not an earlier smoke run"):
        profiles.prepare_profile(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_smoke_parameters_change_only_keys_that_exist():
    with pytest.raises(KeyError, match=r"params\.yaml has no such key"):
        merge({"a": {"epochs": 1}}, {"a": {"epoch": 2}})
