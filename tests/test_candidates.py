"""The deployment space: its candidates, their measurement, and the table of results."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.core.files import write_rows
from sustainable.forecasting.benchmark import candidates
from sustainable.forecasting.benchmark.candidates import (
    KEY,
    CandidateParameters,
    Network,
    candidate_table,
    evaluate,
    key_of,
    name_of,
    networks,
    offered_targets,
    refusals,
    round_order,
    time_call_ms,
    time_candidate,
    timed_candidates,
)
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.compression.runtimes import TARGETS, Deployed
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    gru_parameter_count,
    logits_of,
    save_forecaster,
    sequence_flops,
)

DAYS, FEATURES = 4, 3
FULL = (6, 6)
PARAMETERS = CandidateParameters(
    masked_shares=[0.5, 0.9],
    masked_scopes=["layer", "global"],
    batch_sizes=[1, 8],
    rounds=2,
    window_s=0.01,
    threads=1,
    keep_memory=False,
    seed=0,
)


def windows(count, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, DAYS, FEATURES), dtype=np.float32)
    return Windows(inputs, rng.integers(0, 2, count), rng.integers(0, 2, count), np.arange(count))


PART = windows(30)
INPUTS, TEST = torch.from_numpy(PART.inputs), windows(40, seed=1)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Untrained networks of seeds 1 and 2, and one narrow one, where a run would have put them."""
    models = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        torch.manual_seed(seed)
        full = WeatherGRU(Architecture(FEATURES, 6, 2, 0.2))
        narrow = LayeredGRU(LayeredArchitecture(FEATURES, (4, 2), 0.2))
        save_forecaster(models / "baseline" / f"seed_{seed}.safetensors", full)
        save_forecaster(models / "narrow" / "l1" / "4x2" / f"seed_{seed}.safetensors", narrow)
    return Sources(models, models / "choices.json", models / "cache", windows(20))


def test_the_deployment_space_matches_a_hand_made_one():
    every = networks([6, 4], FULL, [(4, 4), (5, 5), (3, 3)], PARAMETERS)
    assert [one.widths for one in every if one.family == "grid"] == [(6, 6), (6, 4), (4, 6), (4, 4)]
    assert [one.widths for one in every if one.family == "diagonal"] == [
        (5, 5),
        (3, 3),
    ]  # (4, 4) is on the grid
    masked = [(one.widths, one.scope, one.masked_share) for one in every if one.family == "masked"]
    assert masked == [(FULL, scope, share) for scope in ("layer", "global") for share in (0.5, 0.9)]
    assert len(every) == len({tuple(one.columns().values()) for one in every}) == 4 + 2 + 4


def test_the_columns_of_a_network_identify_a_candidate():
    columns = Network("masked", (6, 4), 0.5, "layer").columns()
    assert columns == {
        "family": "masked", "width_0": 6, "width_1": 4, "masked_share": 0.5, "scope": "layer",
    }  # fmt: skip
    row = columns | {"precision": "fp32", "runtime": "torch-eager", "seed": 1}
    assert key_of(row) == ("masked", 6, 4, 0.5, "layer", "fp32", "torch-eager")
    assert set(KEY) == columns.keys() | {"precision", "runtime"}


def test_networks_are_loaded_as_they_were_made(sources):
    full, other = (Network("grid", FULL).load(sources, seed) for seed in (1, 2))
    assert isinstance(full, WeatherGRU)
    assert not torch.equal(full.readout.weight, other.readout.weight)
    assert Network("grid", (4, 2)).load(sources, 1).widths == (4, 2)
    masked = Network("masked", FULL, 0.5, "layer").load(sources, 1)
    assert int((masked.gru.weight_hh_l0 == 0).sum()) == 18 * 6 // 2
    with pytest.raises(UserError, match="missing"):
        Network("grid", (5, 5)).load(sources, 1)


@given(st.integers(1, 300), st.integers(0, 20), st.integers(0, 9))
def test_a_round_takes_every_candidate_once(count, number, seed):
    order = round_order(count, number, seed)
    assert sorted(order) == list(range(count))
    assert order.tolist() == round_order(count, number, seed).tolist()


def test_each_round_and_seed_has_a_different_order():
    orders = {tuple(round_order(50, number, seed)) for number in range(4) for seed in range(4)}
    assert len(orders) == 16


class Clock:
    """CPU time that passes only when a model is called."""

    def __init__(self):
        self.now = 0.0

    def process_time(self):
        return self.now


@pytest.fixture
def timed(monkeypatch):
    """A deployment whose call takes 0.25 s, and how often it was called."""
    clock, seen = Clock(), []
    monkeypatch.setattr(candidates, "time", clock)

    def run(batch):
        seen.append(batch)
        clock.now += 0.25

    return Deployed(lambda given: ("prepared", len(given)), run, nn.Identity(), "fp32", "fake"), seen, clock


def test_calls_are_doubled_until_they_fill_the_window(timed):
    """1, 2 and 4 calls take 0.25, 0.5 and 1.0 s: the series of 4 is the first to fill 0.9 s."""
    deployed, seen, _ = timed
    assert time_call_ms(deployed, torch.zeros(5, 2), 0.9) == pytest.approx(1000 * 0.25 / 5)
    assert seen == [("prepared", 5)] * 7


def test_a_slow_model_is_called_once(timed):
    deployed, seen, _ = timed
    assert time_call_ms(deployed, torch.zeros(1, 2), 0.2) == pytest.approx(250)
    assert len(seen) == 1


def test_only_the_last_series_counts(timed):
    """The first call is ten times as slow, as a cold one is: it is in no result."""
    deployed, seen, clock = timed
    run = deployed.run

    def cold_at_first(batch):
        clock.now += 0.0 if seen else 2.25
        run(batch)

    slow_at_first = Deployed(deployed.prepare, cold_at_first, nn.Identity(), "fp32", "fake")
    assert time_call_ms(slow_at_first, torch.zeros(2, 2), 3.0) == pytest.approx(1000 * 0.25 / 2)
    assert len(seen) == 1 + 2 + 4 + 8 + 16  # 2.5, 0.5, 1, 2 and 4 s


def test_the_largest_batch_runs_once_untimed_before_each_candidate(timed):
    deployed, seen, _ = timed
    times_ms = time_candidate(deployed, torch.zeros(30, 2), replace(PARAMETERS, window_s=0.25))
    assert times_ms == {1: pytest.approx(250), 8: pytest.approx(250 / 8)}
    assert seen == [("prepared", 8), ("prepared", 1), ("prepared", 8)]


def test_targets_that_fail_on_this_host_are_left_out_with_a_reason(sources, monkeypatch):
    def deploy(model, precision, runtime, example, cache):
        if precision == "bf16":
            raise CompressionError(f"no {precision} on {runtime}")

    monkeypatch.setattr(candidates, "deploy", deploy)
    offered, refused = offered_targets(sources.baseline(1), INPUTS, sources)
    assert offered == [pair for pair in TARGETS if pair[0] != "bf16"]
    assert refused == {
        f"bf16 on {runtime}": f"no bf16 on {runtime}" for runtime in ("torch-eager", "openvino")
    }


TRIED = [("fp32", "torch-eager"), ("int8", "torch-eager"), ("fp32", "onnxruntime")]


def test_quality_and_counts_of_a_narrow_network(sources):
    rows = evaluate(Network("grid", (4, 2)), 2, TRIED, sources, PART, TEST)
    assert [(row["precision"], row["runtime"]) for row in rows] == TRIED
    exact, int8, onnx = rows
    model = sources.narrow(2, (4, 2))
    logits = logits_of(model, INPUTS, 30).double()
    right = ((logits > 0).numpy() == PART.target).mean()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(PART.target).double())
    brier = ((torch.sigmoid(logits).numpy() - PART.target) ** 2).mean()
    tested = logits_of(model, torch.from_numpy(TEST.inputs), 40)
    for row in (exact, onnx):
        assert row["validation_accuracy"] == pytest.approx(right)
        assert row["test_accuracy"] == pytest.approx(((tested > 0).numpy() == TEST.target).mean())
        assert row["validation_log_loss"] == pytest.approx(loss.item(), abs=1e-6)
        assert row["validation_brier"] == pytest.approx(brier, abs=1e-6)
    for row in rows:
        assert (row["family"], row["width_0"], row["width_1"], row["seed"]) == ("grid", 4, 2, 2)
        assert row["parameters"] == gru_parameter_count(FEATURES, (4, 2))
        assert row["flops"] == sequence_flops(FEATURES, (4, 2), DAYS)
    assert exact["nonzero"] == exact["parameters"]
    assert (exact["int8_parameters"], onnx["int8_parameters"]) == (0, 0)
    assert int8["int8_parameters"] == 3 * 4 * (3 + 4) + 3 * 2 * (4 + 2) + 2  # weights, not biases
    (export,) = sources.cache.glob("*.onnx")
    assert onnx["size_bytes"] == export.stat().st_size
    assert exact["size_bytes"] > 4 * exact["parameters"]


def test_masked_networks_run_only_in_fp32_and_their_zeros_are_counted(sources):
    network = Network("masked", FULL, 0.5, "global")
    rows = evaluate(network, 1, TRIED, sources, PART, TEST)
    assert [(row["precision"], row["runtime"]) for row in rows] == [TRIED[0], TRIED[2]]
    total, weights = gru_parameter_count(FEATURES, FULL), 3 * 6 * (3 + 6) + 3 * 6 * (6 + 6) + 6
    for row in rows:
        assert (row["parameters"], row["nonzero"]) == (total, total - round(weights / 2))
        assert row["flops"] == sequence_flops(FEATURES, FULL, DAYS)  # zeros are multiplied as well
        assert (row["scope"], row["masked_share"]) == ("global", 0.5)


def test_every_candidate_is_deployed_with_its_columns(sources):
    every = [Network("grid", (4, 2)), Network("masked", FULL, 0.5, "layer")]
    space = timed_candidates(every, TRIED)
    found = [(candidate.columns(), candidate.deploy(sources, 1, DAYS)) for candidate in space]
    assert [(c["family"], c["precision"], c["runtime"]) for c, _ in found] == [
        ("grid", "fp32", "torch-eager"),
        ("grid", "int8", "torch-eager"),
        ("grid", "fp32", "onnxruntime"),
        ("masked", "fp32", "torch-eager"),
        ("masked", "fp32", "onnxruntime"),
    ]
    for columns, deployed in found:
        assert (deployed.precision, deployed.runtime) == (columns["precision"], columns["runtime"])
        assert columns.keys() == set(KEY)
    eager = logits_of(sources.narrow(1, (4, 2)), INPUTS, 30).numpy()
    assert np.allclose(found[0][1].logits(INPUTS, 8), eager, atol=1e-6)


def test_a_network_outside_the_tolerance_gives_a_row_with_the_reason(sources, monkeypatch):
    checked = candidates.checked_logits

    def picky(deployed, *rest):
        if deployed.precision == "int8":
            raise CompressionError("int8 on torch-eager: a logit is 0.86 off, 0.5 is allowed")
        return checked(deployed, *rest)

    monkeypatch.setattr(candidates, "checked_logits", picky)
    rows = evaluate(Network("grid", (4, 2)), 2, TRIED, sources, PART, TEST)
    assert [row["refused"] for row in rows] == [
        None,
        "int8 on torch-eager: a logit is 0.86 off, 0.5 is allowed",
        None,
    ]
    exact, int8, _ = rows
    assert exact.keys() == int8.keys()
    assert (int8["precision"], int8["seed"], int8["flops"]) == ("int8", 2, exact["flops"])
    assert {int8[name] for name in candidates.DEPLOYED_COLUMNS} == {None}
    assert None not in {exact[name] for name in candidates.DEPLOYED_COLUMNS}

    failed = refusals(rows)
    assert [name_of(key) for key in failed] == ["4x2 int8 on torch-eager"]
    left = timed_candidates([Network("grid", (4, 2))], TRIED, failed)
    assert [(candidate.precision, candidate.runtime) for candidate in left] == [TRIED[0], TRIED[2]]


def test_readable_names_of_candidates():
    assert name_of(("grid", 128, 64, 0.0, None, "int8", "torch-eager")) == "128x64 int8 on torch-eager"
    masked = ("masked", 6, 6, 0.5, "layer", "fp32", "openvino")
    assert name_of(masked) == "6x6 with 50% masked by layer fp32 on openvino"


def place(width, precision="fp32"):
    return Network("grid", (width, width)).columns() | {"precision": precision, "runtime": "torch-eager"}


def quality_row(width, seed, accuracy, parameters, zeros=3):
    """Some weights happen to be 0, as in int8: only a mask's zeros count as sparsity."""
    scores = {f"validation_{name}": accuracy / 2 for name in candidates.SCORES}
    extra = {"parameters": parameters, "nonzero": parameters - zeros, "weights_sha256": f"{width}-{seed}"}
    accuracies = {"validation_accuracy": accuracy, "test_accuracy": accuracy - 0.1}
    return place(width) | {"seed": seed} | extra | scores | accuracies


def timing_rows(width, size, times):
    return [
        place(width) | {"round": number, "batch_size": size, "cpu_time_ms": taken}
        for number, taken in enumerate(times)
    ]


def test_the_table_matches_a_hand_made_one():
    quality = [
        quality_row(6, 1, 0.70, 1000),
        quality_row(4, 1, 0.60, 250),
        quality_row(6, 2, 0.74, 1000),
        quality_row(4, 2, 0.66, 250),
    ]
    timings = [
        *timing_rows(6, 1, [4.0, 9.0, 5.0]),
        *timing_rows(6, 8, [2.0, 2.0, 2.0]),
        *timing_rows(4, 1, [1.0, 3.0]),
        *timing_rows(4, 8, [0.5, 0.5]),
    ]
    full, half = candidate_table(quality, timings, [1, 8])
    assert (full["width_0"], half["width_0"]) == (6, 4)
    assert full["validation_accuracy"] == pytest.approx(0.72)
    assert full["validation_accuracy_sd"] == pytest.approx(0.04 / math.sqrt(2))
    assert half["validation_accuracy"] == pytest.approx(0.63)
    assert (full["test_accuracy"], half["test_accuracy"]) == pytest.approx((0.62, 0.53))
    assert half["validation_log_loss"] == pytest.approx(0.315)
    assert (full["sparsity"], half["sparsity"]) == (0.0, 0.75)
    assert (full["cpu_time_ms_batch_1"], half["cpu_time_ms_batch_1"]) == (5.0, 2.0)  # medians
    assert (full["cpu_time_range_batch_1"], half["cpu_time_range_batch_1"]) == (1.0, 1.0)
    assert (full["cpu_time_ms_batch_8"], half["cpu_time_ms_batch_8"]) == (2.0, 0.5)
    assert full["cpu_time_range_batch_8"] == full["cpu_time_se_batch_8"] == 0.0
    # 4, 9 and 5 have a standard deviation of sqrt(7)
    assert full["cpu_time_se_batch_1"] == pytest.approx(math.sqrt(math.pi / 2) * math.sqrt(7 / 3))
    for row in (full, half):
        assert row["seeds"] == 2
        assert "seed" not in row
        assert row["weights_sha256"].endswith("-1")  # the first seed's


def test_only_zeros_of_a_mask_count_as_sparsity():
    full = quality_row(6, 1, 0.7, 1000)
    masked = quality_row(6, 1, 0.7, 1000, zeros=400) | {"family": "masked", "scope": "layer"}
    times = [row | {"cpu_time_ms": 1.0, "batch_size": 1} for row in (full, masked)]
    assert [row["sparsity"] for row in candidate_table([full, masked], times, [1])] == [0.0, 0.4]


def test_one_refused_seed_refuses_a_candidate(tmp_path):
    """It is not timed either; the table keeps its name, its operations and the first reason."""
    nothing = dict.fromkeys(candidates.DEPLOYED_COLUMNS) | {"flops": 7}
    quality = [
        quality_row(6, 1, 0.7, 1000) | {"flops": 9, "refused": None},
        quality_row(4, 1, 0.6, 250) | {"flops": 7, "refused": None},
        quality_row(6, 2, 0.7, 1000) | {"flops": 9, "refused": None},
        place(4) | {"seed": 2, "refused": "0.86 off"} | nothing,
        place(4) | {"seed": 3, "refused": "0.99 off"} | nothing,
    ]
    rows = candidate_table(quality, timing_rows(6, 1, [2.0]), [1])
    assert [row["refused"] for row in rows] == [None, "seed 2: 0.86 off"]
    write_rows(tmp_path / "table.csv", rows)
    full, half = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    assert (full["validation_accuracy"], full["cpu_time_ms_batch_1"], full["sparsity"]) == (0.7, 2.0, 0.0)
    known = {name for name, value in half.items() if not pd.isna(value)}
    assert known == {
        "family", "width_0", "width_1", "masked_share", "precision", "runtime", "flops", "refused",
    }  # fmt: skip
    assert (half["width_0"], half["flops"]) == (4, 7)


def test_one_seed_has_no_spread():
    (row,) = candidate_table([quality_row(6, 1, 0.7, 9)], timing_rows(6, 1, [2.0]), [1])
    assert row["validation_accuracy_sd"] is None
    assert row["seeds"] == 1
