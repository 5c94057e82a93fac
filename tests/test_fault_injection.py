"""What `make test-faults` counts as a lost or doubled row, a bad end, or a forgotten result."""

import random
import signal

import pytest
import yaml

from sustainable.core.files import write_text
from sustainable.tools.faults import shares, summary
from sustainable.verification.faults.comparison import Difference, difference
from sustainable.verification.faults.interruptions import (
    Attempt,
    Chain,
    Saved,
    forgotten,
    resumed_policies,
    wrong_end,
)
from sustainable.verification.faults.storage import READ_ONLY_LINE
from sustainable.verification.faults.tasks import DAMAGES
from sustainable.verification.faults.workshop import Ended, Workshop, run

TABLE = "data/benchmark/a.csv"
ROWS = ["configuration,block,cpu_time_s", "eager,0,0.5", "int8,0,0.4", "eager,1,0.5", "int8,1,0.4"]
INTERRUPTED = "benchmark.py: interrupted; run it again to resume\n"


def folders(tmp_path, name, before, after):
    """Two folders that hold the file `name`; None: it is missing."""
    for folder, content in (("undisturbed", before), ("disturbed", after)):
        (tmp_path / folder / name).parent.mkdir(parents=True)
        if content is not None:
            (tmp_path / folder / name).write_text(content)
    return difference(tmp_path / "undisturbed", tmp_path / "disturbed", [name], [])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS, Difference()),
        ([ROWS[0], *(row.replace("0.5", "0.9") for row in reversed(ROWS[1:]))], Difference()),
        (ROWS[:-1], Difference(lost=1)),
        ([*ROWS, ROWS[1], ROWS[1]], Difference(doubled=2)),
        ([*ROWS[:-1], ROWS[1]], Difference(lost=1, doubled=1)),
    ],
)
def test_rows_of_a_measured_table_are_counted_by_their_design(tmp_path, rows, expected):
    assert folders(tmp_path, TABLE, "\n".join(ROWS), "\n".join(rows)) == expected


@pytest.mark.parametrize(
    ("name", "before", "after", "problem"),
    [
        ("data/training/a.csv", "loss\n0.5\n", "loss\n0.50\n", None),
        ("data/training/a.csv", "loss\n0.5\n", "loss\n0.51\n", "not as in the undisturbed run"),
        ("data/metrics/weather/training_cost.json", '{"cpu_j": 1}', '{"cpu_j": 2}', None),
        ("data/metrics/weather/training_cost.json", '{"cpu_j": 1}', '{"cpu_j":', "cannot be read"),
        ("data/metrics/weather/baseline.json", '{"loss": 1}', None, "missing"),
    ],
)
def test_results_must_be_the_same_and_costs_readable(tmp_path, name, before, after, problem):
    found = folders(tmp_path, name, before, after)
    assert (found.lost, found.doubled) == (0, 0)
    assert (found.problem is None) if problem is None else (problem in found.problem)


def test_a_temporary_file_beside_a_result_is_left_behind(tmp_path):
    (tmp_path / "disturbed/data/benchmark").mkdir(parents=True)
    (tmp_path / "disturbed/data/benchmark/.a.csv.x7.csv").touch()
    (tmp_path / "undisturbed/data/benchmark").mkdir(parents=True)
    for folder in ("undisturbed", "disturbed"):
        (tmp_path / folder / TABLE).write_text("\n".join(ROWS))
    found = difference(tmp_path / "undisturbed", tmp_path / "disturbed", [TABLE], [])
    assert found.problem == "data/benchmark/.a.csv.x7.csv: left behind"


@pytest.mark.parametrize(
    ("status", "errors", "way", "fine"),
    [
        (-9, "", "kill -9", True),
        (1, "", "kill -9", False),
        (130, INTERRUPTED, "SIGINT", True),
        (130, INTERRUPTED, "SIGINT to all", True),
        (-2, "", "SIGINT", True),
        (0, "", "SIGINT", True),
        (-2, "Traceback (most recent call last):\nKeyboardInterrupt\n", "SIGINT", False),
        (130, "Traceback (most recent call last):\n" + INTERRUPTED, "SIGINT", False),
        (1, "x.py: a worker process was killed; run it again\n", "kill -9 of a worker", True),
        (1, "Traceback\nTerminatedWorkerError\n", "kill -9 of a worker", False),
    ],
)
def test_an_interrupted_stage_must_end_with_one_line(status, errors, way, fine):
    assert (wrong_end(Ended(status, "", errors), way) is None) == fine


def test_a_refusal_is_one_line_with_the_expected_parts():
    line = f"x.py: a/b: {READ_ONLY_LINE}; work in a copy\n"
    assert Ended(1, "", line).refusal(READ_ONLY_LINE) is None
    assert "exit status 2, not 1" in Ended(2, "", line).refusal(READ_ONLY_LINE)
    assert "not one line" in Ended(1, "", line * 2).refusal(READ_ONLY_LINE)
    assert "is missing in" in Ended(1, "", line).refusal("permission denied")


def test_saved_rows_and_finished_tasks_must_stay():
    before = Saved({"j": ["a", "b"]}, {"r": "1"})
    assert forgotten(before, Saved({"j": ["a", "b", "c"]}, {"r": "1", "s": "2"}), done=False) is None
    assert forgotten(before, Saved({}, {}), done=True) is None
    assert "of 2 saved rows 1 are left" in forgotten(before, Saved({"j": ["a"]}, {"r": "1"}), done=False)
    assert "done again" in forgotten(before, Saved({"j": ["a", "b"]}, {"r": "2"}), done=False)


def test_policies_that_were_trained_on_are_read_from_what_is_printed():
    printed = "Hopper-v5 TRPO seed 2: resuming after 4000 of 8192 steps\nother\n"
    assert resumed_policies(printed) == ["Hopper-v5/TRPO/seed_2"]


def test_every_damage_changes_the_bytes():
    content = random.Random(0).randbytes(100)
    assert all(damage(content) != content for damage in DAMAGES.values())


def test_counts_are_those_of_the_attempts():
    attempts = [Attempt("a"), Attempt("b", Difference(lost=2, doubled=1)), Attempt("c", skipped="no root")]
    assert summary(attempts) == "tried 2, survived 1, rows lost 2, rows doubled 1, skipped 1"
    assert shares(7, 3) == [3, 2, 2]


STAGE = """
import csv, json, os, sys, time
from pathlib import Path
how, journal, table = "{how}", Path("data/checkpoints/toy/rows.jsonl"), Path("data/benchmark/toy.csv")
journal.parent.mkdir(parents=True, exist_ok=True)
try:
    rows = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    rows = {{"careful": rows, "forgetful": [], "doubling": rows + rows[:1]}}[how]
    with journal.open("w" if how == "forgetful" else "a") as file:
        for block in range(len(rows), 24):
            start = time.process_time()
            while time.process_time() - start < 0.05:
                pass
            rows.append({{"block": block, "wall_time_s": time.perf_counter()}})
            file.write(json.dumps(rows[-1]) + "\\n")
            file.flush()
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["block", "wall_time_s"])
        writer.writeheader()
        writer.writerows(rows)
    journal.unlink()
except KeyboardInterrupt:
    print("toy.py: interrupted; run it again to resume", file=sys.stderr)
    sys.exit(130)
"""
"""A stage that keeps a journal of its rows; or forgets it, or takes its first row twice."""


def campaign(tmp_path, monkeypatch, how):
    """Interrupt the stage twice, late enough for it to have rows."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, and so inherited, in the background
    monkeypatch.setattr("sustainable.verification.faults.interruptions.FIRST_S", 0.7)
    monkeypatch.setattr("sustainable.verification.faults.interruptions.START_S", 0.0)
    for name in ("undisturbed", "disturbed"):
        folder = tmp_path / name
        write_text(folder / "toy.py", STAGE.format(how="careful" if name == "undisturbed" else how))
        stages = {"toy": {"cmd": "python toy.py", "outs": ["data/benchmark/toy.csv"]}}
        write_text(folder / "dvc.yaml", yaml.safe_dump({"stages": stages}))
        write_text(folder / "params.yaml", "profile: smoke\n")
        effort = '{"stage": "toy", "wall_s": 0.9}\n'
        write_text(folder / "data/checkpoints/effort.jsonl", effort)
    workshop = Workshop(tmp_path / "undisturbed", tmp_path / "disturbed")
    run(workshop.command("toy"), workshop.undisturbed)
    return list(Chain(workshop, "toy", random.Random(0)).attempts(2))


def test_a_careful_stage_survives_kills_and_interruptions(tmp_path, monkeypatch):
    attempts = campaign(tmp_path, monkeypatch, "careful")
    assert summary(attempts) == "tried 2, survived 2, rows lost 0, rows doubled 0, skipped 0", attempts


@pytest.mark.parametrize("how", ["forgetful", "doubling"])
def test_a_stage_that_forgets_or_doubles_rows_is_noticed(tmp_path, monkeypatch, how):
    attempts = campaign(tmp_path, monkeypatch, how)
    assert any(attempt.difference for attempt in attempts)
