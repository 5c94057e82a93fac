"""Actors that are shipped as inputs: taken if recipe, weights and shape fit, and refused by name if not."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from sustainable.core.errors import UserError
from sustainable.policies.learning import tasks
from sustainable.policies.learning.pinned import is_shipped, take_actor, write_actor
from sustainable.policies.learning.recipes import pinned_runs, plan
from sustainable.policies.policy import Actor, ActorArchitecture, Policy
from test_learning import METERING, parameters, recipe, run_of

ORIGIN = {"curve": [{"step": 64, "episode_return": 1.0}], "conversion_difference": 0.0, "trained_with": {}}
PENDULUM = {"environment": "Pendulum-v1", "algorithm": "TD3", "hidden": (4,)}


def actor_of(run, observations=3):
    torch.manual_seed(run.seed)
    architecture = ActorArchitecture(observations, 1, (4,), "relu", (-2.0,), (2.0,), True)
    return Policy(Actor(architecture).eval(), run.environment, run.algorithm, run.seed, run.recipe.steps)


@pytest.fixture
def run():
    return run_of(**PENDULUM)


@pytest.fixture
def shipped(run, tmp_path):
    write_actor(tmp_path, run, actor_of(run), ORIGIN)
    return tmp_path


def test_an_actor_is_taken_as_it_was_written(run, shipped):
    policy, record = take_actor(run, shipped)
    for name, tensor in actor_of(run).actor.state_dict().items():
        assert torch.equal(policy.actor.state_dict()[name], tensor)
    assert record["curve"] == ORIGIN["curve"] and is_shipped(run, shipped)


def test_an_actor_of_another_recipe_is_refused(run, shipped):
    other = run_of(**PENDULUM, steps=999)
    assert not is_shipped(other, shipped)
    with pytest.raises(UserError, match=r"trained by another recipe than .*Pendulum-v1.TD3; restore it"):
        take_actor(other, shipped)


def test_an_actor_with_other_weights_is_refused(run, shipped):
    original = json.loads((shipped / "Pendulum-v1/TD3/seed_1.record.json").read_text())
    changed = actor_of(run)
    with torch.no_grad():
        changed.actor.layers[0].bias[0] += np.float32(1e-7)
    write_actor(shipped, run, changed, ORIGIN)
    (shipped / "Pendulum-v1/TD3/seed_1.record.json").write_text(json.dumps(original))
    with pytest.raises(UserError, match=r"not the weights that seed_1\.record\.json names"):
        take_actor(run, shipped)


def test_an_actor_of_another_shape_is_refused(run, tmp_path):
    write_actor(tmp_path, run, actor_of(run, observations=5), ORIGIN)
    with pytest.raises(UserError, match="does not fit Pendulum-v1: observations 5, the environment has 3"):
        take_actor(run, tmp_path)


def test_a_missing_actor_is_named_and_the_others_are_kept(run, shipped, monkeypatch):
    settings = asdict(run.recipe)
    section = parameters({}, {"Pendulum-v1": {"TD3": settings}}, {"TD3": ["Pendulum-v1"]})
    monkeypatch.setattr(tasks, "run_metered_cells", lambda do, todo, *_: [do(*task) for task in todo])
    with pytest.raises(UserError, match=r"1 of 2 policies failed.*seed 2: .*seed_2\.record\.json"):
        tasks.train_policies(plan(section), section, METERING, shipped, shipped / "work")


def test_pinned_actors_are_evaluated_and_not_trained(run, shipped, monkeypatch):
    second = run_of(**PENDULUM, seed=2)
    write_actor(shipped, second, actor_of(second), ORIGIN)
    section = parameters({}, {"Pendulum-v1": {"TD3": asdict(run.recipe)}}, {"TD3": ["Pendulum-v1"]})
    monkeypatch.setattr(tasks, "run_metered_cells", lambda do, todo, *_: [do(*task) for task in todo])
    records, files = tasks.train_policies(plan(section), section, METERING, shipped, shipped / "work")
    assert [len(record["returns"]) for record in records] == [2, 2]
    assert all(record["costs"] == [] for record in records)
    assert files[run.file] == shipped / run.file and len(files) == 4
    assert not (shipped / "work").exists()


def test_a_policy_is_either_trained_or_pinned():
    settings = {"Pendulum-v1": {"TD3": asdict(recipe())}}
    section = parameters({}, settings, {"TD3": ["Pendulum-v1"]})
    assert [cell.name for cell in plan(section)] == [cell.name for cell in pinned_runs(section)]
    with pytest.raises(UserError, match="Pendulum-v1 TD3 seed 1 is named twice, in cells or pinned"):
        plan(parameters({"TD3": ["Pendulum-v1"]}, settings, {"TD3": ["Pendulum-v1"]}))
