"""Study B's course notebook: simulated and real compression, its monitor, its rule, its arms."""

import math
from dataclasses import replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from notebooks import RULE, make_notebook, make_test
from sustainable.compression.quantization import QUANTIZED_LINEAR
from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.stand_ins import FakeMeter
from sustainable.policies.learning.recipes import PolicyTrainingParameters, Recipe
from sustainable.policies.policy import Actor, ActorArchitecture, linear_layers
from sustainable.policies.published import experiment, monitors
from sustainable.policies.published.environments import MockEnvironment, MockParameters, RealEnvironment
from sustainable.policies.published.experiment import (
    ARMS,
    NotebookParameters,
    NotebookTest,
    RealParameters,
    RealParts,
    experiment_rows,
    power_columns,
    power_rows,
    run_arms,
    run_experiment,
)
from sustainable.policies.published.models import SimulatedInt8, SimulatedSparse, compressed, notebook_agent
from sustainable.policies.published.monitors import MeteredMonitor, MonitorParameters, gpu_sensor, integrated
from sustainable.policies.published.rule import changes, judge
from sustainable.reporting.policies.notebook import CONTROL, PUBLISHED, judge_notebook, summarise_notebook
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED
from test_policies_reporting import PARAMETERS

MOCK = MockParameters(
    observations=6,
    actions=2,
    limit=8,
    load=4,
    quality_noise=0.1,
    poor_quality=0.1,
    poor_after=5,
    random_end=0.0,
)
MONITOR = MonitorParameters(
    interval_s=0.01, idle_s=0.02, cpu_idle_w=5.0, cpu_busy_w=60.0, ram_idle_w=1.0, ram_busy_w=2.0
)
NOTEBOOK = NotebookParameters(
    seeds=2,
    repaired_seeds=1,
    episodes=3,
    hidden=(8, 4),
    tests={
        "baseline": NotebookTest("none", 0.0),
        "quantized": NotebookTest("quantization", 0.5),
        "pruned": NotebookTest("pruning", 0.5),
        "mixed": NotebookTest("mixed", 0.5),
    },
    mock=MOCK,
    monitor=MONITOR,
    metered_interval_s=0.1,
    real=RealParameters("Pendulum-v1", "PPO"),
)


def make_agent():
    torch.manual_seed(0)
    return notebook_agent(6, (8, 4), 2)


def make_real():
    architecture = ActorArchitecture(3, 1, (8, 8), "tanh", (-2.0,), (2.0,))
    return RealParts(Actor(architecture).eval(), lambda: gymnasium.make("Pendulum-v1"), FakeMeter)


def test_simulated_int8_rounds_to_256_levels_and_draws_numbers():
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor([[0.0, 1.4, 100.2, 255.0]])
    rounded = SimulatedInt8(layer, overhead=0.5)
    assert rounded.weight.tolist() == [[0.0, 1.0, 100.0, 255.0]]
    torch.manual_seed(1)
    rounded(torch.ones(1, 4))  # half of the four inputs: two numbers
    drawn = torch.randn(1)
    torch.manual_seed(1)
    assert torch.randn(3)[2] == drawn


def test_simulated_pruning_zeroes_the_smallest_weights_and_keeps_their_place():
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor([[-4.0, 1.0, -2.0, 3.0]])
    assert SimulatedSparse(layer, share=0.5).weight.tolist() == [[-4.0, 0.0, 0.0, 3.0]]


def test_the_notebooks_mixed_method_only_prunes():
    agent, observation = make_agent(), torch.linspace(-1, 1, 6).unsqueeze(0)
    mixed = compressed(agent, "mixed", 0.5, "simulated")
    pruned = compressed(agent, "pruning", 0.35, "simulated")
    assert torch.equal(mixed(observation), pruned(observation))
    assert not any(isinstance(part, SimulatedInt8) for part in mixed)


def test_real_compression_computes_in_int8_and_removes_units():
    agent = make_agent()
    int8 = compressed(agent, "quantization", 0.5, "real")
    assert sum(isinstance(part, QUANTIZED_LINEAR) for part in int8) == 3
    pruned = linear_layers(compressed(agent, "pruning", 0.5, "real"))
    assert [layer.out_features for layer in pruned] == [4, 2, 2]
    both = compressed(agent, "mixed", 0.5, "real")  # prunes 35 %: of 8 and 4 units, 5 and 3 are left
    assert [part.out_features for part in both if isinstance(part, QUANTIZED_LINEAR)] == [5, 3, 2]


@pytest.mark.parametrize("method", ["none", "quantization", "pruning", "mixed"])
def test_nothing_compressed_is_a_copy(method):
    agent, observation = make_agent(), torch.ones(1, 6)
    copy = compressed(agent, method, 0.5, "none")
    assert torch.equal(copy(observation), agent(observation))
    assert copy[0].weight.data_ptr() != agent[0].weight.data_ptr()


def test_the_mock_environment_ends_poor_episodes_early():
    def steps(action, mock):
        torch.manual_seed(0)
        environment, done = MockEnvironment(mock), False
        environment.reset()
        while not done:
            _, reward, done = environment.step(action)
            assert 0.0 <= reward <= 1.0
        return environment.history[0].steps

    poor = torch.full((2,), 100.0)  # far from the best action: a quality of 1 / (1 + 141), and noise
    silent = MockParameters(**{**vars(MOCK), "quality_noise": 0.0})
    assert steps(poor, silent) == 6  # the first step after the fifth
    assert steps(torch.zeros(2), silent) == 8  # the limit


def test_a_real_episode_may_end_in_its_first_step():
    class Short(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            return np.zeros(2), {}

        def step(self, action):
            assert action == [1.0]  # clipped
            return np.zeros(2), 3.0, True, False, {}

    environment = RealEnvironment(Short(), seed=0)
    environment.reset()
    _, reward, done = environment.step(torch.tensor([5.0]))
    assert (reward, done, environment.history) == (3.0, True, [(1, 3.0)])


def test_the_notebooks_integral_by_hand():
    quiet = {"cpu": 1.0, "ram": 0.0, "gpu": 0.0}
    trace = [{"time_s": w / 10, **quiet, "total": w} for w in (10.0, 20.0, 30.0)]
    found = integrated(trace, quiet | {"total": 15.0}, interval_s=1.0, duration_s=2.5)
    assert found.gross_j["total"] == 40.0
    assert found.net_j["total"] == 12.5  # of 0, 5 and 15 W: below the idle power counts as zero
    assert (found.average_w["total"], found.peak_w["total"]) == (pytest.approx(20 / 3), 15.0)
    assert found.net_j["cpu"] == 0.0


class Late(FakeMeter):
    """Has values only for long spans, as a model of power."""

    def read(self):
        reading = super().read()
        return reading if reading.wall_time_s > 0.05 else replace(reading, cpu_j=None, ram_j=None)

    stop = read


def test_a_test_too_short_for_the_meter_has_no_energy():
    monitor = MeteredMonitor(Late, idle_s=0.06, interval_s=1.0)
    monitor.start()
    found = monitor.stop()
    assert (found.net_j, found.trace, found.evidence) == ({}, [], "fake")
    assert power_columns(found)["total_net_j"] is None


def test_an_idle_power_that_was_not_measured_is_no_zero():
    with pytest.raises(UserError, match=r"idle power: the meter has no value for 0\.01 s .*longer"):
        MeteredMonitor(Late, idle_s=0.01, interval_s=1.0)


def test_every_arm_changes_what_it_names():
    real = make_real()
    rows = {arm: run_experiment(arm, 0, NOTEBOOK, real) for arm in ARMS}
    assert [row["episodes_counted"] for row in rows["published"]] == [3, 6, 9, 12]
    assert [row["episodes_counted"] for row in rows["cleared history"]] == [3, 3, 3, 3]
    assert len({row["size_bytes"] for row in rows["published"]}) == 1
    assert rows["real compression"][1]["size_bytes"] == 0  # int8 weights are not among `parameters()`
    stored = [row["size_bytes"] for row in rows["all repaired"]]
    assert stored[0] > stored[2] > 0
    assert {row["evidence"] for row in rows["published"]} == {"modelled-load"}
    assert {row["evidence"] for row in rows["real meter"]} == {"fake"}
    assert rows["real environment"][0]["steps"] == 600  # three episodes of Pendulum


def test_a_killed_run_goes_on_and_its_rows_are_those_of_all_seeds(tmp_path, monkeypatch):
    ran = []

    def fake(arm, seed, parameters, real):
        ran.append((arm, seed))
        return [make_test(test, trace=[{"time_s": 0.0, "total": 9.0}]) for test in ("baseline", "pruned")]

    monkeypatch.setattr(experiment, "run_experiment", fake)
    path = tmp_path / "journal.jsonl"
    RowJournal(path, "same").append(
        {"arm": "published", "seed": 0, "tests": fake("published", 0, None, None)}
    )
    ran.clear()
    journal = RowJournal(path, "same")
    run_arms(NOTEBOOK, None, journal)
    assert len(ran) == 2 * 2 + 6 - 1 and ("published", 0) not in ran
    rows = experiment_rows(journal.rows, {"study": "B"})
    assert len(rows) == 2 * (2 * 2 + 6) and "trace" not in rows[0] and rows[0]["study"] == "B"
    assert len(power_rows(journal.rows)) == 2 * len(ARMS)  # the first seed's


def test_discrete_actions_are_one_line():
    with pytest.raises(UserError, match=r"notebook\.real: its actions are Discrete\(2\); name an"):
        RealEnvironment(gymnasium.make("CartPole-v1"), seed=0)


def test_a_gpu_is_read_where_torch_sees_one(monkeypatch):
    assert gpu_sensor()() == 0.0  # torch sees none here
    library = SimpleNamespace(nvmlDeviceGetHandleByIndex=str, nvmlDeviceGetPowerUsage={"0": 45_000}.get)
    monkeypatch.setattr(monitors, "load_library", lambda: library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu_sensor()() == 45.0  # NVML counts milliwatts


def test_a_policy_that_returns_nan_is_one_line():
    actor = Actor(ActorArchitecture(3, 1, (8, 8), "tanh", (-2.0,), (2.0,)))
    actor.layers[0].weight.data.fill_(math.nan)
    real = RealParts(actor.eval(), lambda: gymnasium.make("Pendulum-v1"), FakeMeter)
    with pytest.raises(UserError, match=r"a policy returned the action \[nan\]; train it again"):
        run_experiment("real environment", 0, NOTEBOOK, real)


def test_a_policy_that_is_not_trained_is_one_line():
    training = PolicyTrainingParameters(
        seeds=[1], evaluation_episodes=1, evaluation_seed=0, checkpoint_steps=1, curve_steps=1,
        learned_share=0.5, cells={"PPO": ["CartPole-v1"]}, pinned={},
        recipes={"CartPole-v1": {"PPO": Recipe(1, None, "none")}},
    )  # fmt: skip
    with pytest.raises(UserError, match=r"notebook\.real: Pendulum-v1 PPO is not among train_policies"):
        RealParameters("Pendulum-v1", "PPO").run(training)
    assert RealParameters("CartPole-v1", "PPO").run(training).seed == 1


def said(*others, **first):
    return judge(changes([make_test(**first), *others]), RULE)


def test_the_rule_by_hand():
    equal = said(make_test(), make_test())
    assert equal.findings == {"size": True, "drop": False, "overhead": False}
    assert (equal.validated, equal.smaller) == (False, 0)
    slower = said(make_test(policy_s=1.0001), make_test())
    assert slower.validated  # nothing is smaller, one test is slower by a hair
    saving = said(make_test(size=50, net=5.0, policy_s=0.5))
    assert saving.findings == {"size": False, "drop": False, "overhead": False}
    dropped = said(make_test(returned=40.0, net=9.0), make_test(returned=40.0, net=11.0))
    assert dropped.findings["drop"]  # one of two
    assert not said(make_test(returned=46.0, net=1.0)).findings["drop"]  # eight percent are no drop


def test_an_idle_host_above_the_load_decides_nothing():
    found = changes([make_test(net=0.0), make_test(net=1.0, size=50)])
    assert math.isnan(found[0].energy)
    assert judge(found, RULE).findings["size"] is False


@given(st.lists(st.tuples(st.floats(0.1, 99), st.floats(0.1, 99), st.floats(0.1, 9)), min_size=1, max_size=6))
def test_without_a_smaller_model_one_slower_test_is_enough(tests):
    rows = [make_test(net=net, returned=returned, policy_s=time) for net, returned, time in tests]
    outcome = said(*rows)
    assert outcome.findings["size"] and not outcome.smaller
    if any(time > 1.0 for _, _, time in tests):
        assert outcome.validated


@pytest.mark.parametrize(
    ("validating", "verdict"),
    [((PUBLISHED, CONTROL), REFUTED), ((PUBLISHED,), CONFIRMED), ((), INCONCLUSIVE)],
)
def test_the_verdict_on_the_notebook(validating, verdict):
    notebook = summarise_notebook(make_notebook(validating), RULE, PARAMETERS)
    found, reason, values = judge_notebook(notebook)
    assert found == verdict
    expected = 20 if PUBLISHED in validating else 0
    assert f"published {expected} of 20" in reason
    assert values[PUBLISHED]["vacuous"] == 20 and values[CONTROL]["size"] == 20


def test_changes_are_averaged_over_seeds():
    run = make_notebook()
    slow = (run.tests["arm"] == PUBLISHED) & (run.tests["test"] == "pruned")
    line = summarise_notebook(run, RULE, PARAMETERS).tests[1]
    assert (line.arm, line.test, slow.sum()) == (PUBLISHED, "pruned", 20)
    assert line.changes["policy_time"].estimate == pytest.approx(0.2)
    assert line.changes["size"].estimate == 0.0
