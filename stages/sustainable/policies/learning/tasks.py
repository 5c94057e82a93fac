"""Training of all policies side by side: each is kept once it is done, and a failure harms no other.

Pinned actors are not trained but taken from data/actors; their returns are measured like the others'.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.cells import CellFiles
from sustainable.core.errors import UserError
from sustainable.core.hashing import fingerprint
from sustainable.core.tasks import finish
from sustainable.core.tensors import tensors_sha256
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import run_metered_cells
from sustainable.policies.environments.guarded import Record, caught, make_environment, refuse_faults
from sustainable.policies.learning import training
from sustainable.policies.learning.pinned import actor_files, take_actor
from sustainable.policies.learning.recipes import PolicyTrainingParameters, TrainingRun, pinned_runs
from sustainable.policies.policy import save_policy


def announce_faults(cells: Sequence[TrainingRun]) -> None:
    """Print which environments cannot be made; the other policies are trained all the same."""
    for options, group in groupby(cells, lambda cell: (cell.environment, cell.recipe.options)):
        name = next(group).environment
        try:
            make_environment(name, **options[1]).close()
        except UserError as error:
            print(f"will fail, after the others are trained: {error}", flush=True)


def train_policies(
    cells: Sequence[TrainingRun],
    parameters: PolicyTrainingParameters,
    metering: MeterParameters,
    actors: Path,
    work: Path,
) -> tuple[list[Record], dict[str | Path, Path]]:
    """Train and evaluate all cells, except those that an earlier run has; take the pinned ones.

    Returns their records in the same order, and the files of the policies, weights and description, by
    their place in a folder of policies. When all are done, raises `UserError` naming those that failed; the
    others are kept in `work`.
    """
    pinned = {cell.name for cell in pinned_runs(parameters)}
    longest_first = sorted(cells, key=lambda cell: -cell.recipe.steps)  # so that workers end at the same time
    evaluation = [parameters.evaluation_episodes, parameters.evaluation_seed, parameters.curve_steps]
    tasks: list[tuple[Any, ...]] = []
    cell_files: list[CellFiles] = []
    files: dict[str | Path, Path] = {}
    for cell in longest_first:
        if cell.name in pinned:
            tasks.append((take_and_evaluate, cell, parameters, actors))
            cell_files.append(CellFiles(actor_files(cell, actors)))
            files |= {path: actors / path for path in (cell.file, cell.file.with_suffix(".json"))}
            continue
        # Kept until all are done: one folder per recipe and evaluation.
        folder = work / cell.file.with_suffix("") / fingerprint([cell.identity, evaluation])[:16]
        weights = folder / cell.file.name
        outputs = (weights, weights.with_suffix(".json"))
        record = weights.with_name("record.json")
        make = partial(train_and_evaluate, cell, parameters, metering, weights)
        tasks.append((finish, record, make, *outputs))
        cell_files.append(CellFiles(writes=(*outputs, record)))
        files |= {cell.file.with_suffix(path.suffix): path for path in outputs}
    done = run_metered_cells(caught, tasks, "training policies", metering, cell_files)
    records = {cell.name: record for cell, record in zip(longest_first, done, strict=True)}
    refuse_faults(records, "policies")
    return [records[cell.name] for cell in cells], files


def train_and_evaluate(
    cell: TrainingRun, parameters: PolicyTrainingParameters, metering: MeterParameters, weights: Path
) -> Record:
    """Train one policy, save its weights, and evaluate it; only the training is metered."""
    use_deterministic_torch()
    meter = choose_meter(metering).make()
    meter.start()
    checkpoint = weights.with_name("checkpoint.safetensors")
    policy, log = training.train_one(
        cell,
        parameters.curve_steps,
        training.Checkpointing(checkpoint, parameters.checkpoint_steps, fingerprint(cell.identity)),
        lambda: asdict(meter.read()),
    )
    meter.stop()
    save_policy(weights, policy)
    return {
        "curve": log.curve,
        "costs": log.costs,
        "steps": policy.total_steps,
        "weights_sha256": tensors_sha256(policy.actor.state_dict()),
        "returns": training.returns_of(policy, cell.recipe.options, evaluation_seeds(parameters)),
    }


def take_and_evaluate(cell: TrainingRun, parameters: PolicyTrainingParameters, actors: Path) -> Record:
    """Take a pinned actor, and evaluate it. What its training cost is not known, so no cost is counted."""
    policy, record = take_actor(cell, actors)
    return {
        "curve": record["curve"],
        "costs": [],
        "steps": policy.total_steps,
        "weights_sha256": record["weights_sha256"],
        "returns": training.returns_of(policy, cell.recipe.options, evaluation_seeds(parameters)),
    }


def evaluation_seeds(parameters: PolicyTrainingParameters) -> list[int]:
    return [parameters.evaluation_seed + episode for episode in range(parameters.evaluation_episodes)]


def policies_table(
    cells: Sequence[TrainingRun], records: Sequence[Record], parameters: PolicyTrainingParameters
) -> list[Record]:
    """Return one entry per environment and algorithm: references, and the returns of each seed's policy."""
    entries = []
    pairs = zip(cells, records, strict=True)
    for (environment, algorithm), group in groupby(
        pairs, lambda pair: (pair[0].environment, pair[0].algorithm)
    ):
        members = list(group)
        recipe = members[0][0].recipe
        chance = fmean(training.random_returns(environment, recipe.options, evaluation_seeds(parameters)))
        bar = (chance, recipe.reference_return, parameters.learned_share)
        entries.append(
            {
                "environment": environment,
                "algorithm": algorithm,
                "seeds": [cell.seed for cell, _ in members],
                "total_steps": max(record["steps"] for _, record in members),
                "reference_return": recipe.reference_return,
                "reference_source": recipe.reference_source,
                "random_return": chance,
                "learned_share": parameters.learned_share,
                "policies": [policy_entry(cell, record, bar) for cell, record in members],
            }
        )
    return entries


def policy_entry(cell: TrainingRun, record: Record, bar: tuple[float, float | None, float]) -> Record:
    """Return one policy's returns, and whether it has learned; `bar`: see `has_learned`."""
    mean = fmean(record["returns"])
    return {
        "seed": cell.seed,
        "returns": record["returns"],
        "mean_return": mean,
        "learned": training.has_learned(mean, *bar),
        "weights_sha256": record["weights_sha256"],
    }
