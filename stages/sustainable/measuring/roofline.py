"""The roofline of a core: its highest rates of operations and of bytes, measured in the measuring process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

MATRIX = 1024
TRIAD_ELEMENTS = 2**25
MEASURED_S = 1.0


@dataclass(frozen=True)
class Roofline:
    """Ceilings of one thread in fp32 (Williams et al. 2009)."""

    flops_per_s: float  # operations of a large matrix product
    bytes_per_s: float  # traffic between processor and memory of a + s * b, on vectors larger than any cache


def measure_roofline() -> Roofline:
    """Measure both ceilings with the current number of torch threads; takes a few seconds and 400 MB."""
    left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    product = torch.empty(MATRIX, MATRIX)
    product_s = _best_s(lambda: torch.mm(left, right, out=product))
    a, b, c = (torch.rand(TRIAD_ELEMENTS) for _ in range(3))
    triad_s = _best_s(lambda: torch.add(a, b, alpha=3.0, out=c))
    moved = 3 * TRIAD_ELEMENTS * a.element_size()
    return Roofline(2 * MATRIX**3 / product_s, moved / triad_s)


def _best_s(run: Callable[[], object]) -> float:
    """Return the shortest of many runs: a ceiling is the highest rate that was reached once."""
    end, best = time.perf_counter() + MEASURED_S, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
