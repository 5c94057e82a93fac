"""Tier T4: every claim's rule applied again to the rows, and every printed number traced to what it gives."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.declaration import Claim
from sustainable.reporting.pages import Report, latex_pages, metrics_of
from sustainable.statistics import CONFIRMED, REFUTED
from sustainable.verification.items import RESTORE, Item, Origin, compared, skipped
from sustainable.verification.tiers.tracing import Problem, check_reasons, check_rendered, check_static, trace

EXACT = "exact count"
"""Class of evidence of a claim that must come out alike on every host."""


def check_claims(report: Report, written: Path, origin: Origin) -> Iterator[Item]:
    """Every claim of the file `written` against the same claim computed again from the rows."""
    stated = {str(entry["id"]): entry for entry in read_claims(written)}
    computed = {claim.id: as_json(claim) for claim in report.found.judged}
    for key in dict.fromkeys([*computed, *stated]):
        found, expected = stated.get(key), computed.get(key)
        name = f"claim {key} follows from the rows"
        detail = str(expected["verdict"]) if expected else ""
        if found == expected:
            yield Item("T4", name, "ok", "recomputed here", detail, stage="report", reached="T4")
        else:
            yield Item(
                "T4", name, "FAIL", origin, "", _difference(expected, found), _difference(found, expected),
                "report", f"{written.name}: {RESTORE}",
            )  # fmt: skip


def read_claims(path: Path) -> list[dict[str, Any]]:
    """claims.json; raises `UserError` when it is none."""
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(one, dict) and "id" in one for one in found):
        raise UserError(f"{path}: no list of claims; {RESTORE}")
    return found


def as_json(claim: Claim) -> dict[str, Any]:
    """A claim as it reads back from its file."""
    return dict(json.loads(json.dumps(asdict(claim))))


def _difference(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """What `one` says where the two first differ."""
    if one is None:
        return "no such claim"
    key = next(
        (key for key in ("verdict", "reason", *one) if other is None or one.get(key) != other.get(key)), ""
    )
    text = json.dumps(one.get(key))
    return f"{key} {text if len(text) <= 80 else text[:77] + '...'}"


def check_metrics(report: Report, written: Path) -> Item:
    """The summary that DVC shows as metrics is what the rows give."""
    found = read_json(written)
    same = found == json.loads(json.dumps(metrics_of(report.found)))
    expected = "what the rows give"
    return compared(
        "T4", f"{written.name} follows from the rows", "recomputed here", expected,
        expected if same else "other numbers", stage="report",
    )  # fmt: skip


def check_pages(report: Report, templates: Path, written: Path, origin: Origin) -> Iterator[Item]:
    """Every rendered table, and the paper's source, against the same page rendered again from the rows."""
    for name, text in latex_pages(templates, report.values).items():
        path = written / name
        found = path.read_text(encoding="utf-8") if path.is_file() else None
        item = f"{name} is rendered from the rows"
        if found == text:
            yield Item("T1", item, "ok", "recomputed here", stage="report", reached="T1")
        else:
            expected, there = _first_problem(check_rendered(written, templates, report.values), name)
            advice = f"{path.name}: {RESTORE}, or `make tables`"
            yield Item("T1", item, "FAIL", origin, "", expected, there, "report", advice)


def _first_problem(problems: Sequence[Problem], name: str) -> tuple[str, str]:
    """What a page should say, with the expression that says it, and what it says."""
    own = next((one for one in problems if one.file == name), None)
    expected, _, found = str(own).rpartition(", found ") if own else ("the same bytes", "", "others")
    return expected or str(own), found


def check_tracing(root: Path, report: Report) -> Iterator[Item]:
    """Check that templates, table declarations, rules and reasons type no number, and no comparison where
    a value decides."""
    templates, reporting = root / "paper/templates", root / "stages/sustainable/reporting"
    judges = [*reporting.rglob("*claims.py"), *reporting.rglob("*findings.py")]
    declarations = sorted(reporting.glob("*/tables.py"))
    if not judges or not declarations:
        raise UserError(f"{reporting}: no claims or tables found to check; restore it from git")
    problems = [*check_static(templates, declarations), *check_reasons(judges)]
    traced = trace(templates, report.values)
    numbers = sum(one.kind == "number" for one in traced)
    expected = "nothing typed"
    yield compared(
        "T4", "numbers and comparison words are printed by expressions", "recomputed here", expected,
        str(problems[0]) if problems else expected, stage="report",
        detail=f"{numbers} numbers and {len(traced) - numbers} words traced",
    )  # fmt: skip


def check_verdicts(own: Sequence[Claim], reference: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Verdicts of a run here against the reference's. The opposite verdict fails, and so does another one of
    a claim that only counts; a claim that cannot be decided here is skipped, which is no pass."""
    verdicts = {claim.id: claim for claim in own}
    for entry in reference:
        name, claim = f"verdict on {entry['id']}", verdicts.get(str(entry["id"]))
        expected, found = str(entry["verdict"]), claim.verdict if claim else "no such claim"
        if found == expected:
            yield Item("T4", name, "ok", "recomputed here", found, reached="T4")
        elif claim and {found, expected} != {CONFIRMED, REFUTED} and claim.evidence != EXACT:
            yield skipped("T4", name, f"{found} here, {expected} there: {claim.reason}", "recomputed here")
        else:
            advice = (
                "read its rule and values in paper/claims.json; a finding of its own if the rows are sound"
            )
            yield Item("T4", name, "FAIL", "recomputed here", "", expected, found, "report", advice)
