"""Measure whole designs: one after another on this machine, or each alone on a node of a cluster.

All blocks of a design are measured on one node, so that no ratio compares two nodes.
"""

import ctypes
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sustainable.core.errors import UserError, exit_on_error
from sustainable.measuring.cpu import describe_cpu, difference_of_kinds
from sustainable.measuring.process import Threads, fresh_environment

T = TypeVar("T")
STAGES = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1  # prctl(2)


def in_fresh_process(threads: Threads, keep_memory: bool, function: Callable[..., T], *task: Any) -> T:
    """Return `function(*task)` of a new process that has the settings of `process.start_afresh`.

    A process in which a cluster runs cells has others. Raises `UserError` if the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        call, result = Path(folder, "call"), Path(folder, "result")
        call.write_bytes(pickle.dumps((function, task)))
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, str(call), str(result)],
            env=fresh_environment(threads, keep_memory) | {"PYTHONPATH": str(STAGES)},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise UserError(f"measuring on {platform.node()}: the process failed: {last}")
        value: T = pickle.loads(result.read_bytes())  # written by our own process, into our own folder
        return value


def call_here(call: Path, result: Path) -> None:
    """Run the function of `in_fresh_process` in this process."""
    with suppress(AttributeError, OSError):  # Linux: the kernel ends this process with its parent
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    function, task = pickle.loads(call.read_bytes())
    result.write_bytes(pickle.dumps(function(*task)))


def named_cpu() -> tuple[str, dict[str, Any]]:
    """Return the name of this machine, and its processor."""
    return platform.node(), describe_cpu()


def refuse_other_kinds(hosts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `UserError` if described hosts, by name, have different kinds of CPU.

    What is pooled over designs would then depend on which design ran where.
    """
    (first, here), *others = hosts.items()
    for name, there in others:
        difference = difference_of_kinds(here, there)
        if difference is not None:
            raise UserError(
                f"{first} and {name} have different kinds of CPU ({difference}); measure on nodes of one kind"
            )


if __name__ == "__main__":
    exit_on_error(lambda: call_here(Path(sys.argv[1]), Path(sys.argv[2])))
