"""The speed of this host: CPU seconds of one training step, printed. It is a process of its own because its
determinism pins would slow down the measurements of a process that inherits them."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

import time

import torch
from torch import nn

from sustainable.verification.claim.workload import BATCH_SIZE

CALIBRATION_S = 3.0
DAYS, FEATURES, HIDDEN, LAYERS = 30, 4, 256, 2
"""The network of the published training, whose steps are the unit of speed."""


def seconds_per_step() -> float:
    """Median CPU seconds of an optimisation step, once the time is steady. CPU time depends less than wall
    time on what else runs at this moment."""
    use_deterministic_torch()
    gru, readout = nn.GRU(FEATURES, HIDDEN, LAYERS, batch_first=True, dropout=0.2), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW([*gru.parameters(), *readout.parameters()], fused=True)
    windows, target = torch.rand(BATCH_SIZE, DAYS, FEATURES), torch.ones(BATCH_SIZE, 1)
    times: list[float] = []
    end = time.perf_counter() + CALIBRATION_S
    while time.perf_counter() < end or len(times) < 4:
        start = time.process_time()
        optimizer.zero_grad()
        logits = readout(gru(windows)[0][:, -1])
        nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
        optimizer.step()
        times.append(time.process_time() - start)
    steady = sorted(times[len(times) // 2 :])  # the first steps also load libraries
    return steady[len(steady) // 2]


if __name__ == "__main__":
    print(seconds_per_step())
