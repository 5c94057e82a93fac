"""Tolerances: how they follow from differences, and what a comparison sees; worked out by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.verification.tiers.tolerance_runs import OTHERS, PATTERNS, changes, command, prepare
from sustainable.verification.tiers.tolerances import (
    FACTOR,
    FORECASTS,
    TENSORS,
    compare_numeric,
    derive,
    tolerances_for,
    tolerances_of,
)

HISTORY = "seed,epoch,train_loss,validation_loss\n1,1,0.5,0.75\n1,2,0.25,0.5\n"


def written(path, text):
    path.write_text(text)
    return path


def pair(tmp_path, name, ours, theirs):
    for folder, text in (("ours", ours), ("theirs", theirs)):
        (tmp_path / folder).mkdir(exist_ok=True)
        written(tmp_path / folder / name, text)
    return tmp_path / "ours" / name, tmp_path / "theirs" / name


def by_column(differences):
    return {difference.column: difference for difference in differences}


def failed(differences):
    return [difference for difference in differences if not difference.within]


def test_a_tolerance_is_ten_times_the_largest_difference():
    assert FACTOR == 10
    assert derive(0.001, relative=0.0014, unit=1e-16, whole=False) == pytest.approx(0.01)


def test_a_tolerance_is_never_less_than_a_unit_of_the_last_digit():
    assert derive(0.0, relative=0.0, unit=1e-16, whole=False) == 1e-16
    assert derive(1e-18, relative=1e-18, unit=1e-16, whole=False) == 1e-16


def test_whole_numbers_that_never_differed_are_exact_and_others_are_not():
    assert derive(0.0, relative=0.0, unit=1.0, whole=True) == 0.0
    assert derive(2.0, relative=0.01, unit=1.0, whole=True) == 20.0


def test_no_tolerance_fits_what_branches():
    assert derive(50.0, relative=0.1, unit=1e-13, whole=False) is None
    assert derive(49.0, relative=0.098, unit=1e-13, whole=False) == 490.0


def test_equal_tables_have_no_difference(tmp_path):
    found = compare_numeric(*pair(tmp_path, "history.csv", HISTORY, HISTORY), {})
    assert not failed(found)
    assert [(one.column, one.rows, one.largest) for one in found] == [
        ("train_loss", 2, 0.0),
        ("validation_loss", 2, 0.0),
    ]


@pytest.mark.parametrize(("tolerance", "within"), [(0.25, True), (0.125, False), (None, False)])
def test_the_largest_difference_is_found_and_judged(tmp_path, tolerance, within):
    files = pair(tmp_path, "history.csv", HISTORY, HISTORY.replace("1,2,0.25,0.5", "1,2,0.5,0.5"))
    found = by_column(compare_numeric(*files, {"train_loss": tolerance}))["train_loss"]
    assert (found.largest, found.where, found.rows) == (0.25, "seed 1, epoch 2", 2)
    assert found.within is within
    assert "0.25 off at seed 1, epoch 2" in found.line


def test_rows_are_found_by_their_keys_and_not_by_their_place(tmp_path):
    header, first, second = HISTORY.splitlines()
    files = pair(tmp_path, "history.csv", HISTORY, "\n".join([header, second, first]) + "\n")
    assert not failed(compare_numeric(*files, {}))


@pytest.mark.parametrize(
    ("theirs", "column", "problem", "where"),
    [
        (HISTORY.rsplit("1,2", 1)[0], "rows", "1 row missing", "seed 1, epoch 2"),
        (HISTORY + "1,3,0.1,0.1\n", "rows", "1 row not expected", "seed 1, epoch 3"),
        (
            HISTORY.replace("train_loss", "loss"),
            "train_loss",
            "this column is missing",
            "the whole file",
        ),
        (
            HISTORY.replace("0.25", ""),
            "train_loss",
            "1 of 2 are there on one side alone",
            "seed 1, epoch 2",
        ),
        (HISTORY.replace("0.25", "nan"), "train_loss", "1 of 2 differ", "seed 1, epoch 2"),
    ],
)
def test_another_structure_is_no_tolerable_difference(tmp_path, theirs, column, problem, where):
    tolerances = {"train_loss": 100.0, "validation_loss": 100.0}
    found = failed(compare_numeric(*pair(tmp_path, "history.csv", HISTORY, theirs), tolerances))
    assert (found[0].column, found[0].problem, found[0].where) == (column, problem, where)
    assert problem in found[0].line


def test_text_must_be_equal_and_times_and_hashes_are_left_to_others(tmp_path):
    ours = "name,value,cpu_time_ms,weights_sha256\na,1.0,3.0,ff\nb,2.0,3.0,ff\n"
    theirs = "name,value,cpu_time_ms,weights_sha256\na,1.0,9.0,00\nc,2.0,3.0,ff\n"
    files = pair(tmp_path, "some.csv", ours, theirs)
    found = failed(compare_numeric(*files, {"name": 5.0}))
    assert [(one.column, one.problem, one.where) for one in found] == [("name", "1 of 2 differ", "row 2")]
    assert {one.column for one in failed(compare_numeric(*files, {}, ignored=()))} == {
        "name",
        "cpu_time_ms",
        "weights_sha256",
    }


def test_of_zeros_and_ones_the_share_that_flips_counts(tmp_path):
    ours = "training_seed,first_day,baseline\n" + "".join(f"1,{day},1\n" for day in range(10))
    files = pair(tmp_path, "audited.hits.csv", ours, ours.replace("1,3,1", "1,3,0"))
    [found] = compare_numeric(*files, {FORECASTS: 0.1})
    assert (found.largest, found.where, found.within) == (0.1, "training_seed 1, first_day 3", True)
    assert not compare_numeric(*files, {FORECASTS: 0.05})[0].within


def test_json_is_compared_by_keys_with_numbers_as_one_column(tmp_path):
    ours = {"seeds": {"1": {"loss": 0.5, "n": 3}, "2": {"loss": 0.25, "n": 3}}, "name": "x", "no": None}
    theirs = {"seeds": {"1": {"loss": 0.5, "n": 3}, "2": {"loss": 0.75, "n": 4}}, "name": "x", "no": None}
    files = pair(tmp_path, "baseline.json", json.dumps(ours), json.dumps(theirs))
    found = by_column(compare_numeric(*files, {"seeds.*.loss": 0.5}))
    assert found["seeds.*.loss"].within
    assert (found["seeds.*.loss"].largest, found["seeds.*.loss"].where) == (0.5, "seeds.2.loss")
    assert not found["seeds.*.n"].within
    assert found["seeds.*.n"].largest == 1.0


def test_a_missing_key_and_another_kind_of_value_are_seen_in_json(tmp_path):
    files = pair(tmp_path, "a.json", '{"a": 1.5, "b": "1.5", "c": true}', '{"b": 1.5, "c": false}')
    found = {one.column: one.problem for one in failed(compare_numeric(*files, {"a": 9.0, "b": 9.0}))}
    assert found == {"a": "this column is missing", "b": "1 of 1 differ", "c": "1 of 1 differ"}


def tensors(tmp_path, ours, theirs, about=(None, None)):
    paths = []
    for folder, content, metadata in zip(("ours", "theirs"), (ours, theirs), about, strict=True):
        (tmp_path / folder).mkdir(exist_ok=True)
        paths.append(tmp_path / folder / "seed_1.safetensors")
        save_file(content, paths[-1], metadata=metadata)
    return paths


def test_weights_are_compared_tensor_by_tensor(tmp_path):
    ours = {"a": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}
    theirs = {"a": np.array([[0, 0, 0], [0, 0.25, 0]], np.float32), "b": np.ones(2, np.float32)}
    found = by_column(compare_numeric(*tensors(tmp_path, ours, theirs), {TENSORS: 0.25}))
    assert found["tensors/a"].within
    assert (found["tensors/a"].largest, found["tensors/a"].where) == (0.25, "a[1, 1]")
    assert found["tensors/b"].largest == 0.0


@pytest.mark.parametrize(
    ("theirs", "column", "problem"),
    [
        ({}, "tensors/a", "this tensor is missing"),
        ({"a": np.zeros(3, np.float32)}, "tensors/a", "float32[3], expected float32[2]"),
        ({"a": np.zeros(2, np.float64)}, "tensors/a", "float64[2], expected float32[2]"),
        (
            {"a": np.array([0, np.nan], np.float32)},
            "tensors/a",
            "numbers that are not finite on one side alone",
        ),
    ],
)
def test_weights_of_another_shape_are_no_tolerable_difference(tmp_path, theirs, column, problem):
    files = tensors(tmp_path, {"a": np.zeros(2, np.float32)}, theirs)
    [found] = failed(compare_numeric(*files, {TENSORS: 100.0}))
    assert (found.column, found.problem) == (column, problem)


def test_what_weights_say_of_themselves_must_be_equal(tmp_path):
    same = {"a": np.zeros(2, np.float32)}
    files = tensors(tmp_path, same, same, about=({"description": "1"}, {"description": "2"}))
    assert failed(compare_numeric(*files, {TENSORS: 100.0}))[0].column == "description"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"a,b\n1\n"),
        ("a.csv", b"a\n\xff\n"),
        ("a.json", b'{"a": '),
        ("a.safetensors", b"\x08"),
        ("a.txt", b"1"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        compare_numeric(tmp_path / name, tmp_path / name, {})


def test_a_missing_file_is_named(tmp_path):
    for name in ("a.csv", "a.json", "a.safetensors"):
        with pytest.raises(UserError, match=name):
            compare_numeric(tmp_path / name, tmp_path / name, {})


def document():
    runs = [
        {"run": "unpinned", "largest": 0.0005, "relative": 0.0125},
        {"run": "2 threads", "largest": 0.001, "relative": 0.025},
    ]
    loss = {"unit": 1e-16, "whole": False, "largest": 0.001, "relative": 0.025, "runs": runs}
    columns = {"train_loss": {**loss, "tolerance": 0.01}}
    return {"settings": {"factor": 10.0}, "tables": {"data/training/*/history.csv": {"columns": columns}}}


def test_tolerances_are_read_by_pattern_and_column(tmp_path):
    path = written(tmp_path / "tolerances.json", json.dumps(document()))
    found = tolerances_of(path)
    assert found == {"data/training/*/history.csv": {"train_loss": 0.01}}
    assert tolerances_for("data/training/audited/history.csv", found) == {"train_loss": 0.01}
    assert tolerances_for("data/raw/seattle-weather.csv", found) is None


@pytest.mark.parametrize("key", ["tolerance", "largest", "factor", "relative"])
def test_a_widened_tolerance_is_seen(tmp_path, key):
    changed = document()
    entry = changed["tables"]["data/training/*/history.csv"]["columns"]["train_loss"]
    if key == "factor":
        changed["settings"]["factor"] = 100.0
    else:
        entry[key] = 0.02 if key == "relative" else 1.0
    path = written(tmp_path / "tolerances.json", json.dumps(changed))
    with pytest.raises(UserError, match=r"is stated, .* follows from what was measured"):
        tolerances_of(path)


@pytest.mark.parametrize("content", ["{}", "[]", '{"settings": {"factor": 10.0}, "tables": {"a": 1}}'])
def test_a_file_that_holds_no_tolerances_is_named(tmp_path, content):
    path = written(tmp_path / "tolerances.json", content)
    with pytest.raises(UserError, match="no table of tolerances"):
        tolerances_of(path)


def test_a_stand_in_takes_the_place_of_the_pins_and_workers_are_left_out(tmp_path):
    script = written(
        tmp_path / "stage.py",
        "import os\n"
        "from sustainable.core.determinism import use_deterministic_torch\n"
        "from sustainable.core.parallel import available_cores\n"
        "import torch\n"
        "use_deterministic_torch()\n"
        "print('MKL_CBWR' in os.environ, torch.get_num_threads(), available_cores())\n",
    )
    (tmp_path / "sustainable").symlink_to(STAGES / "sustainable")
    runner = STAGES / "sustainable/verification/otherwise.py"
    said = {
        pins: subprocess.run(
            [sys.executable, runner, pins, "2", script],
            env={"PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for pins in ("pinned", "unpinned")
    }
    assert said == {"pinned": ["True", "1", "1"], "unpinned": ["False", "2", "1"]}


def test_the_runs_are_prepared_once_and_every_step_has_its_command(project, tmp_path):
    prepare(project, tmp_path / "runs")
    copy = tmp_path / "runs/project"
    for stage, part in {step for way in OTHERS for step in way.steps}:
        words = command(copy, stage, part)
        assert words[0] == f"stages/{stage}.py"
        assert "$" not in " ".join(words)
    (copy / "params.yaml").unlink()
    prepare(project, tmp_path / "runs")
    assert not (copy / "params.yaml").exists(), "it was made anew"
    with pytest.raises(UserError, match="not a folder of such runs"):
        prepare(project, tmp_path)


def test_what_is_cut_down_is_no_evidence(project):
    assert changes(project)["profile"] == "smoke"


def test_every_shipped_tolerance_follows_from_what_was_measured(project):
    found = tolerances_of(project / "data/reference/tolerances.json")
    assert set(found) <= set(PATTERNS)
    assert found["data/training/*/history.csv"]["train_loss"] > 0
