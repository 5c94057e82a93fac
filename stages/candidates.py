"""Stage candidates: score every deployment on validation windows, and time it. Runs without the pins."""

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
    Candidate,
    Network,
    RuntimeTarget,
    candidate_table,
    evaluate,
    name_of,
    networks,
    offered_targets,
    refusals,
    round_order,
    time_candidate,
    timed_candidates,
)
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
    refused_here = {name_of(key): reason for key, reason in failed.items()}
    tell(refused_here)
    threads = settle(parameters.threads)
    time_all(timed_candidates(every, targets, failed), sources, inputs, parameters, metering, timed)
    timings = [row for line in timed.rows for row in line["rows"]]
    write_json(arguments.cost, total_cost([line["cost"] for line in (*scored.rows, *timed.rows)]))
    write_json(arguments.conditions, {"host": describe_host() | threads, "refused": refused | refused_here})
    write_rows(arguments.candidates, candidate_table(quality, timings, parameters.batch_sizes))
    scored.discard()
    timed.discard()


def tell(refused: dict[str, str]) -> None:
    """Print which targets or candidates are left out, and why."""
    for name, reason in refused.items():
        print(f"left out here: {name}: {reason}", flush=True)


def score_one(
    network: Network,
    seed: int,
    targets: list[RuntimeTarget],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
) -> dict[str, Any]:
    """Score one network of one seed; return its rows and the cost of scoring."""
    torch.set_num_threads(1)
    meter = choose_meter(metering).make()
    meter.start()
    part = load_windows(windows)["validation"]
    rows = evaluate(network, seed, targets, sources, torch.from_numpy(part.inputs), part.target)
    return {"rows": rows, "cost": asdict(meter.stop())}


def time_all(
    candidates: list[Candidate],
    sources: Sources,
    inputs: torch.Tensor,
    parameters: CandidateParameters,
    metering: MeterParameters,
    journal: RowJournal,
) -> None:
    """Time every candidate of the first seed at every batch size; append one journal line per round.

    A candidate is deployed for its turn and released after it. ONNX Runtime and OpenVINO never shrink a
    session's working memory, so that all deployments of a run together take more than 5 GiB.
    """
    seed, days = sources.seeds()[0], inputs.shape[1]
    for number in range(len(journal.rows), parameters.rounds):
        meter = choose_meter(metering).make()
        meter.start()
        order, rows = round_order(len(candidates), number, parameters.seed), []
        for index in progress(order, f"timing, round {number + 1} of {parameters.rounds}", len(order)):
            candidate = candidates[index]
            times_ms = time_candidate(candidate.deploy(sources, seed, days), inputs, parameters)
            rows += [
                candidate.columns() | {"round": number, "batch_size": size, "cpu_time_ms": time_ms}
                for size, time_ms in times_ms.items()
            ]
        journal.append({"rows": rows, "cost": asdict(meter.stop())})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "windows", "models", "exports", "work", "candidates", "conditions", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
