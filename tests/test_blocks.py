"""The randomised-block protocol, on small models and a meter of arithmetic."""

import ast
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.choice import Chosen
from sustainable.energy.stand_ins import FakeMeter
from sustainable.forecasting.benchmark.blocks import (
    BlockItem,
    BlocksParameters,
    block_items,
    measure_blocks,
)
from sustainable.forecasting.benchmark.subjects import Subject
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.compression.runtimes import deploy_in_torch
from sustainable.forecasting.model.gru import Architecture, WeatherGRU
from sustainable.measuring import process
from sustainable.measuring.blocks import IDLE, design, flags_of, last_tries, loops_for, to_measure
from sustainable.measuring.process import Moment, neighbours_load

SETTINGS = {
    "method": "blocks", "blocks": 3, "window_s": 0.06, "batch_sizes": [8], "threads": 1, "seed": 5,
    "keep_memory": False, "warm_up_limit_s": 0.5, "warm_up_tolerance": 0.5,
    "overhead_limit": 0.9, "cpu_to_wall_floor": 0.95,
    "neighbours_limit": 0.05, "repeats": 0, "latency_calls": 10,
    "configurations": {"a": Configuration(), "b": Configuration()},
}  # fmt: skip
PARAMETERS = BlocksParameters(**SETTINGS)


def subjects_of(seed):
    """Two copies of the model that training seed `seed` gives."""
    torch.manual_seed(seed)
    deployed = deploy_in_torch(WeatherGRU(Architecture(3, 4, 1, 0.0)), "fp32")
    return {name: Subject(deployed, {"label": f"{name}{seed}"}, torch.ones(20)) for name in "ab"}


def measure(path, stop_after=None, make=FakeMeter, seeds=(0,), **changes):
    """Run the design; `stop_after` metered windows the process is interrupted."""
    replicas = {seed: subjects_of(seed) for seed in seeds}
    made = []

    def meter():
        made.append(1)
        if stop_after is not None and len(made) > 1 + 20 + stop_after:  # thrown away, and the gate's
            raise KeyboardInterrupt
        return make()

    journal = RowJournal(path, "work")
    parameters = BlocksParameters(**(SETTINGS | changes))
    frozen = measure_blocks(
        replicas, torch.rand(20, 5, 3), parameters, Chosen(meter, "fake", "a test"), journal
    )
    return frozen, journal.rows[1:]


@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True), st.integers(1, 30), st.integers(0, 9)
)
def test_a_design_holds_every_item_once_per_block(items, blocks, seed):
    cells = design(items, blocks, seed)
    assert len(cells) == len(items) * blocks
    for block in range(blocks):
        own = [cell for cell in cells if cell.block == block]
        assert sorted(cell.item for cell in own) == sorted(items)
        assert [cell.position for cell in own] == list(range(len(items)))
    assert design(items, blocks, seed) == cells
    assert design(items, blocks + 1, seed)[: len(cells)] == cells


def tried(schedule, flags_of, repeats, before=()):
    """Measure `schedule`: a window's n-th try (from 0) is flagged if `flags_of(window, n)` says so."""
    rows, counts = [{"frozen": 1}, *before], Counter((row["block"], row["position"]) for row in before)
    for window in to_measure(schedule, rows, repeats):
        place = (window.block, window.position)
        flags = "neighbours" if flags_of(window, counts[place]) else ""
        rows.append({"block": window.block, "position": window.position, "item": window.item, "flags": flags})
        counts[place] += 1
    return rows[1:]


def test_a_flagged_window_is_measured_again_at_the_end_of_its_block():
    schedule = design(["a", "b"], 2, 1)
    first = schedule[0].item
    rows = tried(schedule, lambda window, n: window.block == 0 and window.item == first and n < 2, repeats=3)
    assert [(row["block"], row["position"]) for row in rows] == [
        (0, 0),
        (0, 1),
        (0, 0),
        (0, 0),
        (1, 0),
        (1, 1),
    ]
    kept = last_tries(rows)
    assert [(row["block"], row["position"], row["tries"]) for row in kept] == [
        (0, 0, 3), (0, 1, 1), (1, 0, 1), (1, 1, 1),
    ]  # fmt: skip
    assert not any(row["flags"] for row in kept)


def test_a_window_that_stays_flagged_is_kept_as_it_is():
    rows = tried(design(["a", "b"], 2, 1), lambda window, n: window.item == "b", repeats=2)
    kept = last_tries(rows)
    assert len(rows) == 2 * (1 + 3)
    assert {(row["item"], row["tries"], row["flags"]) for row in kept} == {
        ("a", 1, ""),
        ("b", 3, "neighbours"),
    }
    assert len(tried(design(["a", "b"], 2, 1), lambda window, n: True, repeats=0)) == 4


@given(st.integers(0, 20), st.integers(0, 3))
def test_a_killed_design_with_repeats_goes_on_where_it_was(done, repeats):
    schedule = design(["a", "b", "c"], 2, 1)

    def noisy(window, n):
        return (window.block + ord(window.item) + n) % 3 == 0

    whole = tried(schedule, noisy, repeats)
    assert tried(schedule, noisy, repeats, before=whole[:done]) == whole


def test_a_design_is_random_and_balanced():
    cells = design(["a", "b", "c", "d"], 2000, 1)
    first = [cell.item for cell in cells if cell.position == 0]
    for name in "abcd":
        assert 420 < first.count(name) < 580  # 500 expected, 19 standard deviation


def test_a_block_holds_every_configuration_at_every_batch_size_and_one_idle_window():
    expected = {("a", 1), ("b", 1), ("a", 64), ("b", 64), (IDLE, 0)}
    items = block_items(["a", "b"], [1, 64])
    assert set(items) == expected
    assert len(items) == 5


@given(st.floats(0.05, 100), st.floats(1e-5, 200))
def test_loops_fill_the_window(window_s, pass_s):
    loops = loops_for(window_s, pass_s)
    assert loops * pass_s >= window_s * (1 - 1e-9)
    assert loops == 1 or (loops - 1) * pass_s < window_s


def test_windows_are_measured_and_described(tmp_path):
    frozen, rows = measure(tmp_path / "j")
    assert len(rows) == 9
    assert set(frozen["latency"]["a"]) == {"1", "8"}
    assert frozen["latency"]["b"]["8"]["p50"] <= frozen["latency"]["b"]["8"]["p99"]
    for row in rows:
        assert row["meter_reason"] == "a test"
        if row["configuration"] == IDLE:
            assert (row["loops"], row["energy_mwh"], row["windows"], row["batch_size"]) == (0, None, 0, 0)
            assert "label" not in row
            assert row["cpu_time_s"] < 0.03
        else:
            assert row["batch_size"] == 8
            assert row["loops"] == frozen["loops"][row["configuration"]]["8"]
            assert row["cpu_time_ms"] == pytest.approx(1000 * row["cpu_time_s"] / row["loops"] / 20)
            joules = row["cpu_j"] + row["ram_j"]
            assert row["energy_mwh"] == pytest.approx(joules / 3.6 / row["loops"] / 20)
            assert row["label"] == row["configuration"] + "0"


@pytest.mark.parametrize("stop_after", [0, 1, 4, 8])
def test_a_killed_design_is_continued_in_the_same_order(tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "j", stop_after)
    before = RowJournal(tmp_path / "j", "work").rows
    assert len(before) == 1 + stop_after
    frozen, rows = measure(tmp_path / "j")
    assert rows[:stop_after] == before[1:]
    assert frozen["loops"] == before[0]["loops"]
    cells = [
        (cell.block, *cell.item)
        for cell in design([BlockItem("a", 8), BlockItem("b", 8), BlockItem(IDLE, 0)], 3, 5)
    ]
    assert [(row["block"], row["configuration"], row["batch_size"]) for row in rows] == cells


def test_training_seeds_take_turns_and_every_block_holds_both_batch_sizes(tmp_path):
    frozen, rows = measure(tmp_path / "j", seeds=(7, 3), blocks=4, batch_sizes=[1, 8])
    assert len(rows) == 4 * (2 * 2 + 1)
    assert [{row["training_seed"] for row in rows if row["block"] == block} for block in range(4)] == [
        {7}, {3}, {7}, {3},
    ]  # fmt: skip
    for block in range(4):
        own = [(row["configuration"], row["batch_size"]) for row in rows if row["block"] == block]
        assert sorted(own) == sorted(block_items(["a", "b"], [1, 8]))
    for row in rows:
        name, seed = row["configuration"], row["training_seed"]
        if name != IDLE:
            assert row["label"] == f"{name}{seed}"  # the columns of that seed's model
            assert row["loops"] == frozen["loops"][name][str(row["batch_size"])]
            assert row["cpu_time_ms"] == pytest.approx(1000 * row["cpu_time_s"] / row["loops"] / 20)


@pytest.mark.parametrize("stop_after", [7])
def test_a_killed_design_of_two_seeds_is_continued_with_the_seed_whose_turn_it_is(tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "j", stop_after, seeds=(7, 3), batch_sizes=[1, 8])
    _, rows = measure(tmp_path / "j", seeds=(7, 3), batch_sizes=[1, 8])
    assert [row["training_seed"] for row in rows] == [7] * 5 + [3] * 5 + [7] * 5
    cells = [cell.item for cell in design(block_items(["a", "b"], [1, 8]), 3, 5)]
    assert [(row["configuration"], row["batch_size"]) for row in rows] == cells


def test_a_window_calls_the_model_of_its_seed_in_batches_of_its_size(tmp_path):
    """20 windows in batches of 8 are calls of 8, 8 and 4; in batches of 1, 20 calls."""
    sizes = {7: [], 3: []}
    replicas = {}
    for seed, seen in sizes.items():
        deployed = subjects_of(seed)["a"].deployed

        def run(windows, seen=seen, run=deployed.run):
            seen.append(len(windows))
            return run(windows)

        replicas[seed] = {
            name: Subject(replace(deployed, run=run), {}, torch.ones(20)) for name in ("a", "b")
        }
    parameters = BlocksParameters(**(SETTINGS | {"blocks": 2, "batch_sizes": [1, 8]}))
    journal = RowJournal(tmp_path / "j", "work")
    chosen = Chosen(FakeMeter, "fake", "a test")
    measure_blocks(replicas, torch.rand(20, 5, 3), parameters, chosen, journal)
    second = [row for row in journal.rows[1:] if row["block"] == 1]
    loops = {size: sum(row["loops"] for row in second if row["batch_size"] == size) for size in (1, 8)}
    # seed 3 is neither calibrated nor timed for latency: each of its two models is called once at each size
    # to warm up, and its other calls are those of the second block's windows
    assert Counter(sizes[3]) == {1: 20 * loops[1] + 2, 8: 2 * loops[8] + 2, 4: loops[8]}


def test_a_meter_that_costs_too_much_stops_the_run(tmp_path):
    class Slow(FakeMeter):
        def start(self):
            super().start()
            import time

            time.sleep(0.01)

    with pytest.raises(
        UserError, match=r"empty metering takes \d+\.\d % .*limit 1\.0 %.*raise benchmark.*window_s"
    ):
        measure(tmp_path / "j", make=Slow, overhead_limit=0.01)


@pytest.mark.parametrize(
    ("configuration", "cpu_to_wall", "others", "flags"),
    [
        ("a", 1.0, 0.0, ""),
        ("a", 0.94, 0.0, "waited"),
        ("a", 1.0, 0.06, "neighbours"),
        ("a", 0.5, 0.5, "waited+neighbours"),
        (IDLE, 0.0, 0.0, ""),
        (IDLE, 0.0, 0.06, "neighbours"),
    ],
)
def test_contention_is_flagged(configuration, cpu_to_wall, others, flags):
    assert flags_of(configuration, cpu_to_wall, others, PARAMETERS) == flags


def test_the_load_of_neighbours_by_hand():
    before = Moment(wall_s=0.0, own_cpu_s=0.0, all_cpu_s=100.0)
    assert neighbours_load(before, Moment(10.0, 9.0, 111.0), cores=2) == pytest.approx(0.1)
    assert neighbours_load(before, Moment(10.0, 9.0, 108.99), cores=2) == 0.0
    assert neighbours_load(before, before, cores=2) == 0.0


def test_threads_are_in_the_environment_before_anything_is_loaded(tmp_path, project):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(project / 'stages')!r})\n"
        "from sustainable.measuring.process import settle, start_afresh\n"
        "start_afresh(1, keep_memory=True)\n"
        "print(os.environ['OMP_NUM_THREADS'], settle(1), sys.argv[1:])\n"
    )
    done = subprocess.run([sys.executable, script, "--x"], capture_output=True, text=True, check=True, env={})
    assert done.stdout.startswith("1 {'threads': 1, 'interop_threads': 1, 'keeps_memory': True, 'cores': [")
    assert done.stdout.strip().endswith("['--x']")


@pytest.mark.parametrize("stage", ["benchmark", "benchmark_policies", "candidates"])
def test_a_measuring_stage_finds_its_settings_before_it_loads_anything(stage, project, monkeypatch):
    """Else it would start afresh only after it has loaded everything, and load everything twice."""
    (keys,) = re.findall(r"start_stage_afresh\((.+)\)", (project / f"stages/{stage}.py").read_text())
    started = []
    monkeypatch.setattr(process, "start_afresh", lambda *settings: started.append(settings))
    monkeypatch.setattr(
        sys, "argv", [stage, "--params", str(project / "params.yaml"), "--name", "remeasured"]
    )
    process.start_stage_afresh(*ast.literal_eval(f"[{keys}]"))
    assert started == [(1, True)]


def test_frozen_numbers_are_plain(tmp_path):
    frozen, _ = measure(tmp_path / "j")
    assert frozen["loops"].keys() == {"a", "b"}
    assert all(isinstance(counts["8"], int) for counts in frozen["loops"].values())
    assert 0 < frozen["meter_overhead_p95"] < 0.9
    assert not isinstance(frozen["meter_overhead_p95"], np.floating)
