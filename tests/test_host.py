"""The description of the host, and the import order of the determinism settings."""

import os
import subprocess
import sys

from sustainable.measuring.host import describe_host, instruction_sets


def test_the_host_is_described():
    host = describe_host()
    assert host["cores_logical"] == os.cpu_count()
    assert host["versions"]["torch"].startswith("2.")
    assert host["isa"] == instruction_sets()


def test_determinism_must_come_first(project):
    code = "import numpy, sustainable.core.determinism"
    environment = {"PYTHONPATH": str(project / "stages"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "import determinism before numpy" in done.stderr
