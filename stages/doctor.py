"""What this host can support, which claims are testable here, and how long `make reproduce` will take."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from sustainable.artifact.determinism import use_deterministic_torch  # isort: skip  (before torch)

import torch

from sustainable.artifact.errors import exit_on_error
from sustainable.artifact.parameters import read_section
from sustainable.energy.blocks import BlocksParameters
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.diagnosis import Finding, examine
from sustainable.energy.meter import carries_energy_claims
from sustainable.energy.published import RunsParameters
from sustainable.forecaster import Architecture, WeatherGRU
from sustainable.training import TrainingParameters

CALIBRATION_S = 4.0
TRAINING_WINDOWS, FEATURES, DAYS = 1029, 4, 30
STARTING_S, SEARCH_S, REPORT_S = 6.0, 20.0, 15.0
"""Seconds of starting a stage, of the search, and of rendering; small beside the rest."""


def main() -> None:
    arguments = parse_arguments()
    use_deterministic_torch()
    training = read_section(arguments.params, "train_baseline", TrainingParameters, "published")
    runs = read_section(arguments.params, "benchmark", RunsParameters, "published")
    blocks = read_section(arguments.params, "benchmark", BlocksParameters, "remeasured")
    metering = read_section(arguments.params, "metering", MeterParameters)
    findings = examine(arguments.params.resolve().parent, lambda: time.sleep(1.0))
    minutes = forecast(training, runs, blocks, epochs_of(arguments.metrics, training))
    claims = testable(metering)
    if arguments.json:
        document = {
            "findings": [asdict(finding) for finding in findings],
            "claims": claims,
            "minutes": minutes,
        }
        json.dump(document, sys.stdout, indent=2, sort_keys=True)
        print()
    else:
        show(findings, claims, minutes)


def epochs_of(metrics: Path, training: TrainingParameters) -> int:
    """How many epochs the training takes: as many as the shipped run, else as many as there can be."""
    try:
        return int(json.loads(metrics.read_text(encoding="utf-8"))["seeds"].popitem()[1]["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return training.recipe.epochs


def forecast(
    training: TrainingParameters, runs: RunsParameters, blocks: BlocksParameters, epochs: int
) -> dict[str, float]:
    """Minutes by stage, from a few training steps timed here and the lengths that the parameters set."""
    batches = -(-TRAINING_WINDOWS // training.recipe.batch_size)
    measured = (len(blocks.configurations) + 1) * blocks.blocks * blocks.window_s
    latency = len(blocks.configurations) * blocks.latency_calls * 0.03
    warm_up = min(blocks.warm_up_limit_s, 2.5 * len(blocks.configurations))
    seconds = {
        "preprocess": STARTING_S / 2,
        "train_baseline": STARTING_S + epochs * batches * seconds_a_step(training),
        "rl_search": STARTING_S + SEARCH_S,
        "benchmark@published": STARTING_S + runs.runs * len(runs.configurations) * 0.3,
        "benchmark@remeasured": STARTING_S + warm_up + measured + latency,
        "report": REPORT_S,
    }
    minutes = {stage: value / 60 for stage, value in seconds.items()}
    return minutes | {"all": sum(minutes.values())}


def seconds_a_step(training: TrainingParameters) -> float:
    """One optimisation step of the real network, under the settings that training uses."""
    model = WeatherGRU(Architecture(FEATURES, training.hidden, training.layers, training.dropout))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs, target = (
        torch.rand(training.recipe.batch_size, DAYS, FEATURES),
        torch.ones(training.recipe.batch_size),
    )
    times: list[float] = []
    end = time.perf_counter() + CALIBRATION_S
    while time.perf_counter() < end or len(times) < 4:
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(inputs), target).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    settled = sorted(times[len(times) // 2 :])  # the first steps also load libraries
    return settled[len(settled) // 2]


def testable(metering: MeterParameters) -> dict[str, str]:
    """For each claim, whether this host can decide it."""
    chosen = choose_meter(metering)
    meter = chosen.make()
    meter.start()
    evidence = meter.stop().cpu_evidence or "no reading"
    energy = (
        f"testable: {chosen.name} counts energy"
        if carries_energy_claims(evidence)
        else f"not testable: {chosen.name} gives {evidence}; {chosen.reason}"
    )
    exact = "testable: exact counts"
    return {"A1": exact, "A2": energy, "A3": f"latency testable; energy {energy}", "A4": exact, "A5": exact}


def show(findings: list[Finding], claims: dict[str, str], minutes: dict[str, float]) -> None:
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'note'}  {finding.what:16}{finding.found}")
    print("\nclaims on this host")
    for claim, what in claims.items():
        print(f"      {claim:16}{what}")
    print("\n`make reproduce` here, after set-up, in minutes (a forecast)")
    for stage, value in minutes.items():
        print(f"      {stage:22}{value:6.1f}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--metrics", type=Path, default=Path("data/metrics/published/baseline.json"))
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
