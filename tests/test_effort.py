"""The memory that a stage reports: its own peak and its workers'."""

import json
import subprocess
import sys

import pytest

from sustainable.core import effort
from sustainable.core.effort import (
    effort_of,
    latest_efforts,
    peak_memory_mib,
    record_workers,
    workers_ended,
)
from sustainable.core.parallel import in_parallel


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    monkeypatch.setattr(effort, "_workers_mib", 0.0)
    monkeypatch.setattr(effort, "_earlier_mib", 0.0)
    monkeypatch.setattr(effort, "peak_memory_mib", lambda: 1000.0)


def memory():
    return effort_of(["stages/shrink.py"], 0.0)["memory_mib"]


def test_the_peak_remains_after_memory_is_freed(project):
    program = (
        "from sustainable.core.effort import peak_memory_mib\n"
        "before = peak_memory_mib()\n"
        "block = bytearray(b'x' * 2**26)\n"
        "del block\n"
        "print(peak_memory_mib() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(project / "stages")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 60 < float(done.stdout) < 200  # 64 MiB, or 128 MiB if the bytes are copied


def test_a_large_parent_does_not_count_as_its_child(project):
    """`ru_maxrss` of a child starts from its parent's memory; this test's process is larger than 100 MiB."""
    block = bytearray(b"x" * 2**27)
    program = "from sustainable.core.effort import peak_memory_mib; print(peak_memory_mib())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(project / "stages")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 100 < len(block) / 2**20


def test_the_largest_workers_that_ran_at_once_count():
    assert memory() == 1000.0
    record_workers({11: 100.0, 12: 300.0, 13: 200.0}, 2)
    assert memory() == 1500.0
    record_workers({14: 50.0}, 2)  # a smaller pool later
    assert memory() == 1500.0


def test_workers_that_have_ended_add_nothing_to_what_comes_later(monkeypatch):
    record_workers({11: 300.0, 12: 200.0}, 2)
    workers_ended()
    assert memory() == 1500.0
    monkeypatch.setattr(effort, "peak_memory_mib", lambda: 1400.0)
    assert memory() == 1500.0  # 1400 alone
    record_workers({13: 200.0}, 2)
    assert memory() == 1600.0


@pytest.mark.parametrize(("workers", "counted"), [(1, 0.0), (2, 5.0)])
def test_worker_processes_report_their_peaks(workers, counted, monkeypatch):
    monkeypatch.setattr("sustainable.core.parallel.available_cores", lambda: 2)
    assert list(in_parallel(abs, [(-1,), (2,), (-3,)], "tasks", workers)) == [1, 2, 3]
    others = memory() - 1000.0
    assert others >= counted
    assert others > 0 or workers == 1
    assert peak_memory_mib() > 0


def test_the_last_run_of_a_stage_counts_with_its_interrupted_parts():
    def entry(stage, wall_s, memory_mib, **ended):
        return json.dumps({"stage": stage, "wall_s": wall_s, "memory_mib": memory_mib, **ended})

    log = [
        entry("a", 90.0, 9.0),
        entry("b", 2.0, 1.0),
        entry("a", 1.0, 7.0, ended=False),
        entry("a", 2.0, 5.0, ended=False),
        entry("a", 4.0, 6.0),
        entry("b", 8.0, 8.0, ended=False),  # not resumed yet
        '{"stage": "a", "wa',
    ]
    assert latest_efforts("\n".join(log)) == [
        {"stage": "b", "wall_s": 2.0, "memory_mib": 1.0},
        {"stage": "a", "wall_s": 7.0, "memory_mib": 7.0},
    ]
