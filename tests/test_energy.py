import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.codecarbon import CodeCarbonMeter, CodeCarbonParameters, refuse_outside_configuration
from sustainable.energy.cost import total_cost
from sustainable.energy.meter import EVIDENCE, MODELLED_CONSTANT, Reading
from sustainable.energy.stand_ins import FakeMeter
from sustainable.forecasting.benchmark.runs import RunsParameters, measure_runs
from sustainable.forecasting.benchmark.subjects import Subject
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.compression.runtimes import deploy_in_torch
from sustainable.forecasting.model.gru import Architecture, WeatherGRU
from sustainable.measuring.host import describe_host, instruction_sets
from sustainable.measuring.rows import energy_columns

PARAMETERS = CodeCarbonParameters(tracking_mode="process", country_iso_code="USA", sampling_s=1.0)


def reading(**changes):
    base = {
        "wall_time_s": 1.0, "cpu_time_s": 0.5, "cpu_j": 4.0, "ram_j": 2.0, "gpu_j": None,
        "cpu_evidence": "fake", "ram_evidence": "fake", "gpu_evidence": None, "meter": "fake", "note": "",
    }  # fmt: skip
    return Reading(**(base | changes))


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_codecarbon_reads_a_span_of_work():
    meter = CodeCarbonMeter(PARAMETERS)
    meter.start()
    work(0.3)
    middle = meter.read()
    work(0.3)
    end = meter.stop()
    assert end.cpu_evidence in EVIDENCE
    assert end.ram_evidence == MODELLED_CONSTANT
    assert end.cpu_time_s >= 0.6
    assert 0 < middle.cpu_j < end.cpu_j
    assert 0 < middle.ram_j < end.ram_j
    assert not list(Path.cwd().glob("emissions*.csv"))


def test_codecarbon_says_why_a_reading_is_missing():
    meter = CodeCarbonMeter(PARAMETERS)
    meter.start()
    short = meter.stop()
    assert short.cpu_j is None
    assert short.ram_j is None
    assert "does not meter spans under 0.05 s" in short.note
    assert energy_columns(short, 10)["energy_mwh"] is None


def test_outside_configuration_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refuse_outside_configuration()
    monkeypatch.setenv("CODECARBON_FORCE_CPU_POWER", "5")
    with pytest.raises(UserError, match="CODECARBON_FORCE_CPU_POWER is set"):
        CodeCarbonMeter(PARAMETERS)
    monkeypatch.delenv("CODECARBON_FORCE_CPU_POWER")
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\npue=2\n")
    with pytest.raises(UserError, match=r"\.codecarbon\.config"):
        CodeCarbonMeter(PARAMETERS)


def test_a_cost_is_summed_and_a_missing_part_is_not_forgotten():
    from dataclasses import asdict

    total = total_cost([asdict(reading()), asdict(reading(cpu_j=6.0, cpu_evidence="other", note="late"))])
    assert (total["cpu_j"], total["wall_time_s"], total["sittings"]) == (10.0, 2.0, 2)
    assert (total["cpu_evidence"], total["note"], total["gpu_j"]) == ("fake + other", "late", None)
    assert total_cost([asdict(reading()), asdict(reading(cpu_j=None))])["cpu_j"] is None


def test_energy_per_forecast_by_hand():
    columns = energy_columns(reading(cpu_j=3.6, ram_j=7.2, cpu_time_s=0.3), 3)
    assert columns["energy_mwh"] == pytest.approx(1.0)  # 10.8 J are 3 mWh
    assert columns["cpu_time_ms"] == pytest.approx(100.0)
    counted = reading(cpu_j=3.6, ram_j=None, ram_evidence=None, gpu_j=3.6, gpu_evidence="counter")
    assert energy_columns(counted, 1)["energy_mwh"] == pytest.approx(2.0)


def measure(path, runs=3, stop_after=None):
    """Run the published benchmark on two copies of a small model."""
    parameters = RunsParameters(
        method="runs",
        runs=runs,
        batch_size=8,
        threads=1,
        seed=0,
        configurations={"a": Configuration(), "b": Configuration()},
    )
    torch.manual_seed(0)
    deployed = deploy_in_torch(WeatherGRU(Architecture(3, 4, 1, 0.0)), "fp32")
    subjects = {name: Subject(deployed, {"label": name.upper()}, torch.ones(20)) for name in "ab"}
    made = []

    def make_meter():
        if len(made) == stop_after:
            raise KeyboardInterrupt
        made.append(1)
        return FakeMeter()

    journal = RowJournal(path, "work")
    measure_runs(subjects, torch.rand(20, 5, 3), torch.ones(20), parameters, make_meter, journal)
    return journal.rows


def test_a_row_a_cell_in_fixed_order(tmp_path):
    rows = measure(tmp_path / "j")
    assert [(row["block"], row["configuration"]) for row in rows] == [(r, c) for r in range(3) for c in "ab"]
    row = rows[0]
    assert row["energy_mwh"] == pytest.approx((row["cpu_j"] + row["ram_j"]) / 3.6 / 20)
    assert (row["label"], row["windows"], row["threads"]) == ("A", 20, 1)
    assert row["accuracy"] == row["correct"] / 20
    assert row["latency_ms"] > 0
    assert math.isclose(rows[0]["accuracy"], rows[2]["accuracy"])


@pytest.mark.parametrize("stop_after", range(6))
def test_a_killed_benchmark_has_every_cell_once(tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "j", stop_after=stop_after)
    rows = measure(tmp_path / "j")
    assert [(row["block"], row["configuration"]) for row in rows] == [(r, c) for r in range(3) for c in "ab"]


def test_the_host_is_described():
    host = describe_host()
    assert host["cores_logical"] == os.cpu_count()
    assert host["versions"]["torch"].startswith("2.")
    assert host["isa"] == instruction_sets()


def test_determinism_must_come_first(project):
    code = "import numpy, sustainable.core.determinism"
    environment = {"PYTHONPATH": str(project / "stages"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "import determinism before numpy" in done.stderr
