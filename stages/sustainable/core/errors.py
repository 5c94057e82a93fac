"""Errors that the user can repair, shown as one line."""

import re
import sys
from collections.abc import Callable
from pathlib import Path


UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that act on a terminal instead of being shown, such as the escape character."""


class UserError(Exception):
    """A mistake outside the code. The message says what happened, where, and what to do."""


def printable(text: object) -> str:
    """Return text with every character that acts on a terminal written as an escape such as `\\x1b`."""
    return UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], str(text))


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`; a user's mistake becomes one line on stderr and exit status 1.

    Any other exception keeps its traceback, because it is a bug.
    """
    try:
        main()
    except (UserError, PermissionError) as error:
        print(f"{Path(sys.argv[0]).name}: {printable(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted; run it again to resume", file=sys.stderr)
        sys.exit(130)
