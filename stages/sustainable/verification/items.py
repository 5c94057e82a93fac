"""The result of one check: a line for people, an entry for machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sustainable.core.errors import printable

Tier = Literal["T0", "T1", "T2", "T3", "T4"]
Status = Literal["ok", "FAIL", "stale", "skipped", "other CPU"]
Origin = Literal["shipped", "recomputed here"]
HERE: Origin = "recomputed here"

TIERS: dict[Tier, str] = {
    "T0": "integrity: the shipped files are complete and consistent",
    "T1": "exact: recomputed results have the reference's hash",
    "T2": "numeric: forecasts agree within the declared limit",
    "T3": "statistical: measured ratios agree within the declared margin",
    "T4": "claims: verdicts and printed numbers follow from the rows",
}
RESTORE = "restore it from git or from the release"
MEASURE_AGAIN = "`make reproduce` measures again, then `make reference` takes the run as the reference"


@dataclass(frozen=True)
class Item:
    """The result of one check."""

    tier: Tier
    name: str
    status: Status
    """`stale`: the shipped rows were measured with other code, parameters or packages than this checkout's.
    `skipped`: not checked, which never counts as a pass. `other CPU`: both values are shown, and neither is
    wrong."""
    origin: Origin
    detail: str = ""
    """For `skipped` the reason."""
    expected: str | None = None
    found: str | None = None
    stage: str | None = None
    """The first stage that differs; None if no stage made it."""
    advice: str | None = None
    reached: Tier | None = None
    """The strongest tier that a compared artifact reached."""

    @property
    def line(self) -> str:
        """One line. A failure says what was expected, what was found, and what to do."""
        text = f"{self.status:<9} {self.tier}  {self.name}  [{self.origin}]"  # names of files may be anything
        if self.detail:
            text += f"  {self.detail}"
        if self.status == "stale":
            text += f"  {self.found}"
        if self.status == "FAIL":
            text += f"  expected {self.expected}, found {self.found}"
            text += f"; first stage that differs: {self.stage or 'none (not an output of a stage)'}"
            text += f"; {self.advice}"
        return printable(text).replace("\n", r"\n")


def passed(tier: Tier, name: str, origin: Origin, detail: str = "", stage: str | None = None) -> Item:
    """Return an item for a check that reached its tier."""
    return Item(tier, name, "ok", origin, detail, stage=stage, reached=tier)


def compared(
    tier: Tier, name: str, origin: Origin, expected: str | None, found: str | None, *,
    stage: str | None = None, advice: str = RESTORE, detail: str = "",
) -> Item:  # fmt: skip
    """Return `ok` if both values are present and equal, else `FAIL`."""
    if expected is not None and expected == found:
        return passed(tier, name, origin, detail, stage)
    return Item(tier, name, "FAIL", origin, detail, expected or "nothing", found or "nothing", stage, advice)


def none_wrong(tier: Tier, name: str, origin: Origin, expected: str, wrong: list[str], **more: Any) -> Item:
    """Return `ok` if nothing is `wrong`, else `FAIL` with the first and their number (`more`: `compared`)."""
    found = f"{wrong[0]} ({len(wrong)} in all)" if wrong else expected
    return compared(tier, name, origin, expected, found, **more)


def current(name: str, changes: Sequence[str], stage: str | None = None, origin: Origin = "shipped") -> Item:
    """Return `ok` without `changes` from what the reference run was made with, else `stale`."""
    if not changes:
        return passed("T0", name, origin, stage=stage)
    expected = "what the reference run was made with"
    return Item("T0", name, "stale", origin, "", expected, "; ".join(changes), stage, MEASURE_AGAIN)


def strictly(items: Sequence[Item]) -> list[Item]:
    """Turn every `stale` item into a failure, as at a release version."""
    return [replace(item, status="FAIL") if item.status == "stale" else item for item in items]


def skipped(tier: Tier, name: str, why: str, origin: Origin = "shipped") -> Item:
    """Return an item for something that was not checked, with the reason."""
    return Item(tier, name, "skipped", origin, why)


def on_other_cpu(tier: Tier, name: str, kinds: str, values: str) -> Item:
    """Return an item for values of two kinds of CPU (`kinds` names them), which need not agree."""
    return Item(tier, name, "other CPU", HERE, f"{values} ({kinds})")


def counts(items: Sequence[Item]) -> dict[Tier, dict[Status, int]]:
    found = Counter((item.tier, item.status) for item in items)
    return {tier: {status: found[tier, status] for status in get_args(Status)} for tier in TIERS}
