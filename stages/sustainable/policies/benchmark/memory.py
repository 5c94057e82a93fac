"""Measure the memory of a saved deployment, each time in a fresh process (`python -m` of this module).

The process loads its libraries and reads its own resident memory, loads the deployment, acts for a while, and
reads its memory again; the result is the difference. It neither compresses nor exports: memory that these
leave allocated is not part of it. torch is loaded under every runtime, as it is in the processes of
Stable-Baselines3's users.
"""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from sustainable.core.errors import UserError

CALLS = 1000  # calls of the policy before the second reading: runtimes allocate buffers when they first act


def read_memory(saved: str, observations: int, name: str) -> dict[str, int]:
    """Measure the deployment in the file `saved` once in a fresh process; all values are in bytes.

    `observations`: numbers that the policy observes. Raises `UserError` with `name` if the process fails.
    """
    stages = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, saved, str(observations)],
        env=os.environ | {"PYTHONPATH": str(stages)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"memory of {name}: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_memory(saved: Path, observations: int) -> dict[str, int]:
    """Measure once in this process; see `read_memory`."""
    # Imported here: the parent process starts this module for each reading and needs none of them.
    import numpy as np
    import torch

    from sustainable.policies.compression.saved import load_saved

    torch.set_num_threads(1)
    states = np.random.default_rng(0).standard_normal((CALLS, observations))
    gc.collect()
    before = psutil.Process().memory_info().rss
    act = load_saved(saved)
    for state in states:
        act(state)
    gc.collect()
    after = psutil.Process().memory_info().rss
    return {"rss_before_bytes": before, "policy_rss_bytes": after - before, "process_rss_bytes": after}


if __name__ == "__main__":
    print(json.dumps(measure_memory(Path(sys.argv[1]), int(sys.argv[2]))))
