import json
import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env

import compare_searchers
import tune_searchers
from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json
from sustainable.core.parameters import read_section
from sustainable.forecasting.search import local, mixed_cmaes, ppo, samplers, space, tuned, tuning
from sustainable.forecasting.search.comparison import (
    Task,
    describe_choices,
    improvement_rows,
    run_search,
    search_all,
    searchers_for,
)
from sustainable.forecasting.search.environments import (
    StepwiseEnv,
    continuous_env,
    continuous_point,
    published_env,
)
from sustainable.forecasting.search.landscape import BudgetSpent, Landscape, Ledger, Point
from sustainable.forecasting.search.objective import DeploymentReward, SearchTarget
from sustainable.forecasting.search.searchers import (
    GROUPS,
    SEARCHERS,
    EvolutionParameters,
    RandomParameters,
    Searchers,
    SearchersParameters,
    TuningParameters,
)
from sustainable.statistics import evaluations_to_reach, mean_curve, regret_curve, share_interval

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
    local_search=local.LocalParameters(starts=50, samples=1, neighbours="any", move="best"),
    evolution=EvolutionParameters(children=400, population=6, tournament=2),
    tpe=samplers.TpeParameters(trials=150, startup=10, multivariate=True),
    cmaes=mixed_cmaes.CmaesParameters(trials=400, population=5, growth=2, spread=0.3, patience=2),
    nsga2=samplers.NsgaParameters(trials=60, population=6),
    ppo_published=ppo.PpoParameters(**AGENT),
    ppo_continuous=ppo.PpoParameters(**AGENT),
    ppo_stepwise=ppo.PpoParameters(**AGENT),
    ppo_stepwise_unmasked=ppo.UnmaskedParameters(error=-10.0),
    ppo_stepwise_warm=ppo.WarmParameters(random_evaluations=5, elite_share=0.2, imitation_epochs=5),
)
GRIDS = {
    "local_search": {"samples": [1, 2], "neighbours": ["any", "adjacent"]},
    "evolution": {"population": [4, 8], "tournament": [2, 3]},
    "tpe": {"startup": [5, 10], "multivariate": [True, False]},
    "cmaes": {"population": [5, 7], "growth": [1, 2]},
    "nsga2": {"population": [4, 6, 8]},
    "ppo_stepwise": {"learning_rate": [1e-3, 3e-3], "entropy": [0.05, 0.1]},
}
COMPARISON = SearchersParameters(
    budgets=[0.1, 0.3],
    main_budget=0.3,
    seeds=2,
    seeds_unranked=1,
    first_seed=7,
    reward=REWARD,
    searchers=PARAMETERS,
)
TUNING = TuningParameters(settings=2, seeds=2, first_seed=100, grids=GRIDS)


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


def test_a_table_without_the_published_actions_has_no_searcher_of_them():
    whole, bare = tiny(), table()
    grid = Landscape.of_table(bare[bare["family"] == "grid"], REWARD)
    assert (whole.has_published_actions, grid.has_published_actions) == (True, False)
    missing = searchers_for(whole, COMPARISON).keys() - searchers_for(grid, COMPARISON).keys()
    assert missing == {"ppo_published"}


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


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_search_with_a_smaller_budget_is_the_beginning_of_a_longer_one(name):
    """So one search with the largest budget gives the regret at every smaller one."""
    landscape, parameters = tiny(), PARAMETERS.by_name()[name]
    longer = run_search(landscape, 12, name, 3, parameters)
    for budget in (1, 4, 9):
        shorter = run_search(landscape, budget, name, 3, parameters)
        assert shorter.distinct == min(budget, longer.distinct)
        assert shorter.improvements == [rise for rise in longer.improvements if rise.evaluation <= budget]


def test_neighbours_by_hand():
    landscape = tiny()
    corner = Point(40, 20, *ONNX)
    adjacent = {
        Point(20, 20, *ONNX),
        Point(40, 10, *ONNX),
        Point(40, 40, *ONNX),
        Point(40, 20, *EAGER),
        Point(40, 20, *INT8),
    }
    assert set(local.neighbours(landscape, corner, "adjacent")) == adjacent
    assert set(local.neighbours(landscape, corner, "any")) == adjacent | {Point(10, 20, *ONNX)}


def test_a_climb_ends_at_the_top_and_counts_every_evaluation_once():
    """From any point of this landscape two or three moves lead to the oracle."""
    landscape = tiny()
    ledger = Ledger(landscape, 27)
    rng = np.random.default_rng(0)
    local._climb(Point(40, 40, *EAGER), ledger, rng, PARAMETERS.local_search)
    assert ledger.improvements()[-1].point == landscape.oracle
    assert ledger.distinct < 27 < ledger.requests
    known = [point for point, _ in ledger.evaluated()]
    assert set(local.neighbours(landscape, landscape.oracle, "any")) <= set(known)  # none is better


@pytest.mark.parametrize("move", ["best", "first"])
@pytest.mark.parametrize("samples", [1, 5, 99])
def test_local_search_ends_when_the_grid_is_known(move, samples):
    parameters = local.LocalParameters(starts=10_000, samples=samples, neighbours="adjacent", move=move)
    ledger = Ledger(tiny(), 1000)
    assert local.search_local(ledger, 1, parameters) < 10_000
    assert ledger.distinct == 27


def test_cmaes_starts_again_when_it_only_repeats_points(monkeypatch):
    populations = []
    make = mixed_cmaes._optimizer

    def counted(landscape, population, rng, spread):
        populations.append(population)
        return make(landscape, population, rng, spread)

    monkeypatch.setattr(mixed_cmaes, "_optimizer", counted)
    ledger = Ledger(tiny(), 27)
    mixed_cmaes.search_cmaes(ledger, 2, replace(PARAMETERS.cmaes, trials=1000))
    assert len(populations) > 1
    assert populations == [5 * 2**restart for restart in range(len(populations))]
    assert ledger.distinct == 27


@pytest.mark.parametrize("widths", [(40,), (40, 20)])
def test_cmaes_takes_axes_with_one_or_two_values(widths):
    landscape = Landscape.of_table(table(widths), REWARD)
    found = run_search(landscape, 50, "cmaes", 0, PARAMETERS.cmaes)
    assert found.distinct == 3 * len(widths) ** 2
    best = max(landscape.outcomes[point].reward for point in landscape.grid())
    assert found.improvements[-1].reward == best


def test_the_published_agent_ends_when_its_points_are_known():
    landscape = tiny()
    reachable = {landscape.published(action) for action in range(16)}
    found = run_search(landscape, 100, "ppo_published", 0, replace(PARAMETERS.ppo_published, timesteps=5000))
    assert found.distinct == len(reachable)
    assert found.steps < 5000


@pytest.mark.parametrize("name", ["random", "local_search", "evolution", "tpe", "cmaes"])
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


def test_the_projects_parameters_name_every_searcher(project):
    read = read_section(project / "params.yaml", "compare_searchers", SearchersParameters)
    assert list(read.searchers.by_name()) == list(SEARCHERS)
    tuning = read_section(project / "params.yaml", "tune_searchers", TuningParameters)
    assert tuning.grids.keys() == set(tuned.tuned_names())


def test_the_stage_writes_what_it_found(tmp_path, monkeypatch):
    section = json.loads(json.dumps(asdict(COMPARISON)))
    tasks = {"lake": {"tuned_on": "sea"}, "sea": {"tuned_on": "lake"}}
    protocols = {task: {"csv": "a.csv"} for task in tasks}
    shared = {
        "benchmarks": {},
        "profile": "smoke",
        "protocols": protocols,
        "searched_tables": {},
        "tasks": tasks,
    }
    codecarbon = {"tracking_mode": "process", "country_iso_code": "USA", "sampling_s": 15.0}
    content = {
        **shared,
        "metering": {"meter": "fake", "codecarbon": codecarbon},
        "compare_searchers": section,
    }
    paths = {name: tmp_path / name for name in ("improvements.csv", "choices.json", "cost.json")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"compare_searchers": {}}}))
    as_declared = {name: {} for name in tuned.tuned_names()}
    write_json(tmp_path / "tuned.json", {"task": "sea", "settings": as_declared})
    candidates = with_test_accuracy(table())
    candidates.to_csv(tmp_path / "candidates.csv", index=False)
    arguments = SimpleNamespace(
        params=tmp_path / "params.yaml",
        candidates=tmp_path / "candidates.csv",
        task="lake",
        tuned=tmp_path / "tuned.json",
        **{path.stem: path for path in paths.values()},
    )
    monkeypatch.setattr(compare_searchers, "stage_arguments", lambda *_, **__: arguments)
    compare_searchers.main()  # over the cores, in other processes
    rows = pd.read_csv(paths["improvements.csv"])
    read = read_section(arguments.params, "compare_searchers", SearchersParameters)
    assert read == COMPARISON
    here, whole = search_all(tiny(), read, workers=1), space.describe_space(candidates, tiny(), REWARD)
    assert rows.to_dict("records") == [pytest.approx(line) for line in improvement_rows(here, whole)]
    assert list(dict.fromkeys(rows["searcher"])) == list(SEARCHERS)
    seeds = {name: set(own["seed"]) for name, own in rows.groupby("searcher")}
    assert seeds == {name: {7, 8} if GROUPS[name] == "ranked" else {7} for name in SEARCHERS}
    first = [search for search in here if search.seed == 7]
    choices = yaml.safe_load(paths["choices.json"].read_text())
    assert choices == describe_choices(Task("lake", tiny(), whole, "sea"), read, first)
    assert (choices["task"], choices["tuned_on"], choices["groups"]) == ("lake", "sea", GROUPS)
    assert (choices["budgets"], choices["main_budget"]) == ({"0.1": 3, "0.3": 8}, 8)  # of 27 points
    assert choices["choices"]["oracle"]["tie"] == 1
    assert (choices["points"], choices["grid_points"], choices["oracle_on_grid"]) == (39, 27, True)
    assert {"baseline", "best_uncompressed", "oracle", *SEARCHERS} == set(choices["choices"])
    cost = yaml.safe_load(paths["cost.json"].read_text())
    assert cost["random"]["evaluations"] == cost["random"]["steps"] == 8
    assert set(cost) == set(SEARCHERS)


def with_test_accuracy(rows):
    """The table with a test accuracy that is lower the more units are left."""
    return rows.assign(test_accuracy=0.8 - (rows["width_0"] + rows["width_1"]) / 1000)


def test_test_accuracy_is_unknown_to_searchers():
    assert Landscape.of_table(with_test_accuracy(table()), REWARD) == tiny()


def test_the_space_by_hand():
    rows = with_test_accuracy(table(accuracies={(10, 10): 0.66}))
    whole = space.describe_space(rows, Landscape.of_table(rows, REWARD), REWARD)
    assert whole.best == pytest.approx(math.log(80 / 30 * 4))
    assert whole.worst == pytest.approx(math.log(4) - 3)  # 10x10 in eager PyTorch: four points lost
    assert (whole.noise, whole.ties) == ("none", {Point(10, 20, *ONNX), Point(20, 10, *ONNX)})  # equally fast
    # the test accuracy of 10x10 is 6 points better than the baseline's: the fastest of all
    assert whole.test_best == pytest.approx(math.log(16))
    assert whole.judge(Point(10, 10, *ONNX)) == {"tie": 0, "test_reward": pytest.approx(math.log(16))}
    assert whole.judge(Point(10, 20, *ONNX))["tie"] == 1


def test_without_test_accuracy_nothing_is_tested():
    whole = space.describe_space(table(), tiny(), REWARD)
    assert whole.test_best is None
    assert whole.judge(tiny().oracle) == {"tie": 1, "test_reward": None}


@pytest.mark.parametrize(("error", "tied"), [(0.0, False), (0.049, False), (0.051, True)])
def test_ties_are_within_two_standard_errors_of_the_difference(error, tied):
    """10x20 has the reward ln(160/15), the best; 20x20 has ln(8). They differ by ln(4/3) = 0.288."""
    rows = table(accuracies={(10, 10): 0.6})
    best = (rows["width_0"] + rows["width_1"] == 30) & (rows["runtime"] == "onnxruntime")
    second = (rows["width_0"] == 20) & (rows["width_1"] == 20) & (rows["runtime"] == "onnxruntime")
    rows["cpu_time_se_batch_64"] = 0.0
    # relative errors of 2.0 x `error` and 2.1 x `error` together give 2.9 x `error`
    rows.loc[best, "cpu_time_se_batch_64"] = 2.0 * error * rows["cpu_time_ms_batch_64"]
    rows.loc[second, "cpu_time_se_batch_64"] = 2.1 * error * rows["cpu_time_ms_batch_64"]
    whole = space.describe_space(rows, Landscape.of_table(rows, REWARD), REWARD)
    assert whole.noise == "cpu_time_se_batch_64"
    assert (Point(20, 20, *ONNX) in whole.ties) is tied


def test_the_range_over_rounds_stands_in_for_the_standard_error():
    rows = table().assign(cpu_time_range_batch_64=0.5)  # 0.198 of the median, 0.28 for a difference
    whole = space.describe_space(rows, tiny(), REWARD)
    assert whole.noise == "cpu_time_range_batch_64"
    assert len(whole.ties) == 3  # 10x20 and 20x10 are ln(1.5) = 0.405 behind 10x10, 20x20 is ln(2) behind


def test_refused_points_are_no_ties_and_have_no_test_reward():
    best = Point(10, 10, *ONNX)
    rows = refuse(with_test_accuracy(table()), best)
    landscape = Landscape.of_table(rows, REWARD)
    whole = space.describe_space(rows, landscape, REWARD)
    assert whole.judge(best) == {"tie": 0, "test_reward": None}
    assert whole.worst > -99


def test_budgets_are_shares_of_the_grid():
    assert COMPARISON.evaluations(tiny()) == {0.1: 3, 0.3: 8}
    assert replace(COMPARISON, budgets=[0.001, 0.3]).evaluations(tiny()) == {0.001: 1, 0.3: 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgets": [0.3, 0.1]}, "budgets must be ascending"),
        ({"main_budget": 0.2}, "main_budget must be one of budgets"),
        ({"seeds_unranked": 4}, "seeds_unranked must be at most seeds"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(COMPARISON, **change)


def test_every_searcher_tries_as_many_settings_and_the_best_is_kept(tmp_path):
    result = tuning.tune_all("sea", tiny(), COMPARISON, TUNING, workers=1)
    assert set(result["tried"]) == set(result["settings"]) == set(GRIDS)
    for name, rows in result["tried"].items():
        assert len(rows) == 2
        best = min(rows, key=lambda line: line["mean_regret"])
        assert result["settings"][name] == best["settings"]
        assert set(best["settings"]) == set(GRIDS[name])
    again = tuning.draw_settings("tpe", TUNING)
    assert [line["settings"] for line in result["tried"]["tpe"]] == again

    write_json(tmp_path / "tuned.json", result)
    parameters, source = tuned.use_tuned(COMPARISON, tmp_path / "tuned.json", "lake")
    assert source == "sea"
    assert parameters.searchers.nsga2.population == result["settings"]["nsga2"]["population"]
    assert parameters.searchers.ppo_published == COMPARISON.searchers.ppo_published
    with pytest.raises(UserError, match="tuned on 'sea', the task to be judged"):
        tuned.use_tuned(COMPARISON, tmp_path / "tuned.json", "sea")


def test_the_score_of_a_setting_is_the_mean_regret_over_the_main_budget():
    grids = GRIDS | {"evolution": {"population": [6]}}
    few, landscape = replace(TUNING, settings=1, grids=grids), tiny()
    (line,) = tuning.tune_all("sea", landscape, COMPARISON, few, workers=1)["tried"]["evolution"]
    oracle = landscape.outcomes[landscape.oracle].reward
    searches = [run_search(landscape, 8, "evolution", seed, PARAMETERS.evolution) for seed in (100, 101)]
    curves = [regret_curve([rise[:2] for rise in one.improvements], oracle, 8) for one in searches]
    assert line["mean_regret"] == pytest.approx(np.mean(curves))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": 4}, r"grids.nsga2: 3 settings, but 4 are to be tried"),
        ({"first_seed": 6}, "the seeds overlap those of the comparison"),
        ({"grids": GRIDS | {"nsga2": {"populatoin": [1, 2]}}}, "nsga2.populatoin: Unexpected keyword"),
        ({"grids": GRIDS | {"nsga2": {"population": [0, 1]}}}, "nsga2.population: Input should be"),
    ],
)
def test_a_tuning_that_cannot_be_fair_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        tuning.tune_all("sea", tiny(), COMPARISON, replace(TUNING, **change), workers=1)


def test_tuned_settings_are_written_for_the_comparison(tmp_path, monkeypatch):
    table().to_csv(tmp_path / "candidates.csv", index=False)
    arguments = SimpleNamespace(
        params=None, candidates=tmp_path / "candidates.csv", tuned=tmp_path / "tuned.json", task="sea"
    )
    monkeypatch.setattr(tune_searchers, "stage_arguments", lambda *_, **__: arguments)
    sections = {"compare_searchers": COMPARISON, "tune_searchers": TUNING}
    monkeypatch.setattr(tune_searchers, "read_section", lambda _, section, __: sections[section])
    monkeypatch.setattr(tune_searchers, "tune_all", lambda task, *given: {"task": task, "given": len(given)})
    tune_searchers.main()
    assert read_json(tmp_path / "tuned.json") == {"task": "sea", "given": 3}


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
