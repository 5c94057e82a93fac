"""Cells: the choice of an engine, and what happens to files and values on their way between machines."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sustainable.core import cells, remote
from sustainable.core.cells import on_every_machine, run_cells
from sustainable.core.engine import ENGINE
from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256


def test_cells_run_here_unless_an_engine_is_named(monkeypatch):
    for value in ("", "local"):
        monkeypatch.setenv(ENGINE, value)
        assert list(run_cells(abs, [(-1,), (2,)], "cells")) == [1, 2]
        assert on_every_machine(abs, -3) == [3]


def test_an_unknown_engine_is_refused(monkeypatch):
    monkeypatch.setenv(ENGINE, "slurm")
    with pytest.raises(UserError, match="SUSTAINABLE_ENGINE=slurm: unknown engine; choose local or ray"):
        run_cells(abs, [(1,)], "cells")


def test_a_missing_ray_is_named(monkeypatch):
    monkeypatch.setenv(ENGINE, "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "sustainable.core.ray_engine", raising=False)
    monkeypatch.delattr("sustainable.core.ray_engine", raising=False)
    with pytest.raises(UserError, match=r"Ray is not installed .*make setup ENGINE=ray"):
        run_cells(abs, [(1,)], "cells")


def test_one_that_must_be_alone_has_no_neighbours(monkeypatch):
    asked = []
    monkeypatch.setattr(cells, "in_parallel", lambda function, tasks, what, workers: asked.append(workers))
    monkeypatch.delenv(ENGINE, raising=False)
    for alone in (False, True):
        run_cells(abs, [(1,), (2,)], "cells", alone=alone, workers=2)
    assert asked == [2, 1]


def test_a_cell_has_only_the_files_that_it_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path("data/in.txt")
    source.parent.mkdir()
    source.write_text("sent")
    sent = remote.pack(source)
    assert sent.sha256 == file_sha256(source)
    source.write_text("changed since")
    versions = remote.installed_versions()
    delivery = remote.run_cell(versions, Path.read_text, (source,), [sent], ["data/in.txt", "data/none"])
    assert delivery.value == "sent" and delivery.value_hash == remote.value_hash("sent")
    assert delivery.files == (sent,)  # and not one that the cell did not write
    assert Path.cwd() == tmp_path and source.read_text() == "changed since"


def test_a_file_that_was_damaged_on_its_way_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("sent")
    damaged = replace(remote.pack(Path("in.txt")), content=b"seny")
    with pytest.raises(UserError, match=r"in\.txt: damaged on its way"):
        remote.run_cell(remote.installed_versions(), abs, (1,), [damaged], [])


def test_a_node_with_another_package_is_refused():
    versions = {**remote.installed_versions(), "torch": "1.0"}
    with pytest.raises(UserError, match=r"torch is .*, but 1\.0 is needed; install requirements\.txt"):
        remote.run_cell(versions, abs, (1,), [], [])


def test_equal_values_have_equal_hashes():
    value = {"rows": [{"name": "a", "score": 0.1}], "pair": (1, "a")}
    copy = {"rows": [{"name": "".join(["a"]), "score": 0.1}], "pair": (1, "a")}
    assert remote.value_hash(value) == remote.value_hash(copy)
    assert remote.value_hash(value) != remote.value_hash(value | {"pair": (1, "b")})
