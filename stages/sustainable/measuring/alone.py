"""Measure whole designs: one after another on this machine, or each alone on a node of a cluster.

All blocks of a design are measured on one node, so that no ratio compares two nodes.
"""

import ctypes
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.measuring.cpu import describe_cpu, difference_of_kinds
from sustainable.measuring.process import Threads, fresh_environment

STAGES = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1  # prctl(2)


def run_afresh(threads: Threads, keep_memory: bool, module: str, arguments: Sequence[str]) -> None:
    """Run `python -m module arguments` in a process that has the settings of `process.start_afresh`.

    A process in which a cluster runs cells has others. Raises `UserError` if the process fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=fresh_environment(threads, keep_memory) | {"PYTHONPATH": str(STAGES)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"measuring on {platform.node()}: the process failed: {last}")


def end_with_parent() -> None:
    """Let the kernel end this process with the one that started it; Linux only.

    A thread that watches the other process would disturb what is measured.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
