import csv
import json
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_protocols, read_section
from sustainable.core.tensors import read_tensors, write_tensors
from sustainable.forecasting.data.daily import (
    ChronologicalSplit,
    DailyParameters,
    Table,
    chronological_split,
    leaks,
    make_windows,
    read_daily_table,
    rows_of_parts,
    rows_to_scale_over,
    split_windows,
    whole_windows,
)
from sustainable.forecasting.data.preprocessing import PreprocessParameters
from sustainable.forecasting.data.windows import load_windows, save_windows, scale_min_max, stratified_split

HEADER = "date,precipitation,temp_max,temp_min,wind,weather"
GOOD = [f"2012-01-0{day},0.0,12.8,5.0,4.7,rain" for day in range(1, 6)]
SPLIT = {"method": "chronological", "train_until": "2012-01-02", "validation_until": "2012-01-04"}
SECTION = {
    "layout": "daily",
    "date": "date",
    "window_days": 1,
    "features": ["precipitation", "temp_max", "temp_min", "wind"],
    "target": {"column": "weather", "known": ["fog", "rain", "sun"], "positive": ["rain"]},
    "split": SPLIT,
    "scaled_over": "training_rows",
}
WARM = {"column": "temp_max", "above": 15.0}
RANDOM = {"method": "random_stratified", "test_share": 0.2, "validation_share": 0.1, "seed": 42}


def parameters(**changes) -> DailyParameters:
    text = json.dumps(SECTION | changes)
    return TypeAdapter(PreprocessParameters).validate_json(text)


def write(folder: Path, lines, encoding="utf-8") -> Path:
    path = folder / "weather.csv"
    path.write_bytes("\n".join(lines).encode(encoding) + b"\n")
    return path


def parts_of(project, protocol):
    """The parts of the real data under a protocol of the project's params.yaml, and their table."""
    chosen = parameters(**yaml.safe_load((project / "params.yaml").read_text())["preprocess"][protocol])
    table = read_daily_table(project / "data/raw/seattle-weather.csv", chosen)
    scaled, _, _ = scale_min_max(table.features, rows_to_scale_over(table, chosen))
    windows = make_windows(scaled, table.positive, chosen.window_days)
    return split_windows(windows, table, chosen), table


@pytest.fixture(scope="module")
def published(project):
    return parts_of(project, "published")


@pytest.fixture(scope="module")
def audited(project):
    return parts_of(project, "weather")


def test_the_data_set_is_the_documented_one(project):
    path = project / "data/raw/seattle-weather.csv"
    assert file_sha256(path).startswith("0845078a290b48e3")
    counts = Counter(row["weather"] for row in csv.DictReader(path.read_text().splitlines()))
    assert counts == {"rain": 641, "sun": 640, "fog": 101, "drizzle": 53, "snow": 26}


def lengths(parts):
    return {name: len(part) for name, part in parts.items()}


def test_the_published_split_and_what_persistence_scores_on_it(published):
    parts, _ = published
    assert lengths(parts) == {"train": 1029, "validation": 115, "test": 287}
    assert sorted(np.concatenate([part.first_day for part in parts.values()])) == list(range(1431))
    assert int((parts["test"].previous == parts["test"].target).sum()) == 206  # 0.7178 of 287


def test_the_published_windows_stay_the_same_to_the_byte(published, tmp_path):
    save_windows(tmp_path / "w", published[0])
    assert file_sha256(tmp_path / "w").startswith("af0a03b915ae4c8f")


def test_the_audited_parts_are_years_and_the_scale_knows_the_first_two_alone(audited):
    parts, table = audited
    assert lengths(parts) == {"train": 701, "validation": 335, "test": 335}
    first_rows = {"train": 0, "validation": 731, "test": 731 + 365}  # 2012 is a leap year
    assert {name: part.first_day[0] for name, part in parts.items()} == first_rows
    assert (parts["test"].target == table.positive[731 + 365 + 30 :]).all()
    assert (parts["train"].inputs.min(), parts["train"].inputs.max()) == (0.0, 1.0)
    assert parts["test"].inputs.max() > 1.0  # 2015 had a day wetter than any of the first two years
    fitted = table.features[:731]
    expected = (table.features[731:761] - fitted.min(axis=0)) / np.ptp(fitted, axis=0)
    assert np.array_equal(parts["validation"].inputs[0], expected.astype(np.float32))


def test_every_published_window_leaks_and_no_audited_one_does(published, audited):
    assert leaks(published[0], 30) == {"validation": 115, "test": 287}
    assert leaks(audited[0], 30) == {"validation": 0, "test": 0}


def test_leaks_by_hand():
    windows = make_windows(np.arange(12.0)[:, None], np.arange(12) % 2, 2)  # window r has the rows r to r + 2
    parts = {name: windows.take(np.array(index)) for name, index in [("train", [0, 1]), ("test", [3, 4, 9])]}
    assert leaks(parts, 2) == {"test": 1}  # row 3 is an input of the one and the target of the other


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
        (replaced(5, GOOD[3].replace("4.7", "")), "line 5, column 'wind': the value is missing"),
        (replaced(5, GOOD[3].replace("4.7", "inf")), "line 5, column 'wind': 'inf' is not a number"),
        (replaced(5, GOOD[3].replace("4.7", "nan")), "line 5, column 'wind': the value is missing"),
        (replaced(3, GOOD[1] + ",1"), "line 3: 7 columns, the header has 6"),
        (replaced(3, ""), "line 3: 0 columns, the header has 6"),
        ([HEADER + ",wind", *(day + ",4.7" for day in GOOD)], "line 1: column 'wind' is there 2 times"),
        ([HEADER], "line 2: there are no rows"),
        ([], "line 1: column 'date' is missing|line 1: the file is empty"),
    ],
)
def test_a_bad_table_is_refused_with_line_and_column(tmp_path, lines, message):
    with pytest.raises(UserError, match=message) as caught:
        read_daily_table(write(tmp_path, lines), parameters())
    assert "\n" not in str(caught.value)


def test_empty_missing_and_wrongly_encoded_files_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(UserError, match="line 1: the file is empty"):
        read_daily_table(tmp_path / "empty.csv", parameters())
    with pytest.raises(UserError, match="missing; name a file"):
        read_daily_table(tmp_path / "nowhere.csv", parameters())
    lines = replaced(4, GOOD[2].replace("rain", "brouillard épais"))
    with pytest.raises(UserError, match="line 4, column 'weather': not UTF-8"):
        read_daily_table(write(tmp_path, lines, "latin-1"), parameters())
    with pytest.raises(UserError, match=r"line 1, column 'date': not UTF-8"):
        read_daily_table(write(tmp_path, [HEADER, *GOOD], "utf-16"), parameters())


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert len(read_daily_table(write(tmp_path, [HEADER, *GOOD], "utf-8-sig"), parameters())) == 5


def test_an_encoding_fault_is_found_behind_a_quoted_comma(tmp_path):
    lines = ["place,date,weather", '"Lincoln, NE",2012-01-01,brouillard épais']
    with pytest.raises(UserError, match="line 2, column 'weather': not UTF-8"):
        read_daily_table(write(tmp_path, lines, "latin-1"), parameters())


def test_only_the_named_columns_are_read(tmp_path):
    lines = ["temp_max,note,date", "15.5,,2012-01-01", "15.0,windy,2012-01-02", "14.5,?,2012-01-03"]
    table = read_daily_table(write(tmp_path, lines), parameters(features=["temp_max"], target=WARM))
    assert table.features.tolist() == [[15.5], [15.0], [14.5]]
    assert table.positive.tolist() == [1, 0, 0]  # 15 is not above 15
    assert table.first == date(2012, 1, 1)


def test_rows_of_one_place_are_kept_with_their_line_numbers(tmp_path):
    days = [(place, f"2012-01-0{day}") for day in (1, 2) for place in ("here", "there")]
    lines = ["date,place,temp_max", *(f"{day},{place},{len(place)}.0" for place, day in days)]
    chosen = parameters(features=["temp_max"], target=WARM, rows={"place": "there"})
    assert read_daily_table(write(tmp_path, lines), chosen).features.tolist() == [[5.0], [5.0]]
    lines[4] = "2012-01-02,there,mild"
    with pytest.raises(UserError, match="line 5, column 'temp_max': 'mild' is not a number"):
        read_daily_table(write(tmp_path, lines), chosen)
    with pytest.raises(UserError, match=r"column 'place': no row holds 'away'; see preprocess: rows\.place"):
        read_daily_table(
            tmp_path / "weather.csv", parameters(features=["temp_max"], rows={"place": "away"}, target=WARM)
        )


GAPPY = [  # 3 January has no row, 4 January no wind
    HEADER,
    *(f"2012-01-{day:02d},0.0,12.8,5.0,4.7,{'rain' if day % 2 else 'sun'}" for day in (1, 2)),
    "2012-01-04,0.0,12.8,5.0,NA,rain",
    *(f"2012-01-{day:02d},0.0,12.8,5.0,{day}.0,{'rain' if day % 2 else 'sun'}" for day in range(5, 10)),
]


def test_skipped_gaps_by_hand(tmp_path):
    table = read_daily_table(write(tmp_path, GAPPY), parameters(gaps="skip"))
    assert (len(table), table.first) == (9, date(2012, 1, 1))
    assert np.flatnonzero(table.missing).tolist() == [2, 3]  # 3 and 4 January
    assert table.positive.tolist() == [1, 0, 0, 0, 1, 0, 1, 0, 1]
    # Windows of one day and the day after: those of 2, 3 and 4 January touch a missing day.
    assert whole_windows(table, 1).tolist() == [0, 4, 5, 6, 7]
    assert whole_windows(table, 3).tolist() == [4, 5]
    with pytest.raises(UserError, match="every window of 5 days with a next day touches a missing day"):
        whole_windows(table, 5)
    with pytest.raises(
        UserError, match=r"line 4, column 'date': there is a gap: 2012-01-03 .*set gaps to skip"
    ):
        read_daily_table(tmp_path / "weather.csv", parameters())


def test_a_scale_knows_no_missing_day(tmp_path):
    chosen = parameters(
        gaps="skip", split=SPLIT | {"validation_until": "2012-01-06", "train_until": "2012-01-05"}
    )
    table = read_daily_table(write(tmp_path, GAPPY), chosen)
    assert rows_to_scale_over(table, chosen).tolist() == [0, 1, 4]
    early = parameters(gaps="skip", split=SPLIT | {"train_until": "2012-01-01"})
    empty = Table(table.first, np.where(np.arange(9) < 1, np.nan, 1.0)[:, None], table.positive)
    with pytest.raises(UserError, match="every day of training is missing"):
        rows_to_scale_over(empty, early)


def test_a_missing_class_is_no_class_unless_it_is_declared(tmp_path):
    lines = [HEADER, *GOOD[:4], GOOD[4].replace("rain", "NA")]
    with pytest.raises(UserError, match=r"line 6, column 'weather': the value is missing \(found 'NA'\)"):
        read_daily_table(write(tmp_path, lines), parameters())
    named = parameters(target={"column": "weather", "known": ["NA", "rain"], "positive": ["NA"]})
    assert read_daily_table(tmp_path / "weather.csv", named).positive.tolist() == [0, 0, 0, 0, 1]


def test_a_table_without_a_value_is_refused(tmp_path):
    lines = [HEADER, *(day.replace("4.7", "") for day in GOOD)]
    with pytest.raises(UserError, match="every row has a cell without a value"):
        read_daily_table(write(tmp_path, lines), parameters(gaps="skip"))


@given(st.lists(st.booleans(), min_size=3, max_size=40), st.integers(1, 6))
def test_exactly_the_windows_that_touch_a_missing_day_are_left_out(missing, days):
    features = np.where(missing, np.nan, 1.0)[:, None]
    table = Table(date(2012, 1, 1), features, np.zeros(len(missing), dtype=np.int64))
    whole = [first for first in range(len(missing) - days) if not any(missing[first : first + days + 1])]
    if whole:
        assert whole_windows(table, days).tolist() == whole
    else:
        with pytest.raises(UserError, match="touches a missing day"):
            whole_windows(table, days)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gaps": "fill"}, r"gaps: input should be 'refuse' or 'skip' \(found 'fill'\)"),
        ({"features": []}, "features: list should have at least 1 item"),
        ({"features": ["wind", "wind"]}, "features: a column is listed twice"),
        ({"target": None}, "target"),
        (
            {"target": {"column": "weather", "positive": ["rain"]}},
            r"target\.known: this key is missing",
        ),
        ({"target": SECTION["target"] | {"positive": ["hail"]}}, "positive: 'hail' is not among known"),
        ({"target": WARM | {"above": "15"}}, r"target\.above: '15' is text"),
        (
            {"split": SPLIT | {"train_until": "2012-01-04"}},
            r"split: train_until \(2012-01-04\) must be earlier than validation_until \(2012-01-04\)$",
        ),
        (
            {"split": SPLIT | {"train_until": "2012-13-31"}},
            "train_until: there is no such day in the calendar",
        ),
        (
            {"split": SPLIT | {"train_until": date(2012, 1, 2)}},
            'train_until: write the date in quotes: "2012-',
        ),
        ({"split": SPLIT | {"train_until": "31/12/2013"}}, "train_until: a quoted date is needed"),
        ({"split": SPLIT | {"train_until": "1388448000"}}, "train_until: a quoted date is needed"),
        ({"split": SPLIT | {"train_until": 2013}}, "train_until: a quoted date is needed"),
        ({"split": {"method": "by_hand"}}, "split: input tag 'by_hand'"),
        ({"split": RANDOM}, "scaled_over: a random split leaves no rows to training only"),
        ({"split": RANDOM | {"test_share": 1.0}}, "test_share: input should be less than 1"),
        ({"rows": {"place": 1}}, r"rows\.place: input should be a valid string"),
        ({"wet": ["rain"]}, "wet: unknown key"),
        ({"scaled": "all_rows"}, "scaled: unknown key; remove it or correct its name"),
    ],
)
def test_bad_parameters_are_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=rf"preprocess\.mine\..*{message}") as caught:
        read_section(write_params(tmp_path, SECTION | changes), "preprocess", PreprocessParameters, "mine")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_named_and_not_the_one_that_is_missing_for_it(tmp_path):
    section = {("window_day" if key == "window_days" else key): value for key, value in SECTION.items()}
    with pytest.raises(
        UserError, match=r"preprocess\.mine\.window_day: unknown key; did you mean window_days\?"
    ):
        read_section(write_params(tmp_path, section), "preprocess", PreprocessParameters, "mine")


def test_a_date_that_yaml_cannot_read_is_one_line(tmp_path):
    path = write_params(tmp_path, SECTION)
    path.write_text(path.read_text().replace("'2012-01-02'", "2012-13-31"))
    with pytest.raises(UserError, match=r"params\.yaml: not valid YAML: month must be in 1\.\.12"):
        read_section(path, "preprocess", PreprocessParameters, "mine")


def write_params(folder, section) -> Path:
    """A params.yaml with one protocol of preprocess, `mine`, and the dvc.yaml that it needs."""
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"preprocess": {}}}))
    content = {
        "profile": "paper",
        "protocols": {"mine": {"csv": "weather.csv"}},
        "benchmarks": {},
        "searched_tables": {},
        "tasks": {},
        "metering": {},
    }
    content["preprocess"] = {"mine": section}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "params.yaml"


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


def test_a_scale_sees_its_rows_alone():
    values = np.array([[1.0, 4.0], [3.0, 4.0], [7.0, 6.0]])
    scaled, minimum, span = scale_min_max(values, slice(0, 2))
    assert scaled.tolist() == [[0.0, 0.0], [1.0, 0.0], [3.0, 2.0]]
    assert (minimum.tolist(), span.tolist()) == ([1.0, 4.0], [2.0, 0.0])


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


def table_of(rows: int) -> Table:
    return Table(date(2012, 1, 1), np.arange(float(rows))[:, None], np.arange(rows) % 2)


@given(st.integers(1, 10), st.integers(20, 60), st.data())
def test_a_chronological_part_has_each_window_that_lies_in_it_and_no_other(days, rows, data):
    cut = data.draw(st.integers(1, rows - 2))
    ends = [cut, data.draw(st.integers(cut + 1, rows - 1)), rows]
    starts = dict(zip(("train", "validation", "test"), [0, *ends[:2]], strict=True))
    parts = {name: range(start, end) for (name, start), end in zip(starts.items(), ends, strict=True)}
    windows = make_windows(np.arange(float(rows))[:, None], np.arange(rows) % 2, days)
    if any(len(part) <= days for part in parts.values()):
        with pytest.raises(UserError, match=f"hold no window of {days} days"):
            chronological_split(windows.first_day, days, parts)
        return
    split = chronological_split(windows.first_day, days, parts)
    for name, index in split.items():
        lies_in = [first for first in range(rows - days) if {first, first + days} <= set(parts[name])]
        assert index.tolist() == lies_in
    assert set(leaks({name: windows.take(index) for name, index in split.items()}, days).values()) == {0}


def test_the_rows_of_parts_by_hand():
    split = ChronologicalSplit("chronological", "2012-01-02", "2012-01-04")
    assert rows_of_parts(table_of(7), split) == {
        "train": range(0, 2),
        "validation": range(2, 4),
        "test": range(4, 7),
    }


@pytest.mark.parametrize(
    ("train_until", "validation_until", "message"),
    [
        ("2011-12-31", "2012-01-04", r"preprocess: split\.train_until: 2011-12-31 must be a day of the data"),
        ("2012-01-02", "2012-01-08", r"split\.validation_until: .* \(they are 2012-01-01 to 2012-01-08\)"),
        ("2012-01-02", "2019-01-01", r"split\.validation_until: 2019-01-01 must be a day of the data"),
        ("2012-01-01", "2012-01-04", "split: the 1 rows of train hold no window of 1 days"),
        ("2012-01-03", "2012-01-05", "target: every day to forecast in validation is negative"),
    ],
)
def test_a_split_that_leaves_a_part_empty_or_of_one_class_is_refused(train_until, validation_until, message):
    table, split = table_of(8), SPLIT | {"train_until": train_until, "validation_until": validation_until}
    with pytest.raises(UserError, match=message) as caught:
        split_windows(make_windows(table.features, table.positive, 1), table, parameters(split=split))
    assert "\n" not in str(caught.value)


def test_windows_are_stored_and_a_damaged_store_is_named(tmp_path):
    windows = make_windows(np.arange(5.0)[:, None], np.array([0, 1, 0, 1, 1]), 2)
    save_windows(tmp_path / "w", {"train": windows})
    loaded = load_windows(tmp_path / "w")["train"]
    assert all(
        (getattr(loaded, name) == getattr(windows, name)).all() for name in ("inputs", "target", "previous")
    )
    tensors, _ = read_tensors(tmp_path / "w")
    del tensors["train.target"]
    write_tensors(tmp_path / "w", tensors)
    with pytest.raises(UserError, match=r"'train\.target' is missing"):
        load_windows(tmp_path / "w")


LINCOLN = {
    "layout": "daily",
    "date": "DATE",
    "rows": {"STATION": "USW00094996"},
    "window_days": 7,
    "features": ["TMIN", "TMAX"],
    "target": {"column": "TMAX", "above": 60},
    "split": {"method": "chronological", "train_until": "2016-03-31", "validation_until": "2016-04-30"},
    "scaled_over": "training_rows",
    "gaps": "skip",
}


def preprocess(project, folder, section, table):
    """The command that dvc.yaml gives the stage, in a folder whose params.yaml names `table`."""
    params = write_params(folder, section)
    named = {"protocols": {"mine": {"csv": str(table)}}}
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | named))
    words = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["preprocess"]["do"]["cmd"]
    words = words.replace("${item.csv}", str(read_protocols(params)["mine"])).replace("${key}", "mine")
    command = [sys.executable, project / words.split()[1], *words.split()[2:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_another_data_set_needs_other_parameters_and_nothing_else(project, tmp_path):
    source = project / "tests/data/lincoln-weather.csv"
    assert file_sha256(source) in (project / "tests/data/README.md").read_text()
    done = preprocess(project, tmp_path, LINCOLN, source)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "data/metrics/mine/preprocess.json").read_text())
    # January to March are 91 days, April 30, the rest 245; each part loses its first 7 days as targets.
    # 17 June has no temperatures: as the day to forecast, or as one of the 7 before it, it is in 8 windows.
    assert metrics["rows"] == 91 + 30 + 245
    assert metrics["skipped"] == {"days": 1, "windows": 8}
    assert lengths(load_windows(tmp_path / "data/processed/mine/windows.safetensors")) == {
        "train": 84,
        "validation": 23,
        "test": 245 - 7 - 8,
    }
    assert {name: metrics[name] for name in ("train", "validation", "test")} == {
        "train": {"windows": 84, "wet_share": 21 / 84},
        "validation": {"windows": 23, "wet_share": 15 / 23},
        "test": {"windows": 230, "wet_share": 174 / 230},
    }
    assert metrics["scale"]["TMAX"] == {"minimum": 8.0, "range": 78.0 - 8.0}  # degrees F, until March
    assert metrics["shared_rows"] == {"validation": 0, "test": 0}
    first = load_windows(tmp_path / "data/processed/mine/windows.safetensors")["train"].inputs[0, 0, 1]
    assert first == np.float32((36 - 8) / 70)  # TMAX is the second feature, and was 36 on 1 January


def test_a_wrong_date_stops_preprocess_with_one_line(project, tmp_path):
    section = LINCOLN | {"split": LINCOLN["split"] | {"validation_until": "2017-01-01"}}
    done = preprocess(project, tmp_path, section, project / "tests/data/lincoln-weather.csv")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "preprocess: split.validation_until: 2017-01-01 must be a day of the data" in done.stderr
    assert not (tmp_path / "data").exists()
