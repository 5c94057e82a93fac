"""A claim as it was shipped, compared with the same claim as it was judged here."""

from collections.abc import Iterator, Mapping
from typing import Any

from sustainable.reporting.declaration import EXACT_COUNT
from sustainable.statistics import CONFIRMED, REFUTED

REPRODUCED, CONTRADICTED, OPEN = 0, 1, 3
"""Exit statuses. An open verdict is not a contradiction, and not a pass either: a script that takes 0 for
"reproduced" must not be misled. (2 is argparse's.)"""
INTERVAL = ("estimate", "low", "high")


def compare_verdicts(shipped: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[int, str]:
    """Exit status, and a sentence that says whether the verdict here is the shipped one.

    `REPRODUCED`: it is. `CONTRADICTED`: it is the opposite, or differs for a claim that only counts. `OPEN`:
    one of the two runs could not decide.
    """
    expected, verdict = str(shipped["verdict"]), str(here["verdict"])
    decided = (CONFIRMED, REFUTED)
    if verdict == expected:
        return REPRODUCED, f"reproduced: {verdict} here and in the shipped run"
    if here["evidence"] == EXACT_COUNT or (verdict in decided and expected in decided):
        return CONTRADICTED, f"contradicted: {verdict} here, {expected} in the shipped run"
    if expected in decided:
        return OPEN, f"undecided here: {verdict}; {expected} in the shipped run. {here['reason']}"
    if verdict in decided:
        return OPEN, f"decided here: {verdict}; undecided in the shipped run ({expected})"
    return OPEN, f"undecided in both: {verdict} here, {expected} in the shipped run"


def compare_values(shipped: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every value of a claim: its name, as shipped, as measured here; names with fewer dots come first."""
    ours, theirs = (dict(_flat(claim["values"])) for claim in (here, shipped))
    names = sorted(theirs.keys() | ours.keys(), key=lambda name: (name.count("."), name))
    return [(name, theirs.get(name, "none"), ours.get(name, "none")) for name in names]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Values by dotted name as text; an estimate and its interval are one value."""
    if isinstance(value, Mapping) and set(INTERVAL) <= value.keys():
        estimate, low, high = (_text(value[part]) for part in INTERVAL)
        yield name, f"{estimate} [{low}, {high}]"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
