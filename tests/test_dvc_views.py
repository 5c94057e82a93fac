"""What DVC shows: few numbers, and plots that need no network."""

import json
import re

import pytest
import yaml

from imports import STAGES
from sustainable.core.files import read_json
from sustainable.reporting.headline import headline_markdown, headline_metrics

ROOT = STAGES.parent
PLOTS = STAGES / "plots"


def leaves(tree):
    return [
        leaf for value in tree.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])
    ]


@pytest.fixture(scope="module")
def claims():
    return read_json(ROOT / "data/reference/claims.json")


@pytest.fixture(scope="module")
def declared():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def test_one_file_of_metrics_is_declared(declared):
    metrics_of = {name: body.get("do", body).get("metrics") for name, body in declared["stages"].items()}
    shown = {name: metrics for name, metrics in metrics_of.items() if metrics}
    assert shown == {"report": [{"data/metrics/headline.json": {"cache": False}}]}


def test_the_metrics_are_at_most_15_numbers_of_the_readme(claims):
    metrics, text = headline_metrics(claims), headline_markdown(claims)
    assert len(leaves(metrics)) <= 15
    assert all(isinstance(number, (int, float)) for number in leaves(metrics))
    assert sum(metrics["claims"].values()) == len(claims)
    for task in ("weather", "mnist1d"):
        assert f"| {metrics[task]['cpu_time']:#.3g} [" in text
        assert f"{metrics[task]['accuracy_change']:+.3f} [" in text
    assert f"| {metrics['to_fastest_runtime']:#.3g} [" in text
    assert f"| {metrics['noise']:#.3g} [" in text
    assert f"to {metrics['int8_call']:.2f} |" in text
    assert f"| {metrics['regret']:+.3f} [" in text


def test_a_number_that_a_run_lacks_is_left_out(claims):
    lacking = json.loads(json.dumps(claims))
    by_id = {claim["id"]: claim for claim in lacking}
    for task in ("weather", "mnist1d"):
        for timing in by_id["C1"]["values"][task]["twin"]["by_batch_size"].values():
            timing["ratio"] = None
    by_id["C1"]["values"]["weather"]["choice"]["over_seeds_and_windows"] = None
    metrics = headline_metrics(lacking)
    assert "noise" not in metrics
    assert metrics["weather"].keys() == {"cpu_time"}


def test_every_plot_shows_the_shipped_run_too(declared):
    for plot in declared["plots"]:
        ((_, body),) = plot.items()
        shipped = [path for path in body["y"] if path.startswith("data/reference/")]
        assert shipped
        for path in shipped:
            assert path.replace("data/reference/", "data/") in body["y"]
            header = (ROOT / path).open(encoding="utf-8").readline().strip().split(",")
            assert {body["x"], body["y"][path]} <= set(header)


def test_the_page_of_plots_needs_no_network():
    config = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    (template,) = re.findall(r"html_template = (\S+)", config)
    page = ROOT / ".dvc" / template
    text = page.read_text(encoding="utf-8")
    assert "{plot_divs}" in text
    assert "{scripts}" not in text, "DVC puts scripts from the network there"
    scripts = re.findall(r'src="([^"]+)"', text)
    assert scripts
    for script in scripts:
        assert (ROOT / "dvc_plots" / script).resolve().is_relative_to(ROOT)
        assert (ROOT / script.removeprefix("../")).is_file()


def test_the_template_groups_lines_by_seed_and_environment():
    template = json.loads((PLOTS / "lines.json").read_text(encoding="utf-8"))
    assert template["data"] == {"values": "<DVC_METRIC_DATA>"}
    assert template["encoding"]["color"]["field"] == "seed"
    assert template["encoding"]["facet"]["field"] == "panel"
    assert any("environment" in step["calculate"] for step in template["transform"])
