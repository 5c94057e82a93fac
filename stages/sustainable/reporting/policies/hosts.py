"""Study B's claims on rows of other hosts, on which the same policies acted.

Only cells whose uncompressed policies have equal weights are compared, because another difference would not
be the host's. For the same reason this run is judged again on those cells and on the configurations that both
hosts measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sustainable.reporting.claims import judge_claim
from sustainable.reporting.declaration import ROW_FILES, Analysis, Claim
from sustainable.reporting.host_folders import POLICIES, HostFolder
from sustainable.reporting.policies.claims import POLICY_CLAIMS
from sustainable.reporting.policies.findings import POLICY_FINDINGS
from sustainable.reporting.policies.run import CELL, NO_METHOD, PoliciesRun, read_windows
from sustainable.reporting.policies.summary import with_windows

WINDOWS = {ROW_FILES[POLICIES], ROW_FILES["workload"]}
ON_WINDOWS = tuple(
    own for own in (*POLICY_CLAIMS, *POLICY_FINDINGS) if own.decided_by and set(own.decided_by) <= WINDOWS
)
"""Claims and takeaways that only windows of acting policies decide."""


@dataclass(frozen=True)
class OtherHost:
    """Rows of acting policies that were measured on another host, and the claims judged on them."""

    folder: HostFolder
    cells: Sequence[str]
    """The cells of this run whose policies have equal weights there."""
    of: int
    """The number of cells of this run."""
    missing: Sequence[str] = ()
    """Configurations of this run that were not measured there."""
    judged: Mapping[str, Claim] = field(default_factory=dict)
    """The claims on its rows of these cells, by id; empty without cells."""
    here: Mapping[str, Claim] = field(default_factory=dict)
    """The claims on this run's rows of the same cells and configurations."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def twice(self) -> dict[str, tuple[Claim, Claim]]:
        """The claims on its rows and on this run's of the same part, by id."""
        return {name: (claim, self.here[name]) for name, claim in self.judged.items()}


def judge_hosts(
    folders: Iterable[HostFolder], run: PoliciesRun, analysis: Analysis, statements: Mapping[str, str]
) -> list[OtherHost]:
    """Judge the claims on the rows of every host, as far as it measured the policies of this run.

    Raises `UserError` if rows are malformed.
    """
    hosts, known = [], dict[tuple[bytes, bytes], Mapping[str, Claim]]()
    for folder in folders:
        if not folder.measured(POLICIES):
            continue
        rows, workload = read_windows(folder.path)
        host = compare(folder, run, rows)
        if host.cells:
            there = restricted(replace(run, rows=rows, workload=workload), run)
            here = restricted(run, there)
            judged = judge_windows(there, analysis, statements)
            windows = here.rows.index.to_numpy().tobytes(), here.workload.index.to_numpy().tobytes()
            if windows not in known:  # several hosts often measured the same part
                known[windows] = judge_windows(here, analysis, statements)
            host = replace(host, judged=judged, here=known[windows])
        hosts.append(host)
    return hosts


def compare(folder: HostFolder, run: PoliciesRun, rows: pd.DataFrame) -> OtherHost:
    """Say what of this run a host measured: its cells with equal weights."""
    here, there = _by_cell(run.rows), _by_cell(rows)
    return OtherHost(
        folder=folder,
        cells=[" ".join(cell) for cell in sorted(here.keys() & there) if here[cell] == there[cell]],
        of=len(here),
        missing=sorted({*run.rows["configuration"].unique()} - {*rows["configuration"].unique()}),
    )


def judge_windows(run: PoliciesRun, analysis: Analysis, statements: Mapping[str, str]) -> Mapping[str, Claim]:
    """Judge the claims that windows decide on those of `run`."""
    policies = with_windows(analysis.policies, run, analysis.parameters)
    on_rows = replace(analysis, policies=policies)
    return {own.id: judge_claim(own, on_rows, statements) for own in ON_WINDOWS}


def restricted(run: PoliciesRun, other: PoliciesRun) -> PoliciesRun:
    """Return `run` with only those windows whose cell and configuration the other measured, too."""
    rows, workload = (_shared(*tables) for tables in ((run.rows, other.rows), (run.workload, other.workload)))
    return replace(run, rows=rows, workload=workload)


def _shared(windows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    cells, configurations = equal_cells(windows, others), others["configuration"].unique()
    places = windows.groupby(CELL).indices
    kept = np.zeros(len(windows), dtype=bool)
    for cell in cells:
        kept[places[cell]] = True
    return windows[kept & windows["configuration"].isin(configurations)]


def equal_cells(windows: pd.DataFrame, others: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the cells that have the same seeds and the same uncompressed weights in both sets of windows."""
    here, there = _by_cell(windows), _by_cell(others)
    return {cell for cell in here.keys() & there if here[cell] == there[cell]}


def _by_cell(windows: pd.DataFrame) -> dict[tuple[str, str], set[tuple[int, str]]]:
    """The seeds and weights of the uncompressed policies, by cell."""
    model = ["training_seed", "weights_sha256"]
    plain = windows.loc[windows["method"] == NO_METHOD, [*CELL, *model]].dropna(subset=["weights_sha256"])
    models = plain.drop_duplicates().groupby(CELL)[model]
    cells = ((environment, algorithm, own) for (environment, algorithm), own in models)
    return {(str(name), str(by)): set(own.itertuples(index=False, name=None)) for name, by, own in cells}
