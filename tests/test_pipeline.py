"""The whole pipeline, small: what it makes."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

import report
from conftest import results_of, stage_command
from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.energy.meter import Reading
from sustainable.measuring.blocks import EMPTY_METERINGS, design
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.latex import compile_paper
from sustainable.tools import profiles
from sustainable.verification.folders import merge

STAMP = "smoke run, not evidence"
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


def test_a_replayed_counter_gives_verdicts_on_stamped_pages(pipeline, changed_params, monkeypatch, tmp_path):
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
    outputs |= {
        f"data/metrics/{name}.json": str(tmp_path / f"{name}.json") for name in ("benchmark", "headline")
    }
    command = stage_command(pipeline, "report", {"params.yaml": str(params)} | outputs)
    monkeypatch.setattr(sys, "argv", command[1:])
    monkeypatch.chdir(pipeline)
    for slow in ("draw_source", "draw_audited", "draw_policies", "draw_headline", "compile_paper"):
        monkeypatch.setattr(report, slow, lambda *_: [])  # a counter of study A changes none of these
    report.main()
    verdicts = {claim["id"]: claim["verdict"] for claim in json.loads((out / "claims.json").read_text())}
    assert verdicts["A2"] in ("refuted", "inconclusive")
    assert verdicts["A3"] in ("refuted", "inconclusive")  # a saving of 60 % is not one of a few percent
    study = {verdict for name, verdict in verdicts.items() if name.startswith("A")}
    assert "not testable on this host" not in study
    assert "replay-counter energy, smoke run, not evidence" in (out / "report.html").read_text()


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
    assert len(pages) == 47
    for page in pages:
        assert STAMP in page.read_text(), page
    page = (pipeline / "paper/report.html").read_text()
    assert "modelled" not in page or "<b>estimate</b>" in page


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this host")
def test_the_paper_compiles_and_twice_to_the_same_bytes(pipeline):
    paper = pipeline / "paper/paper.pdf"
    first = file_sha256(paper)
    compile_paper(paper.parent, paper.with_name("references.bib"))
    assert file_sha256(paper) == first


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
    assert shown.keys() == {"data/metrics/headline.json"}
    assert sum(shown["data/metrics/headline.json"]["data"]["claims"].values()) == len(DECLARATIONS)
    plots = json.loads(dvc("plots", "show", "--json"))["data"]
    assert {"Mean reward of the published search", "Return of the policies in training"} <= {
        key.split("::")[-1] for key in plots
    }


def test_dvc_stays_offline(pipeline):
    config = (pipeline / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config


def test_a_smoke_run_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not an earlier smoke run"):
        profiles.prepare_profile(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_smoke_parameters_change_only_keys_that_exist():
    with pytest.raises(KeyError, match=r"params\.yaml has no such key"):
        merge({"a": {"epochs": 1}}, {"a": {"epoch": 2}})
