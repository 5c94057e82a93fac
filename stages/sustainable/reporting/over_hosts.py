"""The verdict on a claim over hosts: on this run's rows, and on the rows of every other host that decide it.

A claim about the method must hold on every host. The rule was declared before it was applied:

1. A host is compared with this run only on the cells and configurations that both measured. If one of them
   confirms the claim there and the other refutes it, the verdict is inconclusive. A method that works on one
   CPU and fails on another has not been shown to work.
2. If the verdict on all rows of this run is another one than on the shared rows, that is no contradiction:
   the rows differ, not the hosts. The reason names it.
3. A host that cannot decide contradicts nothing: it often measured only a part of the cells, and too few rows
   are no evidence against a claim. The reason names it.
4. Another host never decides for this run. Nobody can prove that sent rows are honest, so they can weaken a
   verdict but cannot make one.

So other hosts make no wrong verdict more frequent. A right one is lost if one of them errs, at most with the
sum of their error rates. The rule holds for the parts of a claim as well; the verdict on a claim that must
hold in all its parts then follows from the parts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sustainable.measuring.cpu import UNKNOWN, kind_of
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import EXACT_COUNT, Claim, Declaration, HostVerdict
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, weakest

DECIDED = (CONFIRMED, REFUTED)
AGREE, DEPENDS, OPEN = "agree", "declared host-dependent", "undecided on a host"
DIFFER = f"{INCONCLUSIVE}: differs between hosts"
RULE = (
    "A claim about the method is inconclusive if another host confirms what this run refutes, or the "
    "reverse, on the cells and configurations that both measured. A host that cannot decide contradicts "
    "nothing, and no other host decides for this run."
)
"""The rule, as pages print it."""
Twice = tuple[Claim, Claim]
"""A claim judged on the rows of another host, and on this run's rows of the same cells and configurations."""


def judge_over_hosts(
    judged: Sequence[Claim],
    others: Mapping[str, Mapping[str, Twice]],
    conditions: Mapping[str, Mapping[str, Any]],
) -> list[Claim]:
    """Return the claims of this run with their verdicts over hosts.

    `others`: claims by the name of the host, then by id. `conditions` describe the host of each of this run's
    tables, by the table's name.
    """
    return [
        _over_hosts(
            claim,
            DECLARATIONS[claim.id],
            {name: claims[claim.id] for name, claims in others.items() if claim.id in claims},
            conditions,
        )
        for claim in judged
    ]


def _over_hosts(
    claim: Claim,
    declaration: Declaration,
    others: Mapping[str, Twice],
    conditions: Mapping[str, Mapping[str, Any]],
) -> Claim:
    hosts = {name: HostVerdict(there.verdict, here.verdict) for name, (there, here) in others.items()}
    found = replace(claim, this_run=claim.verdict, hosts=hosts)
    if declaration.host_dependent:
        return replace(found, scope=_about_host(declaration, conditions))
    parts = {part: settled(verdict, _of_part(part, others.values())) for part, verdict in claim.parts.items()}
    verdict = settled(claim.verdict, hosts.values())
    if parts and claim.verdict == weakest(claim.parts.values()):
        verdict = weakest(parts.values())
    found = replace(found, verdict=verdict, parts=parts)
    return replace(found, reason=_reason(found), scope=_about_method(found))


def _of_part(part: str, others: Collection[Twice]) -> list[HostVerdict]:
    """The verdicts on one part of a claim, of the hosts that judged it."""
    return [
        HostVerdict(there.parts[part], here.parts[part])
        for there, here in others
        if part in there.parts and part in here.parts
    ]


def settled(verdict: str, hosts: Collection[HostVerdict]) -> str:
    """Return this run's verdict, or inconclusive if it differs between hosts."""
    return INCONCLUSIVE if verdict in DECIDED and differs(hosts) else verdict


def differs(hosts: Collection[HostVerdict]) -> bool:
    """Whether some host confirms what this run refutes on the same rows, or the reverse."""
    return any({host.verdict, host.this_run} == set(DECIDED) for host in hosts)


def relation(claim: Claim) -> str:
    """Say how the hosts' verdicts on a claim relate: `AGREE`, `DEPENDS`, `OPEN` or `DIFFER`."""
    if DECLARATIONS[claim.id].host_dependent:
        return DEPENDS
    if claim.verdict != claim.this_run or differs(claim.hosts.values()):
        return DIFFER
    return AGREE if all(host.agrees for host in claim.hosts.values()) else OPEN


def _reason(claim: Claim) -> str:
    """The reason on this run, with the verdicts of the hosts if they are not all the same."""
    state = relation(claim)
    if state == DIFFER:
        return f"Differs between hosts ({by_host(claim)}). On this run: {claim.reason}"
    if state == OPEN:
        return f"{claim.reason} Not decided on every host ({by_host(claim)})."
    return claim.reason


def by_host(claim: Claim) -> str:
    """Print the verdict of this run and that of every other host."""
    texts = [f"this run: {claim.this_run}"]
    for name, host in claim.hosts.items():
        same = "" if host.this_run == claim.this_run else f" (this run, on the same part: {host.this_run})"
        texts.append(f"{name}: {host.verdict}{same}")
    return "; ".join(texts)


def is_alone(claim: Claim) -> bool:
    """Whether a claim about the method rests on measurements of this run only: no other host has rows."""
    declaration = DECLARATIONS[claim.id]
    measured = declaration.decided_by and claim.evidence != EXACT_COUNT
    return bool(measured and not declaration.host_dependent and not claim.hosts)


def _about_method(claim: Claim) -> str:
    if claim.hosts:
        return f"About the method, over hosts. By host: {by_host(claim)}."
    if is_alone(claim):
        return "About the method, but judged on this run only: no other host has such rows of this protocol."
    if claim.evidence == EXACT_COUNT:
        return "About the method: decided by counts, which must be the same on every host."
    return "No rows decide it, on any host."


def _about_host(declaration: Declaration, conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the hosts that a host-dependent claim is about: those of the tables that decide it."""
    tables = dict.fromkeys(Path(path).stem for path in declaration.decided_by)
    known = [conditions[name].get("host", {}) for name in tables if name in conditions]
    named = ", ".join(dict.fromkeys(map(host_name, known))) or "not recorded"
    return (
        f"About a kind of CPU, not the method: {named}. On another kind another verdict may be right, "
        f"because {declaration.host_dependent}."
    )


def host_name(host: Mapping[str, Any]) -> str:
    """Name a described host by its kind of CPU or, if that was not recorded, by what was."""
    if (kind := kind_of(host)) != UNKNOWN:
        return kind
    cpu, isa = host.get("cpu") or "a CPU", host.get("isa") or "unknown instructions"
    return f"{cpu} with {isa} (kind not recorded)"
