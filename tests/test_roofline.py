"""The ceilings by hand, and that they are numbers: how high they are is the host's affair."""

import math

import pytest

from sustainable.measuring import roofline
from sustainable.measuring.roofline import measure_roofline


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(roofline, "MATRIX", 16)
    monkeypatch.setattr(roofline, "TRIAD_ELEMENTS", 1000)
    monkeypatch.setattr(roofline, "MEASURED_S", 0.01)


def test_ceilings_by_hand(monkeypatch):
    """A product of 16 x 16 is 2 x 16^3 operations; a + s * b reads two and writes one of 1000 x 4 bytes."""
    seconds = iter([0.5, 0.25])

    def takes(run):
        run()
        return next(seconds)

    monkeypatch.setattr(roofline, "_best_s", takes)
    found = measure_roofline()
    assert found.flops_per_s == 2 * 4096 / 0.5
    assert found.bytes_per_s == 12_000 / 0.25


def test_ceilings_are_positive_numbers():
    found = measure_roofline()
    for ceiling in (found.flops_per_s, found.bytes_per_s):
        assert math.isfinite(ceiling)
        assert ceiling > 0


def test_the_shortest_run_counts(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock, took = Clock(), []
    durations = iter([0.004, 0.003, 0.002, 0.006, 99.0])

    def run():
        took.append(next(durations))
        clock.now += took[-1]

    monkeypatch.setattr(roofline, "time", clock)
    assert roofline._best_s(run) == pytest.approx(0.002)
    assert len(took) == 4  # 15 ms have passed then, more than the 10 that are measured
