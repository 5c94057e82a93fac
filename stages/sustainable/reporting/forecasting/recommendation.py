"""What to deploy: the cheapest candidate of a task that is accurate enough.

A candidate is a network in a precision and a runtime, or a trivial forecaster: a rule, or a logistic
regression. Networks were timed together, in rounds; the regressions were timed in the benchmark's blocks,
relative to the baseline. The order may differ on another host than the one that the answer names.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from sustainable.core.errors import UserError
from sustainable.reporting.forecasting.accuracy_gate import FRUGAL
from sustainable.reporting.forecasting.audited import cells
from sustainable.reporting.forecasting.run import TaskRun
from sustainable.reporting.forecasting.summary import SECONDS_PER_DAY
from sustainable.reporting.forecasting.task import TITLES, invested_cpu_s
from sustainable.reporting.formats import grouped
from sustainable.reporting.measured_rows import BASELINE
from sustainable.statistics import BreakEven, ratio_over_units

DEFAULT_RATE_PER_S = 1.0
UNTIMED = ("majority", "persistence")
"""Forecasters that compute nothing. They cost at most what `BOUND` costs, which reads the same day."""
BOUND = "logistic_last_day"
TRIVIAL_LABELS = {
    "majority": "majority class",
    "persistence": "persistence (tomorrow is like today)",
    "logistic_last_day": "logistic regression on the last step",
    "logistic_window": "logistic regression on all steps",
}
Interval = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """CPU time of one forecast at one batch size."""

    cpu_time_ms: float
    error: float | None  # standard error of ln CPU time; None if it was timed only once
    readings: int  # from which the error is computed
    at_most: bool = False  # not timed: an upper bound


@dataclass(frozen=True)
class Deployable:
    """Something that can be deployed."""

    name: str
    runtime: str  # `none` for a trivial forecaster
    precision: str
    validation_accuracy: float  # mean over training seeds; the floor is compared with it
    test_accuracy: float  # of the same networks; nothing is chosen by it
    costs: Mapping[int, Cost]  # by batch size
    trivial: bool = False  # needs no network, and so no training and no search

    @property
    def order(self) -> tuple[float, str]:
        """The order among candidates of equal cost: the more accurate first, then by name."""
        return -self.validation_accuracy, self.name


@dataclass(frozen=True)
class Choices:
    """The candidates of a task, and what the answer has to say about their measurement."""

    task: str
    candidates: Sequence[Deployable]
    baseline: Deployable  # the full network in eager fp32
    uncompressed: Mapping[int, Deployable]  # the full network's fastest fp32 runtime, by batch size
    left_out: Mapping[str, str]  # candidates without a score or a cost, and why
    invested_cpu_s: Mapping[str, float]  # CPU seconds spent to find a compressed network, by purpose
    confidence: float
    host: Mapping[str, Any]  # that timed the networks
    energy_evidence: str  # class of evidence of energies measured there

    @property
    def batch_sizes(self) -> list[int]:
        return sorted(self.baseline.costs)

    @property
    def title(self) -> str:
        return TITLES.get(self.task, self.task)


@dataclass(frozen=True)
class Saving:
    """CPU time saved against a reference, as a share of the reference's."""

    share: float
    interval: Interval | None  # None if something was timed only once
    at_least: bool  # the candidate's CPU time is an upper bound


@dataclass(frozen=True)
class Offer:
    """A candidate at a batch size, and what it would save."""

    candidate: Deployable
    cost: Cost
    saving: Saving  # against the eager baseline
    over_uncompressed: Saving  # against the full network's fastest fp32 runtime
    break_even: BreakEven  # in forecasts, against the eager baseline


@dataclass(frozen=True)
class Recommendation:
    """The answer for an accuracy floor, a request rate and a batch size."""

    floor: float
    rate_per_s: float
    batch_size: int
    choice: Offer
    runner_up: Offer | None  # None if nothing else reaches the floor
    within_noise: bool | None
    """Whether timing cannot tell both apart; None if that is unknown, or if there is no runner-up."""

    @property
    def misses_on_test(self) -> bool:
        """Whether the choice lies below the floor on the test windows."""
        return self.choice.candidate.test_accuracy < self.floor

    def days(self, forecasts: float | None) -> float | None:
        """Days in which that many forecasts are requested; None for None."""
        return None if forecasts is None else forecasts / self.rate_per_s / SECONDS_PER_DAY

    def cores(self, cost: Cost) -> float:
        """Cores that the request rate keeps busy."""
        return self.rate_per_s * cost.cpu_time_ms / 1000


def choices_of(task: str, run: TaskRun, rounds: int, confidence: float) -> Choices:
    """Collect the candidates of a task; networks were timed in `rounds` rounds.

    Masked networks are left out, as in every search: zeroed weights save no time.
    """
    space = run.candidates[run.candidates["family"] != "masked"]
    sizes = sorted(int(size) for size in run.rows["batch_size"].dropna().unique() if size)
    sizes = [size for size in sizes if f"cpu_time_ms_batch_{size}" in space.columns]
    rows: list[Mapping[Any, Any]] = list(space.to_dict("records"))
    networks = [_network(row, sizes, rounds) for row in rows]
    widest = max((row["width_0"], row["width_1"]) for row in rows)
    full = [one for one in networks if one.name.startswith("{}x{} fp32 ".format(*widest))]
    baseline = next((one for one in full if one.runtime == "torch-eager"), None)
    if baseline is None:
        raise UserError(f"{task}: candidates: the full network has no row in fp32 on torch-eager")
    trivial, left_out = _trivial(run, baseline, sizes, confidence)
    return Choices(
        task=task,
        candidates=[*networks, *trivial],
        baseline=baseline,
        uncompressed={size: min(full, key=lambda one: one.costs[size].cpu_time_ms) for size in sizes},
        left_out=left_out,
        invested_cpu_s=invested_cpu_s(run),
        confidence=confidence,
        host=run.candidates_host,
        energy_evidence=", ".join(sorted(run.rows["cpu_evidence"].dropna().unique())),
    )


def _network(row: Mapping[Any, Any], sizes: Sequence[int], rounds: int) -> Deployable:
    costs = {}
    for size in sizes:
        time_ms = float(row[f"cpu_time_ms_batch_{size}"])
        error = float(row.get(f"cpu_time_se_batch_{size}") or math.nan)
        costs[size] = Cost(time_ms, None if math.isnan(error) else error / time_ms, rounds)
    return Deployable(
        name=f"{row['width_0']}x{row['width_1']} {row['precision']} on {row['runtime']}",
        runtime=row["runtime"],
        precision=row["precision"],
        validation_accuracy=float(row["validation_accuracy"]),
        test_accuracy=float(row["test_accuracy"]),
        costs=costs,
    )


def _trivial(
    run: TaskRun, baseline: Deployable, sizes: Sequence[int], confidence: float
) -> tuple[list[Deployable], dict[str, str]]:
    """The trivial forecasters, and those without a validation score or a cost with the reason."""
    scores = run.metrics["baseline"]["forecasters"]
    found: list[Deployable] = []
    left_out: dict[str, str] = {}
    for name in FRUGAL:
        timed = BOUND if name in UNTIMED else name
        if name not in scores and name not in run.hits.columns:
            continue  # this task does not have it
        if name not in scores:
            left_out[TRIVIAL_LABELS[name]] = "it has no score on the validation windows"
        elif not (run.rows["configuration"] == timed).any():
            left_out[TRIVIAL_LABELS[name]] = f"{timed} was not timed"
        else:
            costs = {
                size: _cost_of_rows(run, timed, size, baseline, confidence, at_most=name in UNTIMED)
                for size in sizes
            }
            validation, test = (float(scores[name][part]["accuracy"]) for part in ("validation", "test"))
            label = TRIVIAL_LABELS[name]
            found.append(Deployable(label, "none", "none", validation, test, costs, trivial=True))
    return found, left_out


def _cost_of_rows(
    run: TaskRun, key: str, size: int, baseline: Deployable, confidence: float, *, at_most: bool
) -> Cost:
    """Put a configuration of the benchmark beside the networks, by its ratio to the baseline."""
    own, base = (cells(run.rows, name, size) for name in (key, BASELINE))
    ratio = ratio_over_units(own["cpu_time_ms"], base["cpu_time_ms"], own["training_seed"], confidence)
    baseline_ms = baseline.costs[size].cpu_time_ms
    if ratio is None:
        share = float(own["cpu_time_ms"].mean() / base["cpu_time_ms"].mean())
        return Cost(baseline_ms * share, None, 1, at_most)
    half = math.log(ratio.high / ratio.low) / 2
    error = half / float(stats.t.ppf((1 + confidence) / 2, ratio.n - 1))
    return Cost(baseline_ms * ratio.estimate, error, ratio.n, at_most)


def ratio_interval(cost: Cost, reference: Cost, confidence: float) -> Interval | None:
    """Return the interval of cost / reference in CPU time, from the errors of both.

    Student's t with the degrees of freedom of the one with fewer readings. None if one has no error.
    """
    if cost is reference:
        return 1.0, 1.0
    if cost.error is None or reference.error is None:
        return None
    centre = math.log(cost.cpu_time_ms / reference.cpu_time_ms)
    half = _quantile(cost, reference, confidence) * math.hypot(cost.error, reference.error)
    return math.exp(centre - half), math.exp(centre + half)


def saving_of(cost: Cost, reference: Cost, confidence: float) -> Saving:
    """Return the share of the reference's CPU time that is saved."""
    interval = ratio_interval(cost, reference, confidence)
    ends = None if interval is None else (1 - interval[1], 1 - interval[0])
    return Saving(1 - cost.cpu_time_ms / reference.cpu_time_ms, ends, cost.at_most)


def pay_back_of(candidate: Deployable, choices: Choices, size: int) -> BreakEven:
    """Return the forecasts after which a candidate has repaid what finding it took.

    Against the eager baseline. The interval is that of the CPU time saved per forecast, with Student's t as
    in `ratio_interval`; the cost of finding is one number, without an interval.
    """
    cost, base = candidate.costs[size], choices.baseline.costs[size]
    if candidate is choices.baseline:
        return BreakEven(None, None, None, "nothing is saved: it is the baseline")
    if candidate.trivial:
        return BreakEven(0.0, 0.0, 0.0, "")
    if cost.error is None or base.error is None:
        return BreakEven(None, None, None, "unknown: it was timed only once")
    quantile = _quantile(cost, base, choices.confidence)
    saved_ms = base.cpu_time_ms - cost.cpu_time_ms
    half = quantile * math.hypot(cost.error * cost.cpu_time_ms, base.error * base.cpu_time_ms)
    if saved_ms <= half:
        return BreakEven(None, None, None, "not reached: the saving may be nothing")
    invested_ms = 1000 * sum(choices.invested_cpu_s.values())
    return BreakEven(
        invested_ms / saved_ms, invested_ms / (saved_ms + half), invested_ms / (saved_ms - half), ""
    )


def _quantile(one: Cost, other: Cost, confidence: float) -> float:
    """Student's quantile with the degrees of freedom of the cost with fewer readings."""
    return float(stats.t.ppf((1 + confidence) / 2, min(one.readings, other.readings) - 1))


def ranked(choices: Choices, floor: float, size: int) -> list[Deployable]:
    """Return the candidates at or above the floor, the cheapest first."""
    enough = [one for one in choices.candidates if one.validation_accuracy >= floor]
    return sorted(enough, key=lambda one: (one.costs[size].cpu_time_ms, *one.order))


def recommend(choices: Choices, floor: float, rate_per_s: float, size: int) -> Recommendation:
    """Return the cheapest candidate whose validation accuracy is at least `floor`, and the next one.

    Raises `UserError` for a floor above every candidate or outside 0..1, for a rate that is not positive, and
    for a batch size that was not measured.
    """
    _check(choices, floor, rate_per_s, size)
    found = ranked(choices, floor, size)
    offers = [_offer(one, choices, size) for one in found[:2]]
    runner_up = offers[1] if len(offers) > 1 else None
    noise = _within_noise(offers, choices.confidence)
    return Recommendation(floor, rate_per_s, size, offers[0], runner_up, noise)


def _check(choices: Choices, floor: float, rate_per_s: float, size: int) -> None:
    if not 0 <= floor <= 1:
        raise UserError(f"accuracy floor {floor:g}: it must lie between 0 and 1, such as 0.68")
    if not (rate_per_s > 0 and math.isfinite(rate_per_s)):
        raise UserError(f"rate {rate_per_s:g}: requests per second must be a number above 0")
    if size not in choices.baseline.costs:
        sizes = ", ".join(map(str, choices.batch_sizes))
        raise UserError(f"batch size {size}: not measured; name one of {sizes}")
    best = max(choices.candidates, key=lambda one: one.validation_accuracy)
    if floor > best.validation_accuracy:
        raise UserError(
            f"{choices.task}: no candidate reaches the accuracy floor {floor:g}; lower it: the most "
            f"accurate, {best.name}, has {best.validation_accuracy:.4f}"
        )


def _offer(candidate: Deployable, choices: Choices, size: int) -> Offer:
    cost, confidence = candidate.costs[size], choices.confidence
    return Offer(
        candidate,
        cost,
        saving_of(cost, choices.baseline.costs[size], confidence),
        saving_of(cost, choices.uncompressed[size].costs[size], confidence),
        pay_back_of(candidate, choices, size),
    )


def _within_noise(offers: Sequence[Offer], confidence: float) -> bool | None:
    if len(offers) < 2:
        return None
    interval = ratio_interval(offers[0].cost, offers[1].cost, confidence)
    return None if interval is None else interval[0] <= 1 <= interval[1]


def default_floor(choices: Choices, margin: float) -> float:
    """Return the baseline's validation accuracy minus the loss that counts as none."""
    return choices.baseline.validation_accuracy - margin


def steps_of(choices: Choices, size: int) -> Iterator[tuple[float, Recommendation]]:
    """Yield the answers for all floors, ascending: (highest floor at which it holds, answer).

    The answers are those for the default rate. Only a candidate's accuracy can change the choice, so these
    are all choices that there are.
    """
    for accuracy in sorted({one.validation_accuracy for one in choices.candidates}):
        yield accuracy, recommend(choices, accuracy, DEFAULT_RATE_PER_S, size)


def front_of(choices: Choices, size: int) -> list[Deployable]:
    """Return the Pareto front, the cheapest first: no other candidate is both cheaper and as accurate."""
    front: list[Deployable] = []
    for one in ranked(choices, 0.0, size):
        if not front or one.validation_accuracy > front[-1].validation_accuracy:
            front.append(one)
    return front


def saving_text(saving: Saving) -> str:
    """As in `at least 99.5 % [99.4 %, 99.6 %]`."""
    ends = [f"{100 * end:.2f} %" for end in saving.interval or ()]
    interval = f" [{', '.join(ends)}]" if ends else ""
    return f"{'at least ' if saving.at_least else ''}{100 * saving.share:.2f} %{interval}"


def break_even_text(offer: Offer) -> str:
    """After how many forecasts the search is repaid, or why it is not."""
    even = offer.break_even
    if even.inferences is None or even.low is None or even.high is None:
        return even.reason
    if offer.candidate.trivial:
        return "at once: it needs no network and no search"
    return f"after {grouped(even.inferences)} forecasts ({grouped(even.low)} to {grouped(even.high)})"
