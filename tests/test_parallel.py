"""Work side by side. The tasks stand in a module that loads little: every worker loads it too."""

import os
import signal

import psutil
import pytest

from sustainable.core.errors import UserError
from sustainable.core.parallel import end_workers, in_parallel


def slow_square(number):
    """The first tasks take longest, so that later ones are done before them."""
    sum(range(2_000_000 // (1 + number)))
    return number**2


def where(_):
    return os.getpid()


def fails_at_two(number):
    if number == 2:
        raise UserError("the third cannot be done")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    tasks = [(number,) for number in range(12)]
    assert list(in_parallel(slow_square, tasks, "squares", workers)) == [number**2 for number in range(12)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_a_task_is_raised_here(workers):
    found = []
    with pytest.raises(UserError, match="the third cannot be done"):
        for result in in_parallel(fails_at_two, [(number,) for number in range(4)], "tasks", workers):
            found.append(result)
    assert found == [0, 1][: len(found)]  # in order, as far as they came
    assert workers == 2 or len(found) == 2


def dies_at_two(number):
    """End as a process does that the kernel chooses when memory runs out."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_one_clear_error_and_the_next_tasks_run():
    with pytest.raises(UserError, match="tasks: a worker process was killed, perhaps because memory ran out"):
        list(in_parallel(dies_at_two, [(number,) for number in range(4)], "tasks", 2))
    assert list(in_parallel(slow_square, [(number,) for number in range(3)], "tasks", 2)) == [0, 1, 4]


def test_one_worker_runs_here_and_two_run_elsewhere(monkeypatch):
    monkeypatch.setattr("sustainable.core.parallel.available_cores", lambda: 2)
    tasks = [(number,) for number in range(4)]
    assert set(in_parallel(where, tasks, "tasks", 1)) == {os.getpid()}
    assert os.getpid() not in set(in_parallel(where, tasks, "tasks", 2))
    assert set(in_parallel(where, tasks[:1], "tasks")) == {os.getpid()}  # one task needs no other process
    assert list(in_parallel(where, [], "tasks")) == []


def test_workers_can_be_ended():
    tasks = [(number,) for number in range(6)]
    processes = set(in_parallel(where, tasks, "tasks", 2))
    assert all(map(psutil.pid_exists, processes))
    end_workers()
    assert not any(map(psutil.pid_exists, processes))
    assert list(in_parallel(slow_square, tasks[:2], "tasks", 2)) == [0, 1]  # others start if they are needed


def test_there_are_never_more_workers_than_asked_for_or_than_tasks(monkeypatch):
    asked = []

    def parallel(n_jobs, return_as):
        asked.append(n_jobs)
        return lambda calls: (function(*task) for function, task, _ in calls)

    monkeypatch.setattr("sustainable.core.parallel.Parallel", parallel)
    monkeypatch.setattr("sustainable.core.parallel.available_cores", lambda: 8)
    tasks = [(number,) for number in range(5)]
    for workers in (None, 1, 3):
        assert list(in_parallel(fails_at_two, tasks[:2], "tasks", workers)) == [0, 1]
        assert list(in_parallel(where, tasks, "tasks", workers)) == [os.getpid()] * 5
    assert asked == [2, 5, 1, 1, 2, 3]
