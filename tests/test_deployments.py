"""Deployed policies of the benchmark, and their memory."""

from itertools import count
from pathlib import Path

import gymnasium
import pytest
import torch

from sustainable.core.errors import UserError
from sustainable.policies.benchmark.bench import PolicyConfiguration, PolicyFolders
from sustainable.policies.benchmark.memory import read_memory
from sustainable.policies.compression.static_int8 import QATParameters, prepare_int8, save_prepared
from sustainable.policies.environments.rollout import collect_states
from sustainable.policies.learning.recipes import Recipe, TrainingRun
from sustainable.policies.policy import Actor, ActorArchitecture, Policy, save_policy

RUN = TrainingRun("CartPole-v1", "PPO", 1, Recipe(1, None, "none: it is not trained"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> PolicyFolders:
    folder = tmp_path_factory.mktemp("sources")
    folders = PolicyFolders(folder / "policies", folder / "prepared", folder / "cache")
    torch.manual_seed(0)
    actor = Actor(ActorArchitecture(4, 2, (8, 8), "tanh")).eval()
    save_policy(folders.policies / RUN.file, Policy(actor, "CartPole-v1", "PPO", 1, 0))
    states = collect_states(gymnasium.make("CartPole-v1"), lambda observation: 0, count(0), 32)
    save_prepared(folders.prepared / RUN.file, prepare_int8(actor, states, 1, QATParameters(2, 8, 1e-3)))
    return folders


def test_a_policy_is_deployed_and_labelled_in_every_configuration(sources):
    configurations = {
        "baseline": PolicyConfiguration("torch-eager"),
        "numpy": PolicyConfiguration("numpy"),
        "small": PolicyConfiguration("numpy", "structured", "l1", 0.5),
    }
    deployed = sources.deploy(RUN, configurations, gymnasium.make("CartPole-v1"))
    assert list(deployed) == list(configurations)
    observation = gymnasium.make("CartPole-v1").reset(seed=0)[0]
    assert deployed["baseline"].act(observation) == deployed["numpy"].act(observation)
    labels = {name: policy.labels for name, policy in deployed.items()}
    assert labels["baseline"]["weights_sha256"] == labels["numpy"]["weights_sha256"]
    assert labels["small"]["size_bytes"] < labels["numpy"]["size_bytes"]
    assert (labels["small"]["method"], labels["small"]["share"]) == ("structured", 0.5)


def test_an_unsupported_configuration_is_refused_with_its_key(sources):
    configurations = {"wrong": PolicyConfiguration("numpy", "ptdq")}
    with pytest.raises(UserError, match=r"configurations\.wrong: numpy does not support ptdq"):
        sources.deploy(RUN, configurations, gymnasium.make("CartPole-v1"))


def test_a_policy_for_another_environment_is_refused(sources):
    with pytest.raises(UserError, match="does not fit Acrobot-v1"):
        sources.deploy(RUN, {"baseline": PolicyConfiguration("numpy")}, gymnasium.make("Acrobot-v1"))


def test_memory_is_the_difference_of_two_readings(sources):
    memory = read_memory(sources.memory_request(RUN, PolicyConfiguration("numpy")))
    assert memory["process_rss_bytes"] == memory["rss_before_bytes"] + memory["policy_rss_bytes"]
    # float32: scale and mean of 4 observations, 4x8 + 8, 8x8 + 8 and 8x2 + 2 numbers
    assert memory["weights_bytes_memory"] == 4 * (8 + 40 + 72 + 18)


def test_a_process_that_fails_raises_one_line(sources):
    request = sources.memory_request(RUN, PolicyConfiguration("numpy")) | {"policy": str(Path("nowhere"))}
    with pytest.raises(UserError, match=r"memory of none on numpy: .*nowhere"):
        read_memory(request)
