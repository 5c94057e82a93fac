"""The shipped run: its files are whole, and its claims follow from its rows."""

import hashlib
import re
import subprocess
import sys

from imports import STAGES

REFERENCE = STAGES.parent / "data/reference"


def test_the_shipped_rows_have_their_hashes():
    listed = dict(line.split("  ")[::-1] for line in (REFERENCE / "SHA256SUMS").read_text().splitlines())
    there = {str(path.relative_to(REFERENCE)) for path in REFERENCE.rglob("*") if path.is_file()}
    assert set(listed) == there - {"SHA256SUMS", "README.md"}
    for name, expected in listed.items():
        assert hashlib.sha256((REFERENCE / name).read_bytes()).hexdigest() == expected, name


def test_the_shipped_claims_follow_from_the_shipped_rows(project, tmp_path):
    command = re.search(
        r"    (python stages/report\.py .*)", (REFERENCE / "README.md").read_text(), re.DOTALL
    )
    words = command.group(1).replace("\\\n", " ").replace("shipped", str(tmp_path)).split()
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "claims.json").read_bytes() == (REFERENCE / "claims.json").read_bytes()
    assert (tmp_path / "benchmark.json").read_bytes() == (REFERENCE / "metrics/benchmark.json").read_bytes()
    assert "not evidence" not in (tmp_path / "report.html").read_text()
