"""Tasks of long work that a killed run need not repeat: each keeps its results until all are done."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sustainable.core.files import read_json, replacing, write_json


def finish(record: Path, make: Callable[[], dict[str, Any]], *outputs: Path) -> dict[str, Any]:
    """Return the record of a task: the one that an earlier run saved, or else that of `make`, and save it.

    `make` runs again if the record or one of the `outputs` that it writes is missing.
    """
    if not all(path.is_file() for path in (record, *outputs)):
        write_json(record, make())
    return dict(read_json(record))


def collect(files: Mapping[str | Path, Path], folder: Path, work: Path) -> None:
    """Make `folder` hold exactly `files` (its name there: where it is now), and remove the folder `work`."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in files.items():
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    shutil.rmtree(work)
