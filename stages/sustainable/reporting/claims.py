"""Every claim and finding, in the order of claims.json, and what follows from their declarations."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from sustainable.core.errors import UserError
from sustainable.reporting.declaration import Analysis, Claim, Declaration, Judgement, thresholds
from sustainable.reporting.forecasting.audited_claims import AUDITED_CLAIMS
from sustainable.reporting.forecasting.layerwise_claims import LAYERWISE_CLAIMS
from sustainable.reporting.forecasting.published_claims import PUBLISHED_CLAIMS
from sustainable.reporting.policies.claims import POLICY_CLAIMS
from sustainable.reporting.policies.findings import POLICY_FINDINGS

DECLARATIONS: Mapping[str, Declaration] = {
    declaration.id: declaration
    for declaration in (
        *PUBLISHED_CLAIMS,
        *LAYERWISE_CLAIMS,
        *AUDITED_CLAIMS,
        *POLICY_CLAIMS,
        *POLICY_FINDINGS,
    )
}


def declaration_of(name: str) -> Declaration:
    """The declaration of a claim, in upper or lower case. Raises `UserError` for an unknown one."""
    if name.upper() not in DECLARATIONS:
        raise UserError(f"{name}: unknown claim; name one of {claim_ranges()}")
    return DECLARATIONS[name.upper()]


def claim_ranges() -> str:
    """`A1 to A5, C1 to C5, ...`, from the declarations."""
    places = enumerate(DECLARATIONS)
    runs = groupby(places, key=lambda pair: (pair[1][0], int(pair[1][1:]) - pair[0]))
    groups = [[claim_id for _, claim_id in run] for _, run in runs]
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 1 else group[0] for group in groups)


def judge_claims(analysis: Analysis, statements: Mapping[str, str]) -> list[Claim]:
    """Every claim judged on a run. `statements`: the sources' claims by id (see `Declaration.statement`)."""
    return [judge_claim(declaration, analysis, statements) for declaration in DECLARATIONS.values()]


def judge_claim(declaration: Declaration, analysis: Analysis, statements: Mapping[str, str]) -> Claim:
    """One claim judged on a run."""
    declared = thresholds(analysis.parameters, analysis.published_action)
    return claim_of(declaration, declaration.judge(analysis), declared, statements)


def claim_of(
    declaration: Declaration,
    judgement: Judgement,
    declared: Mapping[str, float],
    statements: Mapping[str, str],
) -> Claim:
    """The claim of a declaration with its judgement; `declared`: see `thresholds`."""
    own = declaration.statement
    return Claim(
        id=declaration.id,
        statement=statements[declaration.id] if own is None else own.format_map(declared),
        rule=declaration.rule.format_map(declared),
        verdict=judgement.verdict,
        reason=judgement.reason,
        evidence=judgement.evidence,
        values=judgement.values,
        parts=judgement.parts,
    )


def describe_testability(declaration: Declaration, energy: str) -> str:
    """Whether this host can test a claim. `energy` is the answer for energy: `testable: ...` or
    `not testable: ...`, with the meter."""
    if declaration.untestable:
        return f"not testable: {declaration.untestable}"
    others = [need for need in declaration.needs if need != "energy counter"]
    text = "testable: " + ", ".join(others)
    if "energy counter" not in declaration.needs:
        return text
    return f"{text}; energy {energy}" if others else energy


def verdict_lines(judged: Sequence[Claim]) -> list[str]:
    """One line per verdict with the claims that have it, as in `refuted: A1, A3`."""
    found: dict[str, list[str]] = {}
    for claim in judged:
        found.setdefault(claim.verdict, []).append(claim.id)
    return [f"{verdict}: {', '.join(names)}" for verdict, names in sorted(found.items())]


def claims_markdown(judged: Mapping[str, Mapping[str, Any]]) -> str:
    """The claims as a Markdown table for the docs: one row per claim. `judged`: claims.json by id."""
    lines = ["| claim | statement | command | decided by | needs |", "|---|---|---|---|---|"]
    for claim_id, declaration in DECLARATIONS.items():
        files = ", ".join(f"`{path.removeprefix('data/')}`" for path in declaration.decided_by)
        unmet = f"not testable: {declaration.untestable}" if declaration.untestable else ""
        needs = unmet or ", ".join(declaration.needs)
        command = f"`make claim-{claim_id}`" if files else "none"
        statement = judged[claim_id]["statement"] if claim_id in judged else "not in the shipped run"
        lines.append(f"| {claim_id} | {statement} | {command} | {files or 'nothing'} | {needs} |")
    return "\n".join(lines) + "\n"
