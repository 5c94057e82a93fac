"""Files from elsewhere are data: each is read, or refused in one line, in bounded time and memory."""

import json
import os
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sustainable.core import reading
from sustainable.core.columns import COLUMNS, columns_markdown
from sustainable.core.documents import BestAction, Choices, Cost, problem_in
from sustainable.core.errors import UserError, printable
from sustainable.core.files import read_json, read_rows, write_rows
from sustainable.core.reading import contained, parsed_json, parsed_yaml, plain_path, read_bytes
from sustainable.core.schema import Column, Table
from sustainable.core.tensors import read_tensors, write_tensors
from sustainable.reporting.forecasting.run import ACTIONS, IMPROVEMENTS, read_actions
from sustainable.reporting.templates import escape_latex
from sustainable.tools.fuzz import readers
from sustainable.verification.claim.runs import ClaimFolder, Shipped, plan_of
from sustainable.verification.folders import copy
from sustainable.verification.fuzzing import damaged_copy, try_reader
from sustainable.verification.items import passed
from sustainable.verification.lock import MOST_STAGES, Stage, in_order, read_lock
from sustainable.verification.place import ROOT

REFERENCE = ROOT / "data/reference"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
"""Ten billion values in 500 letters."""


def test_only_regular_files_of_bounded_size_are_opened(tmp_path):
    fifo, zero, sparse = tmp_path / "fifo.json", tmp_path / "zero.json", tmp_path / "sparse.json"
    os.mkfifo(fifo)
    zero.symlink_to("/dev/zero")
    with sparse.open("wb") as file:
        file.truncate(2**40)
    for path, problem in ((fifo, "not a regular file"), (zero, "not a regular file"), (sparse, "too large")):
        with pytest.raises(UserError, match=problem):
            read_bytes(path)


def test_a_link_out_of_a_shipped_folder_is_refused_and_one_inside_is_followed(tmp_path):
    folder = tmp_path / "data/reference"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("1")
    (folder / "own.json").write_text("2")
    (folder / "out.json").symlink_to(tmp_path / "secret")
    (folder / "in.json").symlink_to(folder / "own.json")
    assert read_json(folder / "in.json") == 2
    with pytest.raises(UserError, match=r"out\.json: it leads out of its folder; restore it from git"):
        read_json(folder / "out.json")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "a//b", "./a", "", "a\x1bb", 3, None])
def test_paths_in_shipped_files_are_plain(tmp_path, name):
    with pytest.raises(ValueError, match="not a plain relative path"):
        plain_path(name)
    with pytest.raises(UserError, match="not a plain relative path"):
        contained(tmp_path, name)


def test_a_plain_path_must_not_lead_out_through_a_link(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/link").symlink_to("/etc")
    assert contained(tmp_path / "inner", "a/b.csv") == tmp_path / "inner/a/b.csv"
    with pytest.raises(UserError, match="leads out of its folder"):
        contained(tmp_path / "inner", "link/passwd")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested more than 64 levels"),
        ("[" * 66 + "]" * 66, "nested more than 64 levels"),
        ("9" * 10_000, "a number of 10000 digits"),
        ("NaN", "NaN is not a number in JSON"),
        ("-Infinity", "-Infinity is not a number"),
        ("1e999", "1e999 is not a finite number"),
        ('{"a": 1, "a": 2}', "key 'a' occurs twice"),
        ('"\\u001b[2J"', "control character"),
        ('{"\\u202e": 1}', "control character"),
    ],
)
def test_json_is_bounded(text, problem):
    with pytest.raises(ValueError, match=problem):
        parsed_json(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "more than 250,000 values, aliases replaced"),
        ("x: &x {a: 1}\n" + "y: &y\n  <<: [" + "*x, " * 260_000 + "]\n", "more than 250,000 values"),
        ("[" * 100_000, "nested more than 64 levels"),
        ("- " * 20_000 + "x", "nested more than 64 levels"),
        ("a: &a [*a]", "an alias of itself or of nothing"),
        ("a: 0b_", "invalid literal"),
        ("a: " + "9" * 10_000, "digits"),
        ("a: " + "9" * 100, "more than 64 digits"),
        ('a: "\\e[2J"', "control character"),
        ("a: !!python/name:os.system x", "a tag"),
        ("a: 2013-13-31", "month"),
    ],
)
def test_yaml_is_bounded(text, problem):
    tracemalloc.start()
    with pytest.raises(ValueError, match=problem):
        parsed_yaml(text)
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    tracemalloc.stop()


def test_aliases_within_bounds_are_replaced():
    assert parsed_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n") == {
        "a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (",".join(f"c{place}" for place in range(1000)) + "\n", "more than 512 columns"),
        ("c," * 10**6 + "\n", "columns"),
        ("a,a\n1,2\n", "column 'a' occurs twice"),
        ('"a\nb",c\n1,2\n', "the header takes several lines"),
        ("a,b\n1,2,3\n", "not a CSV table"),
        ("name\n\x1b[2J\n", "control characters"),
        ("name\n\u202egnp\n", "control characters"),
    ],
)
def test_tables_are_bounded(tmp_path, content, problem):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=problem):
        read_rows(tmp_path / "a.csv", ())


@pytest.mark.parametrize("hidden", ["\x1b", "\u202e"])
def test_a_control_character_is_seen_in_every_part_of_a_table(tmp_path, monkeypatch, hidden):
    monkeypatch.setattr(reading, "PART_BYTES", 5)  # such a part is completed to the end of a line
    rows = ["name", *["ø"] * 20]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert list(read_rows(tmp_path / "a.csv", ())["name"]) == rows[1:]
    for place in range(1, len(rows)):
        changed_rows = [row + hidden * (number == place) for number, row in enumerate(rows)]
        (tmp_path / "a.csv").write_text("\n".join(changed_rows))
        with pytest.raises(UserError, match="control characters"):
            read_rows(tmp_path / "a.csv", ())


def test_a_wrong_text_is_named_at_its_first_line():
    cells = pd.Series(["fine", "fine", "x" * 1001, "fine", "x" * 1001, ""])
    assert "line 4: 'xxx" in Column("text", "").fault(cells, may_be_empty=False)
    named = Column("text", "", values=("A", "B"))
    assert named.fault(pd.Series(["B", "A"] * 3), may_be_empty=False) is None
    assert "line 7: 'C' is not one of A, B" in named.fault(pd.Series(["A"] * 5 + ["C", "D"]), False)
    mixed = pd.Series(["A", 1, "B"], dtype=object)
    assert "line 3: '1' is not one of" in named.fault(mixed, may_be_empty=False)


def test_a_header_of_safetensors_cannot_ask_for_memory(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes((2**33).to_bytes(8, "little") + b"{}")
    with path.open("r+b") as file:
        file.truncate(2**31)
    with pytest.raises(UserError, match="its header would take 8,589,934,592 bytes"):
        read_tensors(path)
    write_tensors(path, {"w": torch.ones(1)}, {"a": 1})
    path.write_bytes(path.read_bytes().replace(b'{\\"a\\": 1}', b"[[[[[[[1"))
    with pytest.raises(UserError, match="not a safetensors file"):
        read_tensors(path)


def test_names_are_shown_as_text():
    assert printable("a\x1b[2J\x07b\u202ec") == r"a\x1b[2J\x07b\u202ec"
    line = passed("T0", "a\x1b[2J\nok  T0", "shipped").line
    assert "\x1b" not in line
    assert "\n" not in line
    for text in (r"\input{/etc/passwd}", r"\write18{id}", "^^5cinput", "%", "$x$"):
        escaped = escape_latex(text)
        assert r"\input" not in escaped
        assert r"\write" not in escaped
        assert "^^" not in escaped


def lock_with(tmp_path, path):
    """A lock of one stage that makes `path`."""
    outs = [{"path": path, "md5": "0" * 32}]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"a": {"cmd": "x", "outs": outs}}}))
    return tmp_path / "dvc.lock"


@pytest.mark.parametrize("path", ["data/../stages/report.py", "/etc/cron.d/x", "data/d/../../stages/a.py"])
def test_a_lock_names_no_path_outside(tmp_path, path):
    with pytest.raises(UserError, match="not a plain relative path"):
        read_lock(lock_with(tmp_path, path))


def test_what_is_shipped_is_copied_below_data_only(tmp_path):
    """Whatever the shipped lock names: code is never replaced."""
    root, folder = tmp_path / "project", tmp_path / "work"
    (root / "data/reference/stages").mkdir(parents=True)
    (root / "data/reference/stages/report.py").write_text("evil")
    run = ClaimFolder(Shipped(root), folder, plan_of("F12", Shipped(ROOT)))
    for output in ("stages/report.py", "data/../stages/report.py"):
        with pytest.raises(UserError):
            run.copy_data(output)
    (folder / "stages").mkdir(parents=True)
    (folder / "data").symlink_to(folder / "stages")
    with pytest.raises(UserError, match=r"leads out of its folder|not in the folder data"):
        run.copy_data("data/stages/report.py")
    assert list((folder / "stages").iterdir()) == []


def test_devices_and_fifos_are_not_copied(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "fifo")
    (source / "zero").symlink_to("/dev/zero")
    (source / "a").write_text("a")
    copy(source, tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a"]


def test_stages_are_ordered_as_they_read_and_a_long_chain_is_refused(tmp_path):
    def stage(name, inputs, outputs):
        return Stage(name, "x", {}, dict.fromkeys(inputs, ""), dict.fromkeys(outputs, ""))

    stages = [
        stage("c", ["b"], ["c"]),
        stage("a", [], ["a"]),
        stage("b", ["a"], ["b"]),
        stage("d", ["a"], []),
    ]
    assert [one.name for one in in_order(stages)] == ["a", "b", "d", "c"]
    with pytest.raises(UserError, match="in a circle"):
        in_order([stage("a", ["b"], ["a"]), stage("b", ["a"], ["b"])])
    chain = {f"s{n}": {"cmd": "x", "outs": [{"path": f"p{n}", "md5": "0"}]} for n in range(MOST_STAGES + 1)}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": chain}))
    with pytest.raises(UserError, match="501 stages, more than 500"):
        read_lock(tmp_path / "dvc.lock")


def changed(tmp_path, name, line, column, text):
    """A copy of a shipped table with one other cell; the header is line 1."""
    rows = [row.split(",") for row in (REFERENCE / name).read_text().splitlines()]
    rows[line - 1][rows[0].index(column)] = text
    path = tmp_path / Path(name).name
    path.write_text("\n".join(map(",".join, rows)) + "\n")
    return path


@pytest.mark.parametrize(
    ("column", "text", "problem"),
    [
        ("reward", "nan", r"column 'reward': line 3: the cell is empty"),
        ("reward", "inf", r"column 'reward': line 3: 'inf' is not a number"),
        ("reward", "high", r"column 'reward': line 3: 'high' is not a number"),
        ("action", "99", r"column 'action': line 3: '99' is not an integer, at least 0, at most 15"),
        ("action", "1.5", r"column 'action': line 3: '1\.5' is not an integer"),
        ("action", "0", r"line 3: the values of action occur in an earlier line, too"),
        ("pruning", "1.5", r"column 'pruning': line 3: '1\.5' is not a number, at least 0, at most 1"),
        ("quantization", "maybe", r"column 'quantization': line 3: 'maybe' is not True or False"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(tmp_path, column, text, problem):
    with pytest.raises(UserError, match=problem):
        read_rows(changed(tmp_path, "search/published/actions.csv", 3, column, text), ACTIONS)


def test_a_missing_action_is_named(tmp_path):
    lines = (REFERENCE / "search/published/actions.csv").read_text().splitlines()
    (tmp_path / "actions.csv").write_text("\n".join(lines[:5] + lines[6:]) + "\n")
    with pytest.raises(UserError, match="action 4 has no row"):
        read_actions(tmp_path / "actions.csv")


def test_rows_that_break_the_schema_are_not_written(tmp_path):
    with pytest.raises(
        UserError, match="not written: column 'accuracy': line 2: '2' is not a number, at least"
    ):
        write_rows(tmp_path / "a.csv", [{"accuracy": 2}])
    assert not (tmp_path / "a.csv").exists()


def test_a_budget_of_hundred_millions_is_refused():
    choices = json.loads((REFERENCE / "search/weather/choices.json").read_text())
    assert problem_in(choices, Choices) is None
    assert "main_budget: input should be less" in problem_in(choices | {"main_budget": 10**8}, Choices)
    assert "budgets.0.02: input should be less" in problem_in(choices | {"budgets": {"0.02": 10**8}}, Choices)
    assert problem_in({}, BestAction) == "actions: field required"
    assert "wall_time_s" in problem_in({"wall_time_s": "1"}, Cost)


def test_every_shipped_column_that_is_needed_is_declared():
    names = {*ACTIONS.needed, *IMPROVEMENTS.needed}
    assert names <= COLUMNS.keys()
    assert Column("integer", "", low=0, high=15).limits == "integer, at least 0, at most 15"
    assert Table(("a",)).fault(read_rows(REFERENCE / "search/published/actions.csv", ()), COLUMNS.get)


def test_the_documentation_of_columns_is_the_declaration():
    assert (ROOT / "data/COLUMNS.md").read_text() == columns_markdown()


READERS = readers()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@settings(max_examples=5, deadline=None)  # no test asserts speed
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, reader, seed):
    found = try_reader(reader, tmp_path_factory.mktemp("damaged"), [seed])
    assert found.tried == found.read + found.refused, found.tracebacks


def test_the_same_seed_damages_the_same_bytes():
    reader = READERS[0]
    content = reader.original.read_bytes()
    assert damaged_copy(reader, content, 5) == damaged_copy(reader, content, 5) != content
