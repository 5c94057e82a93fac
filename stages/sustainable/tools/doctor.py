"""What this host can support, which claims are testable here, and how long `make reproduce` will take."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.errors import exit_on_error
from sustainable.core.parallel import available_cores
from sustainable.core.parameters import read_protocols, read_section
from sustainable.forecasting.benchmark.candidates import CandidateParameters
from sustainable.forecasting.durations import Plan, minutes_by_stage
from sustainable.forecasting.benchmark.blocks import BlocksParameters
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.measuring.diagnosis import Finding, examine
from sustainable.energy.meter import carries_energy_claims
from sustainable.forecasting.benchmark.runs import RunsParameters
from sustainable.policies.learning.recipes import PolicyTrainingParameters
from sustainable.policies.benchmark.deployments import PolicyBenchmarkParameters
from sustainable.policies.durations import seconds_by_stage
from sustainable.forecasting.search.searchers import SearchersParameters
from sustainable.forecasting.compression.shrinking import ShrinkParameters
from sustainable.forecasting.model.training import TrainingParameters
from sustainable.policies.compression.evaluation import CompressParameters


def main() -> None:
    arguments = parse_arguments()
    use_deterministic_torch()
    metering = read_section(arguments.params, "metering", MeterParameters)
    findings = examine(arguments.params.resolve().parent, lambda: time.sleep(1.0))
    minutes = forecast(arguments.params, arguments.metrics)
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


def forecast(params: Path, metrics: Path) -> dict[str, float]:
    """Minutes by stage of both studies, and of `all`."""
    minutes = minutes_by_stage(read_plan(params, metrics))
    seconds = seconds_by_stage(
        read_section(params, "train_policies", PolicyTrainingParameters),
        read_section(params, "compress_policies", CompressParameters),
        read_section(params, "benchmark_policies", PolicyBenchmarkParameters),
        available_cores(),
    )
    minutes |= {stage: value / 60 for stage, value in seconds.items()}
    return minutes | {"all": sum(value for stage, value in minutes.items() if stage != "all")}


def read_plan(params: Path, metrics: Path) -> Plan:
    """What params.yaml asks for; `metrics` is the folder of the shipped run's metrics."""
    training = {
        protocol: read_section(params, "train_baseline", TrainingParameters, protocol)
        for protocol in read_protocols(params)
    }
    searchers = read_section(params, "compare_searchers", SearchersParameters)
    return Plan(
        training=training,
        epochs={name: epochs_of(metrics / name / "baseline.json", own) for name, own in training.items()},
        shrink=read_section(params, "shrink", ShrinkParameters),
        candidates=read_section(params, "candidates", CandidateParameters),
        searches=searchers.seeds * len(searchers.searchers.by_name()),
        runs=read_section(params, "benchmark", RunsParameters, "published"),
        blocks={
            name: read_section(params, "benchmark", BlocksParameters, name)
            for name in ("remeasured", "audited")
        },
    )


def epochs_of(metrics: Path, training: TrainingParameters) -> int:
    """How many epochs a training takes: as many as the longest shipped one, else as many as there can be."""
    try:
        seeds = json.loads(metrics.read_text(encoding="utf-8"))["seeds"]
        return max(int(model["epochs"]) for model in seeds.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return training.recipe.epochs


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
    time_too = "testable: CPU time and exact counts"
    published = {
        "A1": exact,
        "A2": energy,
        "A3": f"latency testable; energy {energy}",
        "A4": exact,
        "A5": exact,
    }
    audited = {"C1": time_too, "C2": time_too, "C3": exact, "C4": time_too, "C5": exact}
    policies = dict.fromkeys(("B1", "B2", "B4"), f"{time_too}; energy {energy}")
    return published | audited | policies | {"B3": "testable: resident memory of processes"}


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
    parser.add_argument("--metrics", type=Path, default=Path("data/metrics"))
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
