import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import LOG, run_stage
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_json, read_rows, replacing, write_json, write_rows
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.tasks import collect, finish
from sustainable.core.tensors import (
    read_checkpoint,
    read_tensors,
    serialise,
    tensors_sha256,
    write_checkpoint,
    write_tensors,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_file_is_removed_and_what_another_writes_stays(tmp_path):
    path = tmp_path / "a.txt"
    (tmp_path / ".a.txt.left.txt").write_text("half")
    with replacing(path) as living:
        living.write_text("first")
        with replacing(path) as temporary:
            temporary.write_text("second")
            assert sorted(tmp_path.iterdir()) == sorted([living, temporary])
    assert path.read_text() == "first"
    assert [path] == list(tmp_path.iterdir())


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


@settings(deadline=None)  # it waits for the disk
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


def test_a_journal_that_another_process_writes_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    RowJournal(path, "work").append({"run": 0})
    journal = RowJournal(path, "work")  # this process may open it again
    program = "from pathlib import Path; from sustainable.core.journal import RowJournal; import sys\n"
    program += "from sustainable.core.errors import exit_on_error\n"
    program += "exit_on_error(lambda: RowJournal(Path(sys.argv[1]), 'work'))"
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "rows.jsonl: another process is measuring into this file" in done.stderr
    journal.append({"run": 1})
    assert RowJournal(path, "work").rows == [{"run": 0}, {"run": 1}]


def test_files_and_their_folders_are_on_disk_before_they_count_as_written(tmp_path, monkeypatch):
    """Record in which order files and folders are synced, and when the file gets its name."""
    target, events = tmp_path / "new/deep/a.json", []
    kinds = {True: "folder", False: "file"}
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle):
        events.append((kinds[stat.S_ISDIR(os.fstat(handle).st_mode)], target.exists()))
        real_sync(handle)

    def replace(self, other):
        events.append("named")
        return real_replace(self, other)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    write_json(target, {"a": 1})
    new_folders = [("folder", False)] * 2
    assert events == [*new_folders, ("file", False), "named", ("folder", True)]


ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
TOOL = "from sustainable.core.errors import exit_on_error\nimport sys\n"


def printing(lines, **options):
    """Run a program that prints many lines."""
    program = f"{TOOL}exit_on_error(lambda: print('line\\n' * {lines}))"
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_one_line(lines):
    process = printing(lines, stdout=subprocess.PIPE)
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
    assert message == "-c: stopped, because the reader of the output has closed it\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_output_to_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        process = printing(1, stdout=full)
    message = process.communicate()[1]
    assert process.returncode == 1
    assert message == "-c: no space left on device; free some space and run it again\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: read-only file system; work in a copy"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a"),
            "a: no space left on device; free some space",
        ),
        (
            OSError(errno.EACCES, "Permission denied", "a"),
            "a: permission denied; give yourself the permission",
        ),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "set TMPDIR to"),
        (MemoryError(), "out of memory; free some memory and run it again"),
        (KeyboardInterrupt(), "interrupted; run it again to resume"),
    ],
)
def test_a_fault_of_the_system_is_one_line(capsys, error, line):
    def failing():
        raise error

    with pytest.raises(SystemExit) as stopped:
        exit_on_error(failing)
    assert stopped.value.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    message = capsys.readouterr().err
    assert line in message
    assert message.count("\n") == 1


def test_a_missing_file_that_the_code_should_have_checked_keeps_its_traceback():
    with pytest.raises(FileNotFoundError):
        exit_on_error(lambda: Path("/nowhere/at/all").read_text())


def test_a_checkpoint_with_one_wrong_bit_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"w": torch.arange(3.0)}, {"epoch": 3, "groups": {1: [0.5]}})
    tensors, description = read_checkpoint(path)
    assert tensors["w"].tolist() == [0.0, 1.0, 2.0]
    assert description == {"epoch": 3, "groups": {"1": [0.5]}}
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="its hash is not that of its content"):
        read_checkpoint(path)


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


def test_what_a_failed_stage_took_is_noted_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/shrink.py"])
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: print(1 / 0))
    assert not LOG.parent.exists()  # a run that fails before it begins leaves nothing
    LOG.parent.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: print(1 / 0))
    noted = json.loads(LOG.read_text())
    assert (noted["stage"], noted["ended"]) == ("shrink", False)


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
    (tmp_path / "weights").write_text("damaged")
    assert finish(tmp_path / "record.json", make, tmp_path / "weights") == {"cost": 1.5}
    assert (len(made), (tmp_path / "weights").read_text()) == (3, "w")
    (tmp_path / "record.json").write_text("{")
    finish(tmp_path / "record.json", make, tmp_path / "weights")
    assert len(made) == 4


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
