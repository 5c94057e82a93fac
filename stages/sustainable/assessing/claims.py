"""The claims of an assessment: statements with a rule that decides them, as in the paper."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial

from sustainable.assessing.results import CLOCK, AssessedRow, AssessedModel
from sustainable.assessing.windows import BASELINE
from sustainable.reporting.declaration import EXACT_COUNT, Claim
from sustainable.reporting.forecasting.results import Comparison
from sustainable.reporting.formats import MISSING, difference_text, percent, small_ratio_text
from sustainable.statistics import CONFIRMED, NOT_TESTABLE, REFUTED, noise_floor


def claims_of(results: AssessedModel) -> list[Claim]:
    """Return all claims, with verdicts that their rules compute."""
    rows = [line for key, line in results.lines.items() if key != BASELINE]
    claims = [*_changes(results), *(_cpu_time(results, line) for line in rows if line.verdict)]
    claims += [_quality(results, line) for line in rows if line.verdict and line.quality]
    return _numbered([*claims, *_energies(results, rows)])


def _numbered(claims: list[Claim]) -> list[Claim]:
    """Number the claims of each letter from 1."""
    seen: dict[str, int] = {}
    numbered = []
    for claim in claims:
        seen[claim.id] = seen.get(claim.id, 0) + 1
        numbered.append(replace(claim, id=f"{claim.id}{seen[claim.id]}"))
    return numbered


def _changes(results: AssessedModel) -> Iterator[Claim]:
    for change in results.changes.values():
        yield Claim(
            id="M",
            statement=f"{change.name} is another model than the baseline",
            rule="refuted if the hash of all tensors is equal and no output differs by more than rounding",
            verdict=REFUTED if change.same_model else CONFIRMED,
            reason=f"{change.sentence[:1].upper()}{change.sentence[1:]}.",
            evidence=EXACT_COUNT,
            values=asdict(change),
        )


def _cpu_time(results: AssessedModel, line: AssessedRow) -> Claim:
    compared, twin = line.to_baseline, results.twin.to_baseline.ratio
    floor = percent(noise_floor(twin)) if twin else MISSING
    reason = (
        f"Ratio {small_ratio_text(compared.ratio)} over {results.blocks} blocks; noise floor (A/A) {floor}; "
        f"without flagged windows {_clean(compared)}; an effect of {percent(compared.detectable)} would have "
        "been found."
    )
    return Claim(
        id="T",
        statement=f"A call of {line.key} takes less CPU time than one of the baseline",
        rule=(
            "decided if the interval of the ratio excludes 1 and the ratio is beyond the noise floor, "
            f"with at least {results.minimum_blocks} blocks"
        ),
        verdict=line.verdict,
        reason=f"{results.stamp}. {reason}" if results.stamp else reason,
        evidence=CLOCK,
        values={**asdict(compared), "twin": None if twin is None else asdict(twin), "p_holm": line.p_holm},
    )


def _clean(compared: Comparison) -> str:
    return small_ratio_text(compared.clean) if compared.clean else "too few are left"


def _quality(results: AssessedModel, line: AssessedRow) -> Claim:
    quality = line.quality
    assert quality is not None
    if quality.measure == "accuracy":
        allowed = f"{100 * (results.margin or 0):g} points"
    else:
        allowed = f"{percent(results.margin)} of it"
    return Claim(
        id="Q",
        statement=f"The {quality.measure} of {line.key} is at most {allowed} worse than the baseline's",
        rule="confirmed if the whole interval lies within the margin, refuted if it lies outside",
        verdict=quality.verdict,
        reason=f"Difference {difference_text(quality.difference)}, paired by example.",
        evidence="outputs for the examples that were given",
        values=asdict(quality),
    )


def _energies(results: AssessedModel, rows: list[AssessedRow]) -> Iterator[Claim]:
    """Yield one claim per row if a counter was read; otherwise one claim that is not testable."""
    declared = partial(Claim, id="E", rule="decided as for CPU time, from a hardware counter only")
    judged = [line for line in rows if line.energy_verdict]
    if judged and all(line.energy_verdict == NOT_TESTABLE for line in judged):
        yield declared(
            statement="A call takes less energy than one of the baseline",
            verdict=NOT_TESTABLE,
            reason=f"Energy was not measured: {results.meter_reason}.",
            evidence=results.evidence or "none",
        )
        return
    for line in judged:
        yield declared(
            statement=f"A call of {line.key} takes less energy than one of the baseline",
            verdict=line.energy_verdict,
            reason=f"Ratio {small_ratio_text(line.energy.ratio)}.",
            evidence=results.evidence,
            values=asdict(line.energy),
        )
