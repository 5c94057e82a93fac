"""Isolate faults: a task that fails becomes a record, and the error is raised after all tasks have run."""

from collections.abc import Callable, Mapping
from typing import Any

from sustainable.core.errors import UserError
from sustainable.policies.environments.guarded import EnvironmentFault

FAULT = "fault"
Record = dict[str, Any]


def caught(work: Callable[..., Record], *arguments: Any) -> Record:
    """Return the result of `work`; any exception becomes a record with a one-line `fault`."""
    try:
        return work(*arguments)
    except (EnvironmentFault, UserError) as error:
        return {FAULT: str(error)}
    except Exception as error:  # of any kind: the other tasks must go on
        return {FAULT: " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def refuse_faults(records: Mapping[str, Record], noun: str) -> None:
    """Raise `UserError` if a record holds a fault.

    The message is one line that names every failed record and gives each reason once. `noun` says what the
    records are, as in `policies`.
    """
    faults = {name: record[FAULT] for name, record in records.items() if FAULT in record}
    if not faults:
        return
    reasons = dict.fromkeys(faults.values())
    lines = [f"{', '.join(name for name in faults if faults[name] == why)}: {why}" for why in reasons]
    raise UserError(
        f"{len(faults)} of {len(records)} {noun} failed; the others are done and kept, run again to do only "
        f"what failed. {'; '.join(lines)}"
    )
