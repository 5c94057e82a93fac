"""CodeCarbon as a meter: what it reads, what it cannot read, and configuration that is refused."""

import time
from pathlib import Path

import pytest

from sustainable.core.errors import UserError
from sustainable.energy.codecarbon import CodeCarbonMeter, CodeCarbonParameters, refuse_outside_configuration
from sustainable.energy.meter import EVIDENCE, MODELLED_CONSTANT
from sustainable.measuring.rows import energy_columns

PARAMETERS = CodeCarbonParameters(tracking_mode="process", country_iso_code="USA", sampling_s=1.0)


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


def test_codecarbon_gives_the_reason_for_a_missing_reading():
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
