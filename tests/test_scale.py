"""Many windows from few, as `python -m sustainable.tools.scale` makes them, and what it says of them."""

import pandas as pd
import pytest

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.core.files import read_rows
from sustainable.reporting.measured_rows import IDLE
from sustainable.reporting.policies.costs import measures_of, with_outcomes
from sustainable.reporting.policies.run import CELL, WINDOWS, read_windows
from sustainable.tools import scale
from sustainable.tools.scale import Taken, lines_of, repeated_windows, write_windows

REFERENCE = STAGES.parent / "data/reference"


@pytest.fixture(scope="module")
def shipped():
    return read_rows(REFERENCE / scale.WINDOWS_FILE, WINDOWS)


@pytest.fixture(scope="module")
def repeated(shipped):
    return pd.concat(repeated_windows(shipped, 2 * len(shipped) + 1), ignore_index=True)


def test_windows_repeat_in_further_blocks(shipped, repeated):
    assert len(repeated) == 3 * len(shipped)
    blocks = shipped["block"].nunique()
    for _, own in repeated.groupby(CELL):
        assert set(own["block"]) == set(range(3 * blocks))
    assert (repeated["policy_us"] != 0).all() and repeated["policy_us"].nunique() > shipped[
        "policy_us"
    ].nunique()


def test_the_parts_of_a_repeated_step_add_up(repeated):
    parts = repeated[["policy_us", "environment_us", "remainder_us"]].sum(axis=1, min_count=3)
    assert parts.to_numpy() == pytest.approx(repeated["cpu_time_per_step_us"].to_numpy(), nan_ok=True)


def test_repeated_windows_pass_every_check_of_the_report(tmp_path, shipped):
    assert write_windows(tmp_path / "policies.csv", repeated_windows(shipped, 2000)) == 3 * len(shipped)
    (tmp_path / "workload.csv").write_bytes((REFERENCE / "benchmark/workload.csv").read_bytes())
    rows, _ = read_windows(tmp_path)
    assert len(rows) == 3 * len(shipped)


def test_the_tables_of_a_cell_hold_each_window_at_its_place(repeated):
    own = with_outcomes(repeated[repeated["environment"] == "Hopper-v5"])
    measures = measures_of(own, 0.95)
    for window in own.sample(50, random_state=0).itertuples():
        for name, column in (("step", "step"), ("steps", "steps_per_episode"), ("flagged", "flagged")):
            assert measures.tables[name].loc[window.block, window.configuration] == getattr(window, column)
        assert measures.units[window.block] == window.training_seed
    assert IDLE not in measures.tables["step"] and measures.tables["flagged"].to_numpy().dtype == bool


def test_the_goal_is_about_the_added_windows():
    steps = {"pandas.read_csv": Taken(2.0, 2.0, 500.0), "report": Taken(25.0, 50.0, 600.0)}
    lines = list(lines_of(1_000_000, 400.0, Taken(20.0, 21.0, 300.0), steps))
    assert "the added windows take 5.0 s of CPU time, 2.5 times as much as pandas" in lines
    assert "goal, at most 3 times: met" in lines
    assert "peak memory: 1.20 times that of pandas" in lines
    assert any(line.split()[-2:] == ["20,000", "600"] for line in lines)  # windows per second, and MiB
    slow = lines_of(1_000_000, 400.0, Taken(18.0, 21.0, 300.0), steps)
    assert "goal, at most 3 times: missed" in list(slow)


@pytest.mark.parametrize("rows", [999, 1_200_001])
def test_a_number_of_rows_that_the_report_cannot_take_is_refused(monkeypatch, rows):
    monkeypatch.setattr("sys.argv", ["scale", "--rows", str(rows)])
    with pytest.raises(UserError, match=f"--rows {rows}: 1000 to 1200000"):
        scale.main()
