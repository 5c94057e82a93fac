"""Compression of all policies side by side: each is kept once it is done, and a failure harms no other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.cells import CellFiles
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.tasks import finish
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import run_metered_cells
from sustainable.policies.compression.evaluation import (
    CompressParameters,
    evaluate_variants,
    prepare_from_rollouts,
)
from sustainable.policies.compression.static_int8 import save_prepared
from sustainable.policies.environments.guarded import Record, caught, make_environment, refuse_faults
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.policy import check_fits, load_policy

STATES_FROM = 7_000_000
"""First seed of the episodes that states are taken from, away from the seeds of evaluated episodes."""


def compress_policies(
    cells: Sequence[TrainingRun],
    policies: Path,
    random_returns: Mapping[tuple[str, str], float],
    parameters: CompressParameters,
    metering: MeterParameters,
    work: Path,
) -> tuple[list[Record], dict[str | Path, Path]]:
    """Compress and evaluate every policy in the folder `policies`, except those that an earlier run has.

    `random_returns`: mean return of random actions, by environment and algorithm. Returns a record per cell
    (`rows`, `cost`), and the files of the quantized policies by their place in a folder of policies. When all
    are done, raises `UserError` naming the cells that failed; the others are kept in `work`.
    """
    tasks, cell_files = [], []
    files: dict[str | Path, Path] = {}
    for cell in cells:
        weights = policies / cell.file
        sha256 = file_sha256(weights) if weights.is_file() else None  # missing: this cell's fault only
        # Kept until all are done: one folder per weights and parameters.
        identity = fingerprint([sha256, asdict(parameters), cell.recipe.options])[:16]
        prepared = files[cell.file] = work / cell.file.with_suffix("") / identity / cell.file.name
        chance = random_returns[cell.environment, cell.algorithm]
        make = partial(compress_and_evaluate, cell, policies, chance, parameters, metering, prepared)
        record = prepared.with_name("record.json")
        tasks.append((finish, record, make, prepared))
        cell_files.append(CellFiles((weights, weights.with_suffix(".json")), (prepared, record)))
    records = list(run_metered_cells(caught, tasks, "compressing policies", metering, cell_files))
    refuse_faults({cell.name: record for cell, record in zip(cells, records, strict=True)}, "policies")
    return records, files


def compress_and_evaluate(
    cell: TrainingRun,
    policies: Path,
    random_return: float,
    parameters: CompressParameters,
    metering: MeterParameters,
    prepared: Path,
) -> Record:
    """Prepare one policy for quantization, save that, and evaluate all its variants."""
    use_deterministic_torch()
    policy = load_policy(policies / cell.file)
    environment = make_environment(cell.environment, **cell.recipe.options)
    check_fits(policy, environment)
    cache = prepared.with_name("exports")
    meter = choose_meter(metering).make()
    meter.start()
    quantizable = prepare_from_rollouts(policy, environment, count(STATES_FROM), parameters, cache)
    save_prepared(prepared, quantizable)
    rows = evaluate_variants(policy, quantizable, environment, random_return, parameters, cache)
    return {"rows": rows, "cost": asdict(meter.stop())}
