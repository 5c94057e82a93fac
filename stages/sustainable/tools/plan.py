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
from sustainable.verification.claim.workload import CELLS, Params
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
    if arguments.cores is not None and not 1 <= arguments.cores <= 1024:
        raise UserError(f"--cores {arguments.cores}: a node has 1 to 1024 cores")
    if arguments.price is not None and not 0 <= arguments.price < float("inf"):
        raise UserError(f"--price {arguments.price}: the price of a node-hour is a number from 0 on")
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


def print_basis(reference: Path, cores: int) -> None:
    shipped = forecast.shipped_efforts(reference)
    minutes = sum(effort.wall_s for effort in shipped.values()) / 60
    print("Estimates. Their basis:")
    print(f"  {reference.relative_to(ROOT) / forecast.EFFORT}: the shipped run's {len(shipped)} stages took")
    print(
        f"    {minutes:.0f} minutes on one host of {forecast.shipped_cores(reference)} cores. Nodes are as fast."
    )
    print(
        "  workload.py: how much more work a profile asks for. Of SAC, TD3 and DDPG the shipped run trained"
    )
    print("    none: their steps per second are assumed.")
    print(f"  {cores} cores per node. Stages run one after another. The cells of {', '.join(CELLS)}")
    print("    spread over all cores, longest first; every other stage runs on one node.")
    print("  Core-hours count cores at work, or reserved by a stage that runs alone on its node; node-hours")
    print("    count all nodes from start to end. Transfers and Ray's start are left out.")


def print_table(
    title: str, clusters: list[Cluster], columns: list[dict[str, Cost]], price: float | None
) -> None:
    """Print minutes per stage, and the sums, one column per cluster."""
    head = [f"{cluster.nodes} node{'s' if cluster.nodes > 1 else ''}" for cluster in clusters]
    print_row(f"\n{title}, estimated minutes", head)
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
    title = "Full matrix ({} algorithms x {} environments x {} seeds x {})".format(*sizes)
    print(f"\n{title}: training as PROFILE=full; a pair without a recipe takes")
    print(
        "  its algorithm's longest (value-based algorithms cannot act in CartPole: an upper bound). Measuring"
    )
    print("  takes whole nodes, one per pair of algorithm and environment.")
    print_table("Full matrix", clusters, columns, price)


if __name__ == "__main__":
    exit_on_error(main)
