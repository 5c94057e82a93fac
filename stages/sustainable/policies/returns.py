"""Returns and costs of policies: pure functions of numbers, with an explicit seed where needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sustainable.statistics import RESAMPLES, Estimate, share_interval

SURVIVES = 0.9
"""A compressed policy survives with this share of its own uncompressed return, as the second source says."""


def interquartile_mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of `values` [n] without the lowest and the highest quarter (25 % trimmed, each end)."""
    return float(stats.trim_mean(np.asarray(values, dtype=float), 0.25))


def stratified_iqm(
    groups: Sequence[Sequence[float]],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Interquartile mean over all episodes of `groups` (returns of one training seed each) and its
    percentile bootstrap interval: seeds are drawn, then episodes within each (after Agarwal et al. 2021,
    "Deep Reinforcement Learning at the Edge of the Statistical Precipice").

    `n` of the estimate counts the seeds. Few seeds make the interval too narrow: with one, it holds its
    episodes' spread alone. Raises `ValueError` for no group or an empty one.
    """
    arrays = [np.asarray(group, dtype=float) for group in groups]
    if not arrays or not all(len(array) for array in arrays):
        raise ValueError("every training seed needs at least one return")
    estimate = interquartile_mean(np.concatenate(arrays))
    found = _resampled_iqms(arrays, resamples, np.random.default_rng(seed))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return Estimate(estimate, float(low), float(high), len(arrays))


def _resampled_iqms(
    arrays: Sequence[np.ndarray], resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Interquartile means of `resamples` samples: as many groups, drawn with replacement, and of each as
    many values as it has. All at once: shorter groups are filled up with NaN, which sorts to the end."""
    counts = np.array([len(array) for array in arrays])
    longest = int(counts.max())
    table = np.full((len(arrays), longest), np.nan)
    for row, array in zip(table, arrays, strict=True):
        row[: len(array)] = array
    drawn = generator.integers(len(arrays), size=(resamples, len(arrays)))
    lengths = counts[drawn]
    places = (generator.random((*drawn.shape, longest)) * lengths[..., np.newaxis]).astype(int)
    values = table[drawn[..., np.newaxis], places]
    values[np.arange(longest) >= lengths[..., np.newaxis]] = np.nan
    pooled = np.sort(values.reshape(resamples, -1), axis=1)
    totals, place = lengths.sum(axis=1)[:, np.newaxis], np.arange(pooled.shape[1])
    cuts = totals // 4  # as trim_mean counts
    kept = (place >= cuts) & (place < totals - cuts)
    return np.asarray(np.where(kept, pooled, 0.0).sum(axis=1) / kept.sum(axis=1))


def normalised_return(value: float, baseline: float, random: float) -> float:
    """How much of what `baseline` has learned is left: 1 is the baseline, 0 a policy that acts at random.

    A share of the return itself means nothing where returns are negative (-180 would be "120 %" of
    -150), so both are counted from the random policy's return. NaN where the baseline is no better than
    random: it has learned nothing that could be kept.
    """
    return (value - random) / (baseline - random) if baseline > random else math.nan


def survival(normalised: Sequence[float], bar: float = SURVIVES, confidence: float = 0.95) -> Estimate | None:
    """Share of models whose normalised return [n] is at least `bar`, with Wilson's interval; models
    without one (NaN) are left out, and None means that none is left."""
    finite = [value for value in normalised if math.isfinite(value)]
    if not finite:
        return None
    kept = sum(value >= bar for value in finite)
    return Estimate(kept / len(finite), *share_interval(kept, len(finite), confidence), len(finite))


@dataclass(frozen=True)
class LogSplit:
    """Parts of `total`, the logarithm of a ratio of costs of an episode, in nats; they add up to it.

    `length`: from the number of steps. `step`: from the cost of a step, which is the sum of `parts`.
    """

    total: float
    length: float
    step: float
    parts: Mapping[str, float]


def split_log_ratio(
    steps: float, parts: Mapping[str, float], reference_steps: float, reference_parts: Mapping[str, float]
) -> LogSplit:
    """Split ln(episode's cost / reference episode's cost) exactly.

    ln E_episode = ln steps + ln E_step, where E_step is the sum of `parts`. The latter's difference is
    given to the parts by the logarithmic mean L: ln(y / r) = sum of (y_i - r_i) / L(y, r) (LMDI, Ang
    2004), which leaves no rest and allows a part that is zero or negative.
    """
    own, reference = sum(parts.values()), sum(reference_parts.values())
    mean = logarithmic_mean(own, reference)
    shares = {name: (parts[name] - reference_parts[name]) / mean for name in reference_parts}
    length, step = math.log(steps / reference_steps), math.log(own / reference)
    return LogSplit(length + step, length, step, shares)


def logarithmic_mean(one: float, other: float) -> float:
    """(a - b) / (ln a - ln b) of two positive numbers; `one` where they are equal."""
    difference = math.log(one) - math.log(other)
    if abs(difference) < 1e-9:  # the quotient is lost to rounding; the limit is the mean
        return (one + other) / 2
    return (one - other) / difference


def amdahl(share: float, speed_up: float) -> float:
    """Amdahl's law (1967): the ratio of the total cost to what it was, when the `share` of it that can be
    made faster becomes `speed_up` times cheaper (below 1: dearer)."""
    if not 0 <= share <= 1 or speed_up <= 0:
        raise ValueError("the share lies in 0..1, the speed-up above 0")
    return (1 - share) + share / speed_up
