"""The shipped deployments: what `recommend` answers for the default floor, its weights, and its output."""

import subprocess
import sys

import pytest

from imports import STAGES
from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256
from sustainable.forecasting.compression.onnx_export import gru_to_onnx
from sustainable.forecasting.model.gru import layered, load_forecaster
from sustainable.reporting.forecasting.recommendation import default_floor, recommend
from sustainable.tools.recommend import read_choices

ROOT = STAGES.parent
FOLDER = ROOT / "data/deployed"
STEPS = 10  # of a sequence of MNIST-1D
NETWORK = "data/models/mnist1d/narrow/l1/32x32/seed_1.safetensors"
DEPLOYED = {"weather": "persistence (tomorrow is like today)", "mnist1d": "32x32 fp32 on numba"}


@pytest.mark.parametrize("task", DEPLOYED)
def test_the_shipped_deployment_is_the_recommended_one(task):
    choices, margin = read_choices(ROOT / "data/reference", ROOT / "params.yaml", task)
    answer = recommend(choices, default_floor(choices, margin), 1.0, 1)
    assert answer.choice.candidate.name == DEPLOYED[task]


def test_the_weights_are_those_of_the_shipped_run_and_the_onnx_file_follows_from_them():
    artifacts = read_json(ROOT / "data/reference/manifest.json")["artifacts"]
    weights = FOLDER / "mnist1d.safetensors"
    assert file_sha256(weights) == artifacts[NETWORK]["sha256"]
    exported = gru_to_onnx(layered(load_forecaster(weights)), STEPS)
    assert (FOLDER / "mnist1d.onnx").read_bytes() == exported


@pytest.mark.parametrize("task", DEPLOYED)
def test_the_script_prints_what_is_expected(task):
    command = [sys.executable, str(FOLDER / f"{task}.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (FOLDER / f"{task}.txt").read_text()


def test_persistence_is_scored_as_the_shipped_run_scores_it():
    scores = read_json(ROOT / "data/reference/metrics/weather/baseline.json")["forecasters"]["persistence"]
    correct, windows = scores["test"]["correct"], scores["test"]["n"]
    assert f"correct: {correct} of {windows}\n" in (FOLDER / "weather.txt").read_text()
