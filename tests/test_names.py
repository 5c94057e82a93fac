"""Names in print: every searcher and configuration that a run can have is called something."""

import re

import yaml

from imports import STAGES
from sustainable.core.files import read_json
from sustainable.reporting.names import (
    FORECASTER_NAMES,
    POLICY_NAMES,
    RUNTIME_NAMES,
    SEARCHER_NAMES,
    forecaster_name,
    runtime_name,
    searcher_name,
)

ROOT = STAGES.parent
PARAMETERS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CODE_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")


def test_a_name_in_print_is_not_a_name_in_code():
    for names in (SEARCHER_NAMES, FORECASTER_NAMES, POLICY_NAMES, RUNTIME_NAMES):
        assert not [name for name in names.values() if CODE_NAME.search(name)]
        assert len(set(names.values())) == len(names)


def test_what_has_no_name_is_printed_as_words():
    assert searcher_name("tpe") == "TPE"
    assert searcher_name("my_searcher") == "my searcher"
    assert forecaster_name("broken_width") == "Broken: one unit per layer"
    assert forecaster_name("persistence") == "persistence"
    assert runtime_name("onnxruntime") == "ONNX Runtime"
    assert runtime_name("tract") == "tract"


def test_every_searcher_has_a_name():
    for task in ("weather", "mnist1d"):
        searched = read_json(ROOT / f"data/reference/search/{task}/choices.json")
        assert searched["groups"].keys() <= SEARCHER_NAMES.keys()


def test_every_forecaster_that_is_measured_has_a_name():
    for name in ("published", "remeasured", "layerwise", "weather", "mnist1d"):
        assert set(PARAMETERS["benchmark"][name]["configurations"]) <= FORECASTER_NAMES.keys()
