"""How long the whole pipeline would take on 1, 10 and 100 nodes, and what it would cost.

All figures are estimates: what each stage took in the shipped run, scaled by what a profile asks for and by
the number of nodes. The basis of each is printed. Nothing is run.
"""

import argparse
from pathlib import Path

from sustainable.core.errors import UserError, exit_on_error
from sustainable.tools.doctor import profile_parameters
from sustainable.verification.claim import forecast, scaling
from sustainable.verification.claim.scaling import Cluster, Cost, Matrix
from sustainable.verification.claim.workload import CELLS, TRAINING_STEPS_PER_S, Params
from sustainable.verification.lock import declared_stages, read_yaml
from sustainable.verification.place import REFERENCE, ROOT

NODES = (1, 10, 100)
PROFILES = ("paper", "full")
MATRIX = Matrix(
    algorithms=("PPO", "TRPO", "SAC", "TD3", "DDPG"),
    environments=(
        "CartPole-v1", "Pendulum-v1", "Hopper-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5",
        "HumanoidStandup-v5",
    ),
    seeds=10,
    compressions=31,
)  # fmt: skip
MATRIX_STAGES = ("train_policies", "compress_policies", "benchmark_policies")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--cores", type=int, help="of each node (default: as the shipped run's host)")
    parser.add_argument("--price", type=float, help="of a node for an hour, in any currency")
    arguments = parser.parse_args()
    refuse_impossible(arguments.cores, arguments.price)
    reference = ROOT / REFERENCE
    cores = arguments.cores or forecast.shipped_cores(reference)
    print_basis(reference, cores)
    for profile in PROFILES:
        params = profile_parameters(arguments.params, profile)
        stages = declared_stages(ROOT, read_yaml(ROOT / "dvc.yaml"), params)
        clusters = [Cluster(nodes, cores) for nodes in NODES]
        columns = [scaling.stage_costs(list(stages), reference, params, cluster) for cluster in clusters]
        print_table(f"PROFILE={profile}", clusters, columns, arguments.price)
    print_matrix(reference, profile_parameters(arguments.params, "full"), cores, arguments.price)


def refuse_impossible(cores: int | None, price: float | None) -> None:
    """Raise `UserError` for numbers that no node has."""
    if cores is not None and not 1 <= cores <= 1024:
        raise UserError(f"--cores {cores}: a node has 1 to 1024 cores")
    if price is not None and not 0 <= price < float("inf"):
        raise UserError(f"--price {price}: a node-hour costs a number from 0 on")


def print_basis(reference: Path, cores: int) -> None:
    shipped = forecast.shipped_efforts(reference)
    trained = forecast.shipped_parameters(reference)["train_policies"]["cells"]
    minutes = sum(effort.wall_s for effort in shipped.values()) / 60
    print(
        f"""Estimates. Their basis:
- {reference.relative_to(ROOT) / forecast.EFFORT}: the {len(shipped)} stages of the shipped run took
  {minutes:.0f} minutes on a host of {forecast.shipped_cores(reference)} cores. All nodes are assumed as fast.
- stages/sustainable/verification/claim/workload.py: how much more work a profile asks for. The steps per
  second of {", ".join(sorted(TRAINING_STEPS_PER_S.keys() - trained.keys()))} are assumed there:
  the shipped run did not train with them.
- {cores} cores per node. Stages run one after another. The cells of {", ".join(sorted(CELLS)[:3])},
  {", ".join(sorted(CELLS)[3:])} are spread
  over all cores, longest first; the designs of benchmark_policies take one node each; every other stage runs
  on one node.
- Core-hours count cores at work, or reserved by a stage that is alone on its node. Node-hours count all nodes
  from start to end. Transfers and the start of Ray are left out."""
    )


def print_table(
    title: str, clusters: list[Cluster], columns: list[dict[str, Cost]], price: float | None
) -> None:
    """Print minutes per stage, and the sums, one column per cluster."""
    head = [f"{cluster.nodes} node{'s' if cluster.nodes > 1 else ''}" for cluster in clusters]
    print(f"\n{title}")
    print_row("  estimated minutes", head)
    for stage in columns[0]:
        print_row(f"  {stage}", [f"{column[stage].wall_s / 60:.1f}" for column in columns])
    sums = [sum(column.values(), Cost(0.0, 0.0)) for column in columns]
    node_hours = [cluster.nodes * cost.wall_s / 3600 for cluster, cost in zip(clusters, sums, strict=True)]
    print_row("  together", [f"{cost.wall_s / 60:.0f}" for cost in sums])
    print_row("  core-hours", [f"{cost.core_s / 3600:.1f}" for cost in sums])
    print_row("  node-hours", [f"{hours:.1f}" for hours in node_hours])
    if price is not None:
        print_row(f"  cost at {price:g} per node-hour", [f"{hours * price:.2f}" for hours in node_hours])


def print_row(name: str, values: list[str]) -> None:
    print(f"{name:<36}" + "".join(f"{value:>12}" for value in values))


def print_matrix(reference: Path, params: Params, cores: int, price: float | None) -> None:
    sizes = (len(MATRIX.algorithms), len(MATRIX.environments), MATRIX.seeds, MATRIX.compressions)
    scales = scaling.shipped_scales(reference, MATRIX_STAGES)
    clusters = [Cluster(nodes, cores) for nodes in NODES]
    columns = [scaling.matrix_costs(MATRIX, params, scales, cluster) for cluster in clusters]
    title = "Full matrix: {} algorithms x {} environments x {} seeds x {} compressions".format(*sizes)
    print_table(title, clusters, columns, price)
    print(
        """  Trained and measured as in PROFILE=full. A pair without a recipe takes the longest one of its
  algorithm; SAC, TD3 and DDPG cannot act in CartPole at all, so that this is an upper bound. Measuring is
  assumed to take one whole node for each pair of algorithm and environment."""
    )


if __name__ == "__main__":
    exit_on_error(main)
