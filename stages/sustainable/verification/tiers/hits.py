"""Tier T2: tables of hits (1: the forecast of a window is right), where some runtimes cannot be pinned."""

from pathlib import Path

from sustainable.core.files import read_rows

KEYS = ["training_seed", "first_day"]
"""The columns that name a window."""


def flipped(expected: Path, found: Path, left_out: tuple[str, ...] = ()) -> tuple[dict[str, int], int]:
    """Count for each configuration the windows that are right in one table and wrong in the other.

    Returns the counts and the number of windows. Configurations in `left_out` are not counted. Raises
    `ValueError` if the tables have other windows or other configurations.
    """
    ours, theirs = (read_rows(path, KEYS).set_index(KEYS).drop(columns=[*left_out], errors="ignore")
                    for path in (expected, found))  # fmt: skip
    if not ours.index.equals(theirs.index) or set(ours.columns) != set(theirs.columns):
        raise ValueError("other windows or other configurations")
    return {str(name): int((ours[name] != theirs[name]).sum()) for name in ours.columns}, len(ours)
