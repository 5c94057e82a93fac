"""The two ways to measure study A, as published and in blocks: parameters, models, meter, rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.choice import Chosen, MeterParameters, choose_meter
from sustainable.energy.codecarbon import CodeCarbonMeter
from sustainable.forecasting.benchmark.blocks import BlocksParameters, measure_blocks
from sustainable.forecasting.benchmark.choices import ResolvedChoice, resolve
from sustainable.forecasting.benchmark.runs import RunsParameters, measure_runs
from sustainable.forecasting.benchmark.subjects import Sources, Subject, make_subjects
from sustainable.measuring.blocks import last_tries
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


class Replicas(Mapping[int, dict[str, Subject]]):
    """The models of each training seed. They are made when they are asked for, and only the last are kept:
    those of all seeds together would take gigabytes."""

    def __init__(self, seeds: Sequence[int], make: Callable[[int], dict[str, Subject]]) -> None:
        self._seeds, self._make = seeds, make
        self._last: tuple[int, dict[str, Subject]] | None = None

    def __getitem__(self, seed: int) -> dict[str, Subject]:
        if self._last is None or self._last[0] != seed:
            self._last = None  # releases them before the others are made
            self._last = (seed, self._make(seed))
        return self._last[1]

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)


def make_replicas(
    parameters: Protocol,
    sources: Sources,
    inputs: Tensor,
    target: Tensor,
    common: dict[str, str],
    controls: bool = False,
) -> Replicas:
    """Return the models of every training seed (the published way has one), labelled with `common`.

    With `controls`, those that are scored and not measured are among them, at the end.
    """
    choices: dict[str, ResolvedChoice] = {
        name: resolve(choice, sources.choices) for name, choice in parameters.configurations.items()
    }
    if isinstance(parameters, RunsParameters):
        seeds, size = sources.seeds()[:1], parameters.batch_size
    else:
        seeds, size = sources.seeds(), max(parameters.batch_sizes)
        choices |= parameters.controls if controls else {}

    def make(seed: int) -> dict[str, Subject]:
        subjects = make_subjects(choices, sources, seed, inputs, target, size)
        for subject in subjects.values():
            subject.labels.update(common)
        return subjects

    return Replicas(seeds, make)


def measure_as(
    parameters: Protocol,
    replicas: Mapping[int, dict[str, Subject]],
    inputs: Tensor,
    target: Tensor,
    chosen: Chosen,
    journal: RowJournal,
    common: dict[str, str],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure the models as `parameters` say; `journal` holds the windows of an earlier, killed run.

    Returns the rows, and what was frozen before measuring (loop counts, overhead), with the roofline if it is
    asked for.
    """
    if isinstance(parameters, RunsParameters):
        measure_runs(next(iter(replicas.values())), inputs, target, parameters, chosen.make, journal)
        return journal.rows, {}
    frozen = measure_blocks(replicas, inputs, parameters, chosen, journal)
    if parameters.ceilings:
        frozen |= {"roofline": asdict(measure_roofline())}
    return [common | row for row in last_tries(journal.rows[1:])], frozen
