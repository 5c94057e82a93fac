"""A claim as it was shipped beside the same claim as it was found here."""

from collections.abc import Iterator, Mapping
from typing import Any

from sustainable.statistics import CONFIRMED, REFUTED

REPRODUCED, CONTRADICTED, OPEN = 0, 1, 3
"""Exit statuses. An open verdict is no contradiction, and no pass either: a script that takes 0 for
"reproduced" must not be told so. (2 is argparse's.)"""
EXACT = "exact count"
"""Class of evidence of a claim that comes out alike on every host."""
INTERVAL = ("estimate", "low", "high")


def outcome(shipped: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[int, str]:
    """Exit status and a sentence: whether the verdict found here is the shipped one.

    `REPRODUCED`: it is. `CONTRADICTED`: it is the opposite one, or another one of a claim that only counts.
    `OPEN`: one of the two runs could not decide.
    """
    expected, found = str(shipped["verdict"]), str(here["verdict"])
    decided = (CONFIRMED, REFUTED)
    if found == expected:
        return REPRODUCED, f"reproduced: {found} here as in the shipped run"
    if here["evidence"] == EXACT or (found in decided and expected in decided):
        return CONTRADICTED, f"contradicted: {found} here, {expected} in the shipped run"
    if expected in decided:
        return OPEN, f"undecided here: {found}, and {expected} in the shipped run. {here['reason']}"
    if found in decided:
        return OPEN, f"decided here: {found}; the shipped run left it open ({expected})"
    return OPEN, f"undecided in both: {found} here, {expected} in the shipped run"


def figures(shipped: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every value of a claim: its name, as shipped, as found here; the fewer dots in a name, the earlier."""
    ours, theirs = (dict(_flat(claim["values"])) for claim in (here, shipped))
    names = sorted(theirs.keys() | ours.keys(), key=lambda name: (name.count("."), name))
    return [(name, theirs.get(name, "none"), ours.get(name, "none")) for name in names]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Values by dotted name as text; an estimate with its interval is one."""
    if isinstance(value, Mapping) and set(INTERVAL) <= value.keys():
        estimate, low, high = (_text(value[part]) for part in INTERVAL)
        yield name, f"{estimate} [{low}, {high}]"
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield from _flat(own, f"{name}.{key}" if name else str(key))
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
