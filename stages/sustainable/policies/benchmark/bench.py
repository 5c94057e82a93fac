"""The measurements of study B: windows of acting policies, a dose-response, and memory.

Every seed of a trained policy is deployed in every configuration, ready to act.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

from pathlib import Path

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import STRICT
from sustainable.energy.meter import Meter
from sustainable.measuring.blocks import last_tries
from sustainable.measuring.clock import ClockMeter
from sustainable.measuring.process import on_all_cores
from sustainable.policies.benchmark.deployments import PolicyConfiguration, PolicyFolders
from sustainable.policies.benchmark.episodes import EpisodesParameters, Measurement, measure_episodes
from sustainable.policies.benchmark.footprint import MemoryParameters, memory_rows
from sustainable.policies.environments.guarded import Record, make_environment
from sustainable.policies.environments.rollout import Environment
from sustainable.policies.learning.recipes import Algorithm, TrainingRun

SHORTEST_POLICY_WINDOW_S = 0.4
"""CPU time is read from a clock of nanoseconds; a modelled energy counts it in ticks of 10 ms, which is 2.5 %
of the shortest window."""
Group = tuple[str, str]  # an environment and an algorithm


@dataclass(frozen=True, config=STRICT)
class WorkloadParameters:
    """The dose-response measurement: configurations at increasing costs of an environment step."""

    environment: str
    algorithm: Algorithm
    doses_us: Annotated[list[Annotated[float, Field(ge=0.0, le=1e6)]], Field(min_length=2)]
    """CPU time added to each step of the environment, in microseconds."""
    window_s: Annotated[float, Field(ge=0.05, le=600.0)]
    """Windows are timed and not metered, so they may be shorter than others."""
    timed_steps: Annotated[int, Field(ge=10, le=1_000_000)]
    """As in `EpisodesParameters`."""
    configurations: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class PolicyBenchmarkParameters:
    """Section `benchmark_policies` of params.yaml."""

    windows: EpisodesParameters
    cells: dict[Algorithm, list[str]]
    """Algorithm -> environments whose policies are measured; other policies only have returns."""
    configurations: Annotated[dict[str, PolicyConfiguration], Field(min_length=2)]
    workload: WorkloadParameters
    memory: MemoryParameters

    @model_validator(mode="after")
    def _names_are_known(self) -> "PolicyBenchmarkParameters":
        memory = self.memory
        used = {"workload": self.workload.configurations, "memory": memory.configurations}
        used["memory.large"] = memory.large.configurations
        for name, configurations in used.items():
            unknown = sorted(set(configurations) - self.configurations.keys())
            if unknown:
                raise ValueError(f"{name}.configurations: {unknown[0]!r} is not among configurations")
        return self


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
        self.records: list[Path] = []
        """Files of designs that are done, which a cluster sends back whole."""

    def designs(self, parameters: PolicyBenchmarkParameters) -> dict[str, Group]:
        """Return what is measured, with the policies: the windows of each environment and algorithm
        (`environment algorithm`), the dose-response (`doses`) and the memory (`memory`).

        Raises `UserError` if there is no such policy.
        """
        groups = [(name, algorithm) for algorithm, names in parameters.cells.items() for name in names]
        workload, memory = parameters.workload, parameters.memory
        designs: dict[str, Group] = {" ".join(group): group for group in groups}
        designs["doses"] = (workload.environment, workload.algorithm)
        designs["memory"] = (memory.environment, memory.algorithm)
        for group in designs.values():
            self.cells_of(group)
        return designs

    def files_of(self, name: str, parameters: PolicyBenchmarkParameters) -> list[Path]:
        """Return the files that a design reads."""
        files = [cell.file for cell in self.cells_of(self.designs(parameters)[name])]
        policies = [self.sources.policies / file for file in files]
        described = [path.with_suffix(".json") for path in policies]
        return [*policies, *described, *(self.sources.prepared / file for file in files)]

    def measure_design(
        self, name: str, parameters: PolicyBenchmarkParameters, make_meter: Callable[[], Meter]
    ) -> Record:
        """Measure one of `designs`."""
        if name == "doses":
            return self.measure_doses(parameters)
        if name == "memory":
            with on_all_cores():
                return self.measure_memory(parameters)
        return self.measure_cell(self.designs(parameters)[name], parameters, make_meter)

    def measure_cell(
        self, group: Group, parameters: PolicyBenchmarkParameters, make_meter: Callable[[], Meter]
    ) -> Record:
        """Measure all configurations and seeds of one environment and algorithm."""
        options = self.cells_of(group)[0].recipe.options
        environments = {group[0]: make_environment(group[0], **options)}
        record = self.measure_windows(
            "-".join(group), group, environments, parameters.configurations, parameters.windows, make_meter
        )
        for row in record["rows"]:
            del row["place"]
        return record

    def measure_doses(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Time windows of one environment at every dose of extra cost; they are not metered."""
        workload = parameters.workload
        group = (workload.environment, workload.algorithm)
        options = self.cells_of(group)[0].recipe.options
        environments = {
            f"{dose:g}": make_environment(workload.environment, **options, cost_us=dose)
            for dose in workload.doses_us
        }
        configurations = {name: parameters.configurations[name] for name in workload.configurations}
        windows = replace(parameters.windows, window_s=workload.window_s, timed_steps=workload.timed_steps)
        record = self.measure_windows(
            "doses", group, environments, configurations, windows, ClockMeter, workload.doses_us
        )
        rows = [{"dose_us": row.pop("place") or None} | row for row in record["rows"]]
        return record | {"rows": rows}

    def measure_windows(
        self,
        name: str,
        group: Group,
        environments: Mapping[str, Environment],
        configurations: Mapping[str, PolicyConfiguration],
        windows: EpisodesParameters,
        make_meter: Callable[[], Meter],
        *settings: Any,
    ) -> Record:
        """Measure all seeds of a group in each environment; `place` of a row is its environment's key."""
        cells, environment = self.cells_of(group), next(iter(environments.values()))
        replicas = {cell.seed: self.sources.deploy(cell, configurations, environment) for cell in cells}
        labels = [dict(acting.labels) for models in replicas.values() for acting in models.values()]
        names = [list(models) for models in replicas.values()]
        described = [asdict(windows), cells[0].recipe.options, *settings]
        journal = RowJournal(
            self.folder / f"{name}.jsonl", fingerprint([self.identity, described, labels, names])
        )
        self.journals.append(journal)
        doses = f" at {len(environments)} doses" if len(environments) > 1 else ""
        print(f"measuring {' '.join(group)}{doses}", flush=True)
        frozen = measure_episodes(Measurement(environments, replicas, windows, make_meter), journal)
        named = {"environment": group[0], "algorithm": group[1]}
        return {"frozen": frozen, "rows": [named | row for row in last_tries(journal.rows[1:])]}

    def measure_memory(self, parameters: PolicyBenchmarkParameters) -> Record:
        """Read the memory of one policy in every configuration, and of a large network; see `memory_rows`."""
        memory = parameters.memory
        cell = self.cells_of((memory.environment, memory.algorithm))[0]
        named = {"environment": cell.environment, "algorithm": cell.algorithm, "training_seed": cell.seed}
        rows = memory_rows(cell, self.sources, memory, parameters.configurations, parameters.windows.seed)
        return {"rows": [named | row for row in rows]}

    def cells_of(self, group: Group) -> list[TrainingRun]:
        """Return the trained seeds of an environment and algorithm; raises `UserError` if there are none."""
        cells = [cell for cell in self.cells if (cell.environment, cell.algorithm) == group]
        if not cells:
            raise UserError(
                f"params.yaml: benchmark_policies: {' '.join(group)} is not among train_policies.cells; "
                "train it or do not measure it"
            )
        return cells

    def discard(self) -> None:
        """Remove journals and records, once all rows are in their final place."""
        for journal in self.journals:
            journal.discard()
        for record in self.records:
            record.unlink(missing_ok=True)
