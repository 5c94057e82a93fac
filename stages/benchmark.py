"""Stage benchmark: the configurations become raw measured rows. Runs without the determinism pins."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sustainable.core.effort import run_stage
from sustainable.core.errors import UserError
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_profile, read_section
from sustainable.core.progress import progress
from sustainable.forecasting.benchmark.blocks import BlocksParameters, measure_blocks
from sustainable.energy.choice import Chosen, MeterParameters, choose_meter
from sustainable.energy.codecarbon import CodeCarbonMeter
from sustainable.measuring.host import describe_host
from sustainable.measuring.process import settle, start_afresh
from sustainable.forecasting.benchmark.runs import RunsParameters, measure_runs
from sustainable.measuring.roofline import measure_roofline
from sustainable.forecasting.benchmark.subjects import Sources, Subject, hits_table, make_subjects
from sustainable.forecasting.data import load_windows

import torch

Parameters = Annotated[RunsParameters | BlocksParameters, Field(discriminator="method")]
SHORTEST_WINDOW_S = 2.0


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "benchmark", Parameters, arguments.name)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile = read_profile(arguments.params)
    check_windows(parameters, profile)
    start_afresh(parameters.threads, isinstance(parameters, BlocksParameters) and parameters.keep_memory)
    chosen = choose(parameters, metering)
    parts = load_windows(arguments.windows)
    inputs, target = torch.from_numpy(parts["test"].inputs), torch.from_numpy(parts["test"].target)
    threads = settle(parameters.threads)
    sources = Sources(arguments.models, arguments.choices, arguments.exports, parts["train"])
    common = {"study": "A", "protocol": arguments.name, "profile": profile}
    replicas = make_replicas(parameters, sources, inputs, target, common)
    identity = {"parameters": asdict(parameters), "metering": asdict(metering), "profile": profile}
    weights = [
        subject.labels["weights_sha256"] for models in replicas.values() for subject in models.values()
    ]
    journal = RowJournal(arguments.journal, fingerprint([identity, file_sha256(arguments.windows), weights]))
    host = describe_host() | threads | {"meter": chosen.name, "meter_reason": chosen.reason}
    if isinstance(parameters, RunsParameters):
        subjects = next(iter(replicas.values()))
        measure_runs(subjects, inputs, target, parameters, chosen.make, journal)
        frozen, rows = {}, journal.rows
    else:
        frozen = measure_blocks(replicas, inputs, parameters, chosen, journal)
        frozen |= {"roofline": asdict(measure_roofline())}
        rows = [common | row for row in journal.rows[1:]]
    write_json(arguments.conditions, {"host": host, "frozen": frozen})
    write_rows(arguments.hits, hits_table(replicas, parts["train"], parts["test"]))
    write_rows(arguments.rows, rows)
    journal.discard()


def make_replicas(
    parameters: RunsParameters | BlocksParameters,
    sources: Sources,
    inputs: torch.Tensor,
    target: torch.Tensor,
    common: dict[str, str],
) -> dict[int, dict[str, Subject]]:
    """The models of every training seed; the published way knows one alone."""
    seeds = sources.seeds()[: 1 if isinstance(parameters, RunsParameters) else None]
    size = parameters.batch_size if isinstance(parameters, RunsParameters) else max(parameters.batch_sizes)
    replicas = {
        seed: make_subjects(parameters.configurations, sources, seed, inputs, target, size)
        for seed in progress(seeds, "preparing models", len(seeds))
    }
    for subjects in replicas.values():
        for subject in subjects.values():
            subject.labels.update(common)
    return replicas


def check_windows(parameters: RunsParameters | BlocksParameters, profile: str) -> None:
    """Short windows are for smoke runs: below 2 s the ticks of 10 ms in which CodeCarbon and the system
    count CPU time pass 0.5 %, and with them the meter's own cost 1 %. (CPU time itself is read from a clock
    of nanoseconds, and the meter's cost is measured in place in every run.)"""
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
    for name in (
        "params",
        "windows",
        "models",
        "choices",
        "exports",
        "journal",
        "rows",
        "hits",
        "conditions",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
