"""What this core can do at most: operations and bytes a second, measured where the models are measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

MATRIX = 1024
TRIAD_ELEMENTS = 2**25
MEASURED_S = 1.0


@dataclass(frozen=True)
class Roofline:
    """Ceilings of one thread in fp32 (Williams et al. 2009): `flops_per_s` of a large matrix product, and
    `bytes_per_s` between processor and memory of a + s * b, larger than any cache."""

    flops_per_s: float
    bytes_per_s: float


def measure_roofline() -> Roofline:
    """Measure both ceilings, with the threads that torch has; takes some seconds and 400 MB."""
    one, other = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    product = torch.empty(MATRIX, MATRIX)
    product_s = _best_s(lambda: torch.mm(one, other, out=product))
    a, b, c = (torch.rand(TRIAD_ELEMENTS) for _ in range(3))
    triad_s = _best_s(lambda: torch.add(a, b, alpha=3.0, out=c))
    moved = 3 * TRIAD_ELEMENTS * a.element_size()
    return Roofline(2 * MATRIX**3 / product_s, moved / triad_s)


def _best_s(run: Callable[[], object]) -> float:
    """The shortest of many runs: a ceiling is what was reached once."""
    end, best = time.perf_counter() + MEASURED_S, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
