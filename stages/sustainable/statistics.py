"""Summaries, effects and verdicts: pure functions of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

CONFIRMED = "confirmed"
REFUTED = "refuted"
INCONCLUSIVE = "inconclusive"
NOT_TESTABLE = "not testable on this host"


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of `n` values; None where there are too few."""

    mean: float | None
    std: float | None
    n: int


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of paired ratios and its confidence interval, from `n` pairs."""

    estimate: float
    low: float
    high: float
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Summary of `values` [n]; NaN means not measured and is not counted."""
    finite = np.array([value for value in values if math.isfinite(value)])
    mean = float(finite.mean()) if len(finite) else None
    std = float(finite.std(ddof=1)) if len(finite) > 1 else None
    return Summary(mean, std, len(finite))


def paired_ratio(
    values: Sequence[float],
    reference: Sequence[float],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Ratio | None:
    """Geometric mean of values / reference, paired by position [n], with a BCa bootstrap interval.

    Pairs with a value that was not measured (NaN) are left out; fewer than two pairs give None.
    Source of the interval: Efron (1987), as in `scipy.stats.bootstrap`.
    """
    pairs = [(v, r) for v, r in zip(values, reference, strict=True) if math.isfinite(v) and math.isfinite(r)]
    if len(pairs) < 2:
        return None
    logs = np.log([value / base for value, base in pairs])
    mean = float(logs.mean())
    if np.ptp(logs) == 0:  # the bootstrap has nothing to resample
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), len(pairs))
    interval = stats.bootstrap(
        (logs,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Ratio(math.exp(mean), math.exp(interval.low), math.exp(interval.high), len(pairs))


def noise_floor(twin: Ratio) -> float:
    """The largest log-ratio that two measurements of one model still make plausible (A/A control)."""
    return max(abs(math.log(twin.low)), abs(math.log(twin.high)))


def verdict_on_ratio(ratio: Ratio, twin: Ratio, claimed: Literal["lower", "higher"]) -> str:
    """Does the ratio differ from 1 as claimed, by more than the A/A control differs from itself?

    Confirmed or refuted when the interval excludes 1 and the estimate passes the noise floor;
    inconclusive otherwise.
    """
    certain = ratio.high < 1 or ratio.low > 1
    if not certain or abs(math.log(ratio.estimate)) <= noise_floor(twin):
        return INCONCLUSIVE
    found = "lower" if ratio.estimate < 1 else "higher"
    return CONFIRMED if found == claimed else REFUTED


def weakest(verdicts: Sequence[str]) -> str:
    """The verdict of a claim that holds only if all its parts hold."""
    for verdict in (REFUTED, NOT_TESTABLE, INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return CONFIRMED
