"""Stage benchmark: measure the configurations of study A. Runs without the determinism pins."""

from sustainable.measuring.process import settle, start_afresh, start_stage_afresh

if __name__ == "__main__":
    start_stage_afresh("benchmark", "{name}")  # before the libraries read the environment

from dataclasses import asdict

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import existing, write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_profile, read_section
from sustainable.energy.choice import MeterParameters
from sustainable.forecasting.benchmark.protocol import (
    BenchmarkParameters,
    choose_for,
    make_replicas,
    measure_as,
    refuse_short_windows,
)
from sustainable.forecasting.benchmark.subjects import Sources, hits_table
from sustainable.forecasting.data.windows import load_windows
from sustainable.measuring.host import describe_host

import torch


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params windows models choices exports journal rows hits conditions", text="name"
    )
    parameters = read_section(arguments.params, "benchmark", BenchmarkParameters, arguments.name)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile = read_profile(arguments.params)
    refuse_short_windows(parameters, profile)
    start_afresh(parameters.threads, parameters.keep_memory)
    chosen = choose_for(parameters, metering)
    parts = load_windows(arguments.windows)
    inputs, target = torch.from_numpy(parts["test"].inputs), torch.from_numpy(parts["test"].target)
    threads = settle(parameters.threads)
    sources = Sources(arguments.models, arguments.choices, arguments.exports, parts["train"])
    common = {"study": "A", "protocol": arguments.name, "profile": profile}
    replicas = make_replicas(parameters, sources, inputs, target, common)
    scored = make_replicas(parameters, sources, inputs, target, common, controls=True)
    identity = {"parameters": asdict(parameters), "metering": asdict(metering), "profile": profile}
    weights = sorted(arguments.models.rglob("*.safetensors"))
    read = [file_sha256(existing(path)) for path in (arguments.windows, arguments.choices, *weights)]
    journal = RowJournal(arguments.journal, fingerprint([identity, read]))
    host = describe_host() | threads | {"meter": chosen.name, "meter_reason": chosen.reason}
    rows, frozen = measure_as(parameters, replicas, inputs, target, chosen, journal, common)
    write_json(arguments.conditions, {"host": host, "frozen": frozen})
    write_rows(arguments.hits, hits_table(scored, parts["train"], parts["test"]))
    write_rows(arguments.rows, rows)
    journal.discard()


if __name__ == "__main__":
    run_stage(main)
