"""What the published formula is told under each repair, and what follows from its pick, by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.compression.accounting import Account
from sustainable.forecasting.compression.shrinking import equal_widths
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    correct,
    gru_parameter_count,
    save_forecaster,
    sequence_flops,
)
from sustainable.forecasting.published.reward import Metrics, RewardParameters
from sustainable.forecasting.repairs import (
    REPAIR_VARIANTS,
    RepairsParameters,
    TriedAction,
    best_actions,
    repair_row,
    rewarded_metrics,
    try_actions,
)

PARAMETERS = RepairsParameters(
    windows=4,
    reward=RewardParameters(
        accuracy_scale=10.0,
        flops_scale=1.5,
        parameters_scale=1.0,
        inaction=-1.0,
        error=-10.0,
        accuracy_floor=0.95,
    ),
)
BY_NAME = {variant.name: variant for variant in REPAIR_VARIANTS}


def hits(right, of):
    """The first `right` of so many windows."""
    return np.arange(of) < right


def tried(
    action, first4=4, test=8, validation=6, size=1000, flops=2000, proxies=(100, 400), ms=None, sha="x"
):
    """An action that gets `first4` of the first 4 test windows right and `test` of all 10, `validation`
    of 8 validation windows."""
    on_test = np.concatenate([hits(first4, 4), hits(test - first4, 6)])
    counts = Account(sha, 100, 100, 0, size, *proxies)
    return TriedAction(action, counts, flops, on_test, hits(validation, 8), ms or {1: 8.0, 64: 2.0})


BASE = tried(0)
SMALL = tried(
    11, first4=3, test=8, validation=5, size=250, flops=500, proxies=(0, 0), ms={1: 16.0, 64: 0.5}, sha="y"
)


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("as published", (0.75, -0.05, 1.0, 1.0)),  # 3 of 4 windows, against 8 of 10
        ("pruning that prunes", (0.75, -0.05, 1.0, 1.0)),  # what it is told is the same: the models differ
        ("honest counts", (0.75, -0.05, 0.75, 0.75)),
        ("the same windows", (0.8, 0.0, 1.0, 1.0)),  # 8 of 10 against 8 of 10
        ("validation, not test", (1.0, 0.25, 1.0, 1.0)),  # the first 4 of 4, against 6 of 8
        ("measured cost", (0.75, -0.05, 0.75, 0.75)),  # at batch 64; at batch 1 it is slower
        ("all five", (0.625, -0.125, 0.75, 0.75)),  # 5 of 8 against 6 of 8
    ],
)
def test_what_the_reward_is_told_by_hand(name, metrics):
    told = rewarded_metrics(SMALL, BASE, BY_NAME[name], PARAMETERS)
    figures = (told.accuracy, told.accuracy_change, told.parameter_reduction, told.flops_reduction)
    assert figures == pytest.approx(metrics)


def test_the_sources_of_a_cost_are_told_apart():
    """Bytes, operations and time that differ from one another, so that none can stand for another."""
    one = tried(3, size=900, flops=1000, proxies=(70, 200), ms={1: 1.0, 64: 1.6})
    published = rewarded_metrics(one, BASE, BY_NAME["as published"], PARAMETERS)
    assert (published.parameter_reduction, published.flops_reduction) == pytest.approx((0.3, 0.5))
    honest = rewarded_metrics(one, BASE, BY_NAME["honest counts"], PARAMETERS)
    assert (honest.parameter_reduction, honest.flops_reduction) == pytest.approx((0.1, 0.5))
    for name in ("measured cost", "all five"):
        timed = rewarded_metrics(one, BASE, BY_NAME[name], PARAMETERS)
        assert (timed.parameter_reduction, timed.flops_reduction) == pytest.approx((0.2, 0.2))


def test_doing_nothing_is_told_as_such():
    still = rewarded_metrics(BASE, BASE, BY_NAME["as published"], PARAMETERS)
    assert still == Metrics(1.0, pytest.approx(0.2), 0.0, 0.0, acted=False)  # 4 of 4, against 8 of 10


def test_each_flaw_is_repaired_once_by_itself_and_then_all_together():
    repairs = [
        (variant.prunes, variant.counts, variant.same_windows, variant.validation, variant.measured)
        for variant in REPAIR_VARIANTS
    ]
    assert repairs[0] == (False,) * 5
    assert sorted(repairs[1:6]) == sorted(tuple(place == one for place in range(5)) for one in range(5))
    assert repairs[6] == (True,) * 5
    assert len({variant.name for variant in REPAIR_VARIANTS}) == len(REPAIR_VARIANTS) == 7


def published_actions():
    """Eight models that are the baseline, eight that are one quantized model, as the published study has."""
    same = [tried(action) for action in range(8)]
    return same + [tried(action, proxies=(0, 0), ms={1: 16.0, 64: 0.5}, sha="q") for action in range(8, 16)]


def test_ties_are_all_picked():
    actions, reward = best_actions(published_actions(), BY_NAME["as published"], PARAMETERS)
    assert actions == list(range(8, 16))
    assert reward == pytest.approx(4.5)  # every proxy is gone: 1.5 + 1.0; and 4 of 4 is 0.2 above 8 of 10
    assert best_actions(published_actions(), BY_NAME["the same windows"], PARAMETERS)[1] == 2.5
    honest, reward = best_actions(published_actions(), BY_NAME["honest counts"], PARAMETERS)
    assert honest == list(range(1, 16))  # nothing is saved at all, and doing nothing costs 1
    assert reward == pytest.approx(2.0)  # for comparing one batch with all windows


def test_the_best_is_picked_where_there_is_one():
    actions = published_actions()
    actions[5] = tried(5, ms={1: 8.0, 64: 0.25}, sha="p")
    assert best_actions(actions, BY_NAME["measured cost"], PARAMETERS) == (
        [5],
        pytest.approx(2.5 * 0.875 + 2),
    )


def test_accuracy_under_the_floor_is_not_picked():
    """Two of the first four is less than 0.95 of 8 of 10: the scale is lost, however small the model."""
    actions = published_actions()
    actions[11] = tried(11, first4=2, test=8, size=1, flops=1, proxies=(0, 0), sha="y")
    assert 11 not in best_actions(actions, BY_NAME["as published"], PARAMETERS)[0]
    assert 11 in best_actions(actions, BY_NAME["validation, not test"], PARAMETERS)[0]  # there it is as good


def test_the_outcome_by_hand():
    """Two actions tie; one takes a quarter of the time and the other the same: half, as a geometric mean."""
    actions = [tried(action) for action in range(8)]
    actions += [
        tried(8, test=9, proxies=(0, 0), ms={1: 2.0, 64: 0.5}, sha="q"),
        tried(9, test=6, proxies=(0, 0), ms={1: 8.0, 64: 2.0}, sha="r"),
    ]
    row = repair_row(actions, BY_NAME["as published"], PARAMETERS)
    assert row == {
        "variant": "as published",
        "actions": "8 9",
        "names": "Q P10+Q",
        "ties": 2,
        "models": 2,
        "reward": pytest.approx(4.5),
        "cpu_time_ratio_batch_1": pytest.approx(0.5),
        "cpu_time_ratio_batch_64": pytest.approx(0.5),
        "test_accuracy_difference": pytest.approx((0.1 - 0.2) / 2),
    }


def test_ties_of_one_model_are_one_model():
    row = repair_row(published_actions(), BY_NAME["as published"], PARAMETERS)
    assert (row["ties"], row["models"]) == (8, 1)
    assert row["cpu_time_ratio_batch_1"] == pytest.approx(2.0)
    assert row["cpu_time_ratio_batch_64"] == pytest.approx(0.25)
    assert row["test_accuracy_difference"] == 0.0


FULL, DAYS, FEATURES = (10, 10), 4, 3


def part(count, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, DAYS, FEATURES), dtype=np.float32)
    return Windows(inputs, rng.integers(0, 2, count), rng.integers(0, 2, count), np.arange(count))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    save_forecaster(
        models / "baseline" / "seed_1.safetensors", WeatherGRU(Architecture(FEATURES, 10, 2, 0.0))
    )
    for tenths in range(1, 8):
        widths = equal_widths(FULL, tenths / 10)
        network = LayeredGRU(LayeredArchitecture(FEATURES, widths, 0.0))
        save_forecaster(models / "narrow" / "l1" / f"{widths[0]}x{widths[1]}" / "seed_1.safetensors", network)
    return Sources(models, models / "choices.json", models, part(20, 0))


def costs():
    """CPU time by width and precision that tells them apart; a masked and an ONNX row must not be taken."""
    rows = [
        {"family": family, "width_0": width, "width_1": width, "precision": precision, "runtime": runtime,
         "cpu_time_ms_batch_1": 100.0 * width + 10 * (precision == "int8"),
         "cpu_time_ms_batch_64": width + wrong}
        for family, runtime, wrong in (
            ("masked", "torch-eager", 99.0), ("grid", "onnxruntime", 99.0), ("grid", "torch-eager", 0.0)
        )
        for width in range(3, 11)
        for precision in ("fp32", "int8")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_published_pruning_tries_two_models_sixteen_times(sources):
    parts = {"validation": part(12, 1), "test": part(9, 2)}
    done = try_actions(sources, 1, parts, costs(), prunes=False)
    assert [one.action for one in done] == list(range(16))
    assert len({one.account.weights_sha256 for one in done[:8]}) == 1
    assert len({one.account.weights_sha256 for one in done[8:]}) == 1
    assert {one.flops for one in done} == {sequence_flops(FEATURES, FULL, DAYS)}
    assert [one.cpu_time_ms for one in done] == [{1: 1000.0, 64: 10.0}] * 8 + [{1: 1010.0, 64: 10.0}] * 8
    base = sources.baseline(1)
    for name, found in (("test", done[0].test_hits), ("validation", done[0].validation_hits)):
        right = correct(base, torch.from_numpy(parts[name].inputs), torch.from_numpy(parts[name].target), 5)
        assert found.tolist() == right.tolist()


def test_pruning_that_prunes_tries_sixteen_models(sources):
    parts = {"validation": part(12, 1), "test": part(9, 2)}
    done = try_actions(sources, 1, parts, costs(), prunes=True)
    assert len({one.account.weights_sha256 for one in done}) == 16
    for action, one in enumerate(done):
        widths = equal_widths(FULL, action % 8 / 10)
        assert widths == (10 - action % 8,) * 2
        assert one.account.parameters == gru_parameter_count(FEATURES, widths)
        assert one.flops == sequence_flops(FEATURES, widths, DAYS)
        assert (one.account.int8_parameters > 0) == (action >= 8)
        assert one.cpu_time_ms == {1: 100.0 * widths[0] + 10 * (action >= 8), 64: float(widths[0])}
    rewards = [best_actions(done, variant, PARAMETERS)[1] for variant in REPAIR_VARIANTS]
    assert all(math.isfinite(reward) for reward in rewards)


def test_an_action_whose_candidate_was_refused_saves_nothing(sources):
    parts = {"validation": part(12, 1), "test": part(9, 2)}
    table = costs().assign(refused=None)
    own = (table["width_0"] == 8) & (table["precision"] == "int8")
    table.loc[own, "refused"] = "seed 1: a logit is off"
    table.loc[own, ["cpu_time_ms_batch_1", "cpu_time_ms_batch_64"]] = math.nan
    done = try_actions(sources, 1, parts, table, prunes=True)
    assert done[10].cpu_time_ms == done[0].cpu_time_ms == {1: 1000.0, 64: 10.0}
    assert done[11].cpu_time_ms == {1: 710.0, 64: 7.0}
