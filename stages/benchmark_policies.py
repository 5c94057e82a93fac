"""Stage benchmark_policies: policies that act become raw measured rows. Runs without the determinism pins."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sustainable.core.effort import run_stage
from sustainable.core.errors import UserError
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_profile, read_section
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.measuring.clock import ClockMeter
from sustainable.policies.benchmark.episodes import LabelledPolicy, EpisodesParameters, measure_episodes
from sustainable.measuring.host import describe_host
from sustainable.energy.meter import Meter
from sustainable.measuring.process import on_all_cores, settle, start_afresh
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.faults import Record, caught, refuse_faults
from sustainable.policies.benchmark.memory import read_memory
from sustainable.policies.learning.recipes import TrainingRun, PolicyTrainingParameters, plan
from sustainable.policies.environments.rollout import Environment
from sustainable.policies.benchmark.deployments import (
    PolicyConfiguration,
    PolicyBenchmarkParameters,
    PolicyFolders,
)

SHORTEST_WINDOW_S = 0.4
Group = tuple[str, str]


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "benchmark_policies", PolicyBenchmarkParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile = read_profile(arguments.params)
    windows = parameters.windows
    check_window(windows.window_s, profile)
    start_afresh(windows.threads, windows.keep_memory)
    chosen = choose_meter(metering)
    threads = settle(windows.threads)
    sources = PolicyFolders(arguments.policies, arguments.prepared, arguments.exports)
    bench = Bench(plan(training), sources, arguments.journals, [asdict(metering), profile])
    groups = [(name, algorithm) for algorithm, names in parameters.cells.items() for name in names]
    for group in groups:
        bench.cells_of(group)  # here, so that a name that is wrong costs no measuring
    done = {
        " ".join(group): caught(bench.measure_cell, group, parameters.configurations, windows, chosen.make)
        for group in groups
    }
    done["doses"] = caught(bench.measure_doses, parameters)
    with on_all_cores():
        done["memory"] = caught(bench.measure_memory, parameters)
    refuse_faults(done, "measurements")
    common = {"study": "B", "profile": profile}
    measured = [row for name, record in done.items() if " " in name for row in record["rows"]]
    host = describe_host() | threads | {"meter": chosen.name, "meter_reason": chosen.reason}
    frozen = {name: record["frozen"] for name, record in done.items() if "frozen" in record}
    write_json(arguments.conditions, {"host": host, "frozen": frozen})
    write_rows(arguments.workload, [common | row for row in done["doses"]["rows"]])
    write_rows(arguments.memory, [common | row for row in done["memory"]["rows"]])
    write_rows(arguments.rows, [common | row for row in measured])
    bench.discard()


def check_window(window_s: float, profile: str) -> None:
    """Shorter windows are for smoke runs. CPU time is read from a clock of nanoseconds; an energy that is
    modelled counts it in ticks of 10 ms, which is 2.5 % of the shortest."""
    if profile != "smoke" and window_s < SHORTEST_WINDOW_S:
        raise UserError(
            f"params.yaml: benchmark_policies.windows.window_s: {window_s} s is too short for evidence; "
            f"at least {SHORTEST_WINDOW_S} is needed outside a smoke run"
        )


class Bench:
    """The measurements of study B: each keeps a journal, so that a killed or failed run goes on."""

    def __init__(
        self, cells: Sequence[TrainingRun], sources: PolicyFolders, journals: Path, identity: Sequence[Any]
    ) -> None:
        self.cells, self.sources, self.folder, self.identity = cells, sources, journals, list(identity)
        self.journals: list[RowJournal] = []

    def measure_cell(
        self,
        group: Group,
        configurations: Mapping[str, PolicyConfiguration],
        windows: EpisodesParameters,
        make_meter: Callable[[], Meter],
    ) -> Record:
        """Windows of one environment and algorithm, all configurations and seeds."""
        cells = self.cells_of(group)
        environment = make_environment(group[0], **cells[0].recipe.options)
        replicas = self.replicas(cells, configurations, environment)
        journal = self.journal("-".join(group), [asdict(windows), cells[0].recipe.options], replicas)
        print(f"measuring {' '.join(group)}", flush=True)
        frozen = measure_episodes({group[0]: environment}, replicas, windows, make_meter, journal)
        named = dict(zip(("environment", "algorithm"), group, strict=True))
        return {"frozen": frozen, "rows": [without_place(named | row) for row in journal.rows[1:]]}

    def measure_doses(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Windows of one environment at every dose of its cost knob, timed alone."""
        asked = parameters.workload
        group = (asked.environment, asked.algorithm)
        cells = self.cells_of(group)
        options = cells[0].recipe.options
        environments = {
            f"{dose:g}": make_environment(asked.environment, **options, cost_us=dose)
            for dose in asked.doses_us
        }
        configurations = {name: parameters.configurations[name] for name in asked.configurations}
        replicas = self.replicas(cells, configurations, next(iter(environments.values())))
        windows = replace(parameters.windows, window_s=asked.window_s, timed_steps=asked.timed_steps)
        journal = self.journal("doses", [asdict(windows), options, asked.doses_us], replicas)
        print(f"measuring {' '.join(group)} at {len(environments)} doses", flush=True)
        frozen = measure_episodes(environments, replicas, windows, ClockMeter, journal)
        named = dict(zip(("environment", "algorithm"), group, strict=True))
        rows = [{"dose_us": row["place"] or None} | without_place(named | row) for row in journal.rows[1:]]
        return {"frozen": frozen, "rows": rows}

    def measure_memory(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Memory of every configuration of one policy: a fresh process a reading, in random order."""
        asked = parameters.memory
        cell = self.cells_of((asked.environment, asked.algorithm))[0]
        pairs = list(product(range(asked.repeats), asked.configurations))
        order = np.random.default_rng(parameters.windows.seed).permutation(len(pairs))
        found = list(
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
            for index, reading in sorted(zip(order, found, strict=True))
        ]
        return {"rows": rows}

    def cells_of(self, group: Group) -> list[TrainingRun]:
        """The trained seeds of an environment and algorithm; `UserError` when none is trained."""
        found = [cell for cell in self.cells if (cell.environment, cell.algorithm) == group]
        if not found:
            raise UserError(
                f"params.yaml: benchmark_policies: {' '.join(group)} is not among train_policies.cells; "
                "train it or do not measure it"
            )
        return found

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
    """A row without the key by which the design tells environments apart."""
    return {name: value for name, value in row.items() if name != "place"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in (
        "params",
        "policies",
        "prepared",
        "exports",
        "journals",
        "rows",
        "workload",
        "memory",
        "conditions",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
