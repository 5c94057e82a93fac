"""Stage benchmark: the configurations become raw measured rows. Runs without the determinism pins."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sustainable.artifact.errors import UserError, exit_on_error
from sustainable.artifact.files import write_json, write_rows
from sustainable.artifact.hashing import file_sha256, fingerprint
from sustainable.artifact.journal import RowJournal
from sustainable.artifact.parameters import read_profile, read_section
from sustainable.energy.blocks import BlocksParameters, measure_blocks
from sustainable.energy.choice import Chosen, MeterParameters, choose_meter
from sustainable.energy.codecarbon import CodeCarbonMeter
from sustainable.energy.host import describe_host
from sustainable.energy.process import settle, start_afresh
from sustainable.energy.published import RunsParameters, measure_runs
from sustainable.forecaster import load_forecaster
from sustainable.subjects import hits_table, make_subjects
from sustainable.weather import load_windows

import torch

Parameters = Annotated[RunsParameters | BlocksParameters, Field(discriminator="method")]
SHORTEST_WINDOW_S = 5.0


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "benchmark", Parameters, arguments.name)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile = read_profile(arguments.params)
    check_windows(parameters, profile)
    start_afresh(parameters.threads, isinstance(parameters, BlocksParameters) and parameters.keep_memory)
    chosen = choose(parameters, metering)
    parts = load_windows(arguments.windows)
    test = parts["test"]
    inputs, target = torch.from_numpy(test.inputs), torch.from_numpy(test.target)
    base = load_forecaster(arguments.weights)
    threads = settle(parameters.threads)
    subjects = make_subjects(
        base, parameters.configurations, arguments.best, inputs, target, parameters.batch_size
    )
    common = {"study": "A", "protocol": arguments.name, "profile": profile, "runtime": "torch-eager"}
    for subject in subjects.values():
        subject.labels.update(common)
    identity = {"parameters": asdict(parameters), "metering": asdict(metering), "profile": profile}
    inputs_read = [file_sha256(path) for path in (arguments.windows, arguments.weights, arguments.best)]
    journal = RowJournal(arguments.journal, fingerprint([identity, inputs_read]))
    host = describe_host() | threads | {"meter": chosen.name, "meter_reason": chosen.reason}
    if isinstance(parameters, RunsParameters):
        measure_runs(subjects, inputs, target, parameters, chosen.make, journal)
        frozen, rows = {}, journal.rows
    else:
        frozen = measure_blocks(subjects, inputs, parameters, chosen, journal)
        rows = [common | row for row in journal.rows[1:]]
    write_json(arguments.conditions, {"host": host, "frozen": frozen})
    write_rows(arguments.hits, hits_table(subjects, parts["train"], parts["test"]))
    write_rows(arguments.rows, rows)
    journal.discard()


def check_windows(parameters: RunsParameters | BlocksParameters, profile: str) -> None:
    """Short windows are for smoke runs: ticks of 10 ms and the meter's own cost would pass 1 %."""
    if isinstance(parameters, RunsParameters) or profile == "smoke":
        return
    if parameters.window_s < SHORTEST_WINDOW_S:
        raise UserError(
            f"params.yaml: benchmark.*.window_s: {parameters.window_s} s is too short for evidence; "
            f"at least {SHORTEST_WINDOW_S} is needed outside a smoke run"
        )


def choose(parameters: RunsParameters | BlocksParameters, metering: MeterParameters) -> Chosen:
    """The published way is CodeCarbon's; the other takes the best evidence that there is."""
    if isinstance(parameters, RunsParameters):
        return Chosen(lambda: CodeCarbonMeter(metering.codecarbon), "codecarbon", "as published")
    return choose_meter(metering)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="which part of the section benchmark")
    for name in ("params", "windows", "weights", "best", "journal", "rows", "hits", "conditions"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
