"""RAPL on counter files, NVML on a stand-in library, traces and arithmetic: values computed by hand."""

import math
import time
from dataclasses import asdict

import pandas as pd
import pytest

from sustainable.core.errors import UserError
from sustainable.energy import choice
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.codecarbon import CodeCarbonParameters
from sustainable.energy.meter import (
    COUNTER,
    EVIDENCE,
    FAKE,
    MODELLED_LOAD,
    REPLAYED,
    REPLAYED_COUNTER,
    SAMPLED,
    STAMPED,
    MeterError,
    Reading,
    carries_energy_claims,
)
from sustainable.energy.nvml import NvmlMeter
from sustainable.energy.rapl import RaplMeter, find_zones
from sustainable.energy.stand_ins import FakeMeter, RecordedTrace, ReplayMeter
from sustainable.measuring.sampler import PowerSampler, power_trace, summarise_power

CODECARBON = CodeCarbonParameters(tracking_mode="process", country_iso_code="USA", sampling_s=1.0)
WRAP = 1000_000_000


@pytest.fixture
def powercap(tmp_path):
    """Two packages, memory under the first, and zones that must not be counted."""

    def zone(folder, name, microjoules):
        path = tmp_path / folder
        path.mkdir()
        (path / "name").write_text(name + "\n")
        (path / "max_energy_range_uj").write_text(f"{WRAP}\n")
        (path / "energy_uj").write_text(f"{microjoules}\n")
        return path / "energy_uj"

    counters = {
        "package-0": zone("intel-rapl:0", "package-0", 5_000_000),
        "package-1": zone("intel-rapl:1", "package-1", WRAP - 1_000_000),
        "dram": zone("intel-rapl:0:1", "dram", 0),
        "core": zone("intel-rapl:0:0", "core", 0),
        "psys": zone("intel-rapl:2", "psys", 0),
    }
    return tmp_path, counters


def test_rapl_adds_packages_and_memory_and_corrects_a_wrap(powercap):
    folder, counters = powercap
    meter = RaplMeter(folder)
    meter.start()
    counters["package-0"].write_text("7000000")  # 2 J
    counters["package-1"].write_text("500000")  # 1 J to the wrap and half a joule after it
    counters["dram"].write_text("250000")
    for part in ("core", "psys"):
        counters[part].write_text("900000000")
    reading = meter.read()
    assert (reading.cpu_j, reading.ram_j, reading.gpu_j) == (3.5, 0.25, None)
    assert (reading.cpu_evidence, reading.ram_evidence, reading.gpu_evidence) == (COUNTER, COUNTER, None)
    assert reading.total_j == 3.75
    counters["package-1"].write_text("0")  # a whole further turn, less half a joule
    assert meter.stop().cpu_j == 3.5 + WRAP / 1e6 - 0.5


def test_rapl_without_memory_says_so(powercap):
    folder, counters = powercap
    (counters["dram"].parent / "name").write_text("uncore")
    meter = RaplMeter(folder)
    meter.start()
    reading = meter.stop()
    assert reading.ram_j is None
    assert "memory is not counted" in reading.note
    assert reading.total_j == 0.0


def test_rapl_errors_name_the_cause_and_the_remedy(powercap, tmp_path, monkeypatch):
    folder, counters = powercap
    with pytest.raises(MeterError, match="no processor counters"):
        find_zones(tmp_path / "nowhere")
    counters["dram"].write_text("lots")
    with pytest.raises(MeterError, match="cannot be read"):
        find_zones(folder)
    read = type(folder).read_text

    def denied(path, *arguments, **options):
        if path.name == "energy_uj":
            raise PermissionError
        return read(path, *arguments, **options)

    monkeypatch.setattr(type(folder), "read_text", denied)
    with pytest.raises(MeterError, match=r"permission denied for .*energy_uj: run `sudo chmod -R a\+r"):
        find_zones(folder)


class StandInNvml:
    """Two GPUs: `counters` in mJ, or None where the GPU has no counter, and a constant 50 W each."""

    class NVMLError(Exception):
        pass

    def __init__(self, counters=(1000, 2000)):
        self.counters = list(counters)

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, device):  # noqa: N802
        if self.counters[device] is None:
            raise self.NVMLError("not supported")
        return self.counters[device]

    def nvmlDeviceGetPowerUsage(self, device):  # noqa: N802
        return 50_000


def test_nvml_reads_the_counter_with_the_gpu_idle_at_both_ends():
    library, waits = StandInNvml(), []
    meter = NvmlMeter(library, synchronise=lambda: waits.append(1))
    meter.start()
    library.counters = [1500, 4000]
    reading = meter.stop()
    assert reading.gpu_j == 2.5
    assert (reading.gpu_evidence, reading.cpu_j, reading.cpu_evidence) == (COUNTER, None, None)
    assert len(waits) == 2
    assert reading.total_j == 2.5


def test_nvml_without_a_counter_integrates_power():
    meter = NvmlMeter(StandInNvml((None, None)), synchronise=lambda: None, sampling_s=0.01)
    meter.start()
    time.sleep(0.1)
    middle = meter.read()
    time.sleep(0.1)
    reading = meter.stop()
    assert reading.gpu_evidence == SAMPLED
    assert reading.gpu_j == pytest.approx(100 * reading.wall_time_s, rel=0.05)
    assert 0 < middle.gpu_j < reading.gpu_j


def test_only_counters_carry_energy_claims():
    assert {name for name in EVIDENCE if carries_energy_claims(name)} == {COUNTER, REPLAYED_COUNTER}
    assert not carries_energy_claims(f"{COUNTER} + {MODELLED_LOAD}")
    assert {REPLAYED_COUNTER, REPLAYED, FAKE} == STAMPED


def reading(wall, **joules):
    base = dict.fromkeys(("cpu_j", "ram_j", "gpu_j", "cpu_evidence", "ram_evidence", "gpu_evidence"))
    return Reading(**(base | {"wall_time_s": wall, "cpu_time_s": 0.0, "meter": "test"} | joules))


def test_a_missing_component_makes_the_total_missing():
    assert reading(1, cpu_j=None, cpu_evidence=MODELLED_LOAD, ram_j=1.0, ram_evidence="x").total_j is None
    assert reading(1).total_j is None


def test_the_power_trace_by_hand():
    trace = power_trace(
        [reading(0, cpu_j=0.0), reading(1, cpu_j=10.0), reading(1, cpu_j=10.0), reading(3, cpu_j=16.0)]
    )
    assert trace == [{"time_s": 0.5, "step_s": 1, "cpu_w": 10.0}, {"time_s": 2.0, "step_s": 2, "cpu_w": 3.0}]
    cpu = summarise_power(trace, {"cpu": 2.0})["cpu"]
    assert (cpu.average_w, cpu.peak_w, cpu.idle_w) == (pytest.approx(16 / 3), 10.0, 2.0)
    assert (cpu.gross_j, cpu.net_j) == (16.0, 10.0)
    assert set(summarise_power(trace, {})) == {"cpu"}


def test_the_sampler_subtracts_the_calibrated_idle_power():
    class Constant:
        """12 W while working (a second meter), 2 W before."""

        made = 0

        def __init__(self):
            Constant.made += 1
            self.watts = 2.0 if Constant.made == 1 else 12.0

        def start(self):
            self.begin = time.perf_counter()

        def read(self):
            gone = time.perf_counter() - self.begin
            return reading(gone, cpu_j=self.watts * gone, cpu_evidence="test")

        stop = read

    sampler = PowerSampler(Constant, interval_s=0.02)
    assert sampler.calibrate(0.05)["cpu"] == pytest.approx(2.0)
    sampler.start()
    time.sleep(0.2)
    trace, summary = sampler.stop()
    assert len(trace) > 3
    assert summary["cpu"].average_w == pytest.approx(12.0)
    assert summary["cpu"].net_j == pytest.approx(summary["cpu"].gross_j * 10 / 12)


class Idle:
    """A meter whose idle host used no CPU time: RAM has a value, the CPU has none."""

    evidence = "modelled-load"

    def start(self):
        """Nothing to begin."""

    def stop(self):
        return reading(
            2.0, cpu_j=None, cpu_evidence=self.evidence, ram_j=6.0, ram_evidence="modelled-constant"
        )


def test_no_load_is_no_power_where_the_load_is_modelled_and_only_there(monkeypatch):
    sampler = PowerSampler(Idle)
    assert sampler.calibrate(0.0) == {"cpu": 0.0, "ram": 3.0}
    monkeypatch.setattr(Idle, "evidence", "counter")
    with pytest.raises(UserError, match="idle power: the meter has no value"):
        sampler.calibrate(0.0)


def write_trace(path, evidence):
    rows = [reading(1, cpu_j=joules, cpu_evidence=evidence, cpu_time_s=0.5) for joules in (3.0, 5.0)]
    pd.DataFrame([asdict(row) for row in rows]).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("recorded", "played"), [(COUNTER, REPLAYED_COUNTER), (MODELLED_LOAD, REPLAYED)])
def test_a_replayed_trace_is_marked_as_replayed(tmp_path, recorded, played):
    trace = RecordedTrace(write_trace(tmp_path / "trace.csv", recorded))
    readings = []
    for _ in range(2):
        meter = ReplayMeter(trace)
        meter.start()
        readings.append(meter.stop())
    assert [item.cpu_j for item in readings] == [3.0, 5.0]
    assert readings[0].cpu_evidence == played
    assert (readings[0].ram_j, readings[0].ram_evidence, readings[0].note) == (None, None, "")
    with pytest.raises(MeterError, match="the trace has ended after 2 readings"):
        ReplayMeter(trace).start()
    with pytest.raises(MeterError, match="start first"):
        ReplayMeter(trace).read()


def test_the_fake_meter_multiplies():
    meter = FakeMeter(watts=20.0)
    meter.start()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    total = meter.stop()
    assert total.cpu_j == pytest.approx(20 * total.cpu_time_s)
    assert total.ram_j == pytest.approx(2 * total.wall_time_s)
    assert total.cpu_evidence == FAKE


def parameters(meter, trace=None):
    return MeterParameters(meter=meter, codecarbon=CODECARBON, trace=trace)


def test_auto_chooses_the_best_evidence_and_gives_the_reason(monkeypatch, powercap):
    folder, _ = powercap
    monkeypatch.setattr(choice, "RaplMeter", lambda: RaplMeter(folder))
    chosen = choose_meter(parameters("auto"))
    assert (chosen.name, chosen.reason) == ("rapl", "auto: a hardware counter is readable")
    monkeypatch.setattr(choice, "RaplMeter", lambda: RaplMeter(folder / "nowhere"))
    chosen = choose_meter(parameters("auto"))
    assert chosen.name == "codecarbon"
    assert "no counter (RAPL: no processor counters" in chosen.reason
    monkeypatch.setattr(choice, "NvmlMeter", lambda: NvmlMeter(StandInNvml()))
    assert choose_meter(parameters("auto"), device="cuda").name == "nvml"


def test_a_named_meter_that_cannot_be_used_raises_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(choice, "RaplMeter", lambda: RaplMeter(tmp_path))
    with pytest.raises(UserError, match="metering: meter: rapl cannot be used here: RAPL: no processor"):
        choose_meter(parameters("rapl"))
    with pytest.raises(UserError, match=r"replay needs the key metering\.trace"):
        choose_meter(parameters("replay"))
    assert choose_meter(parameters("fake")).name == "fake"
    trace = write_trace(tmp_path / "trace.csv", COUNTER)
    meter = choose_meter(parameters("replay", str(trace))).make()
    meter.start()
    assert meter.stop().cpu_j == 3.0


def test_codecarbon_without_a_counter_is_modelled():
    chosen = choose_meter(parameters("codecarbon"))
    meter = chosen.make()
    meter.start()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    total = meter.stop()
    assert total.cpu_evidence in (MODELLED_LOAD, COUNTER)
    assert total.cpu_j is not None
    assert math.isfinite(total.cpu_j)
