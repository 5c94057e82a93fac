"""The library behind the stages.

Importing it checks that the interpreter is one that `make setup` has prepared, so that a bare
`dvc repro` under the wrong Python ends in one clear line and not in a traceback.
"""

import importlib.util
import sys

if sys.version_info < (3, 11) or importlib.util.find_spec("torch") is None:
    sys.exit(
        f"{sys.executable} lacks this project's packages (requirements.txt): run `make setup`, "
        "then `source .venv/bin/activate`, or let `make reproduce` do both"
    )
