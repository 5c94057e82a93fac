"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Element = TypeVar("Element")
SECONDS_BETWEEN_LINES = 30.0


def progress(
    items: Iterable[Element], what: str, total: int, done: int = 0, unit: str = "it"
) -> Iterator[Element]:
    """Yield `items` and show the progress; an earlier run finished `done` of `total`."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, initial=done, unit=unit)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, start=done + 1):
        yield item
        now = time.monotonic()
        if count == total or now - last >= SECONDS_BETWEEN_LINES:
            # A repeated item makes the work longer than announced.
            whole = max(total, count)
            left = (now - start) / (count - done) * (whole - count)
            print(f"{what}: {count}/{whole} {unit}, about {left:.0f} s left", flush=True)
            last = now
