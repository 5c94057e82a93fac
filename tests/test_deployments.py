"""Deployed policies of the benchmark, and their memory."""

from itertools import count
from pathlib import Path

import gymnasium
import pytest
import torch

from sustainable.core.errors import UserError
from sustainable.policies.benchmark import footprint
from sustainable.policies.benchmark.deployments import PolicyConfiguration, PolicyFolders
from sustainable.policies.benchmark.footprint import LargeNetwork, MemoryParameters, memory_rows
from sustainable.policies.benchmark.memory import read_memory
from sustainable.policies.compression.saved import save_deployed
from sustainable.policies.compression.static_int8 import QATParameters, prepare_int8, save_prepared
from sustainable.policies.environments.rollout import collect_states
from sustainable.policies.learning.recipes import Recipe, TrainingRun
from sustainable.policies.policy import Actor, ActorArchitecture, Policy, load_policy, save_policy

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


def test_memory_is_read_of_each_configuration_of_both_networks(sources, monkeypatch):
    configurations = {
        "numpy": PolicyConfiguration("numpy"),
        "half": PolicyConfiguration("numpy", "structured", "l1", 0.5),
    }
    large = LargeNetwork((16, 16), ["numpy", "half"])
    wanted = MemoryParameters("CartPole-v1", "PPO", 2, ["numpy", "half"], large)
    monkeypatch.setattr(
        footprint,
        "in_random_order",
        lambda requests, seed: [
            {"name": name, "bytes": Path(saved).stat().st_size} for saved, _, name in requests
        ],
    )
    rows = memory_rows(RUN, sources, wanted, configurations, 0)
    expected = [(network, name) for network in ("policy", "large") for name in ("numpy", "half")]
    assert [(row["network"], row["configuration"]) for row in rows[::2]] == expected
    assert [row["repeat"] for row in rows] == [0, 1] * 4
    for row in rows:
        assert row["name"] == f"{row['configuration']} ({row['network']})"
        assert row["bytes"] == row["weights_bytes_disk"]
    # float32: scale and mean of 4 observations, then each layer's weights and biases
    widths = [(8, 8), (4, 4), (16, 16), (8, 8)]
    assert [row["weights_bytes_memory"] for row in rows[::2]] == [
        4 * (8 + 4 * a + a + a * b + b + b * 2 + 2) for a, b in widths
    ]


def test_memory_is_the_difference_of_two_readings(sources, tmp_path):
    actor = load_policy(sources.policies / RUN.file).actor
    deployed = sources.deployed(actor, None, "numpy", PolicyConfiguration("numpy"))
    save_deployed(tmp_path / "saved", deployed)
    memory = read_memory(str(tmp_path / "saved"), 4, "numpy")
    assert memory["process_rss_bytes"] == memory["rss_before_bytes"] + memory["policy_rss_bytes"]
    assert 50e6 < memory["rss_before_bytes"] < 2e9  # torch is loaded before


def test_readings_keep_the_order_of_their_requests(monkeypatch):
    taken = []
    monkeypatch.setattr(
        footprint, "in_parallel", lambda function, requests, name: [taken.append(r) or r for r in requests]
    )
    requests = [(str(number), 4, "name") for number in range(20)]
    assert footprint.in_random_order(requests, 1) == requests
    assert taken != requests
    assert sorted(taken) == sorted(requests)


def test_a_process_that_fails_raises_one_line():
    with pytest.raises(UserError, match=r"memory of ptdq \(policy\): .*nowhere"):
        read_memory("nowhere", 4, "ptdq (policy)")
