"""Programs that start in a fork get what they would get from Python, see forking.py."""

import json
import os
import subprocess

import pytest

import conftest
import forking
from imports import STAGES
from sustainable.core.determinism import PINS

PROGRAM = """
import json, os, sys
import numpy, torch
from sustainable.core.determinism import PINS
pins = [name for name in PINS if name in os.environ]
cores = list(os.sched_getaffinity(0))
print(json.dumps([os.getcwd(), sys.argv, os.environ["WORD"], cores, sys.path[0], pins]))
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def python():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "LOADED", ("torch", "sustainable.core.errors"))
        with conftest.forking_python() as folder:
            yield folder / "python"


def started(python, folder, *words):
    core = max(os.sched_getaffinity(0))
    variables = {name: value for name, value in os.environ.items() if name not in PINS} | {"WORD": "an apple"}
    return subprocess.run(
        ["taskset", "-c", str(core), python, *words],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
    ), core


def test_a_program_has_the_folder_words_variables_and_cores_of_its_start(python, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/own.py").write_text(PROGRAM)
    done, core = started(python, tmp_path, "code/own.py", "3")
    assert done.returncode == 3, done.stderr
    found = [str(tmp_path), ["code/own.py", "3"], "an apple", [core], str(tmp_path / "code"), list(PINS)]
    assert json.loads(done.stdout) == found


def test_a_program_that_fails_or_is_killed_ends_as_under_python(python, tmp_path):
    (tmp_path / "failing.py").write_text("raise ValueError('no apple')")
    done, _ = started(python, tmp_path, "failing.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ValueError: no apple\n")
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)")
    assert started(python, tmp_path, "killed.py")[0].returncode == 128 + 9


def test_what_is_measured_starts_without_the_pins(python, tmp_path):
    (tmp_path / forking.USUAL[0]).write_text(
        "import os, sys\nprint(sorted(os.environ), 'torch' in sys.modules)"
    )
    done, _ = started(python, tmp_path, forking.USUAL[0])
    assert done.stdout.endswith("False\n")
    assert not [name for name in PINS if name in done.stdout]


def test_what_starts_in_a_fork_sets_the_pins_first():
    """The serving process has them, so that no other test would notice a stage that forgets them."""
    for script in STAGES.glob("*.py"):
        imports = [
            line for line in script.read_text().splitlines() if "import " in line and "sustainable" in line
        ]
        assert script.name in forking.USUAL or "sustainable.core.determinism" in imports[0], script
