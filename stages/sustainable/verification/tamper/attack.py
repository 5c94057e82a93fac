"""What a forgery is, and who must notice it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Reader = Literal["mechanisms", "start", "outside"]


@dataclass(frozen=True)
class Attack:
    """One forgery of a copy of the project."""

    kind: str
    target: str
    damage: Callable[[Path], object]
    """What is done to the copy, given its folder."""
    resealed: bool = False
    """Whether every hash is rewritten afterwards."""
    then: Callable[[Path], object] | None = None
    """What else is done afterwards."""
    seen_by: Reader = "mechanisms"
    """`mechanisms`: those of `make verify`. `start`: its first step, before any other code runs. `outside`:
    the two `sha256sum` commands of a reader who trusts no code of the project and knows the root hash."""

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.target}" + (", every hash rewritten" if self.resealed else "")


def on_file(
    kind: str, path: str, change: Callable[..., object], resealed: bool = False,
    then: Callable[[Path], object] | None = None, seen_by: Reader = "mechanisms", **how: str,
) -> Attack:  # fmt: skip
    """A forgery of one file; `how`: more arguments of `change`."""
    return Attack(kind, path, lambda root: change(root / path, **how), resealed, then, seen_by)


def some(names: Sequence[str], count: int) -> list[str]:
    """At most about `count` of many names, spread over the whole list."""
    return list(names[:: max(1, len(names) // count)])
