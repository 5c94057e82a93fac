"""Measure the memory of a deployed policy, each time in a fresh process (`python -m` of this module).

The process reads the stored policy and its own resident memory, deploys the policy in its runtime, acts for a
while, and reads its memory again; the result is the difference. Compression happens in the process, as in the
libraries that are measured: memory that they leave allocated is part of their cost.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from sustainable.core.errors import UserError

CALLS = 1000  # calls of the policy before the second reading: runtimes allocate buffers when they first act


def read_memory(request: Mapping[str, Any]) -> dict[str, int]:
    """Measure once in a fresh process; all values are in bytes.

    `request` has `policy`, `prepared` and `cache` (paths as text), `variant` (its fields) and `runtime`.
    Raises `UserError` if the process fails.
    """
    stages = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps(dict(request))],
        env=os.environ | {"PYTHONPATH": str(stages)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"memory of {request['variant']['method']} on {request['runtime']}: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_memory(request: Mapping[str, Any]) -> dict[str, int]:
    """Measure once in this process; see `read_memory`."""
    # Imported here: the parent process starts this module for each reading and needs none of them.
    import numpy as np
    import torch

    from sustainable.policies.compression.accounting import memory_bytes
    from sustainable.policies.compression.static_int8 import load_prepared
    from sustainable.policies.compression.runtimes import deploy_actor
    from sustainable.policies.compression.variants import Variant
    from sustainable.policies.policy import load_policy

    torch.set_num_threads(1)
    policy = load_policy(Path(request["policy"]))
    prepared = load_prepared(Path(request["prepared"]))
    states = np.random.default_rng(0).standard_normal((CALLS, policy.actor.architecture.observations))
    gc.collect()
    before = psutil.Process().memory_info().rss
    deployed = deploy_actor(
        policy.actor, Variant(**request["variant"]), request["runtime"], prepared, Path(request["cache"])
    )
    for state in states:
        deployed.act(state)
    gc.collect()
    after = psutil.Process().memory_info().rss
    return {
        "rss_before_bytes": before,
        "rss_after_bytes": after,
        "policy_rss_bytes": after - before,
        "process_rss_bytes": after,
        "weights_bytes_disk": deployed.size_bytes,
        "weights_bytes_memory": memory_bytes(deployed.module),
    }


if __name__ == "__main__":
    print(json.dumps(measure_memory(json.loads(sys.argv[1]))))
