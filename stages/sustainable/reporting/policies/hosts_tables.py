"""The table of study B's verdicts by host.

Captions, headers and rows may not type a number or a comparison: see `tables`.
"""

from collections.abc import Sequence

from sustainable.reporting.declaration import Claim
from sustainable.reporting.policies.hosts import ON_WINDOWS, OtherHost
from sustainable.reporting.tables import NOT_AVAILABLE, Column, ReportTable, Row, VerdictText


def hosts_table(judged: Sequence[Claim], hosts: Sequence[OtherHost]) -> ReportTable:
    """Declare the verdicts on this run's windows, and on those of other hosts."""
    measured = "; ".join(f"{host.name}: {host.cpu}{_missing(host)}" for host in hosts)
    caption = f"Verdicts by host, on windows of the same policies. Other hosts: {measured or NOT_AVAILABLE}."
    columns = (
        Column(""),
        Column("Claim", width=0.4),
        Column("This run", format=VerdictText),
        *(Column(host.name, format=VerdictText) for host in hosts),
    )
    decided = {own.id for own in ON_WINDOWS}
    rows = [
        Row([claim.id, claim.statement, claim.verdict, *(host.judged[claim.id].verdict for host in hosts)])
        for claim in judged
        if claim.id in decided
    ]
    return ReportTable("policies_hosts", caption, columns, rows)


def _missing(host: OtherHost) -> str:
    return f" (not measured there: {', '.join(host.missing)})" if host.missing else ""
