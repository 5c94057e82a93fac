"""The library behind the stages.

Every process of the project imports this file first: the stages, their workers, and the tools. It checks that
`make setup` has prepared the interpreter, so that a bare `dvc repro` under the wrong Python ends in one clear
line and not in a traceback. It also switches off the telemetry of the inference runtimes and of Ray, which
would send data to their vendors, and run threads beside our measurements.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

if sys.version_info < (3, 11) or importlib.util.find_spec("torch") is None:
    sys.exit(
        f"{sys.executable} lacks this project's packages (requirements.txt): run `make setup`, "
        "then `source .venv/bin/activate`, or let `make reproduce` do both"
    )

# ONNX Runtime reads this variable once, when it is loaded. `onnxruntime.disable_telemetry_events()` would
# come too late: by then the runtime has stored a device identifier and reported the process.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A Ray cluster that is started here would send statistics of its use (`core.ray_engine`).
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# OpenVINO reports every import, and its only switch is a file in the user's home. Without this package it
# falls back to a stub that sends nothing; None makes the import fail as if it were not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

# Loading the libraries takes seconds, in which Ctrl-C would print a traceback. In a stage, a tool or a worker
# it ends the process at once, until `exit_on_error` takes over; not in a notebook or a test.
_program = sys.argv[0] if sys.argv else ""
_inside = _program != "" and Path(_program).resolve().is_relative_to(Path(__file__).resolve().parents[1])
if (_program == "-m" or _inside) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
