"""Errors that the user can repair, shown as one line."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "work in a copy on a disk that can be written",
    errno.EACCES: "give yourself the permission",
    errno.EPERM: "give yourself the permission",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENOMEM: "free some memory",
}
"""What to do about an error of the system that is no fault of the code."""
CLOSED_PIPE, INTERRUPTED = 128 + signal.SIGPIPE, 128 + signal.SIGINT
"""Exit statuses, as shells report programs that these signals end."""


UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that act on a terminal instead of being shown, such as the escape character."""


class UserError(Exception):
    """A mistake outside the code. The message says what happened, where, and what to do."""


def printable(text: object) -> str:
    """Return text with every character that acts on a terminal written as an escape such as `\\x1b`."""
    return UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], str(text))


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`; a user's mistake becomes one line on stderr and exit status 1.

    So does an error of the system that only the user can repair, such as a full or read-only disk. Any other
    exception keeps its traceback, because it is a bug.
    """
    try:
        with _interruptible():
            try:
                main()
            finally:
                sys.stdout.flush()  # here, and not after the last chance to report an error
    except UserError as error:
        _leave(1, str(error))
    except BrokenPipeError:
        _leave(CLOSED_PIPE, "stopped, because the reader of the output has closed it")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted; run it again to resume")
    except MemoryError:
        _leave(1, f"out of memory; {REMEDIES[errno.ENOMEM]} and run it again")
    except OSError as error:
        problem = system_problem(error)
        if problem is None:
            raise
        _leave(1, problem)


def system_problem(error: OSError) -> str | None:
    """Return one line about an error of the system that is no fault of the code; None for any other."""
    reason = error.strerror or str(error)
    if reason.startswith("No usable temporary directory"):
        return f"{reason}; set TMPDIR to a folder that can be written"
    if error.errno is None and isinstance(error, PermissionError):
        return reason
    if error.errno not in REMEDIES:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{reason[0].lower()}{reason[1:]}; {REMEDIES[error.errno]} and run it again"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` in `main` only.

    While the libraries are loaded (see `sustainable/__init__.py`) and while the interpreter ends, it ends the
    process at once: there, Python would print a traceback or lose the exception.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:  # ignored, or the caller's own
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _leave(status: int, message: str) -> None:
    """Print the message and exit. What stdout still holds is lost if it cannot be written."""
    with suppress(OSError):
        print(f"{Path(sys.argv[0]).name}: {printable(message)}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # the interpreter would try again when it ends, and change the exit status
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
