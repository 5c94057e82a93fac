"""The published benchmark: one row per run and configuration, in fixed order."""

import math

import pytest
import torch

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.stand_ins import FakeMeter
from sustainable.forecasting.benchmark.runs import RunsParameters, measure_runs
from sustainable.forecasting.benchmark.subjects import Subject
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.compression.runtimes import deploy_in_torch
from sustainable.forecasting.model.gru import Architecture, WeatherGRU


def measure(path, runs=3, stop_after=None, order="fixed", loader=True, batch_size=8):
    """Run the published benchmark on two copies of a small model."""
    parameters = RunsParameters(
        method="runs",
        runs=runs,
        order=order,
        loader=loader,
        batch_size=batch_size,
        metered_batches=2,
        threads=1,
        keep_memory=False,
        seed=0,
        configurations={"a": Configuration(), "b": Configuration()},
    )
    torch.manual_seed(0)
    deployed = deploy_in_torch(WeatherGRU(Architecture(3, 4, 1, 0.0)), "fp32")
    subjects = {name: Subject(deployed, {"label": name.upper()}, torch.ones(20)) for name in "ab"}
    meters = []

    def make_meter():
        if len(meters) == stop_after:
            raise KeyboardInterrupt
        meters.append(1)
        return FakeMeter()

    journal = RowJournal(path, "work")
    measure_runs(subjects, torch.rand(20, 5, 3), torch.ones(20), parameters, make_meter, journal)
    return journal.rows


def test_there_is_one_row_per_run_and_configuration(tmp_path):
    rows = measure(tmp_path / "j")
    assert [(row["block"], row["configuration"]) for row in rows] == [(r, c) for r in range(3) for c in "ab"]
    row = rows[0]
    assert row["energy_mwh"] == pytest.approx(
        (row["cpu_j"] + row["ram_j"]) / 3.6 / 16
    )  # two batches are metered
    assert (row["label"], row["windows"], row["threads"]) == ("A", 20, 1)
    assert row["accuracy"] == row["correct"] / 20
    assert row["latency_ms"] > 0
    assert math.isclose(rows[0]["accuracy"], rows[2]["accuracy"])


def test_a_random_order_holds_every_configuration_once_per_run(tmp_path):
    rows = measure(tmp_path / "j", runs=8, order="random")
    for run in range(8):
        assert sorted(row["configuration"] for row in rows if row["block"] == run) == ["a", "b"]
    assert {row["configuration"] for row in rows if row["position"] == 0} == {"a", "b"}


def test_the_loader_changes_no_forecast(tmp_path):
    within, without = (measure(tmp_path / str(loader), loader=loader)[0] for loader in (True, False))
    assert within["correct"] == without["correct"]


def test_a_batch_larger_than_the_test_set_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"batch_size: 21 windows, but the test set has 20"):
        measure(tmp_path / "j", batch_size=21)


@pytest.mark.parametrize("stop_after", range(6))
def test_a_killed_benchmark_measures_every_run_once(tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "j", stop_after=stop_after)
    rows = measure(tmp_path / "j")
    assert [(row["block"], row["configuration"]) for row in rows] == [(r, c) for r in range(3) for c in "ab"]
