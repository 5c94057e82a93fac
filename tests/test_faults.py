"""A fault of one task is reported and does not stop the others."""

import signal
import time

import pytest

from sustainable.core.errors import UserError
from sustainable.policies.environments.guarded import EnvironmentFault, caught, refuse_faults


def failing(error: Exception) -> dict[str, int]:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such file"), "no such file"),
        (EnvironmentFault("Hopper fell\u00a0apart"), "Hopper fell\u00a0apart"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
def test_a_failure_becomes_one_line(error, line):
    assert caught(failing, error) == {"fault": line}


def test_a_task_that_hangs_is_stopped_at_its_limit(monkeypatch):
    monkeypatch.setenv("TASK_LIMIT_S", "0.2")
    assert caught(time.sleep, 60.0) == {"fault": "stopped after 0.2 s, the limit of a task (TASK_LIMIT_S)"}
    monkeypatch.setenv("TASK_LIMIT_S", "60")
    assert caught(lambda: {"sum": 5}) == {"sum": 5}
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)  # the limit ends with the task


@pytest.mark.parametrize("given", ["", "soon", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_named(monkeypatch, given):
    monkeypatch.setenv("TASK_LIMIT_S", given)
    assert caught(dict) == {"fault": f"TASK_LIMIT_S={given}: seconds are needed, a number above 0"}


def test_a_result_without_a_fault_is_returned_unchanged():
    assert caught(lambda a, b: {"sum": a + b}, 2, 3) == {"sum": 5}


def test_faults_are_reported_together_each_reason_once():
    records = {"a": {"rows": []}, "b": {"fault": "broken"}, "c": {"fault": "broken"}, "d": {"fault": "other"}}
    with pytest.raises(UserError) as raised:
        refuse_faults(records, "policies")
    assert str(raised.value).startswith("3 of 4 policies failed")
    assert str(raised.value).endswith("b, c: broken; d: other")
    assert "\n" not in str(raised.value)


def test_records_without_faults_raise_nothing():
    refuse_faults({"a": {"rows": []}}, "policies")
