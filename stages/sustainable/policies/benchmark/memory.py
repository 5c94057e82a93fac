"""How much memory a deployed policy takes: one fresh process a reading, as `python -m` of this module.

The process reads the stored policy, notes its resident memory, deploys it in its runtime, acts for a while,
and notes it again. The first reading is subtracted; compressing happens in the process, as it does in the
libraries that are measured, and what they leave behind is part of their cost.
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

CALLS = 1000


def read_memory(asked: Mapping[str, Any]) -> dict[str, int]:
    """One reading in a fresh process. `asked`: `policy`, `prepared`, `cache` (paths as text), `variant` (its
    fields) and `runtime`. Raises `UserError` when the process fails."""
    stages = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps(dict(asked))],
        env=os.environ | {"PYTHONPATH": str(stages)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"memory of {asked['variant']['method']} on {asked['runtime']}: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_here(asked: Mapping[str, Any]) -> dict[str, int]:
    """The reading itself, in this process."""
    import numpy as np
    import torch

    from sustainable.policies.compression.accounting import memory_bytes
    from sustainable.policies.compression.static_int8 import load_prepared
    from sustainable.policies.compression.runtimes import deploy_actor
    from sustainable.policies.compression.variants import Variant
    from sustainable.policies.policy import load_policy

    torch.set_num_threads(1)
    policy = load_policy(Path(asked["policy"]))
    prepared = load_prepared(Path(asked["prepared"]))
    states = np.random.default_rng(0).standard_normal((CALLS, policy.actor.architecture.observations))
    gc.collect()
    before = psutil.Process().memory_info().rss
    deployed = deploy_actor(
        policy.actor, Variant(**asked["variant"]), asked["runtime"], prepared, Path(asked["cache"])
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
    print(json.dumps(measure_here(json.loads(sys.argv[1]))))
