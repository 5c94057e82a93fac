"""Train the actors that are shipped as inputs in data/actors: every recipe of SAC and TD3 in params.yaml.

Needs SBX (`pip install sbx-rl`), and an hour or two on two cores. Actors that are there and were trained by
the same recipe are kept.
"""

import argparse
import os
from pathlib import Path

# One core each, before JAX is loaded.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.policies.learning.pinned import is_shipped, write_actor
from sustainable.policies.learning.recipes import PolicyTrainingParameters, TrainingRun, runs_of
from sustainable.verification.place import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "data/actors")
    arguments = parser.parse_args()
    parameters = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    missing = [run for run in runs_of(parameters, ("SAC", "TD3")) if not is_shipped(run, arguments.out)]
    tasks = [(run, parameters.curve_steps, arguments.out) for run in missing]
    for line in in_parallel(_train, tasks, "training actors"):
        print(line, flush=True)


def _train(run: TrainingRun, curve_steps: int, folder: Path) -> str:
    try:
        from sustainable.policies.learning.sbx_actors import train_actor
    except ImportError as error:
        raise UserError(f"training actors needs SBX ({error}): pip install sbx-rl") from None
    policy, origin = train_actor(run, curve_steps)
    write_actor(folder, run, policy, origin)
    return f"{run.name}: mean return of the last episodes {origin['curve'][-1]['episode_return']:.0f}"


if __name__ == "__main__":
    exit_on_error(main)
