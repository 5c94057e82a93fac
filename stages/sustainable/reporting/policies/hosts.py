"""Study B's claims on rows of other hosts, on which the same policies acted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.claims import judge_claim
from sustainable.reporting.declaration import ROW_FILES, Analysis, Claim
from sustainable.reporting.policies.claims import POLICY_CLAIMS
from sustainable.reporting.policies.findings import POLICY_FINDINGS
from sustainable.reporting.policies.run import CELL, PoliciesRun, read_windows
from sustainable.reporting.policies.summary import with_windows

WINDOWS = {ROW_FILES["policies"], ROW_FILES["workload"]}
ON_WINDOWS = tuple(
    own for own in (*POLICY_CLAIMS, *POLICY_FINDINGS) if own.decided_by and set(own.decided_by) <= WINDOWS
)
"""Claims and takeaways that only windows of acting policies decide."""


@dataclass(frozen=True)
class OtherHost:
    """Rows of acting policies that were measured on another host, and the claims judged on them."""

    name: str  # of its folder
    cpu: str
    judged: Mapping[str, Claim]  # by id
    missing: Sequence[str]  # configurations of this run that were not measured there


def judge_hosts(
    folder: Path, run: PoliciesRun, analysis: Analysis, statements: Mapping[str, str]
) -> list[OtherHost]:
    """Judge the claims on the rows of every host in `folder` that measured the policies of this run.

    A host that measured other policies is left out, because a difference would not be the host's. Raises
    `UserError` if rows are malformed.
    """
    hosts = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir()):
        rows, workload = read_windows(place)
        if not same_policies(rows, run.rows):
            continue
        there = replace(run, rows=rows, workload=workload)
        policies = with_windows(analysis.policies, there, analysis.parameters)
        on_rows = replace(analysis, policies=policies)
        hosts.append(
            OtherHost(
                name=place.name,
                cpu=cpu_of(place / "policies.conditions.json"),
                judged={own.id: judge_claim(own, on_rows, statements) for own in ON_WINDOWS},
                missing=sorted(set(run.rows["configuration"]) - set(rows["configuration"])),
            )
        )
    return hosts


def same_policies(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Return whether both sets of windows have the same cells, seeds and uncompressed weights."""
    found = []
    for windows in (rows, others):
        plain = windows[windows["method"] == "none"]
        models = plain[[*CELL, "training_seed", "weights_sha256"]].drop_duplicates()
        found.append(set(models.itertuples(index=False, name=None)))
    return found[0] == found[1]


def cpu_of(conditions: Path) -> str:
    """Return the CPU and its vector instructions. Raises `UserError` if the conditions lack them."""
    try:
        host = read_json(conditions)["host"]
        return f"{host['cpu']}, {host['isa']}"
    except (KeyError, TypeError):
        raise UserError(f"{conditions}: the host's cpu or isa is missing; restore the file") from None
