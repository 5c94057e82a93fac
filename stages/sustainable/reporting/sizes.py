"""Does a ratio have the size that a source claims? The rule of A2, A3, A6 and A8, and a ratio of means."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from sustainable.reporting.judging import verdict_if
from sustainable.statistics import INCONCLUSIVE, Estimate, Ratio, noise_floor


def verdict_on_effect(ratio: Estimate | None, twin: Ratio | None, claimed: float, share: float) -> str:
    """Judge whether the ratio has the `claimed` size, up to a `share` of the claimed effect.

    Effects are logarithms of ratios. The interval of the measured effect is widened by the noise floor of the
    A/A control (`twin`; None if the outcome is counted and has no control). The claim is confirmed if the
    interval lies wholly within (1 - share) and (1 + share) times the claimed effect, refuted if it lies
    wholly outside, and inconclusive otherwise or without an interval. This is a test of equivalence, so that
    wide intervals never confirm and a narrow interval is not refuted by a small error.
    """
    if ratio is None:
        return INCONCLUSIVE
    floor, effect = 0.0 if twin is None else noise_floor(twin), math.log(claimed)
    low, high = _log(ratio.low) - floor, _log(ratio.high) + floor
    least, most = sorted(((1 - share) * effect, (1 + share) * effect))
    return verdict_if(least <= low and high <= most, high < least or low > most)


def _log(value: float) -> float:
    """Return the logarithm; that of 0 and less, where an interval of means may end, is minus infinity."""
    return math.log(value) if value > 0 else -math.inf


def ratio_of_means(
    values: Sequence[float], reference: Sequence[float], confidence: float = 0.95
) -> Estimate | None:
    """Return mean(values) / mean(reference) of two independent samples, with Fieller's interval.

    Fieller, Journal of the Royal Statistical Society B 16 (1954) 175. Variances may differ: the quantile is
    Student's with Satterthwaite's degrees of freedom at the estimated ratio. Logarithms would not do, because
    a value may be 0. Returns None for fewer than two values in a sample, and if the interval is unbounded
    because the reference's mean may be 0.
    """
    if min(len(values), len(reference)) < 2 or not np.any(reference):
        return None
    (mean, error), (base, base_error) = ((np.mean(one), stats.sem(one) ** 2) for one in (values, reference))
    ratio, n = float(mean / base), len(values) + len(reference)
    if error + base_error == 0:
        return Estimate(ratio, ratio, ratio, n)
    parts = np.array([error, ratio**2 * base_error])
    freedom = parts.sum() ** 2 / (parts**2 / [len(values) - 1, len(reference) - 1]).sum()
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    left = base**2 - quantile**2 * base_error
    if left <= 0:
        return None
    half = quantile * math.sqrt(error * left + mean**2 * base_error)
    return Estimate(ratio, float(mean * base - half) / left, float(mean * base + half) / left, n)
