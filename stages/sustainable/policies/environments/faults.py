"""A fault of one piece of work leaves the others unharmed: it is kept as a record, and told in the end."""

from collections.abc import Callable, Mapping
from typing import Any

from sustainable.core.errors import UserError
from sustainable.policies.environments.guarded import EnvironmentFault

FAULT = "fault"
Record = dict[str, Any]


def caught(work: Callable[..., Record], *arguments: Any) -> Record:
    """What `work` gives; a failure of any kind becomes a record with a `fault`, one line."""
    try:
        return work(*arguments)
    except (EnvironmentFault, UserError) as error:
        return {FAULT: str(error)}
    except Exception as error:  # of whatever kind: the others go on, and this one is named in the end
        return {FAULT: " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def refuse_faults(records: Mapping[str, Record], what: str) -> None:
    """Raises `UserError`: one line for all records (by name) that hold a fault, each reason once; `what` is
    done with the others, as in `policies`."""
    faults = {name: record[FAULT] for name, record in records.items() if FAULT in record}
    if not faults:
        return
    reasons = dict.fromkeys(faults.values())
    said = [f"{', '.join(name for name in faults if faults[name] == why)}: {why}" for why in reasons]
    raise UserError(
        f"{len(faults)} of {len(records)} {what} failed; the others are done and kept, run again to do only "
        f"what failed. {'; '.join(said)}"
    )
