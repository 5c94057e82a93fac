import json
import re

import jinja2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sustainable.artifact.errors import UserError
from sustainable.reporting import latex
from sustainable.reporting.claims import accuracy_claim, discovery_claim, judge, proxy_claim
from sustainable.reporting.figures import draw_all
from sustainable.reporting.results import COLUMNS, ReportParameters, correlation, summarise_rows
from sustainable.reporting.templates import Latex, escape_latex, fixed, render_latex, spread_latex
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED, Summary

PARAMETERS = ReportParameters(confidence=0.95, bootstrap_resamples=200, seed=0)
MODELS = {  # configuration: hash, cost of a window relative to the baseline
    "baseline": ("aaaa", 1.0),
    "manual_pruning": ("aaaa", 1.0),
    "manual_quantization": ("bbbb", 0.5),
    "agent_optimized": ("bbbb", 0.5),
    "published_choice": ("bbbb", 0.5),
    "baseline_twin": ("aaaa", 1.0),
}
ACTIONS = pd.DataFrame(
    {
        "action": range(16),
        "name": [f"n{a}" for a in range(16)],
        "reward": [0.0] * 8 + [2.5] * 8,
        "pruning": [a % 8 / 10 for a in range(16)],
        "quantization": [a >= 8 for a in range(16)],
        "parameters": 100,
        "weights_sha256": ["aaaa"] * 8 + ["bbbb"] * 8,
        "proxy_parameters": [100] * 8 + [0] * 8,
        "proxy_flops": [50] * 8 + [0] * 8,
    }
)
BEST = {
    "actions_sharing_best_reward": list(range(8, 16)),
    "best_seen": {"action": 9},
    "policy": {"action": 11},
    "actions": 16,
    "best_reward": 2.5,
}


def make_rows(evidence="modelled-load", profile="paper", runs=10, factor=None, correct=None):
    rng = np.random.default_rng(0)
    rows = []
    for run in range(runs):
        for key, (sha, cost) in MODELS.items():
            cost = (factor or {}).get(key, cost) * (1 + 0.005 * rng.standard_normal())
            hits = (correct or {}).get(key, 70)
            rows.append(
                dict.fromkeys(COLUMNS, 1)
                | {
                    "configuration": key, "run": run, "protocol": "published", "profile": profile,
                    "name": key[:2],
                    "runtime": "torch-eager", "precision": "fp32", "weights_sha256": sha, "windows": 100,
                    "correct": hits, "accuracy": hits / 100, "latency_ms": cost, "cpu_time_s": cost / 10,
                    "energy_mwh": cost / 1000, "cpu_j": cost, "ram_j": 2 * cost, "cpu_evidence": evidence,
                    "ram_evidence": "modelled-constant", "meter": "test", "note": "assumed 8 W at full load",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def published(project):
    return yaml.safe_load((project / "paper/published.yaml").read_text())["study_a"]


def verdicts(rows, published):
    claims = judge(summarise_rows(rows, PARAMETERS), ACTIONS, BEST, published)
    return {claim.id: claim.verdict for claim in claims}, {claim.id: claim for claim in claims}


def test_equal_models_are_named_and_ratios_are_right():
    results = summarise_rows(make_rows(), PARAMETERS)
    same = {key: line.same_as for key, line in results.lines.items()}
    assert same == {
        "baseline": None, "manual_pruning": "baseline", "manual_quantization": None,
        "agent_optimized": "manual_quantization", "published_choice": "manual_quantization",
        "baseline_twin": "baseline",
    }  # fmt: skip
    assert results.lines["manual_quantization"].ratios["latency_ms"].estimate == pytest.approx(0.5, rel=0.01)
    assert results.twin["latency_ms"].low < 1 < results.twin["latency_ms"].high
    assert results.lines["baseline"].outcomes["cpu_time_ms"].mean == pytest.approx(1.0, rel=0.01)
    assert results.ram_share == pytest.approx(2 / 3)
    assert (results.runs, results.smoke, results.assumptions) == (10, False, "assumed 8 W at full load")


def test_the_same_weights_under_another_runtime_are_another_configuration():
    rows = make_rows()
    rows.loc[rows["configuration"] == "agent_optimized", "runtime"] = "onnxruntime"
    results = summarise_rows(rows, PARAMETERS)
    assert results.lines["agent_optimized"].same_as is None
    assert results.lines["published_choice"].same_as == "manual_quantization"


def test_a_lost_or_doubled_row_is_refused():
    rows = make_rows()
    with pytest.raises(UserError, match=r"run 0, configuration 'manual_pruning' stands 0 times"):
        summarise_rows(rows.drop(index=1), PARAMETERS)
    with pytest.raises(UserError, match=r"stands 2 times"):
        summarise_rows(pd.concat([rows, rows.iloc[[3]]]), PARAMETERS)
    with pytest.raises(UserError, match="'baseline_twin' is missing"):
        summarise_rows(rows[rows["configuration"] != "baseline_twin"], PARAMETERS)


def test_modelled_energy_carries_no_energy_claim(published):
    found, claims = verdicts(make_rows(), published)
    assert found == {"A1": CONFIRMED, "A2": NOT_TESTABLE, "A3": NOT_TESTABLE, "A4": CONFIRMED, "A5": REFUTED}
    assert claims["A3"].values["latency"] == CONFIRMED
    assert "A2 and A3 cannot both hold" in claims["A3"].reason


def test_counted_energy_does(published):
    found, _ = verdicts(make_rows("counter"), published)
    assert (found["A2"], found["A3"]) == (REFUTED, CONFIRMED)
    found, _ = verdicts(
        make_rows("counter", factor={"manual_quantization": 1.2, "published_choice": 1.2}), published
    )
    assert (found["A2"], found["A3"]) == (CONFIRMED, REFUTED)
    found, _ = verdicts(make_rows("counter", factor={"manual_quantization": 1.0}), published)
    assert found["A2"] == INCONCLUSIVE
    found, _ = verdicts(make_rows("counter + modelled-load"), published)
    assert found["A2"] == NOT_TESTABLE


def test_missing_energy_is_counted_and_leaves_the_rest(published):
    rows = make_rows("counter")
    rows.loc[rows["run"] > 0, ["energy_mwh", "cpu_j"]] = np.nan
    results = summarise_rows(rows, PARAMETERS)
    assert results.energy_missing == 9 * 6
    assert results.lines["baseline"].outcomes["energy_mwh"].n == 1
    assert verdicts(rows, published)[0]["A2"] == INCONCLUSIVE


def test_one_window_less_refutes_equal_accuracy():
    results = summarise_rows(make_rows(correct={"manual_quantization": 69}), PARAMETERS)
    assert accuracy_claim("", results).verdict == REFUTED
    assert "manual_quantization: 69" in accuracy_claim("", results).reason


def test_the_proxy_claim_follows_the_table():
    assert proxy_claim("", ACTIONS).verdict == CONFIRMED
    for column, row, value in (("proxy_flops", 9, 1), ("proxy_parameters", 3, 70)):
        changed = ACTIONS.copy()
        changed.loc[row, column] = value
        assert proxy_claim("", changed).verdict == REFUTED


def test_a_discovery_is_the_only_best_action():
    alone = BEST | {"actions_sharing_best_reward": [11], "best_seen": {"action": 11}}
    assert discovery_claim("", alone, 11).verdict == CONFIRMED
    assert discovery_claim("", alone, 10).verdict == REFUTED
    assert discovery_claim("", BEST | {"best_seen": {"action": 11}}, 11).verdict == REFUTED
    assert "8 of 16 actions share" in discovery_claim("", BEST, 11).reason


def test_correlation_by_hand():
    rows = pd.DataFrame({"a": [1.0, 2.0, 3.0, np.nan], "b": [2.0, 4.0, 6.0, 1.0]})
    assert correlation(rows, "a", "b") == pytest.approx(1.0)
    assert correlation(rows[:2], "a", "b") is None


@given(st.text())
def test_escaped_text_has_no_bare_special_character(text):
    escaped = escape_latex(text)
    for command in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        r"\textless{}",
        r"\textgreater{}",
        r"\textbar{}",
    ):
        escaped = escaped.replace(command, "")
    assert not re.search(r"(?<!\\)[{}$&#%_~^\"<>|]", escaped)
    assert escape_latex(Latex(text)) == text


def test_numbers_are_formatted_and_missing_ones_say_so():
    assert fixed(1.23456, 2) == "1.23"
    assert fixed(None, 2) == "n/a"
    assert spread_latex(Summary(1.0, 0.5, 3), 1) == r"1.0 $\pm$ 0.5"
    assert spread_latex(Summary(None, None, 0), 1) == "n/a"


def test_templates_escape_values_and_refuse_unknown_names(tmp_path):
    (tmp_path / "t").write_text(r"100\,\% of \VAR{name}\BLOCK{if yes} {a}\BLOCK{endif}")
    assert render_latex(tmp_path, "t", {"name": "a_b & 5 %", "yes": True}) == r"100\,\% of a\_b \& 5 \% {a}"
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        render_latex(tmp_path, "t", {"yes": False})


@pytest.mark.parametrize("profile", ["paper", "smoke"])
def test_figures_are_the_same_bytes_for_the_same_rows(tmp_path, profile):
    rows = make_rows(profile=profile)
    results = summarise_rows(rows, PARAMETERS)
    search = {
        "actions": ACTIONS,
        "curve": pd.DataFrame({"step": [1, 2], "mean_reward": [0.0, 1.0]}),
        "best": BEST,
    }
    baseline = {"best_epoch": 1, "forecasters": {"gru": {}, "persistence": {"test": {"accuracy": 0.7}}}}
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.6], "validation_loss": [0.7, 0.65]})
    training = {"history": history, "baseline": baseline}
    for folder in ("one", "two"):
        draw_all(tmp_path / folder, rows, results, {key: key for key in results.lines}, search, training)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 8
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert b"CreationDate" not in content
        assert b"Matplotlib" not in content


def test_without_tex_the_paper_says_so_and_an_old_one_goes(tmp_path, monkeypatch):
    (tmp_path / "paper.pdf").write_text("old")
    monkeypatch.setattr(latex.shutil, "which", lambda name: None)
    assert latex.compile_paper(tmp_path) == latex.NO_TEX
    assert not (tmp_path / "paper.pdf").exists()


def test_every_published_claim_has_a_rule(published, pipeline):
    claims = json.loads((pipeline / "paper/claims.json").read_text())
    assert [claim["id"] for claim in claims] == sorted(published["claims"])
    assert all(claim["rule"] and claim["reason"] for claim in claims)
