"""The plan for several machines: schedules by hand, and one machine as the forecast has it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.tools import plan
from sustainable.verification.claim import forecast, scaling
from sustainable.verification.claim.scaling import Cluster, Cost, Matrix, makespan_s

REFERENCE = STAGES.parent / "data/reference"


def test_the_longest_cells_start_first():
    assert makespan_s([2.0, 3.0, 2.0], 1) == 7.0
    assert makespan_s([2.0, 3.0, 2.0], 2) == 4.0  # 3 beside 2, which 2 follows
    assert makespan_s([2.0, 3.0, 2.0], 3) == makespan_s([2.0, 3.0, 2.0], 300) == 3.0
    assert makespan_s([], 2) == 0.0


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=30), st.integers(1, 40))
def test_no_schedule_beats_the_longest_cell_or_the_mean_load(cells, cores):
    least = max(max(cells), sum(cells) / cores)
    assert least * (1 - 1e-9) <= makespan_s(cells, cores) <= 4 / 3 * least + max(cells)


def test_cells_spread_over_nodes_and_other_stages_do_not():
    params = {"train_baseline": {"weather": {"hidden": 8, "layers": 1, "seeds": [1, 2, 3, 4], "recipe": {}}}}
    params["train_baseline"]["weather"]["recipe"] = {"epochs": 1, "patience_epochs": 1}
    trained = forecast.Effort("train_baseline@weather", 20.0 + forecast.DVC_S, 1.0)
    measured = forecast.Effort("benchmark@weather", 30.0, 1.0)
    for nodes, wall_s in {1: 20.0, 2: 10.0, 100: 10.0}.items():  # 4 equal cells of 10 s, on 2 cores per node
        cost = scaling.stage_cost(trained, params, Cluster(nodes, 2))
        assert cost.wall_s == pytest.approx(wall_s + forecast.DVC_S)
        assert cost.core_s == pytest.approx(40.0 + forecast.DVC_S)
        assert scaling.stage_cost(measured, params, Cluster(nodes, 2)) == Cost(30.0, 60.0)


def test_a_design_takes_one_node(monkeypatch):
    monkeypatch.setattr(scaling, "policy_designs", lambda params, cores: [3.0, 2.0, 1.0])
    effort = forecast.Effort("benchmark_policies", 60.0 + forecast.DVC_S, 1.0)
    for nodes, wall_s in {1: 60.0, 2: 30.0, 3: 30.0}.items():  # the designs take 30, 20 and 10 s
        cost = scaling.stage_cost(effort, {}, Cluster(nodes, 4))
        assert cost == Cost(wall_s + forecast.DVC_S, 4 * effort.wall_s)


def test_one_node_takes_what_the_forecast_says():
    params = dict(forecast.shipped_parameters(REFERENCE))
    stages, cores = list(forecast.shipped_efforts(REFERENCE)), forecast.shipped_cores(REFERENCE)
    costs = scaling.stage_costs(stages, REFERENCE, params, Cluster(1, cores))
    for effort in forecast.forecast_efforts(stages, REFERENCE, params, 1.0, cores):
        assert costs[effort.stage].wall_s == pytest.approx(effort.wall_s)


def test_a_pair_without_a_recipe_takes_the_longest_of_its_algorithm():
    recipes = {"A": {"PPO": {"steps": 5000}}, "B": {"PPO": {"steps": 10000}}, "C": {"TRPO": {"steps": 5000}}}
    matrix = Matrix(("PPO", "TRPO"), ("A", "B", "C"), seeds=1, compressions=1)
    seconds = scaling.training_seconds(matrix, {"train_policies": {"recipes": recipes}})
    assert seconds == [1.0, 2.0, 2.0, 1.0, 1.0, 1.0]  # at 5000 steps per second


def test_the_cost_is_that_of_all_nodes_from_start_to_end(capsys):
    clusters, costs = (
        [Cluster(1, 2), Cluster(10, 2)],
        [{"s": Cost(7200.0, 7200.0)}, {"s": Cost(3600.0, 7200.0)}],
    )
    plan.print_table("title", clusters, costs, price=0.5)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-4:-1] == [
        ["together", "120", "60"],
        ["core-hours", "2.0", "2.0"],
        ["node-hours", "2.0", "10.0"],
    ]
    assert lines[-1][-2:] == ["1.00", "5.00"]


@pytest.mark.parametrize(("cores", "price"), [(0, None), (2000, None), (None, -1.0), (None, math.nan)])
def test_impossible_nodes_are_refused(cores, price):
    with pytest.raises(UserError, match=r"--(cores|price)"):
        plan.refuse_impossible(cores, price)
