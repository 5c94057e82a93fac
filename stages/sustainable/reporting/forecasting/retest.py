"""Would a second timing rank the candidates as the first did? If not, no proxy can agree with either."""

import numpy as np
import pandas as pd
from scipy import stats

RETESTS = 1000
"""Simulated pairs of timings."""
ERROR_PER_RANGE = 0.67 / 1.693
"""Standard error of the median of three normal values, as a share of their expected range.

It is the one by which the search judges ties. With more rounds it is too large: more cells cannot tell.
"""


def retest_correlation(candidates: pd.DataFrame, size: int, seed: int = 0) -> float | None:
    """Return the expected rank correlation of two timings of the same candidates, at one batch size.

    It is the test-retest reliability of classical test theory (Lord and Novick, Statistical Theories of
    Mental Test Scores, 1968), on ranks because proxies are judged by ranks. Both timings are simulated:
    normal noise with the measured standard error is added to the logarithm of each CPU time. The measured
    times hold noise too, so the result r is too large by about (1 - r)^2. Returns None if the table does not
    say how noisy its times are.
    """
    noise = relative_error(candidates, size)
    if noise is None or noise.isna().any():
        return None
    times = np.log(candidates[f"cpu_time_ms_batch_{size}"].to_numpy())
    draws = np.random.default_rng(seed).standard_normal((2, RETESTS, len(times)))
    first, second = stats.rankdata(times + draws * noise.to_numpy(), axis=-1) - (len(times) + 1) / 2
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    if not spread.all():
        return 0.0  # equal times without noise rank nothing
    return float(((first * second).sum(axis=1) / spread).mean())


def relative_error(candidates: pd.DataFrame, size: int) -> pd.Series | None:
    """Return the standard error of each CPU time as a share of it; None if the table has no column for it.

    Older tables have the range over the rounds instead.
    """
    error, spread = f"cpu_time_se_batch_{size}", f"cpu_time_range_batch_{size}"
    if error in candidates:
        return candidates[error] / candidates[f"cpu_time_ms_batch_{size}"]
    return ERROR_PER_RANGE * candidates[spread] if spread in candidates else None
