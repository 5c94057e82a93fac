"""One clear line for a mistake that the user can repair."""

import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Something outside the code is wrong: the message says what, where, and what to do next."""


def exit_on_error(main: Callable[[], None]) -> None:
    """Run a stage; a user's mistake becomes one line on stderr and exit status 1.

    Any other exception keeps its traceback: it is our mistake, and we want to see it.
    """
    try:
        main()
    except (UserError, PermissionError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted; run it again to resume", file=sys.stderr)
        sys.exit(130)
