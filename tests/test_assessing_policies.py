"""Assessing a policy of your own: the actor that is rebuilt, what is refused, and a whole small run."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3

from sustainable.assessing import policies as assessing
from sustainable.assessing.actors import read_actor
from sustainable.assessing.settings import MODES
from sustainable.core.errors import UserError
from sustainable.policies.compression.onnx_models import to_onnx
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.policy import to_action
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Untrained policies of three libraries' families, as Stable-Baselines3 saves them."""
    folder = tmp_path_factory.mktemp("archives")
    made = {
        "ppo": PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, seed=0, device="cpu"),
        "sac": SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 8]}, seed=0, device="cpu"),
        "td3": TD3("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 8]}, seed=0, device="cpu"),
    }
    for name, model in made.items():
        model.save(folder / f"{name}.zip")
    return folder, made


@pytest.mark.parametrize(
    ("name", "environment", "hidden"),
    [("ppo", "CartPole-v1", (64, 64)), ("sac", "Pendulum-v1", (16, 8)), ("td3", "Pendulum-v1", (16, 8))],
)
def test_the_rebuilt_actor_acts_as_the_library(archives, name, environment, hidden):
    folder, models = archives
    actor = read_actor(folder / f"{name}.zip", make_environment(environment), None, None)
    assert actor.architecture.hidden == hidden
    for observation in np.random.default_rng(0).uniform(-1, 1, (20, actor.architecture.observations)):
        row = observation.astype(np.float32)
        expected, _ = models[name].predict(row, deterministic=True)
        with torch.no_grad():
            outputs = actor(torch.from_numpy(row)[None]).numpy()[0]
        np.testing.assert_allclose(to_action(actor.architecture, outputs), expected, atol=1e-5)


def test_the_pickled_part_of_an_archive_is_not_read(archives, tmp_path):
    folder, _ = archives
    with zipfile.ZipFile(folder / "ppo.zip") as old, zipfile.ZipFile(tmp_path / "bare.zip", "w") as new:
        new.writestr("policy.pth", old.read("policy.pth"))
        new.writestr("data", b"no JSON and no pickle")
    assert read_actor(tmp_path / "bare.zip", make_environment("CartPole-v1"), "relu", None)


def test_statistics_of_observations_scale_them(archives, tmp_path):
    folder, _ = archives
    np.savez(tmp_path / "statistics.npz", mean=np.arange(4.0), var=np.full(4, 4.0))
    environment = make_environment("CartPole-v1")
    actor = read_actor(folder / "ppo.zip", environment, None, tmp_path / "statistics.npz")
    scaled = actor.scaled(torch.tensor([[2.0, 1.0, 2.0, 1.0]]))
    torch.testing.assert_close(scaled, torch.tensor([[1.0, 0.0, 0.0, -1.0]]))
    np.savez(tmp_path / "wrong.npz", mean=np.arange(3.0), var=np.ones(3))
    with pytest.raises(UserError, match=r"mean and var \[4\]"):
        read_actor(folder / "ppo.zip", environment, None, tmp_path / "wrong.npz")


def test_a_policy_of_another_environment_is_refused(archives):
    folder, _ = archives
    with pytest.raises(UserError, match="maps 4 observations to 2 outputs, the environment has 3 and 1"):
        read_actor(folder / "ppo.zip", make_environment("Pendulum-v1"), None, None)


def test_an_archive_without_an_actor_that_is_known_is_refused(tmp_path):
    torch.save({"features.cnn.0.weight": torch.zeros(2, 2)}, tmp_path / "policy.pth")
    with zipfile.ZipFile(tmp_path / "convolutional.zip", "w") as archive:
        archive.write(tmp_path / "policy.pth", "policy.pth")
        archive.writestr("data", "{}")
    with pytest.raises(UserError, match="no actor of fully connected layers"):
        read_actor(tmp_path / "convolutional.zip", make_environment("CartPole-v1"), None, None)


def test_a_return_is_kept_if_the_whole_interval_is():
    verdicts = [
        assessing.kept_verdict(Estimate(mean, low, high, 12), 10.0, enough)
        for mean, low, high, enough in (
            (-2.0, -5.0, 1.0, True),
            (-30.0, -40.0, -20.0, True),
            (-9.0, -15.0, -3.0, True),
            (0.0, 0.0, 0.0, False),
        )
    ]
    assert verdicts == [CONFIRMED, REFUTED, INCONCLUSIVE, INCONCLUSIVE]


@pytest.fixture
def small(monkeypatch):
    """Windows of milliseconds, and the process left as it is."""
    windows = replace(MODES["quick"], blocks=2, window_s=0.05, warm_up_limit_s=0.1, repeats=0)
    monkeypatch.setitem(assessing.MODES, "quick", windows)
    monkeypatch.setattr(assessing, "TIMED_STEPS", 10)
    monkeypatch.setattr(assessing, "settle", lambda threads: {"threads": threads})


def test_a_whole_assessment_of_an_onnx_actor(archives, tmp_path, small):
    folder, _ = archives
    actor = read_actor(folder / "ppo.zip", make_environment("CartPole-v1"), None, None)
    (tmp_path / "actor.onnx").write_bytes(to_onnx(actor))
    results = assessing.assess_policy(tmp_path / "actor.onnx", "CartPole-v1", tmp_path / "out")
    assert [line.key for line in results.lines] == ["baseline", "int8"]
    rows = pd.read_csv(tmp_path / "out/rows.csv")
    assert set(rows["configuration"]) == {"baseline", "baseline_twin", "int8", "idle"}
    claims = json.loads((tmp_path / "out/claims.json").read_text())
    assert [claim["id"] for claim in claims] == ["T1", "R1"]
    assert "2 blocks: fewer than 12" in (tmp_path / "out/report.html").read_text()
    with pytest.raises(UserError, match="does not take"):
        assessing.assess_policy(tmp_path / "actor.onnx", "Pendulum-v1", tmp_path / "other")
