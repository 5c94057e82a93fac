"""Stage compress_policies: every policy is quantized and pruned in all ways, and all are evaluated."""

import argparse
import shutil
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.effort import run_stage
from sustainable.core.files import read_json, write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_profile, read_section
from sustainable.policies.compression.static_int8 import save_prepared
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.faults import Record, caught, refuse_faults
from sustainable.policies.policy import check_fits, load_policy
from sustainable.policies.learning.recipes import TrainingRun, PolicyTrainingParameters, plan
from sustainable.policies.compression.evaluation import (
    CompressParameters,
    evaluate_variants,
    prepare_from_rollouts,
)

STATES_FROM = 7_000_000
"""Where the seeds of the episodes begin that states are taken from, away from those that are evaluated."""


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "compress_policies", CompressParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    common = {"study": "B", "profile": read_profile(arguments.params)}
    random = {
        (entry["environment"], entry["algorithm"]): entry["random_return"]
        for entry in read_json(arguments.table)
    }
    cells = plan(training)
    tasks = [
        (
            cell,
            arguments.policies,
            random[cell.environment, cell.algorithm],
            parameters,
            metering,
            folder_of(cell, arguments.policies, parameters, arguments.work),
        )
        for cell in cells
    ]
    workers = 1 if choose_meter(metering).whole_machine else None
    done = list(in_parallel(compress_one, tasks, "compressing policies", workers))
    refuse_faults({cell.name: record for cell, record in zip(cells, done, strict=True)}, "policies")
    write_rows(arguments.returns, [common | row for record in done for row in record["rows"]])
    write_json(arguments.cost, total_cost([record["cost"] for record in done]))
    shutil.rmtree(arguments.prepared, ignore_errors=True)
    for cell, *_, folder in tasks:
        (arguments.prepared / cell.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / cell.file.name, arguments.prepared / cell.file)
    shutil.rmtree(arguments.work)


def folder_of(cell: TrainingRun, policies: Path, parameters: CompressParameters, work: Path) -> Path:
    """Where a policy's results are kept until all are done; other weights or parameters, another folder."""
    weights = policies / cell.file
    found = file_sha256(weights) if weights.is_file() else None  # a missing one is this cell's fault alone
    hashed = [found, asdict(parameters), cell.recipe.options]
    return work / cell.file.with_suffix("") / fingerprint(hashed)[:16]


def compress_one(cell: TrainingRun, *arguments: Any) -> Record:
    """One policy, unless an earlier run has done it already; a failure becomes a record with a fault."""
    record = arguments[-1] / "record.json"
    return dict(read_json(record)) if record.is_file() else caught(compress_and_evaluate, cell, *arguments)


def compress_and_evaluate(
    cell: TrainingRun,
    policies: Path,
    random_return: float,
    parameters: CompressParameters,
    metering: MeterParameters,
    folder: Path,
) -> Record:
    """Prepare one policy for quantization, keep that, and evaluate all its variants."""
    use_deterministic_torch()
    policy = load_policy(policies / cell.file)
    environment = make_environment(cell.environment, **cell.recipe.options)
    check_fits(policy, environment)
    cache = folder / "exports"
    meter = choose_meter(metering).make()
    meter.start()
    prepared = prepare_from_rollouts(policy, environment, count(STATES_FROM), parameters, cache)
    save_prepared(folder / cell.file.name, prepared)
    rows = evaluate_variants(policy, prepared, environment, random_return, parameters, cache)
    record = {"rows": rows, "cost": asdict(meter.stop())}
    write_json(folder / "record.json", record)
    return record


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "policies", "table", "work", "prepared", "returns", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
