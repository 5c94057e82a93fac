"""Tier T4: every claim's rule applied again to the rows, and every printed number traced to what it gives."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import EXACT_COUNT, Claim
from sustainable.reporting.documents import BLOCKS, rendered_block, rendered_blocks
from sustainable.reporting.headline import headline_metrics
from sustainable.reporting.pages import Report, latex_pages, metrics_of
from sustainable.statistics import CONFIRMED, REFUTED
from sustainable.verification.items import HERE, RESTORE, Item, Origin
from sustainable.verification.items import compared, on_other_cpu, passed, skipped
from sustainable.verification.place import MANIFEST, Place, read_claims, verdict_of_run
from sustainable.verification.tiers.tracing import check_reasons, check_rendered, check_static, trace


def check_claims(report: Report, place: Place, origin: Origin = "shipped") -> Iterator[Item]:
    """Every claim of claims.json against the same claim computed again from the rows."""
    written = place.reference / "claims.json" if origin == "shipped" else place.root / "paper/claims.json"
    stated, advice = read_claims(written), f"{written.name}: {RESTORE}"
    computed = {claim.id: json.loads(json.dumps(asdict(claim))) for claim in report.found.judged}
    for key in dict.fromkeys([*computed, *stated]):
        found, expected, name = stated.get(key), computed.get(key), f"claim {key} follows from the rows"
        if found == expected:
            yield passed("T4", name, HERE, str(expected["verdict"]) if expected else "", "report")
        else:
            sides = _difference(expected, found), _difference(found, expected)
            yield Item("T4", name, "FAIL", origin, "", *sides, "report", advice)

    if origin == "shipped":
        text = json.dumps([asdict(claim) for claim in report.found.judged], indent=2, sort_keys=True) + "\n"
        same, wanted = written.read_text(encoding="utf-8") == text, "what the report writes"
        shown = wanted if same else "another order, other keys or spaces"
        yield compared("T4", "bytes of claims.json", HERE, wanted, shown, stage="report", advice=advice)


def check_documents(report: Report, place: Place) -> Iterator[Item]:
    """Check the blocks of README.md and other documents that are rendered from the shipped run."""
    claims = [asdict(claim) for claim in report.found.judged]
    for name, block in rendered_blocks(claims, read_json(place.reference / "effort.json")).items():
        text = (place.root / BLOCKS[name]).read_text(encoding="utf-8")
        expected = "what the report writes"
        found = expected if rendered_block(name, text) == block else "another text"
        yield compared("T4", f"{BLOCKS[name]}: {name} follows from the rows", HERE, expected, found)


def _difference(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """What `one` says where the two first differ."""
    if one is None:
        return "no such claim"
    keys = ("verdict", "reason", *one)
    key = next((key for key in keys if other is None or one.get(key) != other.get(key)), "")
    text = json.dumps(one.get(key))
    return f"{key} {text if len(text) <= 80 else text[:77] + '...'}"


def check_manifest_verdicts(report: Report, place: Place) -> Iterator[Item]:
    """Check that the verdicts of the manifest follow from the rows."""
    verdicts = {claim.id: claim.verdict for claim in report.found.judged}
    stated = {key: entry["verdict"] for key, entry in place.manifest["claims"].items()}
    differing = [key for key in {**verdicts, **stated} if verdicts.get(key) != stated.get(key)]
    expected, name = f"{len(verdicts)} verdicts", f"verdicts of {MANIFEST} follow from the rows"
    found = f"{differing[0]} {stated.get(differing[0], 'missing')}" if differing else expected
    yield compared("T4", name, HERE, expected, found, stage="report")


def check_metrics(report: Report, place: Place) -> Iterator[Item]:
    """The summaries, among them the one that DVC shows, are what the rows give."""
    claims = [asdict(claim) for claim in report.found.judged]
    summaries = {"benchmark.json": metrics_of(report.found), "headline.json": headline_metrics(claims)}
    for file, summary in summaries.items():
        same = read_json(place.reference / "metrics" / file) == json.loads(json.dumps(summary))
        name, expected = f"{file} follows from the rows", "what the rows give"
        yield compared("T4", name, HERE, expected, expected if same else "other numbers", stage="report")


def check_pages(report: Report, place: Place, origin: Origin = "shipped") -> Iterator[Item]:
    """Every rendered table, and the paper's source, against the same page rendered again from the rows."""
    templates = place.root / "paper/templates"
    written = (place.reference if origin == "shipped" else place.root) / "paper"
    for name, text in latex_pages(templates, report.values).items():
        path, item = written / name, f"{name} is rendered from the rows"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            yield passed("T1", item, HERE, stage="report")
            continue
        problems = check_rendered(written, templates, report.values)
        problem = next((str(one) for one in problems if one.file == name), "the same bytes, found others")
        expected, _, found = problem.rpartition(", found ")
        advice = f"{path.name}: {RESTORE}, or `make tables`"
        yield Item("T1", item, "FAIL", origin, "", expected or problem, found, "report", advice)


def check_tracing(report: Report, place: Place) -> Iterator[Item]:
    """Check that templates, table declarations, rules and reasons type no number, and no comparison where
    a value decides."""
    templates, reporting = place.root / "paper/templates", place.root / "stages/sustainable/reporting"
    judges = [*reporting.rglob("*claims.py"), *reporting.rglob("*findings.py")]
    declarations = sorted([*reporting.glob("*_tables.py"), *reporting.glob("*/*tables.py")])
    if not judges or not declarations:
        raise UserError(f"{reporting}: no claims or tables found to check; restore it from git")
    problems = [*check_static(templates, declarations), *check_reasons(judges)]
    traced = trace(templates, report.values)
    numbers = sum(one.kind == "number" for one in traced)
    name, expected = "numbers and comparison words are printed by expressions", "nothing typed"
    found = str(problems[0]) if problems else expected
    detail = f"{numbers} numbers and {len(traced) - numbers} words traced"
    yield compared("T4", name, HERE, expected, found, stage="report", detail=detail)


def check_verdicts(
    own: Sequence[Claim],
    reference: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, str | None] | None = None,
) -> Iterator[Item]:
    """Compare the verdicts of a run here with the reference's.

    `kinds` names, by claim, the two kinds of CPU if the rows that decide it come from different ones.
    The opposite verdict fails, and so does another one of a claim that only counts. A claim that cannot be
    decided here is skipped, which is no pass. Between kinds of CPU a claim about the host may differ. The
    verdicts are those of the two runs alone, without other hosts.
    """
    claims = {claim.id: claim for claim in own}
    advice = "read its rule and values in paper/claims.json; a finding of its own if the rows are sound"
    for key, entry in reference.items():
        name, claim, expected = f"verdict on {key}", claims.get(key), verdict_of_run(entry)
        found, others = verdict_of_run(asdict(claim)) if claim else "no such claim", (kinds or {}).get(key)
        if found == expected:
            yield passed("T4", name, HERE, found)
        elif claim and others and (why := about_host(key)):
            yield on_other_cpu("T4", name, others, f"{found} here, {expected} there: {why}")
        elif claim and {found, expected} != {CONFIRMED, REFUTED} and claim.evidence != EXACT_COUNT:
            yield skipped("T4", name, f"{found} here, {expected} there: {claim.reason}", HERE)
        else:
            yield Item("T4", name, "FAIL", HERE, "", expected, found, "report", advice)


def about_host(claim: str) -> str | None:
    """Why the verdict on a claim may depend on the kind of CPU; None if it must not."""
    return DECLARATIONS[claim].host_dependent if claim in DECLARATIONS else None
