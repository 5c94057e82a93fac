"""Study A's candidates on several hosts: what a choice is worth elsewhere, and what each target costs."""

import math

import pandas as pd
import pytest

from sustainable.forecasting.search.objective import DeploymentReward
from sustainable.reporting.forecasting.transfer import (
    candidates_on,
    of_same_networks,
    target_costs,
    transfers,
)
from sustainable.reporting.forecasting.transfer_tables import THIS_RUN, transfer_tables

REWARD = DeploymentReward(batch_size=64, accuracy_margin=0.01, penalty_per_point=1.0)
LARGE, SMALL = (8, 8), (4, 4)


def table_of(times, accuracies=None, weights="w"):
    """Candidates by (widths, precision, runtime): CPU time, the same for both batch sizes."""
    rows = []
    for (widths, precision, runtime), time in times.items():
        rows.append(
            {
                "family": "grid", "width_0": widths[0], "width_1": widths[1], "precision": precision,
                "runtime": runtime, "weights_sha256": f"{weights}{widths}{precision}",
                "validation_accuracy": (accuracies or {}).get(widths, 0.8), "refused": None,
                "cpu_time_ms_batch_1": time, "cpu_time_ms_batch_64": time,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


EAGER = {(LARGE, "fp32", "torch-eager"): 16.0, (SMALL, "fp32", "torch-eager"): 8.0}
HERE = table_of(EAGER | {(SMALL, "bf16", "openvino"): 1.0, (SMALL, "fp32", "onnxruntime"): 2.0})
THERE = table_of(EAGER | {(SMALL, "bf16", "openvino"): 4.0, (SMALL, "fp32", "onnxruntime"): 2.0})


def test_a_choice_is_compared_with_the_best_of_the_other_host():
    found = {
        (one.chosen_on, one.measured_on): one for one in transfers({"a": HERE, "b": THERE}, REWARD, (64,))
    }
    moved = found["a", "b"]
    assert moved.deployment == (4, 4, "bf16", "openvino") and moved.preferred == (4, 4, "fp32", "onnxruntime")
    assert (moved.ratio, moved.preferred_ratio) == (4 / 16, 2 / 16)
    assert moved.kept == pytest.approx(math.log(4) / math.log(8))
    assert moved.regret == pytest.approx(math.log(2))
    back = found["b", "a"]
    assert (back.ratio, back.preferred_ratio) == (2 / 16, 1 / 16)
    assert back.kept == pytest.approx(math.log(8) / math.log(16))


def test_only_deployments_that_both_timed_are_chosen_from():
    without = THERE[THERE["precision"] == "fp32"]
    found = transfers({"a": HERE, "b": without}, REWARD, (64,))
    assert {one.deployment for one in found} == {(4, 4, "fp32", "onnxruntime")}
    assert all(one.kept == 1 and one.regret == 0 for one in found)


def test_lost_accuracy_counts_as_in_the_search():
    poor = table_of(EAGER | {(SMALL, "fp32", "onnxruntime"): 15.0}, {LARGE: 0.8, SMALL: 0.7})
    (found,) = {one.deployment for one in transfers({"a": poor, "b": poor}, REWARD, (64,))}
    assert found == (8, 8, "fp32", "torch-eager")  # 9 nats of penalty for 9 points beyond the margin


def test_hosts_that_timed_other_networks_are_left_out():
    others = {
        "same": THERE,
        "other": table_of(EAGER, weights="v"),
        "few": THERE.drop(columns="cpu_time_ms_batch_1"),
    }
    assert list(of_same_networks(HERE, others, (1, 64))) == ["same"]
    transfer, targets = transfer_tables("Weather", HERE, others, REWARD, (1, 64))
    assert len(transfer.rows) == 4 and len(targets.columns) == 5


def test_targets_are_relative_to_eager_fp32_of_the_same_network():
    by_target = {
        (one.precision, one.runtime): one.ratios for one in target_costs({"a": HERE, "b": THERE}, (1,))
    }
    assert by_target["bf16", "openvino"]["a"] == pytest.approx((1 / 8, 1 / 8, 1 / 8))
    assert by_target["bf16", "openvino"]["b"] == pytest.approx((4 / 8, 4 / 8, 4 / 8))
    assert ("fp32", "torch-eager") not in by_target
    both = target_costs({"a": table_of(EAGER | {(w, "int8", "x"): 4.0 for w in (LARGE, SMALL)})}, (1,))
    assert both[0].ratios["a"] == pytest.approx((math.sqrt(1 / 8), 1 / 4, 1 / 2))


def test_tables_show_hosts_side_by_side(tmp_path):
    transfer, targets = transfer_tables("Weather", HERE, {"b": THERE}, REWARD, (1, 64))
    assert len(transfer.rows) == 4
    assert [column.header for column in targets.columns][3:] == [THIS_RUN, "b"]
    alone, _ = transfer_tables("Weather", HERE, {}, REWARD, (1,))
    assert len(alone.rows) == 1
    assert candidates_on(tmp_path, "weather") == {}
