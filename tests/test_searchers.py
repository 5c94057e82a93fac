import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env

import compare_searchers
from sustainable.core.errors import UserError
from sustainable.core.parameters import read_section
from sustainable.forecasting.search import ppo, samplers
from sustainable.forecasting.search.comparison import (
    describe_choices,
    improvement_rows,
    run_search,
    search_all,
)
from sustainable.forecasting.search.environments import (
    StepwiseEnv,
    continuous_env,
    continuous_point,
    published_env,
)
from sustainable.forecasting.search.landscape import (
    BudgetSpent,
    DeploymentReward,
    Landscape,
    Ledger,
    Point,
    SearchTarget,
)
from sustainable.forecasting.search.searchers import (
    SEARCHERS,
    EvolutionParameters,
    RandomParameters,
    Searchers,
    SearchersParameters,
)
from sustainable.statistics import evaluations_to_reach, mean_curve, regret_curve, share_interval
from sustainable.verification.folders import merge

REWARD = DeploymentReward(batch_size=64, accuracy_margin=0.01, penalty_per_point=1.0)
EAGER, INT8, ONNX = ("fp32", "torch-eager"), ("int8", "torch-eager"), ("fp32", "onnxruntime")
SPEED = {EAGER: 1.0, INT8: 2.0, ONNX: 4.0}
AGENT = {
    "timesteps": 128,
    "environments": 4,
    "steps_per_update": 8,
    "batch_size": 16,
    "epochs": 4,
    "learning_rate": 0.003,
    "entropy": 0.1,
    "gae_lambda": 0.95,
    "units": (16,),
}
PARAMETERS = Searchers(
    random=RandomParameters(),
    evolution=EvolutionParameters(children=400, population=6, tournament=2),
    tpe=samplers.TpeParameters(trials=150, startup=10, multivariate=True),
    cmaes=samplers.PopulationParameters(trials=40, population=4),
    nsga2=samplers.PopulationParameters(trials=60, population=6),
    ppo_published=ppo.PpoParameters(**AGENT),
    ppo_continuous=ppo.PpoParameters(**AGENT),
    ppo_stepwise=ppo.PpoParameters(**AGENT),
    ppo_stepwise_unmasked=ppo.UnmaskedParameters(error=-10.0),
    ppo_stepwise_warm=ppo.WarmParameters(random_evaluations=5, elite_share=0.2, imitation_epochs=5),
)


def row(family, width_0, width_1, target, accuracy=0.7, full=40):
    flops = 100.0 * (width_0 + width_1)
    return {
        "family": family,
        "width_0": width_0,
        "width_1": width_1,
        "precision": target[0],
        "runtime": target[1],
        "validation_accuracy": accuracy,
        "flops": flops,
        "cpu_time_ms_batch_64": flops / (100 * 2 * full) / SPEED[target],
    }


def table(widths=(40, 20, 10), accuracies=None):
    """The product of three widths with three targets; CPU time is the share of FLOPs by the target's speed,
    so that 1 ms is the baseline's."""
    accuracies = accuracies or {}
    grid = [
        row("grid", a, b, target, accuracies.get((a, b), 0.7), max(widths))
        for a in widths
        for b in widths
        for target in SPEED
    ]
    shares = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7]
    equal = sorted({round(max(widths) * (1 - share)) for share in shares} - set(widths))
    diagonal = [
        row("diagonal", width, width, target, 0.7, max(widths)) for width in equal for target in (EAGER, INT8)
    ]
    masked = [row("masked", max(widths), max(widths), EAGER, 0.1, max(widths))]
    return pd.DataFrame(grid + diagonal + masked)


def tiny(**arguments):
    return Landscape.of_table(table(**arguments), REWARD)


@pytest.mark.parametrize(
    ("speedup", "loss", "reward"),
    [
        (1.0, 0.0, 0.0),
        (math.e, 0.01, 1.0),  # the margin is free
        (math.e, -0.05, 1.0),  # a gain in accuracy is not paid
        (math.e**2, 0.03, 0.0),  # two points beyond the margin cost two nats
    ],
)
def test_the_reward_by_hand(speedup, loss, reward):
    assert REWARD.of(speedup, loss) == pytest.approx(reward)
    assert replace(REWARD, penalty_per_point=0.0).of(speedup, loss) == pytest.approx(math.log(speedup))


def test_the_landscape_by_hand():
    landscape = tiny(accuracies={(10, 10): 0.66})
    assert landscape.widths == (10, 20, 40)
    assert landscape.targets == (SearchTarget(*ONNX), SearchTarget(*EAGER), SearchTarget(*INT8))
    assert len(list(landscape.grid())) == 27
    assert len(landscape.outcomes) == 27 + 2 * 6  # 40 pruned by 10 to 40 %, 60 and 70 %
    assert landscape.outcomes[landscape.baseline] == (0.0, 0.0, 0.0)
    small = landscape.outcomes[Point(10, 10, *ONNX)]  # 16 times quicker, 4 points worse
    assert small == pytest.approx((math.log(16) - 3, -math.log(16), 0.04))
    # 20x10 and 10x20 are equally quick: the smaller name, so that every host says the same
    assert landscape.oracle == Point(10, 20, *ONNX)
    assert landscape.outcomes[landscape.oracle].reward == pytest.approx(math.log(80 / 30 * 4))
    assert landscape.best_uncompressed == Point(40, 40, *ONNX)
    assert landscape.flops_share(10, 40) == pytest.approx(50 / 80)
    assert landscape.on_grid(landscape.oracle)
    assert not landscape.on_grid(Point(36, 36, *EAGER))


def refuse(rows, *points):
    """The table `rows` where `points` were refused, and so neither scored nor timed."""
    rows = rows.assign(refused=None)
    for point in points:
        own = (rows[list(Point._fields)] == list(point)).all(axis=1) & (rows["family"] != "masked")
        rows.loc[own, "refused"] = "seed 1: a logit is 0.86 off"
        rows.loc[own, ["validation_accuracy", "cpu_time_ms_batch_64"]] = math.nan
    return rows


def test_a_refused_point_saves_nothing_and_hits_nothing():
    best, quick, action = Point(10, 10, *ONNX), Point(40, 40, *ONNX), Point(28, 28, *INT8)
    landscape = Landscape.of_table(refuse(table(), best, quick, action), REWARD)
    assert landscape.refused == {best, quick, action}
    assert list(landscape.outcomes) == list(tiny().outcomes)
    for point in landscape.refused:  # all accuracy but the margin: 99 points at a nat each
        assert landscape.outcomes[point] == pytest.approx((-99.0, 0.0, 1.0))
    assert landscape.outcomes[Point(10, 20, *ONNX)].reward == pytest.approx(math.log(80 / 30 * 4))
    assert landscape.oracle == Point(10, 20, *ONNX)
    assert landscape.best_uncompressed == landscape.baseline
    assert action in {landscape.published(number) for number in range(16)}
    assert len(list(landscape.grid())) == 27
    ledger = Ledger(landscape, 1)
    assert ledger.evaluate(best).accuracy_loss == 1.0


def test_a_refused_point_is_never_the_oracle_even_where_accuracy_is_free():
    others = [point for point in tiny().outcomes if point != tiny().baseline]
    free = replace(REWARD, penalty_per_point=0.0)
    landscape = Landscape.of_table(refuse(table(), *others), free)
    assert {outcome.reward for outcome in landscape.outcomes.values()} == {0.0}
    assert landscape.oracle == landscape.best_uncompressed == landscape.baseline


def test_a_table_in_which_nothing_was_refused_may_lack_the_column():
    assert Landscape.of_table(refuse(table()), REWARD) == tiny()
    assert tiny().refused == frozenset()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="flops"), "column 'flops' is missing"),
        (lambda t: t.rename(columns={"cpu_time_ms_batch_64": "x"}), "'cpu_time_ms_batch_64' is missing"),
        (lambda t: t.iloc[1:], "the baseline's row is missing"),
        (lambda t: t[t["family"] == "masked"], "the baseline's row is missing"),
        (lambda t: t.drop(index=5), "the grid has no row for 40x20 fp32 on onnxruntime"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "40x40 fp32 on torch-eager has two rows"),
        (lambda t: t.assign(cpu_time_ms_batch_64=0.0), "is missing or not positive"),
        (lambda t: t.assign(validation_accuracy=math.nan), "is missing or not positive"),
        (
            lambda t: refuse(t, Point(40, 40, *EAGER)),
            r"the baseline \(40x40 fp32 on torch-eager\) was refused: seed 1: a logit is 0.86 off",
        ),
    ],
)
def test_a_table_that_is_not_whole_is_refused(change, message):
    with pytest.raises(UserError, match=message) as caught:
        Landscape.of_table(change(table()), REWARD)
    assert "\n" not in str(caught.value)


def test_published_actions_become_real_widths():
    landscape = tiny(widths=(256, 128, 64))
    points = [landscape.published(action) for action in range(16)]
    assert [p.width_0 for p in points[:8]] == [256, 230, 205, 179, 154, 128, 102, 77]
    assert all(p.width_0 == p.width_1 and p.runtime == "torch-eager" for p in points)
    assert [p.precision for p in points] == ["fp32"] * 8 + ["int8"] * 8
    bare = table()
    with pytest.raises(UserError, match=r"no row for the published action 1 \(36x36 fp32 on torch-eager\)"):
        Landscape.of_table(bare[bare["family"] == "grid"], REWARD).published(1)


def test_the_ledger_counts_distinct_points_and_ends_at_the_budget():
    ledger = Ledger(tiny(), 3)
    points = [
        Point(40, 40, *EAGER),
        Point(40, 40, *INT8),
        Point(40, 20, *EAGER),
        Point(10, 10, *ONNX),
    ]
    for point in [points[0], points[1], points[1], points[0], points[2]]:
        ledger.evaluate(point)
    assert ledger.distinct == 3
    with pytest.raises(BudgetSpent):
        ledger.evaluate(points[3])
    assert ledger.evaluate(points[1]).reward == pytest.approx(math.log(2))  # what is known stays free
    assert [point for point, _ in ledger.evaluated()] == points[:3]
    assert [(found.evaluation, found.point) for found in ledger.improvements()] == [
        (1, points[0]),
        (2, points[1]),
    ]


@pytest.mark.parametrize("name", SEARCHERS)
def test_searchers_stay_within_the_budget_and_repeat_themselves(name):
    landscape, parameters = tiny(), PARAMETERS.by_name()[name]
    first, again = (run_search(landscape, 9, name, 5, parameters) for _ in range(2))
    assert first == again
    assert 1 <= first.distinct <= 9
    assert first.steps >= first.distinct
    rewards = [found.reward for found in first.improvements]
    assert rewards == sorted(rewards)


@pytest.mark.parametrize("name", ["random", "evolution", "tpe"])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_the_whole_space_as_budget_the_optimum_is_found(name, seed):
    landscape = tiny(accuracies={(10, 10): 0.65, (20, 10): 0.66})
    found = run_search(landscape, 27, name, seed, PARAMETERS.by_name()[name])
    assert found.improvements[-1].point == landscape.oracle == Point(10, 20, *ONNX)


def test_the_stepwise_agent_learns():
    """Its last episodes are better than its first, and better than chance by far."""
    landscape = tiny()
    parameters = replace(PARAMETERS.ppo_stepwise, timesteps=3000, entropy=0.0)
    seen = []
    ledger = Ledger(landscape, 27)
    evaluate = ledger.evaluate
    ledger.evaluate = lambda point: seen.append(evaluate(point).reward) or evaluate(point)
    SEARCHERS["ppo_stepwise"](ledger, 3, parameters)
    assert len(seen) >= 3000 // 4 - 4
    oracle = landscape.outcomes[landscape.oracle].reward
    assert np.mean(seen[-100:]) > 0.9 * oracle > np.mean(seen[:20])


def test_a_warm_start_imitates_the_best():
    landscape = tiny()
    ledger = Ledger(landscape, 27)
    training = PARAMETERS.ppo_stepwise
    warm = ppo.WarmParameters(random_evaluations=27, elite_share=1 / 27, imitation_epochs=200)
    agent = ppo._agent(ppo.MaskablePPO, lambda: StepwiseEnv(ledger), 0, training)
    for point in landscape.grid():
        ledger.evaluate(point)
    ppo._imitate_best(agent, ledger, warm)
    environment = StepwiseEnv(ledger)
    observation, _ = environment.reset()
    for action in environment.actions_of(landscape.oracle):
        masks = environment.action_masks()
        assert int(agent.predict(observation, deterministic=True, action_masks=masks)[0]) == action
        observation = environment.step(np.int64(action))[0]


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized:UserWarning")
@pytest.mark.parametrize("make", [StepwiseEnv, published_env, continuous_env])
def test_the_environments_pass_the_check(make):
    check_env(make(Ledger(tiny(), 100)))


LANDSCAPE = tiny()


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.booleans())
def test_shaped_rewards_sum_to_the_reward(actions, shaped):
    environment = StepwiseEnv(Ledger(LANDSCAPE, 100), shaped=shaped, error=-10.0)
    environment.reset()
    rewards, done = [], False
    for action in actions:
        if not done:
            possible = environment.action_masks()[action]
            observation, reward, done, _, _ = environment.step(np.int64(action))
            assert environment.observation_space.contains(observation)
            rewards.append(reward)
    expected = -10.0
    if possible:
        point = Point(*(axis[action] for axis, action in zip(environment.axes, actions, strict=True)))
        expected = LANDSCAPE.outcomes[point].reward
    assert done
    assert sum(rewards) == pytest.approx(expected)
    if not shaped:
        assert rewards[:-1] == [0.0] * (len(rewards) - 1)


def test_masks_forbid_what_is_not_offered():
    environment = StepwiseEnv(Ledger(tiny(), 100))
    assert environment.axes[2:] == (("fp32", "int8"), ("onnxruntime", "torch-eager"))
    environment.reset()
    masks = []
    for action in (0, 0, 1):  # int8
        masks.append(environment.action_masks().tolist())
        environment.step(np.int64(action))
    assert masks == [[True] * 3, [True] * 3, [True, True, False]]  # two precisions
    assert environment.action_masks().tolist() == [False, True, False]  # int8 is not offered on ONNX
    assert environment.step(np.int64(0))[1:3] == (pytest.approx(-10 - math.log(4)), True)


def test_the_observation_by_hand():
    environment = StepwiseEnv(Ledger(tiny(), 100))
    assert environment.reset()[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    observation, reward, *_ = environment.step(np.int64(1))  # 20 units: 60 of 80 are left
    assert observation.tolist() == [0, 1, 0, 0, 0.5, 0, 0, 0, 0.75]
    assert reward == pytest.approx(math.log(80 / 60))


def test_continuous_actions_become_widths_of_the_grid():
    landscape = tiny()
    decode = lambda *action: continuous_point(landscape, np.array(action))  # noqa: E731
    assert decode(0.0, 0.0, 0.0, 0.0) == Point(40, 40, *EAGER)
    assert decode(0.24, 0.26, 0.0, 0.51) == Point(40, 20, *INT8)  # 30.4 and 29.6 units
    assert decode(1.0, 0.2, 0.6, 0.5) == Point(10, 20, *EAGER)  # the readout's pruning takes units as well
    assert decode(0.25, 0.0, 0.0, 0.0).width_0 == 20  # 30 is as near to 20 as to 40


@pytest.mark.parametrize("shortened", [False, True])
def test_the_projects_parameters_are_valid(project, tmp_path, shortened):
    content = yaml.safe_load((project / "params.yaml").read_text())
    if shortened:
        merge(content, yaml.safe_load((project / "stages" / "profiles" / "smoke.yaml").read_text()))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict.fromkeys(content)}))
    read = read_section(tmp_path / "params.yaml", "compare_searchers", SearchersParameters)
    assert list(read.searchers.by_name()) == list(SEARCHERS)


def test_the_stage_writes_what_it_found(tmp_path, monkeypatch):
    own = {name: vars_of(value) for name, value in vars(PARAMETERS).items()}
    section = {"budget": 8, "seeds": 2, "first_seed": 7, "reward": vars_of(REWARD), "searchers": own}
    shared = {"benchmarks": {}, "profile": "smoke", "protocols": {"audited": {"csv": "a.csv"}}}
    codecarbon = {"tracking_mode": "process", "country_iso_code": "USA", "sampling_s": 15.0}
    content = {
        **shared,
        "metering": {"meter": "fake", "codecarbon": codecarbon},
        "compare_searchers": section,
    }
    paths = {name: tmp_path / name for name in ("improvements.csv", "choices.json", "cost.json")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"compare_searchers": {}}}))
    table().to_csv(tmp_path / "candidates.csv", index=False)
    arguments = SimpleNamespace(
        params=tmp_path / "params.yaml",
        candidates=tmp_path / "candidates.csv",
        **{path.stem: path for path in paths.values()},
    )
    monkeypatch.setattr(compare_searchers, "stage_arguments", lambda *_: arguments)
    compare_searchers.main()  # over the cores, in other processes
    rows = pd.read_csv(paths["improvements.csv"])
    read = read_section(arguments.params, "compare_searchers", SearchersParameters)
    here = search_all(tiny(), read, workers=1)
    assert rows.to_dict("records") == [pytest.approx(line) for line in improvement_rows(here)]
    assert set(rows["searcher"]) == set(SEARCHERS)
    assert set(rows["seed"]) == {7, 8}
    first = [search for search in here if search.seed == 7]
    choices = yaml.safe_load(paths["choices.json"].read_text())
    assert choices == describe_choices(tiny(), 8, first)
    assert (choices["points"], choices["grid_points"], choices["oracle_on_grid"]) == (39, 27, True)
    assert {"baseline", "best_uncompressed", "oracle", *SEARCHERS} == set(choices["choices"])
    cost = yaml.safe_load(paths["cost.json"].read_text())
    assert cost["random"]["evaluations"] == cost["random"]["steps"] == 8
    assert set(cost) == set(SEARCHERS)


def vars_of(value):
    return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(value).items()}


def test_regret_by_hand():
    improvements = [(1, 0.5), (3, 2.0), (4, 2.5)]
    assert regret_curve(improvements, 3.0, 6).tolist() == [2.5, 2.5, 1.0, 0.5, 0.5, 0.5]
    assert regret_curve(improvements, 3.0, 2).tolist() == [2.5, 2.5]
    with pytest.raises(ValueError, match="the first improvement must be evaluation 1, not 2"):
        regret_curve([(2, 1.0)], 3.0, 6)


def test_evaluations_to_reach_by_hand():
    improvements = [(1, 0.5), (3, 1.97), (4, 1.98), (9, 2.0)]
    assert evaluations_to_reach(improvements, 2.0) == 4  # 0.99 x 2 = 1.98
    assert evaluations_to_reach(improvements, 2.0, share=0.25) == 1
    assert evaluations_to_reach(improvements, 3.0) is None
    assert evaluations_to_reach([(1, -1.0), (2, -0.5)], -0.5) == 2


def test_the_mean_curve_by_hand():
    same = mean_curve(np.array([[3.0, 1.0], [3.0, 1.0]]))
    assert (same.mean.tolist(), same.low.tolist(), same.high.tolist(), same.n) == ([3, 1], [3, 1], [3, 1], 2)
    curve = mean_curve(np.array([[0.0, 4.0], [2.0, 4.0]]))  # drawn means are 0, 1 and 2 (1/4, 1/2, 1/4)
    assert (curve.mean.tolist(), curve.low.tolist(), curve.high.tolist()) == ([1, 4], [0, 4], [2, 4])
    half = mean_curve(np.array([[0.0], [2.0]]), confidence=0.4)
    assert (half.low.tolist(), half.high.tolist()) == ([1], [1])


def test_wilsons_interval_by_hand():
    # 0 of 10: from 0 to z^2 / (n + z^2) = 3.8415 / 13.8415
    assert share_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert share_interval(10, 10) == pytest.approx((1 - 0.27753, 1.0), abs=1e-4)
    low, high = share_interval(5, 10)
    assert low + high == pytest.approx(1.0)
