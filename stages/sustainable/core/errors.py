"""Errors that the user can repair, shown as one line."""

import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """A mistake outside the code. The message says what happened, where, and what to do."""


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`; a user's mistake becomes one line on stderr and exit status 1.

    Any other exception keeps its traceback, because it is a bug.
    """
    try:
        main()
    except (UserError, PermissionError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted; run it again to resume", file=sys.stderr)
        sys.exit(130)
