"""The tables of verdicts by host, and of the hosts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sustainable.measuring.cpu import kind_of
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import Claim
from sustainable.reporting.over_hosts import AGREE, DEPENDS, DIFFER, OPEN, RULE, is_alone, relation
from sustainable.reporting.policies.hosts import ON_WINDOWS, OtherHost
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, VERDICT, Code, Column, ReportTable, Row

THIS_RUN = "This run"


def hosts_tables(
    judged: Sequence[Claim], hosts: Sequence[OtherHost], conditions: Mapping[str, Mapping[str, Any]]
) -> list[ReportTable]:
    """Declare the table of verdicts by host and that of the hosts.

    `conditions` describe the host of each table of this run.
    """
    judging = list(dict.fromkeys(name for claim in judged for name in claim.hosts))
    return [verdicts_table(judged, judging), described_table(hosts, conditions)]


def verdicts_table(judged: Sequence[Claim], hosts: Sequence[str]) -> ReportTable:
    """Declare the verdicts on this run's rows, on those of `hosts`, and over hosts."""
    decided = [claim for claim in judged if claim.hosts or claim.id in {own.id for own in ON_WINDOWS}]
    count = Counter(map(relation, decided))
    counted = "; ".join(f"{name}: {count[name]}" for name in (AGREE, DEPENDS, OPEN, DIFFER))
    caption = (
        "Verdicts by host: of B and F on windows of the same policies, of C on tables of the same networks. "
        f"Hosts are compared on the cells, configurations and deployments that both measured. {RULE} "
        f"Of {len(decided)} claims: {counted if hosts else NOT_AVAILABLE}. {_about_others(judged)}"
    )
    columns = (
        Column(""),
        Column("Claim", width=0.28),
        replace(VERDICT, header=THIS_RUN),
        *(replace(VERDICT, header=name) for name in hosts),
        Column("Hosts", width=0.12),
        VERDICT,
    )
    rows = [
        Row(
            [
                claim.id,
                claim.statement,
                claim.this_run,
                *(claim.hosts[name].verdict if name in claim.hosts else NOT_AVAILABLE for name in hosts),
                relation(claim) if hosts else NOT_AVAILABLE,
                claim.verdict,
            ],
            note=_on_shared_rows(claim),
        )
        for claim in decided
    ]
    return ReportTable("policies_hosts", caption, columns, rows)


def _about_others(judged: Sequence[Claim]) -> str:
    """Name the claims that are about a host, and those that only this run decides."""
    dependent = ", ".join(claim.id for claim in judged if DECLARATIONS[claim.id].host_dependent)
    alone = ", ".join(claim.id for claim in judged if is_alone(claim))
    return (
        f"Of the other claims, {dependent or NOT_AVAILABLE} are about the host of this run, and "
        f"{alone or NOT_AVAILABLE} are judged on this run only, because no other host has rows of this "
        "protocol for them."
    )


def described_table(hosts: Sequence[OtherHost], conditions: Mapping[str, Mapping[str, Any]]) -> ReportTable:
    """Declare what the hosts are, and what each measured of this run."""
    caption = (
        "The hosts. Cells: environments and algorithms whose policies have the weights of this run. Rows: "
        "the beginning of a hash over the windows."
    )
    columns = (
        Column("Host"),
        Column("Kind"),
        Column("CPU", width=0.17),
        Column("Instructions", width=0.18),
        Column("Caches, KiB", width=0.14),
        Column("Hypervisor"),
        Column("Cells"),
        Column("Rows", format=Code),
    )
    rows = [Row([THIS_RUN, *host, BLANK, BLANK], note=note) for host, note in _of_this_run(conditions)]
    rows += [
        Row(
            [
                other.name,
                *_described(other.description),
                f"{len(other.cells)} of {other.of}",
                other.rows_sha256[:8],
            ],
            note=_notes(other),
        )
        for other in hosts
    ]
    return ReportTable("hosts", caption, columns, rows)


def _of_this_run(conditions: Mapping[str, Mapping[str, Any]]) -> list[tuple[list[Any], str]]:
    """The hosts of this run, each with the tables that it measured, if there are several hosts."""
    tables: dict[tuple[Any, ...], list[str]] = {}
    for name, described in conditions.items():
        tables.setdefault(tuple(_described(described.get("host", {}))), []).append(name)
    notes = [f"{THIS_RUN}: measured {', '.join(names)}." for names in tables.values()]
    return [
        (list(host), "" if names == list(conditions) else note)
        for (host, names), note in zip(tables.items(), notes, strict=True)
    ]


def _described(host: Mapping[str, Any]) -> list[Any]:
    """Kind, name, instructions, caches and hypervisor, as far as they were recorded."""
    sizes: Mapping[str, int] = host.get("caches_kib") or {}
    caches = ", ".join(f"{name} {size}" for name, size in sizes.items()) or NOT_AVAILABLE
    virtual = (host["hypervisor"] or "bare metal") if "hypervisor" in host else NOT_AVAILABLE
    return [
        kind_of(host),
        host.get("cpu") or NOT_AVAILABLE,
        host.get("isa") or NOT_AVAILABLE,
        caches,
        virtual,
    ]


def _notes(host: OtherHost) -> str:
    """What a reader must know of the rows of a host: noted by hand, left out, not measured."""
    notes = [f"noted by hand: {', '.join(host.noted)}"] if host.noted else []
    if not host.cells:
        notes.append("its policies have other weights in every cell, so it is left out")
    elif len(host.cells) < host.of:
        notes.append(f"judged only on the cells with equal weights: {', '.join(host.cells)}")
    if host.missing:
        notes.append(f"not measured there: {', '.join(host.missing)}")
    return f"{host.name}: {'; '.join(notes)}." if notes else ""


def _on_shared_rows(claim: Claim) -> str:
    """Name the hosts for whose part of the rows this run's verdict is another one."""
    others = [
        f"{host.this_run} ({name})" for name, host in claim.hosts.items() if host.this_run != claim.this_run
    ]
    return f"This run, on the rows that a host measured, too: {', '.join(others)}." if others else ""
