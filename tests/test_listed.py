"""The list of all files, and the start of `make verify`: what differs is named before any other code runs."""

import hashlib
import os
import py_compile
import shutil
import subprocess
import sys

import pytest

from imports import STAGES
from sustainable.core.files import write_text
from sustainable.verification.listed import (
    LIST,
    NOT_RUN,
    START,
    ListError,
    compare,
    in_development,
    list_of,
    read_list,
    root_hash,
    shown,
)

FILES = {
    ".gitignore": "__pycache__/\nshipped/\n/verify.json\ndata/models/\n",
    "CITATION.cff": "version: 1.0\n",
    "data/a.csv": "x\n1\n",
    "stages/sustainable/a.py": "",
}


def fill(folder, files=FILES):
    for name, text in files.items():
        write_text(folder / name, text)
    write_text(folder / LIST, list_of(folder))
    return folder


@pytest.fixture
def project(tmp_path):
    return fill(tmp_path / "project")


def test_the_list_is_what_sha256sum_prints(project):
    assert list(read_list(project / LIST)) == sorted(FILES)
    assert read_list(project / LIST)["data/a.csv"] == hashlib.sha256(b"x\n1\n").hexdigest()
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", LIST], cwd=project, check=True)
    printed = subprocess.run(["sha256sum", LIST], cwd=project, check=True, capture_output=True, text=True)
    assert printed.stdout.split()[0] == root_hash(project)
    assert compare(project) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], *lines], r"SHA256SUMS:2: \.gitignore: repeated"),
        (lambda lines: ["0" * 64 + lines[0][64:], *lines], r"SHA256SUMS:2: \.gitignore: repeated"),
        (lambda lines: lines[::-1], "SHA256SUMS:2: data/a.csv: repeated, or out of order"),
        (lambda lines: ["# checked", *lines], "SHA256SUMS:1: no hash and path"),
        (lambda lines: [*lines, ""], "SHA256SUMS:5: no hash and path"),
        (lambda lines: [lines[0].upper(), *lines[1:]], "SHA256SUMS:1: no hash and path"),
        (lambda lines: [*lines, f"{'0' * 64}  z/../../b"], "SHA256SUMS:5: no hash and path"),
        (lambda lines: [f"{'0' * 64}  /etc/passwd", *lines], "SHA256SUMS:1: no hash and path"),
    ],
)
def test_a_list_has_one_form(project, change, message):
    lines = (project / LIST).read_text().splitlines()
    (project / LIST).write_text("".join(f"{line}\n" for line in change(lines)))
    with pytest.raises(ListError, match=message):
        read_list(project / LIST)


def test_a_list_that_is_cut_or_gone_is_named(project):
    (project / LIST).write_text((project / LIST).read_text()[:-1])
    with pytest.raises(ListError, match="its end is missing"):
        read_list(project / LIST)
    (project / LIST).unlink()
    with pytest.raises(ListError, match="SHA256SUMS: cannot be read"):
        compare(project)


def test_every_difference_is_named(project):
    (project / "data/a.csv").write_text("x\n2\n")
    (project / "stages/sustainable/a.py").unlink()
    (project / "stages/yaml.py").touch()
    (project / "Makefile").touch()
    os.mkfifo(project / "data/pipe")
    (project / "data/null").symlink_to("/dev/null")
    (project / "stages/more").symlink_to(project / "data")
    with (project / "data/large.csv").open("wb") as file:
        file.truncate(2**40)  # takes no disk, and is not read
    assert compare(project) == {
        "Makefile": "is not listed",
        "data/a.csv": "has changed",
        "data/large.csv": f"is not listed ({2**40} bytes)",
        "data/null": "is not listed (a link)",
        "data/pipe": "is not listed (neither file nor folder)",
        "stages/more": "is not listed (a link)",
        "stages/sustainable/a.py": "is missing",
        "stages/yaml.py": "is not listed",
    }


def test_a_link_to_the_same_bytes_is_a_difference(project, tmp_path):
    shutil.copy(project / "data/a.csv", tmp_path / "copy")
    (project / "data/a.csv").unlink()
    (project / "data/a.csv").symlink_to(tmp_path / "copy")
    assert compare(project) == {"data/a.csv": "has changed (a link)"}
    with pytest.raises(ListError, match=r"data/a\.csv: a link; a project holds regular files only"):
        list_of(project)


def test_what_runs_leave_and_folders_of_the_users_own_are_not_looked_at(project):
    for name in ("verify.json", "shipped/a.tex", "data/models/a", "stages/__pycache__/a.pyc", "mine/yaml.py"):
        write_text(project / name, "")
    assert compare(project) == {}
    write_text(project / "data/verify.json", "")  # the pattern names the one at the top
    assert list(compare(project)) == ["data/verify.json"]


def test_an_unlisted_ignore_file_hides_nothing(project):
    write_text(project / "stages/.gitignore", "*\n")
    write_text(project / "stages/yaml.py", "")
    assert list(compare(project)) == ["stages/.gitignore", "stages/yaml.py"]


def test_a_name_reaches_the_terminal_as_plain_text():
    assert shown("a\x1b[2J\n\u202e.py") == "a\\x1b[2J\\n\\u202e.py"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("version: 1.0.dev\n", True), ("version: 1.0\n", False), ("version: 1.dev\nversion: 1\n", False)],
)
def test_only_one_clear_version_is_a_development_version(tmp_path, text, expected):
    write_text(tmp_path / "CITATION.cff", text)
    assert in_development(tmp_path) is expected


@pytest.fixture
def start(tmp_path):
    """Start `make verify` in a project whose tool prints what it imported, as a reader would."""
    tool = (
        "import sys, json, hashlib, fractions\n"
        "from sustainable.core import errors\n"
        "print('ran', errors.__file__, errors.VALUE, *sys.argv[1:])\n"
    )
    packages = ("sustainable", "sustainable/core", "sustainable/tools", "sustainable/verification")
    code = {f"stages/{name}/__init__.py": "" for name in packages}
    code |= {
        "stages/sustainable/core/errors.py": "VALUE = 'listed'\n",
        "stages/sustainable/tools/verify.py": tool,
    }
    folder = fill(tmp_path / "project", FILES | code | {START: (STAGES.parent / START).read_text()})

    def run(*arguments, flags=("-I", "-B")):
        variables = os.environ | {"PYTHONPATH": str(folder / "stages"), "HOME": str(tmp_path / "home")}
        command = [sys.executable, *flags, START, *arguments]
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)

    return folder, run


FORGED = "import pathlib; pathlib.Path('forged').touch(); VALUE = 'forged'\n"
IN_THE_WAY = (
    "stages/fractions.py", "fractions.py", "stages/sustainable/tools/fractions.py", "stages/usercustomize.py",
    "stages/sustainable/verification/hashlib.py", "stages/sustainable/core/errors.cpython-311.pyc",
)  # fmt: skip


def test_a_release_with_a_module_in_the_way_is_not_run(start):
    folder, run = start
    assert run("--run").stdout.split()[-2:] == ["listed", "--run"]
    for name in IN_THE_WAY:
        write_text(folder / name, FORGED)
        done = run()
        (folder / name).unlink()
        if name.startswith("stages/"):
            assert (done.returncode, done.stdout) == (1, ""), name
            assert done.stderr.splitlines() == [f"FAIL      T0  {name} is not listed", f"verify: {NOT_RUN}"]
        assert not (folder / "forged").exists(), name


def test_a_link_or_a_pipe_is_not_read_in_development_either(start):
    folder, run = start
    write_text(folder / "CITATION.cff", "version: 1.0.dev\n")
    (folder / "data/a.csv").unlink()
    os.mkfifo(folder / "data/a.csv")
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "FAIL      T0  data/a.csv has changed (neither file nor folder)"


def test_in_development_nothing_in_the_way_is_imported(start):
    folder, run = start
    write_text(folder / "CITATION.cff", "version: 1.0.dev\n")
    for name in IN_THE_WAY:
        write_text(folder / name, FORGED)
    done = run()
    assert done.stdout.startswith("ran"), done.stderr
    assert "listed" in done.stdout
    assert not (folder / "forged").exists()
    strict = run("--strict")
    assert (strict.returncode, strict.stdout) == (1, "")


def test_compiled_code_is_not_loaded(start):
    folder, run = start
    source = folder / "stages/sustainable/core/errors.py"
    write_text(folder / "forged.py", FORGED)
    cached = source.parent / "__pycache__" / f"errors.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(folder / "forged.py"), cfile=str(cached))
    content = bytearray(cached.read_bytes())
    status = source.stat()
    content[8:16] = int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    cached.write_bytes(content)
    (folder / "forged.py").unlink()
    command = [sys.executable, "-c", "import sustainable.core.errors as e; print(e.VALUE)"]
    variables = os.environ | {"PYTHONPATH": str(folder / "stages")}
    plain = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    assert plain.stdout == "forged\n"  # Python itself takes it
    (folder / "forged").unlink()
    assert "listed" in run().stdout
    assert not (folder / "forged").exists()


def test_it_must_be_isolated(start):
    _, run = start
    done = run(flags=("-B",))
    assert done.returncode == 1
    assert "run it isolated: `make verify`" in done.stderr
