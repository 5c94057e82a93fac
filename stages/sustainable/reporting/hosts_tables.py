"""The tables of verdicts by host, and of the hosts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sustainable.measuring.cpu import kind_of
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import Claim
from sustainable.reporting.host_folders import HostFolder
from sustainable.reporting.over_hosts import AGREE, DEPENDS, DIFFER, OPEN, RULE, is_alone, relation
from sustainable.reporting.policies.hosts import ON_WINDOWS, OtherHost
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, VERDICT, Code, Column, ReportTable, Row

THIS_RUN = "This run"


def hosts_tables(
    judged: Sequence[Claim],
    folders: Sequence[HostFolder],
    hosts: Sequence[OtherHost],
    conditions: Mapping[str, Mapping[str, Any]],
) -> list[ReportTable]:
    """Declare the table of verdicts by host and that of the hosts.

    `hosts`: those of the `folders` that measured policies. `conditions` describe the host of each table of
    this run.
    """
    judging = sorted({name for claim in judged for name in claim.hosts})
    return [verdicts_table(judged, judging), described_table(folders, hosts, conditions)]


def verdicts_table(judged: Sequence[Claim], hosts: Sequence[str]) -> ReportTable:
    """Declare the verdicts on this run's rows, on those of `hosts`, and over hosts."""
    decided = [claim for claim in judged if claim.hosts or claim.id in {own.id for own in ON_WINDOWS}]
    count = Counter(map(relation, decided))
    counted = "; ".join(f"{name}: {count[name]}" for name in (AGREE, DEPENDS, OPEN, DIFFER))
    caption = (
        "Verdicts by host: of B and F on windows of the same policies, of C on tables and windows of the "
        "same networks. Hosts are compared on the cells, configurations and deployments that both measured. "
        f"{RULE} Of {len(decided)} claims: {counted if hosts else NOT_AVAILABLE}. {_about_others(judged)}"
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


def described_table(
    folders: Sequence[HostFolder],
    hosts: Sequence[OtherHost],
    conditions: Mapping[str, Mapping[str, Any]],
) -> ReportTable:
    """Declare what the hosts are, and what each measured of this run."""
    caption = (
        "The hosts. Cells: environments and algorithms whose policies have the weights of this run. Rows: "
        "the beginning of a hash over the host's tables."
    )
    columns = (
        Column("Host"),
        Column("Kind"),
        Column("CPU", width=0.17),
        Column("Instructions", width=0.15),
        Column("Caches, KiB", width=0.14),
        Column("Hypervisor"),
        Column("Cells"),
        Column("Rows", format=Code),
    )
    rows = [Row([THIS_RUN, *host, BLANK, BLANK], note=note) for host, note in _of_this_run(conditions)]
    known = {host.name: host for host in hosts}
    rows += [_row_of(folder, known.get(folder.name)) for folder in folders]
    return ReportTable("hosts", caption, columns, rows)


def _row_of(folder: HostFolder, host: OtherHost | None) -> Row:
    cells = f"{len(host.cells)} of {host.of}" if host else NOT_AVAILABLE
    described = [folder.name, *_described(folder.description), cells, folder.rows_sha256[:8]]
    return Row(described, note=_notes(folder, host))


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


def _notes(folder: HostFolder, host: OtherHost | None) -> str:
    """What a reader must know of the rows of a host: noted by hand, left out, not measured."""
    notes = [f"noted by hand: {', '.join(folder.noted)}"] if folder.noted else []
    if host is None:
        notes.append("it measured study A only")
    elif not host.cells:
        notes.append("its policies have other weights in every cell, so study B's rows are left out")
    elif len(host.cells) < host.of:
        notes.append(f"judged only on the cells with equal weights: {', '.join(host.cells)}")
    if host and host.missing:
        notes.append(f"not measured there: {', '.join(host.missing)}")
    return f"{folder.name}: {'; '.join(notes)}." if notes else ""


def _on_shared_rows(claim: Claim) -> str:
    """Name the hosts for whose part of the rows this run's verdict is another one."""
    others = [
        f"{host.this_run} ({name})" for name, host in claim.hosts.items() if host.this_run != claim.this_run
    ]
    return f"This run, on the rows that a host measured, too: {', '.join(others)}." if others else ""
