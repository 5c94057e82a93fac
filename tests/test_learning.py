"""Training of policies: exports act as the library does, seeds determine weights, and runs resume."""

import json
from dataclasses import asdict, replace

import gymnasium
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from sustainable.core.errors import UserError
from sustainable.core.tensors import tensors_sha256
from sustainable.energy.choice import MeterParameters
from sustainable.energy.codecarbon import CodeCarbonParameters
from sustainable.policies.environments.guarded import EnvironmentFault
from sustainable.policies.learning import tasks
from sustainable.policies.learning.checkpoints import restore, scales_of, state_of
from sustainable.policies.learning.recipes import PolicyTrainingParameters, Recipe, TrainingRun, plan
from sustainable.policies.learning.training import (
    Checkpointing,
    TrainingLog,
    export,
    has_learned,
    new_model,
    random_returns,
    returns_of,
    train_one,
)
from sustainable.policies.policy import batch_outputs, to_action

SHORT = {
    "PPO": {"n_steps": 64, "batch_size": 64, "n_epochs": 2},
    "TRPO": {"n_steps": 64, "batch_size": 64},
    "SAC": {"buffer_size": 500, "learning_starts": 20, "batch_size": 16},
    "TD3": {"buffer_size": 500, "learning_starts": 20, "batch_size": 16, "action_noise": 0.1},
    "DDPG": {"buffer_size": 500, "learning_starts": 20, "batch_size": 16, "action_noise": 0.1},
}


def recipe(algorithm="PPO", **changes):
    known = {"steps": 128, "reference_return": 100.0, "reference_source": "made up", "copies": 2}
    activation = "tanh" if algorithm in ("PPO", "TRPO") else "relu"
    return Recipe(
        **known | {"settings": SHORT[algorithm], "hidden": (8, 8), "activation": activation} | changes
    )


def run_of(environment="CartPole-v1", algorithm="PPO", seed=1, **changes):
    return TrainingRun(environment, algorithm, seed, recipe(algorithm, **changes))


def trained_hash(run):
    """The hash of the weights that a run trains."""
    policy, _ = train_one(run, 1000)
    return tensors_sha256(policy.actor.state_dict())


@pytest.mark.parametrize("algorithm", SHORT)
@pytest.mark.parametrize("environment", ["Pendulum-v1", "Hopper-v5"])
def test_the_export_acts_as_the_library_does(algorithm, environment):
    model = new_model(run_of(environment, algorithm))
    model.learn(128, log_interval=None)
    policy = export(model, run_of(environment, algorithm))
    assert policy.total_steps == 128
    scales, bare = scales_of(model), gymnasium.make(environment)
    observation, _ = bare.reset(seed=3)
    for _ in range(40):
        expected, _ = model.predict(scales.normalize_obs(observation[None]), deterministic=True)
        outputs = batch_outputs(policy.actor, observation[None])[0]
        np.testing.assert_allclose(to_action(policy.actor.architecture, outputs), expected[0], atol=1e-5)
        observation = bare.step(bare.action_space.sample())[0]


@pytest.mark.parametrize("algorithm", ["PPO", "TRPO"])
def test_the_export_chooses_the_same_actions_as_the_library(algorithm):
    model = new_model(run_of("CartPole-v1", algorithm))
    model.learn(128, log_interval=None)
    actor = export(model, run_of("CartPole-v1", algorithm)).actor
    seen = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    expected, _ = model.predict(scales_of(model).normalize_obs(seen), deterministic=True)
    chosen = [to_action(actor.architecture, outputs) for outputs in batch_outputs(actor, seen)]
    assert chosen == expected.tolist()


def test_the_actor_has_the_sizes_of_the_recipe():
    policy, _ = train_one(run_of("Pendulum-v1", "SAC", hidden=(5, 7), steps=30), 1000)
    shape = policy.actor.architecture
    assert (shape.widths, shape.activation, shape.squashed) == ((3, 5, 7, 1), "relu", True)
    assert (shape.low, shape.high) == ((-2.0,), (2.0,))


def test_the_seed_determines_the_weights():
    run = run_of(steps=256)
    assert trained_hash(run) == trained_hash(run)
    assert trained_hash(run) != trained_hash(replace(run, seed=2))


@pytest.mark.parametrize("algorithm", SHORT)
def test_a_checkpoint_restores_weights_optimizers_and_scales(algorithm):
    run = run_of("Pendulum-v1", algorithm)
    model, fresh = new_model(run), new_model(replace(run, seed=9))
    model.learn(128, log_interval=None)
    tensors, description = state_of(model)
    restore(fresh, tensors, json.loads(json.dumps(description)))
    again, redescribed = state_of(fresh)
    assert again.keys() == tensors.keys()
    assert any(".optimizer/" in name for name in tensors)
    for name, value in tensors.items():
        assert torch.equal(again[name], value), name
    assert json.dumps(redescribed) == json.dumps(description)
    assert fresh.num_timesteps == 128
    assert trained(export(fresh, run)) == trained(export(model, run))


def trained(policy):
    return tensors_sha256(policy.actor.state_dict())


def interrupted(run, path, identity="mine"):
    """A run that is killed when it has 256 steps, and a checkpoint after 128."""
    costs = iter([{"cost": 1}])
    with pytest.raises(StopIteration):  # at the second checkpoint
        train_one(run, 32, Checkpointing(path, 128, identity), lambda: next(costs))
    assert path.is_file()


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_a_killed_run_resumes_from_its_checkpoint(algorithm, tmp_path, capsys):
    run, path = run_of("Pendulum-v1", algorithm, steps=640), tmp_path / "checkpoint.safetensors"
    interrupted(run, path)
    policy, log = train_one(run, 32, Checkpointing(path, 10_000, "mine"), lambda: {"cost": 2})
    assert "resuming after 128 of 640 steps" in capsys.readouterr().out
    assert policy.total_steps == 640
    assert log.costs == [{"cost": 1}, {"cost": 2}]
    assert [row["step"] for row in log.curve] == [528]  # 200 steps in either copy


def test_a_checkpoint_of_another_run_is_ignored(tmp_path):
    run, path = run_of("Pendulum-v1", steps=512), tmp_path / "checkpoint.safetensors"
    interrupted(run, path, "another")
    policy, log = train_one(run, 32, Checkpointing(path, 10_000, "mine"), lambda: {"cost": 2})
    assert log.costs == [{"cost": 2}]
    assert trained(policy) == trained_hash(run)


def test_a_damaged_checkpoint_restarts_the_training(tmp_path, capsys):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"no tensors")
    policy, _ = train_one(run_of(), 32, Checkpointing(path, 10_000, "mine"))
    assert "starting from the beginning" in capsys.readouterr().out
    assert trained(policy) == trained_hash(run_of())


def test_a_point_of_the_curve_averages_the_episodes_since_the_last_point():
    _, log = train_one(run_of("Pendulum-v1", steps=1280, settings=SHORT["PPO"]), 300)
    assert [(row["step"], row["episode_length"]) for row in log.curve] == [
        (400, 200),
        (800, 200),
        (1200, 200),
    ]
    assert all(-2000 < row["episode_return"] < 0 for row in log.curve)
    assert TrainingLog().curve == []


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (run_of(settings={"gama": 0.9}), r"recipes.CartPole-v1.PPO.settings.gama: unknown .*gamma"),
        (run_of(settings={"seed": 3}), r"settings.seed: unknown"),
        (run_of("CartPole-v1", "SAC"), "CartPole-v1 has discrete actions: SAC needs continuous ones"),
        (TrainingRun("CartPole-v1", "DQN", 1, recipe()), "DQN: no such algorithm"),
        (run_of("Hoper-v5"), "unknown to Gymnasium"),
    ],
)
def test_a_run_that_cannot_be_trained_raises_one_line(run, message):
    with pytest.raises(UserError, match=message) as raised:
        train_one(run, 100)
    assert "\n" not in str(raised.value)


def test_returns_depend_only_on_the_seeds():
    policy, _ = train_one(run_of(), 1000)
    returns = returns_of(policy, {}, [5, 6, 5])
    assert returns[0] == returns[2]
    assert all(value == int(value) and 1 <= value <= 500 for value in returns)  # CartPole pays 1 per step
    assert random_returns("CartPole-v1", {}, [1, 2]) == random_returns("CartPole-v1", {}, [1, 2])


def test_learned_means_a_share_of_the_distance_from_random_to_the_reference():
    assert has_learned(55.0, random=10.0, reference=100.0, share=0.5)
    assert not has_learned(54.9, random=10.0, reference=100.0, share=0.5)
    assert has_learned(-400.0, random=-1200.0, reference=-150.0, share=0.75)
    assert has_learned(1e9, random=10.0, reference=None, share=0.5) is None


def parameters(cells, recipes, pinned=None):
    section = {
        "seeds": [1, 2],
        "evaluation_episodes": 2,
        "evaluation_seed": 7,
        "checkpoint_steps": 1000,
        "curve_steps": 64,
        "learned_share": 0.5,
        "cells": cells,
        "pinned": pinned or {},
        "recipes": recipes,
    }
    return TypeAdapter(PolicyTrainingParameters).validate_json(json.dumps(section))


def test_a_plan_has_every_seed_of_every_environment_and_algorithm():
    settings = asdict(recipe())
    planned = plan(parameters({"PPO": ["CartPole-v1"]}, {"CartPole-v1": {"PPO": settings, "TRPO": settings}}))
    assert [str(run.file) for run in planned] == [
        "CartPole-v1/PPO/seed_1.safetensors",
        "CartPole-v1/PPO/seed_2.safetensors",
    ]
    with pytest.raises(UserError, match=r"train_policies.recipes.CartPole-v1.SAC: missing"):
        plan(parameters({"SAC": ["CartPole-v1"]}, {"CartPole-v1": {"PPO": settings}}))
    with pytest.raises(UserError, match="nothing to train"):
        plan(parameters({"PPO": []}, {}))
    with pytest.raises(ValidationError, match="DQN"):
        parameters({"DQN": ["CartPole-v1"]}, {})


def test_a_setting_of_the_zoo_falls_linearly_to_zero():
    schedules = SHORT["PPO"] | {"learning_rate": "lin_0.001", "clip_range": "lin_0.2"}
    model = new_model(run_of(settings=schedules))
    assert [model.lr_schedule(left) for left in (1.0, 0.25, 0.0)] == pytest.approx([1e-3, 2.5e-4, 0.0])
    assert model.clip_range(0.5) == pytest.approx(0.1)
    with pytest.raises(ValidationError, match="lin_x"):
        parameters({"PPO": ["A"]}, {"A": {"PPO": asdict(recipe(settings={"learning_rate": "lin_x"}))}})


def test_the_reference_return_is_not_part_of_the_identity():
    assert run_of(reference_return=1.0).identity == run_of(reference_return=None).identity
    assert run_of(steps=256).identity != run_of().identity


CODECARBON = CodeCarbonParameters(tracking_mode="process", country_iso_code="USA", sampling_s=15.0)
METERING = MeterParameters(meter="fake", codecarbon=CODECARBON)


class Fragile(gymnasium.Env):
    """Breaks in its third step."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the joint broke")
        return np.zeros(2, np.float32), 1.0, False, False, {}


@pytest.fixture
def fragile():
    gymnasium.register("Fragile-v0", entry_point=Fragile)
    yield "Fragile-v0"
    del gymnasium.registry["Fragile-v0"]


def test_a_crash_in_one_run_does_not_stop_the_others(fragile, tmp_path, monkeypatch):
    settings = asdict(recipe(steps=128))
    section = parameters(
        {"PPO": [fragile, "CartPole-v1"]}, {fragile: {"PPO": settings}, "CartPole-v1": {"PPO": settings}}
    )
    monkeypatch.setattr(tasks, "run_metered_cells", lambda do, todo, *_: [do(*task) for task in todo])
    runs = plan(section)
    with pytest.raises(UserError) as raised:
        tasks.train_policies(runs, section, METERING, tmp_path, tmp_path)
    message = str(raised.value)
    assert "2 of 4 policies failed" in message and "\n" not in message
    assert (
        "Fragile-v0 PPO seed 1: Fragile-v0: step: RuntimeError: the joint broke (step 3 of episode 1"
        in message
    )
    kept = list(tmp_path.rglob("seed_*.safetensors"))
    assert len(kept) == 2 and all("CartPole-v1" in str(path) for path in kept)

    monkeypatch.setattr(tasks, "train_and_evaluate", lambda *_: pytest.fail("trained again"))
    records, _ = tasks.train_policies(runs[2:], section, METERING, tmp_path, tmp_path)
    entries = tasks.policies_table(runs[2:], records, section)
    assert [policy["seed"] for policy in entries[0]["policies"]] == [1, 2]
    assert len(entries[0]["policies"][0]["returns"]) == 2
    assert entries[0]["policies"][0]["learned"] in (True, False)


def test_a_fault_of_the_environment_ends_a_training(fragile):
    with pytest.raises(EnvironmentFault, match=r"\(step 3 of episode 1 after seed 1\)"):
        train_one(run_of(fragile), 100)


def test_certain_failures_are_announced_before_training(capsys):
    tasks.announce_faults([run_of("Hoper-v5"), run_of("Hoper-v5", seed=2), run_of()])
    assert (
        capsys.readouterr().out.count("will fail, after the others are trained: environment 'Hoper-v5'") == 1
    )
