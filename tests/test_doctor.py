"""What `make doctor` says of this host."""

import json

import pytest

from sustainable.core.errors import UserError
from sustainable.reporting.claims import DECLARATIONS
from sustainable.tools import doctor
from sustainable.verification.claim.forecast import Effort, shipped_efforts
from sustainable.verification.place import REFERENCE


@pytest.fixture
def run_doctor(project, monkeypatch, capsys):
    """Run it with some arguments, on a host as fast as the shipped run's."""
    monkeypatch.setattr(doctor.forecast, "measure_slowdown", lambda reference: 1.0)

    def run(*arguments):
        command = ["doctor.py", "--params", str(project / "params.yaml"), *arguments]
        monkeypatch.setattr("sys.argv", command)
        doctor.main()
        return capsys.readouterr().out

    return run


def test_the_doctor_tells_what_can_be_tested_and_how_long_it_takes(project, run_doctor):
    told = json.loads(run_doctor("--json"))
    assert {
        "processor",
        "kind of CPU",
        "caches",
        "RAPL",
        "GPU",
        "frequency",
        "temperature",
        "TeX",
        "disk",
    } <= {check["name"] for check in told["host"]}
    assert told["claims"].keys() == DECLARATIONS.keys()
    assert told["minutes"].keys() == shipped_efforts(project / REFERENCE).keys()
    full = json.loads(run_doctor("--json", "--profile", "full"))
    assert sum(full["minutes"].values()) > 5 * sum(told["minutes"].values())


def test_the_sum_is_printed_last(capsys):
    efforts = [Effort("shrink", 60.0, 1.0), Effort("train_policies", 120.0, 1.0)]
    doctor.print_diagnosis([], {"A1": "testable: exact counts"}, efforts)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["shrink", "train_policies", "together"]
    assert lines[-1].split()[1] == "3.0"


def test_an_unknown_profile_is_one_line_that_lists_them(project):
    with pytest.raises(UserError, match="typo: unknown profile; name one of paper, full, smoke"):
        doctor.profile_parameters(project / "params.yaml", "typo")
