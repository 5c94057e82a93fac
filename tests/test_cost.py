"""The cost of several sessions, and the energy columns of a row."""

from dataclasses import asdict

import pytest

from sustainable.energy.cost import total_cost
from sustainable.energy.meter import Reading
from sustainable.measuring.rows import energy_columns


def reading(**changes):
    base = {
        "wall_time_s": 1.0, "cpu_time_s": 0.5, "cpu_j": 4.0, "ram_j": 2.0, "gpu_j": None,
        "cpu_evidence": "fake", "ram_evidence": "fake", "gpu_evidence": None, "meter": "fake", "note": "",
    }  # fmt: skip
    return Reading(**(base | changes))


def test_a_missing_amount_makes_the_sum_missing():
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
