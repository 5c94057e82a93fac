"""What `make verify` says of one thing: a line for people, an entry for machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tier = Literal["T0", "T1", "T2", "T3", "T4"]
Status = Literal["ok", "FAIL", "skipped"]
Origin = Literal["shipped", "recomputed here"]

TIERS: dict[Tier, str] = {
    "T0": "integrity: the shipped files are whole and fit each other",
    "T1": "exact: what was recomputed has the reference's hash",
    "T2": "numeric: within measured tolerances",
    "T3": "statistical: measured ratios agree within the declared margin",
    "T4": "claims: verdicts and printed numbers follow from the rows",
}


@dataclass(frozen=True)
class Item:
    """One thing that was checked, or not: `skipped` never counts as a pass, and its `detail` says why.

    `expected` and `found` are given where they differ, `stage` is the first stage that differs, `advice` what
    to do; `reached` is the strongest tier that an artifact reached, where it was compared.
    """

    tier: Tier
    name: str
    status: Status
    origin: Origin
    detail: str = ""
    expected: str | None = None
    found: str | None = None
    stage: str | None = None
    advice: str | None = None
    reached: Tier | None = None

    @property
    def line(self) -> str:
        """One line; a failure says what was expected, what was found, and what to do."""
        text = f"{self.status:<7} {self.tier}  {self.name}  [{self.origin}]"
        if self.detail:
            text += f"  {self.detail}"
        if self.status == "FAIL":
            text += f"  expected {self.expected}, found {self.found}"
            text += f"; first stage that differs: {self.stage or 'none, it is no output of a stage'}"
            text += f"; {self.advice}"
        return text


RESTORE = "restore it from git or from the release that it came with"


def compared(
    tier: Tier,
    name: str,
    origin: Origin,
    expected: str | None,
    found: str | None,
    *,
    stage: str | None = None,
    advice: str = RESTORE,
    detail: str = "",
) -> Item:
    """`ok` where both are there and equal, else `FAIL`."""
    if expected is not None and expected == found:
        return Item(tier, name, "ok", origin, detail, stage=stage, reached=tier)
    return Item(tier, name, "FAIL", origin, detail, expected or "nothing", found or "nothing", stage, advice)


def skipped(tier: Tier, name: str, why: str, origin: Origin = "shipped") -> Item:
    """What was not checked, and why."""
    return Item(tier, name, "skipped", origin, why)


def counts(items: Sequence[Item]) -> dict[Tier, dict[Status, int]]:
    """How many items of every tier had which status."""
    found: dict[Tier, dict[Status, int]] = {tier: {"ok": 0, "FAIL": 0, "skipped": 0} for tier in TIERS}
    for item in items:
        found[item.tier][item.status] += 1
    return found
