"""Labelled sequences: reading, scaling over the training part, and faults that name their cell."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.forecasting.data.preprocessing import PreprocessParameters, preprocess
from sustainable.forecasting.data.windows import as_tensors, load_windows, save_windows

SECTION = {"layout": "sequences", "label": "kind", "classes": ["a", "b", "c"], "part": "part", "features": 2}
GOOD = [
    f"{part},{kind},{value},0.0,{value + 1},5.0"
    for part, value in (("train", 0.0), ("validation", 10.0), ("test", -1.0))
    for kind in "abc"
]


def written(folder: Path, lines=GOOD, header="part,kind,w,x,y,z") -> Path:
    (folder / "sequences.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "sequences.csv"


def parameters(**changes):
    return TypeAdapter(PreprocessParameters).validate_json(json.dumps(SECTION | changes))


def test_sequences_by_hand(tmp_path):
    parts, described = preprocess(written(tmp_path), parameters())
    # training rows hold 0 and 1 in the first feature, 0 and 5 in the second
    assert described["scale"] == {"mean": [0.5, 2.5], "deviation": [0.5, 2.5]}
    assert parts["train"].inputs.tolist() == [[[-1.0, -1.0], [1.0, 1.0]]] * 3
    assert parts["validation"].inputs[0].tolist() == [[19.0, -1.0], [21.0, 1.0]]
    assert parts["test"].target.tolist() == [0, 1, 2]
    assert parts["test"].first_day.tolist() == [6, 7, 8]
    assert described["train"] == {"windows": 3, "of_class": [1, 1, 1]}


def test_a_constant_feature_becomes_zero(tmp_path):
    lines = [line.replace(",5.0", ",0.0") for line in GOOD]
    parts, described = preprocess(written(tmp_path, lines), parameters())
    assert described["scale"]["deviation"][1] == 0.0
    assert not parts["test"].inputs[:, :, 1].any()


def test_sequences_are_stored_without_a_day_before(tmp_path):
    parts, _ = preprocess(written(tmp_path), parameters())
    save_windows(tmp_path / "w.safetensors", parts)
    read = load_windows(tmp_path / "w.safetensors")
    assert read["train"].previous is None
    assert read["train"].classes == 3
    assert np.array_equal(read["test"].inputs, parts["test"].inputs)
    assert str(as_tensors(read["train"])[1].dtype) == "torch.int64"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*GOOD, "train,d,0,0,0,0"], r"line 11, column 'kind': 'd' is none of a, b, c"),
        ([*GOOD, "dev,a,0,0,0,0"], r"line 11, column 'part': 'dev' is none of train, validation, test"),
        ([*GOOD, "train,a,0,0,x,0"], r"line 11, column 'y': 'x' is not a number"),
        (GOOD[:-1], r"no sequence of test has the class 'c'"),
        ([*GOOD, "train,a,0,0,0"], r"line 11: 5 columns, the header has 6"),
    ],
)
def test_a_fault_names_its_cell(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        preprocess(written(tmp_path, lines), parameters())


def test_columns_that_do_not_make_steps_are_refused(tmp_path):
    with pytest.raises(UserError, match="4 columns of numbers do not make steps of 3"):
        preprocess(written(tmp_path), parameters(features=3))
    with pytest.raises(UserError, match="line 1: column 'label' is missing"):
        preprocess(written(tmp_path), parameters(label="label"))


def test_the_shipped_sequences_are_those_of_the_recipe(project):
    path = project / "data/raw/mnist1d.csv"
    assert file_sha256(path) in (project / "data/raw/README.md").read_text()
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + 5000
    counts = {part: sum(line.startswith(part) for line in lines) for part in ("train", "validation", "test")}
    assert counts == {"train": 3200, "validation": 800, "test": 1000}
