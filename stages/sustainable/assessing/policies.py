"""Assess a policy of one's own while it acts in an environment, with the windows of study B."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sustainable import statistics
from sustainable.assessing.actors import Activation, own_policies
from sustainable.assessing.page import VERDICTS, ratio_points_figure, refused_table, unless_baseline
from sustainable.assessing.page import write_report, write_tables
from sustainable.assessing.results import CLOCK, by_configuration, cost_verdict, table_of, too_few_blocks
from sustainable.assessing.run import ROOT, refuse_old_processors
from sustainable.assessing.settings import MODES, Mode
from sustainable.assessing.windows import BASELINE, TWIN
from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_section
from sustainable.measuring.blocks import IDLE, last_tries
from sustainable.measuring.clock import ClockMeter
from sustainable.measuring.host import describe_host
from sustainable.measuring.process import settle
from sustainable.policies.benchmark.episodes import EpisodesParameters, Measurement, measure_episodes
from sustainable.policies.environments.guarded import EnvironmentFault, make_environment
from sustainable.reporting import formats
from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.results import Comparison, compare_outcome
from sustainable.reporting.judging import verdict_if
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.tables import BLANK, Column, ReportTable, VerdictText, claims_table, rows_of
from sustainable.statistics import Estimate

STEP, CALL = "cpu_time_per_step_us", "policy_us"
STEP_LABEL = "CPU time of a step, relative to the baseline"
TIMED_STEPS = 600  # as in study B
KEPT = 0.9
"""Share of the baseline's return that a compressed policy must keep, as in study B."""


@dataclass(frozen=True)
class AssessedPolicy:
    """One configuration."""

    key: str
    labels: Mapping[str, Any]
    step_us: float  # CPU time of a step: policy, environment and loop
    call_us: float  # of a call of the policy alone
    step: Comparison
    call: Comparison
    mean_return: float
    lost: Estimate | None  # return minus the baseline's, over blocks; None for the baseline
    verdict: str
    kept_verdict: str


@dataclass(frozen=True)
class PolicyResults:
    """What the page of a policy prints."""

    environment: str
    actor: str
    lines: Sequence[AssessedPolicy]  # the baseline first, without its twin
    blocks: int
    minimum_blocks: int
    flagged: int
    windows: int
    noise_floor: float | None
    refused: Mapping[str, str]

    @property
    def stamp(self) -> str:
        return too_few_blocks(self.blocks, self.minimum_blocks)


def assess_policy(
    path: Path,
    environment_name: str,
    out: Path,
    mode: Mode = "quick",
    activation: Activation | None = None,
    observation_statistics: Path | None = None,
) -> PolicyResults:
    """Assess a policy file in a Gymnasium environment, and write the report into the folder `out`.

    Raises `UserError` if the file holds no policy, or it does not fit the environment.
    """
    refuse_old_processors()
    parameters = read_section(ROOT / "params.yaml", "report", ReportParameters)
    windows = EpisodesParameters(**asdict(MODES[mode]), timed_steps=TIMED_STEPS)
    threads = settle(windows.threads)
    environment = make_environment(environment_name)
    own = own_policies(path, environment, activation, observation_statistics, out / "cache")
    if BASELINE not in own.policies:
        raise UserError(f"{path}: {own.refused[BASELINE]}")
    identity = fingerprint([asdict(windows), environment_name, file_sha256(path), sorted(own.policies)])
    journal = RowJournal(out / "journal.jsonl", identity)
    measurement = Measurement({environment_name: environment}, {0: own.policies}, windows, ClockMeter)
    rows = _measured_rows(measurement, journal)
    results = policy_results(rows, environment_name, own.description, own.refused, parameters)
    host = describe_host() | threads | {"environment": environment_name, "policy_sha256": file_sha256(path)}
    write_policy_pages(out, ROOT / "paper/templates", results, host, rows)
    journal.discard()
    return results


def _measured_rows(measurement: Measurement, journal: RowJournal) -> list[dict[str, Any]]:
    """Print the forecast, measure, and return the rows; raises `UserError` if the environment fails."""
    windows, count = measurement.parameters, len(measurement.replicas[0])
    minutes = 2.5 * windows.blocks * (count + 1) * windows.window_s / 60
    print(
        f"forecast: {windows.blocks} blocks of {count} configurations, about {minutes:.1f} minutes on an "
        "idle machine",
        flush=True,
    )
    try:
        measure_episodes(measurement, journal)
    except EnvironmentFault as fault:
        raise UserError(str(fault)) from None
    return [_row_of(row) for row in last_tries(journal.rows[1:])]


def _row_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measured row with a name for the idle window, and without the columns of several seeds."""
    kept = {name: value for name, value in row.items() if name not in ("place", "training_seed")}
    return kept | {"configuration": row["configuration"] or IDLE}


def policy_results(
    rows: Sequence[Mapping[str, Any]],
    environment: str,
    actor: str,
    refused: Mapping[str, str],
    parameters: ReportParameters,
) -> PolicyResults:
    """Compare every configuration with the baseline, within blocks."""
    table = table_of(rows)
    cells = by_configuration(table)
    enough = len(cells[BASELINE]) >= parameters.minimum_blocks
    lines = {key: _line(key, cells, enough, parameters) for key in cells if key != IDLE}
    twin = lines[TWIN].step.ratio
    order = [BASELINE, *(key for key in lines if key not in (BASELINE, TWIN))]
    return PolicyResults(
        environment=environment,
        actor=actor,
        lines=[lines[key] for key in order],
        blocks=len(cells[BASELINE]),
        minimum_blocks=parameters.minimum_blocks,
        flagged=int(table["flags"].notna().sum()),
        windows=len(table),
        noise_floor=statistics.noise_floor(twin) if twin else None,
        refused=refused,
    )


def _line(
    key: str, cells: Mapping[str, pd.DataFrame], enough: bool, parameters: ReportParameters
) -> AssessedPolicy:
    own, base, twin = cells[key], cells[BASELINE], cells[TWIN]
    step, call = (compare_outcome(own, base, twin, outcome, parameters) for outcome in (STEP, CALL))
    control = compare_outcome(twin, base, twin, STEP, parameters).ratio
    judged = key not in (BASELINE, TWIN)
    lost = statistics.student_interval(own["return_mean"] - base["return_mean"], parameters.confidence)
    allowed = (1 - KEPT) * abs(float(base["return_mean"].mean()))
    first = own.iloc[0]
    return AssessedPolicy(
        key=key,
        labels={name: first[name] for name in ("runtime", "precision", "size_bytes", "weights_sha256")},
        step_us=float(np.exp(np.log(own[STEP]).mean())),
        call_us=float(np.exp(np.log(own[CALL]).mean())),
        step=step,
        call=call,
        mean_return=float(own["return_mean"].mean()),
        lost=lost if judged else None,
        verdict=cost_verdict(step.ratio, control, enough) if judged else "",
        kept_verdict=kept_verdict(lost, allowed, enough) if judged else "",
    )


def kept_verdict(lost: Estimate | None, allowed: float, enough: bool) -> str:
    """Judge whether the return falls by at most `allowed`: the whole interval must lie above -`allowed`."""
    if lost is None or not enough:
        return statistics.INCONCLUSIVE
    return verdict_if(lost.low >= -allowed, lost.high < -allowed)


def policy_claims(results: PolicyResults) -> list[Claim]:
    """Return two claims per configuration: on the cost of a step, and on the return."""
    note = f"{results.stamp}. " if results.stamp else ""
    judged = [line for line in results.lines if line.verdict]
    return [
        replace(claim, id=f"{claim.id}{place}", reason=f"{note}{claim.reason}")
        for claim_on in (_step_claim, _return_claim)
        for place, claim in enumerate(map(claim_on, judged), start=1)
    ]


def _step_claim(line: AssessedPolicy) -> Claim:
    step, call = (formats.small_ratio_text(compared.ratio) for compared in (line.step, line.call))
    return Claim(
        id="T",
        statement=f"A step of {line.key} takes less CPU time than one of the baseline",
        rule="decided if the interval excludes 1 and the ratio is beyond the noise floor",
        verdict=line.verdict,
        reason=f"Step {step}, a call of the policy {call}.",
        evidence=CLOCK,
        values={"step": asdict(line.step), "call": asdict(line.call)},
    )


def _return_claim(line: AssessedPolicy) -> Claim:
    return Claim(
        id="R",
        statement=f"{line.key} keeps {formats.declared_percent(KEPT)} of the baseline's return",
        rule="confirmed if the whole interval of the loss lies within that, refuted if outside",
        verdict=line.kept_verdict,
        reason=f"Difference {formats.difference_text(line.lost)}, over the same episodes.",
        evidence="returns of whole episodes",
        values={"difference": None if line.lost is None else asdict(line.lost)},
    )


def _policies_table(results: PolicyResults) -> ReportTable:
    """Declare the table of configurations."""
    caption = (
        f"CPU time of a step in {results.environment} and of a call of the policy alone, in microseconds, "
        "with ratios to the baseline within blocks, and the mean return. Evidence: "
        f"{CLOCK}."
    )
    ratio = partial(Column, format=formats.small_ratio_text)
    columns = [
        Column("Row", of=lambda line: line.key),
        Column("step", format=formats.significant, of=lambda line: line.step_us, group="CPU time, µs"),
        Column("call", format=formats.significant, of=lambda line: line.call_us, group="CPU time, µs"),
        ratio("step", of=unless_baseline(attrgetter("step.ratio")), group="to baseline"),
        ratio("call", of=unless_baseline(attrgetter("call.ratio")), group="to baseline"),
        Column("return", format=partial(formats.fixed, digits=1), of=lambda line: line.mean_return),
        Column("difference", format=formats.difference_text, of=lambda line: line.lost or BLANK),
        Column("less CPU time", format=VerdictText, of=lambda line: line.verdict or BLANK),
        Column("keeps return", format=VerdictText, of=lambda line: line.kept_verdict or BLANK),
    ]
    return ReportTable("policies", caption, columns, rows_of(results.lines, columns), stamp=results.stamp)


def write_policy_pages(
    folder: Path,
    templates: Path,
    results: PolicyResults,
    host: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the whole report of a policy into `folder`, see `write_report`."""
    claims = policy_claims(results)
    tables = [
        claims_table("claims", VERDICTS, claims, ("Claim", "Reason")),
        _policies_table(results),
        refused_table(results.refused.items()),
    ]
    ratios = {line.key: line.step.ratio for line in results.lines if line.verdict}
    figure = ratio_points_figure(ratios, ratios, results.noise_floor, STEP_LABEL)
    shown = {"policy": results}
    write_tables(folder, claims, host, rows)
    write_report(folder, templates, "policy.html.j2", tables, "policies", figure, results.stamp, shown)
