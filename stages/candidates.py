"""Stage candidates: every deployment is scored on validation windows and timed. Runs without the pins."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.core.progress import progress
from sustainable.forecasting.benchmark.candidates import (
    CandidateParameters,
    Network,
    Target,
    candidate_table,
    deployments,
    evaluate,
    name_of,
    networks,
    offered_targets,
    refusals,
    round_order,
    time_call_ms,
)
from sustainable.forecasting.compression.runtimes import Deployed
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.measuring.host import describe_host
from sustainable.measuring.process import settle, start_afresh
from sustainable.forecasting.compression.shrinking import ShrinkParameters, width_pairs
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data import load_windows

import torch


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "candidates", CandidateParameters)
    shrink = read_section(arguments.params, "shrink", ShrinkParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    start_afresh(parameters.threads, parameters.keep_memory)
    parts = load_windows(arguments.windows)
    sources = Sources(arguments.models, arguments.exports, arguments.exports, parts["train"])
    seeds = sources.seeds()
    full = sources.baseline(seeds[0]).widths
    every = networks(shrink.widths, full, width_pairs(full, shrink), parameters)
    inputs = torch.from_numpy(parts["validation"].inputs)
    targets, refused = offered_targets(sources.baseline(seeds[0]), inputs, sources)
    tell(refused)
    weights = [file_sha256(path) for path in sorted(arguments.models.rglob("*.safetensors"))]
    identity = fingerprint([asdict(parameters), asdict(shrink), asdict(metering), targets, weights])
    scored = RowJournal(arguments.work / "quality.jsonl", identity)
    timed = RowJournal(arguments.work / "times.jsonl", identity)
    workers = 1 if choose_meter(metering).whole_machine else None
    tasks = [(net, seed, targets, sources, arguments.windows, metering) for net in every for seed in seeds]
    for line in in_parallel(score_one, tasks[len(scored.rows) :], "scoring", workers):
        scored.append(line)
    quality = [row for line in scored.rows for row in line["rows"]]
    failed = refusals(quality)
    own = {name_of(key): why for key, why in failed.items()}
    tell(own)
    threads = settle(parameters.threads)
    deployed = list(deployments(every, targets, sources, seeds[0], inputs, failed))
    time_all(deployed, inputs, parameters, metering, timed)
    timings = [row for line in timed.rows for row in line["rows"]]
    write_json(arguments.cost, total_cost([line["cost"] for line in (*scored.rows, *timed.rows)]))
    write_json(arguments.conditions, {"host": describe_host() | threads, "refused": refused | own})
    write_rows(arguments.candidates, candidate_table(quality, timings, parameters.batch_sizes))
    scored.discard()
    timed.discard()


def tell(refused: dict[str, str]) -> None:
    """Say what is not offered or not accepted here, and why."""
    for what, why in refused.items():
        print(f"left out here: {what}: {why}", flush=True)


def score_one(
    network: Network,
    seed: int,
    targets: list[Target],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
) -> dict[str, Any]:
    """Quality of one network of one seed, and what finding it out has cost."""
    torch.set_num_threads(1)
    meter = choose_meter(metering).make()
    meter.start()
    part = load_windows(windows)["validation"]
    rows = evaluate(network, seed, targets, sources, torch.from_numpy(part.inputs), part.target)
    return {"rows": rows, "cost": asdict(meter.stop())}


def time_all(
    candidates: list[tuple[dict[str, Any], Deployed]],
    inputs: torch.Tensor,
    parameters: CandidateParameters,
    metering: MeterParameters,
    journal: RowJournal,
) -> None:
    """CPU time of every candidate of one seed at every batch size, a journal line a round."""
    for number in range(len(journal.rows), parameters.rounds):
        meter = choose_meter(metering).make()
        meter.start()
        order, rows = round_order(len(candidates), number, parameters.seed), []
        for index in progress(order, f"timing, round {number + 1} of {parameters.rounds}", len(order)):
            columns, deployed = candidates[index]
            for size in parameters.batch_sizes:
                taken = time_call_ms(deployed, inputs[:size], parameters.window_s)
                rows.append(columns | {"round": number, "batch_size": size, "cpu_time_ms": taken})
        journal.append({"rows": rows, "cost": asdict(meter.stop())})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "windows", "models", "exports", "work", "candidates", "conditions", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
