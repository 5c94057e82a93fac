"""The description of the host, and the import order of the determinism settings."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sustainable.measuring.cpu import (
    MICROARCHITECTURES,
    cache_sizes,
    difference_of_kinds,
    instruction_sets,
    kind_of,
    microarchitecture,
)
from sustainable.measuring.host import describe_host

AMD, INTEL = "AuthenticAMD", "GenuineIntel"


def cpu(vendor, family, model, stepping=0, isa="AVX2"):
    return {"vendor": vendor, "family": family, "model": model, "stepping": stepping, "isa": isa}


def test_the_host_is_described():
    host = describe_host()
    assert host["cores_logical"] == os.cpu_count()
    assert host["versions"]["torch"].startswith("2.")
    assert host["isa"] == instruction_sets()
    assert host["kind"] == kind_of(host)
    assert json.loads(json.dumps(host)) == host


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((AMD, 23, 1), "amd-zen"),  # Naples
        ((AMD, 23, 49), "amd-zen2"),  # Rome
        ((AMD, 25, 1), "amd-zen3"),  # Milan
        ((AMD, 25, 17), "amd-zen4"),  # Genoa
        ((AMD, 26, 2), "amd-zen5"),  # Turin
        ((INTEL, 6, 63), "intel-haswell"),
        ((INTEL, 6, 85, 4), "intel-skylakesp"),
        ((INTEL, 6, 85, 7), "intel-cascadelake"),
        ((INTEL, 6, 85, 11), "intel-cooperlake"),
        ((INTEL, 6, 85, 99), "intel-family6-model85"),
        ((INTEL, 6, 106), "intel-icelakesp"),
        ((INTEL, 6, 143), "intel-sapphirerapids"),
        ((AMD, 25, 250), "amd-family25-model250"),
        (("HygonGenuine", 24, 1), "hygongenuine-family24-model1"),
    ],
)
def test_the_numbers_of_a_cpu_name_its_kind(numbers, kind):
    assert kind_of(cpu(*numbers)) == kind


@given(st.sampled_from([AMD, INTEL]), st.integers(0, 40), st.integers(0, 255), st.integers(0, 15))
def test_no_model_has_two_names(vendor, family, model, stepping):
    groups = MICROARCHITECTURES.get((vendor, family), {}).items()
    names = [name for name, ranges in groups for numbers in ranges if model in numbers]
    assert len(names) <= 1
    if names:
        assert microarchitecture(cpu(vendor, family, model, stepping)) == names[0]


@pytest.mark.parametrize(
    "record", [{}, {"cpu": "AMD EPYC", "isa": "AVX2"}, cpu(AMD, "25", 1), cpu(AMD, 25, None)]
)
def test_a_description_without_numbers_is_of_no_known_kind(record):
    """The first rows recorded only the name, which several kinds share."""
    assert kind_of(record) == "unknown"
    assert difference_of_kinds(record, record) == "unknown here, unknown there"


def test_hosts_are_of_one_kind_if_their_kernels_are():
    zen3, later = cpu(AMD, 25, 1), cpu(AMD, 25, 1, stepping=2)
    assert difference_of_kinds(zen3, later) is None
    assert difference_of_kinds(zen3, cpu(AMD, 25, 17)) == "amd-zen3 here, amd-zen4 there"
    hidden = cpu(AMD, 25, 17), cpu(AMD, 25, 17, isa="AVX2, AVX-512")
    assert difference_of_kinds(*hidden) == "amd-zen4 with AVX2 here, with AVX2, AVX-512 there"


def test_caches_are_read_by_level(tmp_path):
    for number, (level, kind, size) in enumerate(
        [(1, "Data", "32K"), (2, "Unified", "1024K"), (3, "Unified", "?")]
    ):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{value}\n")
    (tmp_path / "index3").mkdir()  # without files
    assert cache_sizes(tmp_path) == {"L1d": 32, "L2": 1024}
    assert cache_sizes(tmp_path / "none") is None


def test_determinism_must_come_first(project):
    code = "import numpy, sustainable.core.determinism"
    environment = {"PYTHONPATH": str(project / "stages"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "import determinism before numpy" in done.stderr
