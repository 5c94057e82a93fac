"""Study A's candidates on several hosts: what a choice is worth elsewhere, and what each target costs."""

import math

import pandas as pd
import pytest

from sustainable.forecasting.search.objective import DeploymentReward
from sustainable.reporting.forecasting.ceilings import Reached, same_host, target_reach
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
                "flops": widths[0] * widths[1] * 1000,
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
    transfer, targets, _ = transfer_tables("Weather", HERE, others, REWARD, (1, 64))
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


def test_rates_are_related_to_the_ceilings_of_their_own_host():
    # the fastest in fp32: 16,000 operations in 2 ms, so 8 MFLOP/s; in bf16 16 on one host, 4 on the other
    tables = {"a": HERE, "b": THERE}
    found = {(one.precision, one.runtime): one.by_host for one in target_reach(tables, (1, 64), {})}
    assert found["bf16", "openvino"] == {"a": Reached(2.0, None), "b": Reached(0.5, None)}
    assert found["fp32", "onnxruntime"]["a"] == Reached(1.0, None)  # sets the estimate
    assert found["fp32", "torch-eager"]["a"] == Reached(0.5, 0.5)  # 64,000 in 16 ms
    measured = {"a": {"fp32": 32e6, "bf16": 1e6}}  # a ceiling that a candidate exceeds is none
    found = {(one.precision, one.runtime): one.by_host for one in target_reach(tables, (1, 64), measured)}
    assert found["bf16", "openvino"] == {"a": Reached(2.0, None), "b": Reached(0.5, None)}
    assert found["fp32", "onnxruntime"] == {"a": Reached(1.0, 0.25), "b": Reached(1.0, None)}


def test_a_measured_ceiling_holds_for_the_cpu_that_it_was_measured_on():
    zen3, zen4 = ({"cpu": "AMD EPYC", "isa": "AVX2", "model": model} for model in (1, 17))
    assert same_host(zen3, dict(zen3)) and not same_host(zen3, zen4)


def test_the_table_names_measured_and_estimated_ceilings():
    *_, table = transfer_tables("Weather", HERE, {"b": THERE}, REWARD, (1,), {"fp32": 32e6})
    assert "Measured ceilings: fp32, of this run." in table.caption
    printed = {tuple(cell.text for cell in table.printed(row)) for row in table.rows}
    assert ("bf16", "openvino", "2.00 (estimate)", "0.50 (estimate)") in printed
    assert ("fp32", "onnxruntime", "1.00 (25.0 %)", "1.00 (estimate)") in printed


def test_tables_show_hosts_side_by_side(tmp_path):
    transfer, targets, ceilings = transfer_tables("Weather", HERE, {"b": THERE}, REWARD, (1, 64))
    assert len(transfer.rows) == 4
    assert [column.header for column in targets.columns][3:] == [THIS_RUN, "b"]
    assert [column.header for column in ceilings.columns][2:] == [THIS_RUN, "b"]
    alone, *_ = transfer_tables("Weather", HERE, {}, REWARD, (1,))
    assert len(alone.rows) == 1
    assert candidates_on(tmp_path, "weather") == {}
