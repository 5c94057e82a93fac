"""Choices are confirmed on fresh seeds: no seed that has chosen, and networks made as in the selection."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import confirm
from sustainable.core import parallel
from sustainable.core.errors import UserError
from sustainable.core.parameters import read_section
from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.compression.shrinking import ShrinkParameters, ShrinkTask, shrink_forecaster
from sustainable.forecasting.confirmation import refuse_used_seeds
from sustainable.forecasting.data.windows import Windows, as_tensors, load_windows, save_windows
from sustainable.forecasting.model.gru import layered, load_forecaster

DAYS, FEATURES, COUNTS = 3, 2, {"train": 24, "validation": 12, "test": 12}
DENSE = {"widths": [4, 4], "precision": "fp32", "runtime": "torch-eager"}
CONFIGURATIONS = {
    "baseline": DENSE, "onnxruntime": DENSE | {"runtime": "onnxruntime"},
    "manual_pruning": DENSE | {"widths": [2, 2]}, "ppo_stepwise": "ppo_stepwise",
    "chosen_widths": "chosen_widths", "chosen_fp32": "chosen_fp32", "oracle": "oracle",
    "logistic_last_day": "logistic_last_day", "baseline_twin": DENSE,
}  # fmt: skip
CHOICES = {
    "ppo_stepwise": {"width_0": 3, "width_1": 2, "precision": "int8", "runtime": "torch-eager"},
    "oracle": {"width_0": 2, "width_1": 2, "precision": "fp32", "runtime": "onnxruntime"},
}


def windows(count, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, DAYS, FEATURES), dtype=np.float32)
    target = (inputs[:, -1, 0] > 0.5).astype(np.int64)
    return Windows(inputs, target, rng.integers(0, 2, count), np.arange(count))


@pytest.fixture
def folder(project, tmp_path, monkeypatch):
    """The project's parameters with tiny networks, tiny windows, and the choices of a search."""
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["metering"]["meter"] = "fake"
    content["train_baseline"]["weather"] |= {"hidden": 4, "seeds": [1, 2]}
    content["train_baseline"]["weather"]["recipe"] |= {"epochs": 2, "checkpoint_epochs": 1}
    content["shrink"]["weather"]["fine_tune"] |= {"epochs": 1}
    content["benchmark"]["weather"]["configurations"] = CONFIGURATIONS
    content["confirm"] = {"seeds": [7, 5]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text((project / "dvc.yaml").read_text())
    (tmp_path / "choices").write_text(json.dumps({"choices": CHOICES}))
    parts = {name: windows(count, seed) for seed, (name, count) in enumerate(COUNTS.items())}
    save_windows(tmp_path / "windows", parts)
    monkeypatch.setattr(parallel, "available_cores", lambda: 1)  # in this process, to save the imports
    return tmp_path


def run(folder, monkeypatch):
    """Run the stage; every file that it names lies in `folder` under the name of its option."""
    options = ["windows", "choices", "work", "models", "history", "metrics", "cost"]
    words = ["confirm.py", "--task", "weather", "--params", str(folder / "params.yaml")]
    words += [word for name in options for word in (f"--{name}", str(folder / name))]
    monkeypatch.setattr(sys, "argv", words)
    confirm.main()


def test_every_fresh_seed_gets_what_the_benchmark_deploys(folder, monkeypatch):
    run(folder, monkeypatch)
    models = folder / "models"
    made = {str(path.parent.relative_to(models)) for path in models.rglob("*.safetensors")}
    assert made == {"baseline", "narrow/l1/3x2", "narrow/l1/2x2", "narrow/continued/4x4"}
    for place in made:
        assert sorted(path.name for path in (models / place).iterdir()) == [
            "seed_5.safetensors", "seed_7.safetensors",
        ]  # fmt: skip
    assert not (folder / "work").exists()
    history = pd.read_csv(folder / "history")
    assert set(zip(history["method"], history["width_0"], history["width_1"], strict=True)) == {
        ("continued", 4, 4), ("l1", 3, 2), ("l1", 2, 2),
    }  # fmt: skip
    assert history["seed"].tolist() == [7, 5] * 3
    scores = json.loads((folder / "metrics").read_text())
    assert scores["seeds"].keys() == {"5", "7"}
    mean = np.mean([seed["test"]["accuracy"] for seed in scores["seeds"].values()])
    assert scores["mean_over_seeds"]["test"]["accuracy"] == pytest.approx(mean)
    cost = json.loads((folder / "cost").read_text())
    assert cost["sittings"] == 2 + 6  # baselines, and networks made of them


def test_fresh_networks_are_made_as_those_of_the_selection(folder, monkeypatch):
    run(folder, monkeypatch)
    parts = load_windows(folder / "windows")
    sources = Sources(folder / "models", folder / "choices", folder / "exports", parts["train"])
    assert sources.seeds() == [5, 7]
    shrinking = read_section(folder / "params.yaml", "shrink", ShrinkParameters, "weather")
    pairs = as_tensors(parts["train"]), as_tensors(parts["validation"])
    for method, widths, found in (
        ("l1", (3, 2), sources.narrow(5, (3, 2))),
        ("continued", (4, 4), sources.continued(5)),
    ):
        expected, _ = shrink_forecaster(
            ShrinkTask(method, widths, 5), layered(sources.baseline(5)), *pairs, shrinking
        )
        assert found.widths == widths
        assert tensors_sha256(found.state_dict()) == tensors_sha256(expected.state_dict())
    baselines = [load_forecaster(folder / f"models/baseline/seed_{seed}.safetensors") for seed in (5, 7)]
    assert not torch.equal(*(model.readout.weight for model in baselines))


def test_a_seed_that_has_chosen_is_refused_before_anything_is_trained(folder, monkeypatch):
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["confirm"] = {"seeds": [9, 2, 1]}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"confirm\.seeds: 1 also chooses \(train_baseline\)") as caught:
        run(folder, monkeypatch)
    assert "\n" not in str(caught.value)
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "dvc.yaml", "choices", "windows"}


def test_a_choice_that_is_missing_is_one_line_before_anything_is_trained(folder, monkeypatch):
    (folder / "choices").write_text(json.dumps({"choices": {"oracle": CHOICES["oracle"]}}))
    with pytest.raises(UserError, match=r"choices\.ppo_stepwise is not a deployment; run `dvc repro"):
        run(folder, monkeypatch)
    assert not (folder / "work").exists()


def test_only_seeds_in_common_are_refused():
    refuse_used_seeds([11, 12], [1, 2])
    with pytest.raises(UserError, match=r"confirm\.seeds: 2 "):
        refuse_used_seeds([11, 3, 2], [1, 2, 3])
