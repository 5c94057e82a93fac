"""The measurements of study B: windows of acting policies, a dose-response, and memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sustainable.core.errors import UserError
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parallel import in_parallel
from sustainable.energy.meter import Meter
from sustainable.measuring.clock import ClockMeter
from sustainable.measuring.process import on_all_cores
from sustainable.policies.benchmark.deployments import (
    PolicyConfiguration,
    PolicyBenchmarkParameters,
    PolicyFolders,
)
from sustainable.policies.benchmark.episodes import LabelledPolicy, EpisodesParameters, measure_episodes
from sustainable.policies.benchmark.memory import read_memory
from sustainable.policies.environments.faults import Record, caught
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.rollout import Environment
from sustainable.policies.learning.recipes import TrainingRun

SHORTEST_POLICY_WINDOW_S = 0.4
"""CPU time is read from a clock of nanoseconds; a modelled energy counts it in ticks of 10 ms, which is 2.5 %
of the shortest window."""
Group = tuple[str, str]
"""An environment and an algorithm."""


def refuse_short_policy_windows(window_s: float, profile: str) -> None:
    """Raise `UserError` for windows below the shortest, which only a smoke run may have."""
    if profile != "smoke" and window_s < SHORTEST_POLICY_WINDOW_S:
        raise UserError(
            f"params.yaml: benchmark_policies.windows.window_s: {window_s} s is too short for evidence; "
            f"at least {SHORTEST_POLICY_WINDOW_S} is needed outside a smoke run"
        )


class Bench:
    """Measures study B. Each measurement keeps a journal, so that a killed or failed run can continue."""

    def __init__(
        self, cells: Sequence[TrainingRun], sources: PolicyFolders, journals: Path, identity: Sequence[Any]
    ) -> None:
        self.cells, self.sources, self.folder, self.identity = cells, sources, journals, list(identity)
        self.journals: list[RowJournal] = []

    def measure(
        self, parameters: PolicyBenchmarkParameters, make_meter: Callable[[], Meter]
    ) -> dict[str, Record]:
        """Measure everything; return a record, or a fault, per environment and algorithm (`environment
        algorithm`), for the dose-response (`doses`) and for the memory (`memory`)."""
        groups = [(name, algorithm) for algorithm, names in parameters.cells.items() for name in names]
        for group in groups:
            self.cells_of(group)  # here, so that a wrong name is an error before anything is measured
        configurations, windows = parameters.configurations, parameters.windows
        records = {
            " ".join(group): caught(self.measure_cell, group, configurations, windows, make_meter)
            for group in groups
        }
        records["doses"] = caught(self.measure_doses, parameters)
        with on_all_cores():
            records["memory"] = caught(self.measure_memory, parameters)
        return records

    def measure_cell(
        self,
        group: Group,
        configurations: Mapping[str, PolicyConfiguration],
        windows: EpisodesParameters,
        make_meter: Callable[[], Meter],
    ) -> Record:
        """Measure all configurations and seeds of one environment and algorithm."""
        cells = self.cells_of(group)
        environment = make_environment(group[0], **cells[0].recipe.options)
        replicas = self.replicas(cells, configurations, environment)
        journal = self.journal("-".join(group), [asdict(windows), cells[0].recipe.options], replicas)
        print(f"measuring {' '.join(group)}", flush=True)
        frozen = measure_episodes({group[0]: environment}, replicas, windows, make_meter, journal)
        named = dict(zip(("environment", "algorithm"), group, strict=True))
        return {"frozen": frozen, "rows": [without_place(named | row) for row in journal.rows[1:]]}

    def measure_doses(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Time windows of one environment at every dose of extra cost; they are not metered."""
        workload = parameters.workload
        group = (workload.environment, workload.algorithm)
        cells = self.cells_of(group)
        options = cells[0].recipe.options
        environments = {
            f"{dose:g}": make_environment(workload.environment, **options, cost_us=dose)
            for dose in workload.doses_us
        }
        configurations = {name: parameters.configurations[name] for name in workload.configurations}
        replicas = self.replicas(cells, configurations, next(iter(environments.values())))
        windows = replace(parameters.windows, window_s=workload.window_s, timed_steps=workload.timed_steps)
        journal = self.journal("doses", [asdict(windows), options, workload.doses_us], replicas)
        print(f"measuring {' '.join(group)} at {len(environments)} doses", flush=True)
        frozen = measure_episodes(environments, replicas, windows, ClockMeter, journal)
        named = dict(zip(("environment", "algorithm"), group, strict=True))
        rows = [{"dose_us": row["place"] or None} | without_place(named | row) for row in journal.rows[1:]]
        return {"frozen": frozen, "rows": rows}

    def measure_memory(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Read the memory of every configuration of one policy, each in fresh processes, in random order."""
        memory = parameters.memory
        cell = self.cells_of((memory.environment, memory.algorithm))[0]
        pairs = list(product(range(memory.repeats), memory.configurations))
        order = np.random.default_rng(parameters.windows.seed).permutation(len(pairs))
        readings = list(
            in_parallel(
                read_memory,
                [
                    (self.sources.memory_request(cell, parameters.configurations[pairs[index][1]]),)
                    for index in order
                ],
                "memory",
            )
        )
        rows = [
            {
                "environment": cell.environment,
                "algorithm": cell.algorithm,
                "training_seed": cell.seed,
                "configuration": pairs[index][1],
                **asdict(parameters.configurations[pairs[index][1]]),
                "repeat": pairs[index][0],
                **reading,
            }
            for index, reading in sorted(zip(order, readings, strict=True))
        ]
        return {"rows": rows}

    def cells_of(self, group: Group) -> list[TrainingRun]:
        """Return the trained seeds of an environment and algorithm; raises `UserError` if there are none."""
        cells = [cell for cell in self.cells if (cell.environment, cell.algorithm) == group]
        if not cells:
            raise UserError(
                f"params.yaml: benchmark_policies: {' '.join(group)} is not among train_policies.cells; "
                "train it or do not measure it"
            )
        return cells

    def replicas(
        self,
        cells: Sequence[TrainingRun],
        configurations: Mapping[str, PolicyConfiguration],
        environment: Environment,
    ) -> dict[int, dict[str, LabelledPolicy]]:
        return {cell.seed: self.sources.deploy(cell, configurations, environment) for cell in cells}

    def journal(
        self, name: str, settings: Sequence[Any], replicas: Mapping[int, Mapping[str, LabelledPolicy]]
    ) -> RowJournal:
        labels = [dict(acting.labels) for models in replicas.values() for acting in models.values()]
        names = [list(models) for models in replicas.values()]
        identity = fingerprint([self.identity, list(settings), labels, names])
        self.journals.append(RowJournal(self.folder / f"{name}.jsonl", identity))
        return self.journals[-1]

    def discard(self) -> None:
        """Remove the journals, once all rows are in their final place."""
        for journal in self.journals:
            journal.discard()


def without_place(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row without the key that tells environments apart in the design."""
    return {name: value for name, value in row.items() if name != "place"}
