"""The two ways to measure study A, as published and in blocks: parameters, models, meter, rows."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.core.progress import progress
from sustainable.energy.choice import Chosen, MeterParameters, choose_meter
from sustainable.energy.codecarbon import CodeCarbonMeter
from sustainable.forecasting.benchmark.blocks import BlocksParameters, measure_blocks
from sustainable.forecasting.benchmark.runs import RunsParameters, measure_runs
from sustainable.forecasting.benchmark.subjects import Sources, Subject, make_subjects
from sustainable.measuring.roofline import measure_roofline

Protocol = RunsParameters | BlocksParameters
BenchmarkParameters = Annotated[Protocol, Field(discriminator="method")]
SHORTEST_WINDOW_S = 2.0
"""In a shorter window, the ticks of 10 ms in which CodeCarbon and the system count CPU time exceed 0.5 %, and
together with the meter's own cost 1 %. (CPU time itself is read from a clock of nanoseconds, and the meter's
cost is measured in place in every run.)"""


def refuse_short_windows(parameters: Protocol, profile: str) -> None:
    """Raise `UserError` for windows below `SHORTEST_WINDOW_S`, which only a smoke run may have."""
    if isinstance(parameters, RunsParameters) or profile == "smoke":
        return
    if parameters.window_s < SHORTEST_WINDOW_S:
        raise UserError(
            f"params.yaml: benchmark.*.window_s: {parameters.window_s} s is too short for evidence; "
            f"at least {SHORTEST_WINDOW_S} is needed outside a smoke run"
        )


def choose_for(parameters: Protocol, metering: MeterParameters) -> Chosen:
    """Choose CodeCarbon for the published way, and for blocks the best evidence that the host supports."""
    if isinstance(parameters, RunsParameters):
        return Chosen(lambda: CodeCarbonMeter(metering.codecarbon), "codecarbon", "as published")
    return choose_meter(metering)


def make_replicas(
    parameters: Protocol,
    sources: Sources,
    inputs: Tensor,
    target: Tensor,
    common: dict[str, str],
) -> dict[int, dict[str, Subject]]:
    """Make the models of every training seed (the published way has one), labelled with `common`.

    Those of controls come last; they are scored and not measured.
    """
    seeds = sources.seeds()[: 1 if isinstance(parameters, RunsParameters) else None]
    choices: dict[str, Any] = {**parameters.configurations}
    if isinstance(parameters, RunsParameters):
        size = parameters.batch_size
    else:
        size = max(parameters.batch_sizes)
        choices |= parameters.controls
    replicas = {
        seed: make_subjects(choices, sources, seed, inputs, target, size)
        for seed in progress(seeds, "preparing models", len(seeds))
    }
    for subjects in replicas.values():
        for subject in subjects.values():
            subject.labels.update(common)
    return replicas


def measure_as(
    parameters: Protocol,
    replicas: dict[int, dict[str, Subject]],
    inputs: Tensor,
    target: Tensor,
    chosen: Chosen,
    journal: RowJournal,
    common: dict[str, str],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure the models as `parameters` say; `journal` holds the windows of an earlier, killed run.

    Returns the rows, and what was frozen before measuring (loop counts, overhead, roofline).
    """
    if isinstance(parameters, RunsParameters):
        measure_runs(next(iter(replicas.values())), inputs, target, parameters, chosen.make, journal)
        return journal.rows, {}
    measured = {
        seed: {name: models[name] for name in parameters.configurations} for seed, models in replicas.items()
    }
    frozen = measure_blocks(measured, inputs, parameters, chosen, journal)
    frozen |= {"roofline": asdict(measure_roofline())}
    return [common | row for row in journal.rows[1:]], frozen
