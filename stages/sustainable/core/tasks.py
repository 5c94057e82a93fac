"""Tasks of long work that a killed run need not repeat: each keeps its results until all are done."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, replacing, write_json
from sustainable.core.hashing import file_sha256


def finish(record: Path, make: Callable[[], dict[str, Any]], *outputs: Path) -> dict[str, Any]:
    """Return the record of a task: the one that an earlier run saved, or else that of `make`, and save it.

    `make` runs again if the record or one of the `outputs` that it writes is missing or damaged.
    """
    earlier = _earlier(record, outputs)
    if earlier is not None:
        return earlier
    made = make()
    write_json(record, {"record": made, "outputs": _hashes(outputs)})
    return dict(read_json(record)["record"])


def _earlier(record: Path, outputs: Sequence[Path]) -> dict[str, Any] | None:
    """Return the record of an earlier run; None unless it and the outputs are as they were written."""
    if not all(path.is_file() for path in (record, *outputs)):
        return None
    try:
        content = read_json(record)
    except UserError as error:
        print(f"starting from the beginning: {error}", flush=True)
        return None
    if not isinstance(content, dict) or content.get("outputs") != _hashes(outputs):
        print(f"starting from the beginning: {record}: the files that it describes have changed", flush=True)
        return None
    return dict(content["record"])


def _hashes(outputs: Sequence[Path]) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in outputs}


def collect(files: Mapping[str | Path, Path], folder: Path, work: Path) -> None:
    """Make `folder` hold exactly `files` (its name there: where it is now), and remove the folder `work`."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in files.items():
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    shutil.rmtree(work)
