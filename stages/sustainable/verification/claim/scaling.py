"""How long the pipeline takes on several machines: an estimate from what its stages took on one.

DVC runs one stage after another. Of a stage that runs cells (`core.cells`), the cells are spread over all
cores of all nodes, longest first. The designs of `benchmark_policies` take one node each. Every other stage
runs on one node and takes as long as there.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sustainable.verification.claim import forecast
from sustainable.verification.claim.workload import CELLS, TRAINING_STEPS_PER_S, WORK, Params, Phases
from sustainable.verification.claim.workload import compression_s, design_s, policy_designs


@dataclass(frozen=True)
class Cluster:
    """Equal machines."""

    nodes: int
    cores: int  # of each node


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes; costs of pieces that follow each other add up."""

    wall_s: float
    core_s: float  # seconds of all cores that are at work or reserved

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall_s + other.wall_s, self.core_s + other.core_s)


@dataclass(frozen=True)
class Matrix:
    """Every algorithm in every environment with every seed, and every compression of each policy."""

    algorithms: Sequence[str]
    environments: Sequence[str]
    seeds: int
    compressions: int


def makespan_s(cells: Iterable[float], cores: int) -> float:
    """Return when the last of `cells` ends, in seconds, if the longest start first on `cores` cores."""
    free = [0.0] * cores
    for seconds in sorted(cells, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def stage_costs(stages: Sequence[str], reference: Path, params: Params, cluster: Cluster) -> dict[str, Cost]:
    """Return the cost of each stage on a cluster of nodes as fast as the shipped run's host."""
    efforts = forecast.forecast_efforts(stages, reference, params, 1.0, cluster.cores)
    return {effort.stage: stage_cost(effort, params, cluster) for effort in efforts}


def stage_cost(effort: forecast.Effort, params: Params, cluster: Cluster) -> Cost:
    """Return the cost on a cluster of a stage that takes `effort` on one of its nodes."""
    name, _, part = effort.stage.partition("@")
    if name == "benchmark_policies":
        return _designs_cost(effort.wall_s, policy_designs(params, cluster.cores), cluster)
    if name not in CELLS:
        return Cost(effort.wall_s, effort.wall_s * cluster.cores)
    phases = CELLS[name](params, part)
    on_one_node = _cells_cost(phases, 1.0, Cluster(1, cluster.cores))
    scale = (effort.wall_s - forecast.DVC_S) / on_one_node.wall_s
    return _cells_cost(phases, scale, cluster) + Cost(forecast.DVC_S, forecast.DVC_S)


def matrix_costs(
    matrix: Matrix, params: Params, scales: dict[str, float], cluster: Cluster
) -> dict[str, Cost]:
    """Return the cost of training, compressing and measuring the whole matrix.

    `scales`: seconds that a stage took in the shipped run per second that `workload` expects of it.
    Measuring takes whole nodes: one design per environment and algorithm, each on one node from start to end.
    """
    training = [[seconds for seconds in training_seconds(matrix, params) for _ in range(matrix.seeds)]]
    each_s = compression_s(params["compress_policies"], matrix.compressions)
    policies = len(matrix.algorithms) * len(matrix.environments) * matrix.seeds
    windows = params["benchmark_policies"]["windows"]
    design = design_s(windows, matrix.compressions + 1, windows["window_s"])
    designs = [design] * (len(matrix.algorithms) * len(matrix.environments))
    measured_s = scales["benchmark_policies"] * makespan_s(designs, cluster.nodes)
    measuring_core_s = scales["benchmark_policies"] * sum(designs) * cluster.cores
    return {
        "train_policies": _cells_cost(training, scales["train_policies"], cluster),
        "compress_policies": _cells_cost([[each_s] * policies], scales["compress_policies"], cluster),
        "benchmark_policies": Cost(measured_s, measuring_core_s),
    }


def training_seconds(matrix: Matrix, params: Params) -> list[float]:
    """Return the seconds of a training for each pair; one without a recipe takes its algorithm's longest."""
    recipes = params["train_policies"]["recipes"]
    seconds = []
    for algorithm in matrix.algorithms:
        steps = {name: own[algorithm]["steps"] for name, own in recipes.items() if algorithm in own}
        longest = max(steps.values())
        speed = TRAINING_STEPS_PER_S[algorithm]
        seconds += [steps.get(environment, longest) / speed for environment in matrix.environments]
    return seconds


def shipped_scales(reference: Path, stages: Iterable[str]) -> dict[str, float]:
    """Return measured over expected seconds of `stages` (without parts) in the shipped run."""
    before, cores = forecast.shipped_parameters(reference), forecast.shipped_cores(reference)
    shipped = forecast.shipped_efforts(reference)
    return {stage: shipped[stage].wall_s / WORK[stage](before, "", cores) for stage in stages}


def _designs_cost(wall_s: float, designs: Sequence[float], cluster: Cluster) -> Cost:
    """Return the cost of designs that together take `wall_s` on one node, each on a node of its own."""
    scale = (wall_s - forecast.DVC_S) / sum(designs)
    seconds = scale * makespan_s(designs, cluster.nodes) + forecast.DVC_S
    return Cost(seconds, wall_s * cluster.cores)


def _cells_cost(phases: Phases, scale: float, cluster: Cluster) -> Cost:
    cores = cluster.nodes * cluster.cores
    wall_s = sum(makespan_s(cells, cores) for cells in phases)
    return Cost(scale * wall_s, scale * sum(map(sum, phases)))
