"""Scores and times of all candidates, in journals that a killed run continues."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sustainable.core.journal import RowJournal
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import in_metered_parallel
from sustainable.forecasting.benchmark.candidates import (
    Candidate,
    CandidateParameters,
    Network,
    RuntimeTarget,
    evaluate,
    round_order,
    time_candidate,
)
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data import load_windows


def score_all(
    networks: list[Network],
    seeds: list[int],
    targets: list[RuntimeTarget],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
    journal: RowJournal,
) -> None:
    """Score every network of every seed on the validation windows; append one journal line for each."""
    tasks = [(network, seed, targets, sources, windows, metering) for network in networks for seed in seeds]
    for line in in_metered_parallel(score_network, tasks[len(journal.rows) :], "scoring", metering):
        journal.append(line)


def score_network(
    network: Network,
    seed: int,
    targets: list[RuntimeTarget],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
) -> dict[str, Any]:
    """Score one network of one seed for every target; return the rows and the cost of scoring."""
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
