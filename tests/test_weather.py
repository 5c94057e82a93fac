from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sustainable.artifact.errors import UserError
from sustainable.artifact.hashing import file_sha256
from sustainable.weather import (
    NUMBERS,
    load_windows,
    make_windows,
    read_weather,
    save_windows,
    scale_min_max,
    stratified_split,
)

HEADER = "date,precipitation,temp_max,temp_min,wind,weather"
GOOD = [f"2012-01-0{day},0.0,12.8,5.0,4.7,rain" for day in range(1, 6)]


def write(folder: Path, lines, encoding="utf-8") -> Path:
    path = folder / "weather.csv"
    path.write_bytes("\n".join(lines).encode(encoding) + b"\n")
    return path


@pytest.fixture(scope="module")
def real(project):
    weather = read_weather(project / "data/raw/seattle-weather.csv")
    wet = weather["weather"].isin(["rain", "drizzle"]).to_numpy().astype(np.int64)
    return make_windows(scale_min_max(weather[list(NUMBERS)].to_numpy())[0], wet, 30), weather


def test_the_data_set_is_the_documented_one(project, real):
    assert file_sha256(project / "data/raw/seattle-weather.csv").startswith("0845078a290b48e3")
    counts = real[1]["weather"].value_counts().to_dict()
    assert counts == {"rain": 641, "sun": 640, "fog": 101, "drizzle": 53, "snow": 26}


def test_the_published_split_and_what_persistence_scores_on_it(real):
    windows, _ = real
    split = stratified_split(windows.target, 0.2, 0.1, 42)
    assert {name: len(index) for name, index in split.items()} == {
        "train": 1029,
        "validation": 115,
        "test": 287,
    }
    assert sorted(np.concatenate(list(split.values()))) == list(range(1431))
    test = windows.take(split["test"])
    assert int((test.previous == test.target).sum()) == 206  # 0.7178 of 287


def replaced(line, text):
    lines = [HEADER, *GOOD]
    lines[line - 1] = text
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace("wind", "gust"), *GOOD], "line 1: column 'wind' is missing"),
        (replaced(3, GOOD[1].replace("rain", "hail")), "line 3, column 'weather': 'hail' is none of"),
        (replaced(4, GOOD[3]), "line 4, column 'date': there is a gap: 2012-01-03 was expected"),
        (replaced(4, GOOD[1]), "line 4, column 'date': 2012-01-02 repeats"),
        (
            replaced(2, GOOD[0].replace("2012-01-01", "01/01/2012")),
            "line 2, column 'date': '01/01/2012' is not a date",
        ),
        (replaced(5, GOOD[3].replace("12.8", "warm")), "line 5, column 'temp_max': 'warm' is not a number"),
        (replaced(5, GOOD[3].replace("4.7", "")), "line 5, column 'wind': '' is not a number"),
        (replaced(5, GOOD[3].replace("4.7", "inf")), "line 5, column 'wind': 'inf' is not a number"),
        (replaced(5, GOOD[3].replace("4.7", "nan")), "line 5, column 'wind': 'nan' is not a number"),
        (replaced(3, GOOD[1] + ",1"), "line 3: 7 columns, the header has 6"),
        (replaced(3, ""), "line 3: 0 columns, the header has 6"),
        ([HEADER], "line 2: there are no rows"),
        ([], "line 1: column 'date' is missing|line 1: the file is empty"),
    ],
)
def test_a_bad_table_is_refused_with_line_and_column(tmp_path, lines, message):
    with pytest.raises(UserError, match=message) as caught:
        read_weather(write(tmp_path, lines))
    assert "\n" not in str(caught.value)


def test_empty_missing_and_wrongly_encoded_files_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(UserError, match="line 1: the file is empty"):
        read_weather(tmp_path / "empty.csv")
    with pytest.raises(UserError, match="missing; restore it"):
        read_weather(tmp_path / "nowhere.csv")
    lines = replaced(4, GOOD[2].replace("rain", "brouillard épais"))
    with pytest.raises(UserError, match="line 4, column 'weather': not UTF-8"):
        read_weather(write(tmp_path, lines, "latin-1"))
    with pytest.raises(UserError, match=r"line 1, column 'date': not UTF-8"):
        read_weather(write(tmp_path, [HEADER, *GOOD], "utf-16"))


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert len(read_weather(write(tmp_path, [HEADER, *GOOD], "utf-8-sig"))) == 5


def test_windows_by_hand():
    features = np.arange(5.0)[:, None]
    windows = make_windows(features, np.array([0, 1, 0, 1, 1]), 2)
    assert windows.inputs[:, :, 0].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert windows.target.tolist() == [0, 1, 1]
    assert windows.previous.tolist() == [1, 0, 1]
    assert windows.first_day.tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="2 rows give no window of 2 days"):
        make_windows(features[:2], np.zeros(2), 2)


@given(st.integers(1, 10), st.integers(11, 40))
def test_every_window_ends_the_day_before_its_target(days, rows):
    wet = np.arange(rows) % 3 % 2
    windows = make_windows(np.arange(rows, dtype=float)[:, None], wet, days)
    last = windows.inputs[:, -1, 0].astype(int)
    assert (windows.target == wet[last + 1]).all()
    assert (windows.previous == wet[last]).all()


@given(arrays(np.float64, (7, 2), elements=st.floats(-1e6, 1e6)))
def test_scaled_columns_span_zero_to_one(values):
    scaled, minimum, span = scale_min_max(values)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert np.allclose(scaled * span + minimum, values)


@given(st.integers(20, 200), st.integers(0, 1000))
def test_a_stratified_split_is_a_partition_with_equal_shares(count, seed):
    target = np.arange(count) % 2
    split = stratified_split(target, 0.25, 0.2, seed)
    assert sorted(np.concatenate(list(split.values()))) == list(range(count))
    for index in split.values():
        assert abs(target[index].mean() - 0.5) <= 0.5 / len(index) + 0.02


def test_a_split_that_cannot_be_stratified_is_refused():
    with pytest.raises(UserError, match="cannot be split"):
        stratified_split(np.array([0] * 20 + [1]), 0.2, 0.1, 0)


def test_windows_are_stored_and_a_damaged_store_is_named(tmp_path):
    windows = make_windows(np.arange(5.0)[:, None], np.array([0, 1, 0, 1, 1]), 2)
    save_windows(tmp_path / "w", {"train": windows})
    loaded = load_windows(tmp_path / "w")["train"]
    assert all(
        (getattr(loaded, name) == getattr(windows, name)).all() for name in ("inputs", "target", "previous")
    )
    from sustainable.artifact.files import read_tensors, write_tensors

    tensors, _ = read_tensors(tmp_path / "w")
    del tensors["train.target"]
    write_tensors(tmp_path / "w", tensors)
    with pytest.raises(UserError, match=r"'train\.target' is missing"):
        load_windows(tmp_path / "w")
