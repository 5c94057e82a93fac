import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import LOG, run_stage
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_json, read_rows, replacing, write_json, write_rows
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.tasks import collect, finish
from sustainable.core.tensors import read_tensors, serialise, tensors_sha256, write_tensors


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_sorted_keys_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": 2, "b": 1}


def test_rows_keep_missing_values_missing_and_whole_numbers_whole(tmp_path):
    write_rows(tmp_path / "a.csv", [{"n": 1, "x": None}, {"n": 2, "x": 0.5}])
    assert (tmp_path / "a.csv").read_text() == "n,x\n1,\n2,0.5\n"
    assert np.isnan(read_rows(tmp_path / "a.csv", ("n", "x"))["x"][0])


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.safetensors"])
def test_a_missing_artifact_is_one_line_that_says_how_to_make_it(tmp_path, name):
    reader = {"json": read_json, "csv": lambda p: read_rows(p, ()), "safetensors": read_tensors}
    with pytest.raises(UserError, match=rf"{name}: missing; `dvc repro` makes it"):
        reader[name.split(".")[1]](tmp_path / name)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_named(tmp_path, kept):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.safetensors: not a safetensors file"):
        read_tensors(path)


def test_truncated_tables_and_documents_are_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("run,x\n")
    with pytest.raises(UserError, match="no rows"):
        read_rows(tmp_path / "a.csv", ("run",))
    with pytest.raises(UserError, match="column 'y' is missing"):
        read_rows(tmp_path / "a.csv", ("y",))
    for damaged in ("", "a,b\n1,2,3,4\n1,2,3,4,5\n"):  # of the second pandas tells in two lines
        (tmp_path / "a.csv").write_text(damaged)
        with pytest.raises(UserError, match="not a CSV") as caught:
            read_rows(tmp_path / "a.csv", ("y",))
        assert "\n" not in str(caught.value)


def test_tensors_come_back_with_their_description(tmp_path):
    write_tensors(tmp_path / "a", {"w": torch.arange(3)}, {"hidden": 3})
    tensors, description = read_tensors(tmp_path / "a")
    assert tensors["w"].tolist() == [0, 1, 2]
    assert description == {"hidden": 3}


@given(st.dictionaries(st.text(min_size=1), st.integers()))
def test_a_fingerprint_ignores_the_order_of_keys(settings):
    assert fingerprint(settings) == fingerprint(dict(reversed(settings.items())))


def test_a_hash_sees_order_of_names_never_and_one_bit_always():
    one, two = torch.zeros(3), torch.ones(2)
    assert serialise({"a": one, "b": two}) == serialise({"b": two, "a": one})
    base = tensors_sha256({"a": one})
    flipped = one.clone()
    flipped[1] = 1e-45  # the smallest float32
    assert (
        len(
            {
                base,
                tensors_sha256({"a": flipped}),
                tensors_sha256({"b": one}),
                tensors_sha256({"a": one[None]}),
            }
        )
        == 4
    )


def test_a_journal_resumes_after_a_torn_line_and_forgets_other_work(tmp_path):
    path = tmp_path / "rows.jsonl"
    journal = RowJournal(path, "work")
    journal.append({"run": 0})
    journal.append({"run": 1})
    with path.open("a") as file:
        file.write('{"run": 2, "x"')  # as a crash leaves it
    resumed = RowJournal(path, "work")
    assert resumed.rows == [{"run": 0}, {"run": 1}]
    resumed.append({"run": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()][1:] == resumed.rows
    assert RowJournal(path, "other work").rows == []


@given(st.integers(0, 60))
def test_a_journal_cut_anywhere_keeps_a_prefix_of_its_rows(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("journal") / "rows.jsonl"
    journal = RowJournal(path, "work")
    rows = [{"run": number} for number in range(4)]
    for row in rows:
        journal.append(row)
    path.write_bytes(path.read_bytes()[:length])
    kept = RowJournal(path, "work").rows
    assert kept == rows[: len(kept)]


def test_a_users_mistake_is_one_line_and_ours_keeps_its_traceback(capsys):
    def mistaken():
        raise UserError("params.yaml: epochs: too many")

    with pytest.raises(SystemExit) as stopped:
        exit_on_error(mistaken)
    assert stopped.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        exit_on_error(lambda: print(1 / 0))


def test_a_stage_says_what_it_took(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/preprocess.py", "--protocol", "weather", "--params", "p.yaml"])
    run_stage(lambda: None)
    assert re.fullmatch(r"preprocess@weather: 0 s, at most \d+ MiB\n", capsys.readouterr().out)
    assert not LOG.exists()  # no pipeline here
    (tmp_path / "dvc.yaml").touch()
    run_stage(lambda: None)
    noted = json.loads(LOG.read_text())
    assert noted["stage"] == "preprocess@weather"
    assert 0 <= noted["wall_s"] < 1
    assert 10 < noted["memory_mib"] < 10_000


def test_a_finished_task_is_not_done_again_unless_an_output_is_missing(tmp_path):
    made = []

    def make():
        made.append(1)
        (tmp_path / "weights").write_text("w")
        return {"cost": 1.5}

    for _ in range(2):
        assert finish(tmp_path / "record.json", make, tmp_path / "weights") == {"cost": 1.5}
    assert len(made) == 1
    (tmp_path / "weights").unlink()
    finish(tmp_path / "record.json", make, tmp_path / "weights")
    assert len(made) == 2


def test_results_are_collected_and_nothing_else_stays(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a").write_text("new")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/old").touch()
    collect({"b/a": tmp_path / "work/a"}, tmp_path / "models", tmp_path / "work")
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "b", "a"]
    assert (tmp_path / "models/b/a").read_text() == "new"


def test_a_stage_takes_paths_and_text(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stage.py", "--protocol", "weather", "--csv", "a/b.csv"])
    arguments = stage_arguments("A stage.", "csv", text="protocol")
    assert (arguments.protocol, arguments.csv) == ("weather", Path("a/b.csv"))
    with pytest.raises(SystemExit):
        stage_arguments("A stage.", "csv windows", text="protocol")
    assert "--windows" in capsys.readouterr().err
