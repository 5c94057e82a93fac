"""Statistics of policies' returns and costs: pure functions, with an explicit seed where they sample."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from sustainable.statistics import RESAMPLES, Estimate, share_interval

SURVIVES = 0.9
"""A compressed policy survives if it keeps this share of its uncompressed return (the second source)."""


def interquartile_mean(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean of `values` [n] without the lowest and the highest quarter."""
    return float(stats.trim_mean(np.asarray(values, dtype=float), 0.25))


def stratified_iqm(
    groups: Sequence[Sequence[float]], confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Estimate the interquartile mean over all episodes, with a percentile bootstrap interval.

    Each group [episodes] holds the returns of one training seed. The bootstrap draws seeds, then episodes
    of each seed (after Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice"). `n` of the estimate is the number of seeds. With few seeds the interval is too narrow: with
    one it covers only the spread of that seed's episodes. Raises `ValueError` if a group is empty or there
    is none.
    """
    arrays = [np.asarray(group, dtype=float) for group in groups]
    if not arrays or not all(len(array) for array in arrays):
        raise ValueError("every training seed needs at least one return")
    estimate = interquartile_mean(np.concatenate(arrays))
    means = _resampled_iqms(arrays, resamples, np.random.default_rng(seed))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(estimate, float(low), float(high), len(arrays))


def _resampled_iqms(
    arrays: Sequence[np.ndarray], resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Return the interquartile means [resamples] of bootstrap samples of groups and of their values.

    All samples are computed in one array. Shorter groups are padded with NaN, which sorts to the end.
    """
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
    cuts = totals // 4  # scipy.stats.trim_mean rounds down as well
    kept = (place >= cuts) & (place < totals - cuts)
    return np.asarray(np.where(kept, pooled, 0.0).sum(axis=1) / kept.sum(axis=1))


def normalised_return(value: float, baseline: float, random: float) -> float:
    """Rescale a return so that 1 is the baseline and 0 a random policy.

    A share of the return itself has no meaning if returns are negative (-180 would be "120 %" of -150), so
    both are measured from the random policy's return. NaN if the baseline is not better than random.
    """
    return (value - random) / (baseline - random) if baseline > random else math.nan


def share_of(hits: int, n: int, confidence: float = 0.95) -> Estimate | None:
    """Estimate a share with Wilson's interval, which assumes independence; None if `n` is 0."""
    return Estimate(hits / n, *share_interval(hits, n, confidence), n) if n else None


def survival(normalised: Sequence[float], bar: float = SURVIVES, confidence: float = 0.95) -> Estimate | None:
    """Estimate the share of normalised returns [n] that reach `bar`, with Wilson's interval.

    NaN values are left out. None if no value remains.
    """
    finite = [value for value in normalised if math.isfinite(value)]
    return share_of(sum(value >= bar for value in finite), len(finite), confidence)


def split_log_ratio(
    episodes: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Split ln(cost of an episode / cost of its reference episode) exactly into contributions [n], in nats.

    Both map `steps` to the number of steps, and the parts of a step to their costs, all [n]. ln E_episode =
    ln steps + ln E_step, where E_step is the sum of the parts: `total` = `length` + `step`. The change of
    ln E_step is distributed over the parts with the logarithmic mean L: ln(y / r) = sum of (y_i - r_i) /
    L(y, r) (LMDI, Ang 2004). This leaves no residual and allows parts that are zero or negative. Raises
    `FloatingPointError` if a number of steps or the cost of a step is not positive.
    """
    parts = [name for name in references if name != "steps"]
    with np.errstate(divide="raise", invalid="raise"):
        cost, base = (np.sum([costs[name] for name in parts], axis=0) for costs in (episodes, references))
        mean = logarithmic_mean(cost, base)
        shares = {name: (episodes[name] - references[name]) / mean for name in parts}
        length, step = np.log(episodes["steps"] / references["steps"]), np.log(cost / base)
    return {"total": length + step, "length": length, "step": step, **shares}


def logarithmic_mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (a - b) / (ln a - ln b) of positive numbers [n]; their common value where they are equal."""
    difference = np.log(first) - np.log(second)
    equal = np.abs(difference) < 1e-9  # rounding would dominate the quotient; its limit is the mean
    quotient = (first - second) / np.where(equal, 1.0, difference)
    return np.asarray(np.where(equal, (first + second) / 2, quotient))


def amdahl(share: float, speed_up: float) -> float:
    """Return the ratio of new to old total cost if a `share` of it becomes `speed_up` times cheaper.

    A speed-up below 1 makes that share more expensive. Source: Amdahl's law (1967).
    """
    if not 0 <= share <= 1 or speed_up <= 0:
        raise ValueError("the share lies in 0..1, the speed-up above 0")
    return (1 - share) + share / speed_up
