"""Stage train_policies: every environment, algorithm and seed becomes a trained policy, or a named fault."""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from statistics import fmean

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.effort import run_stage
from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_rows
from sustainable.core.hashing import fingerprint
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.core.tensors import tensors_sha256
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.faults import FAULT, Record, caught, refuse_faults
from sustainable.policies.learning.training import (
    Checkpointing,
    check_settings,
    has_learned,
    random_returns,
    returns_of,
    train_one,
)
from sustainable.policies.policy import load_policy, save_policy
from sustainable.policies.learning.recipes import TrainingRun, PolicyTrainingParameters, plan

CURVE = ("environment", "algorithm", "seed", "step", "episode_return", "episode_length")


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    cells = plan(parameters)
    for cell in cells:
        check_settings(cell)
    announce_faults(cells)
    records = train_all(cells, parameters, metering, arguments.work)
    points = [point for record in records for point in record["curve"]]
    write_rows(arguments.learning, [{name: point[name] for name in CURVE} for point in points])
    write_json(arguments.cost, total_cost([cost for record in records for cost in record["costs"]]))
    write_json(arguments.table, table(cells, records, parameters))
    shutil.rmtree(arguments.models, ignore_errors=True)
    for cell in cells:
        folder = folder_of(cell, parameters, arguments.work)
        save_policy(arguments.models / cell.file, load_policy(folder / cell.file.name))
    shutil.rmtree(arguments.work)


def announce_faults(cells: Sequence[TrainingRun]) -> None:
    """Say at once what is already certain to fail; the rest is worth training all the same."""
    for options, group in groupby(cells, lambda cell: (cell.environment, cell.recipe.options)):
        name = next(group).environment
        try:
            make_environment(name, **options[1]).close()
        except UserError as error:
            print(f"will fail, after the others are trained: {error}", flush=True)


def train_all(
    cells: Sequence[TrainingRun], parameters: PolicyTrainingParameters, metering: MeterParameters, work: Path
) -> list[Record]:
    """The records of all cells, in their order. Raises `UserError` naming those that failed, when the others
    are done and kept."""
    longest_first = sorted(cells, key=lambda cell: -cell.recipe.steps)  # so that workers end at the same time
    tasks = [(cell, parameters, metering, folder_of(cell, parameters, work)) for cell in longest_first]
    workers = 1 if choose_meter(metering).whole_machine else None
    done = in_parallel(train_cell, tasks, "training policies", workers)
    records = {cell.name: record for cell, record in zip(longest_first, done, strict=True)}
    refuse_faults(records, "policies")
    return [records[cell.name] for cell in cells]


def folder_of(cell: TrainingRun, parameters: PolicyTrainingParameters, work: Path) -> Path:
    """Where a cell is kept until all are done: another recipe or another evaluation is another folder."""
    evaluation = [parameters.evaluation_episodes, parameters.evaluation_seed, parameters.curve_steps]
    return work / cell.file.with_suffix("") / fingerprint([cell.identity, evaluation])[:16]


def train_cell(
    cell: TrainingRun, parameters: PolicyTrainingParameters, metering: MeterParameters, folder: Path
) -> Record:
    """Train and evaluate one policy, unless an earlier run has; a failure becomes a record with a `fault`."""
    weights, record = folder / cell.file.name, folder / "record.json"
    if record.is_file() and weights.is_file():
        return caught(read_json, record)
    found = caught(train_and_evaluate, cell, parameters, metering, weights)
    if FAULT not in found:
        write_json(record, found)
    return found


def train_and_evaluate(
    cell: TrainingRun, parameters: PolicyTrainingParameters, metering: MeterParameters, weights: Path
) -> Record:
    """Train one policy, keep its weights, and tell what it returns; only the training is metered."""
    use_deterministic_torch()
    meter = choose_meter(metering).make()
    meter.start()
    checkpoint = weights.with_name("checkpoint.safetensors")
    policy, log = train_one(
        cell,
        parameters.curve_steps,
        Checkpointing(checkpoint, parameters.checkpoint_steps, fingerprint(cell.identity)),
        lambda: asdict(meter.read()),
    )
    meter.stop()
    save_policy(weights, policy)
    return {
        "curve": log.curve,
        "costs": log.costs,
        "steps": policy.total_steps,
        "weights_sha256": tensors_sha256(policy.actor.state_dict()),
        "returns": returns_of(policy, cell.recipe.options, evaluation_seeds(parameters)),
    }


def evaluation_seeds(parameters: PolicyTrainingParameters) -> list[int]:
    return [parameters.evaluation_seed + episode for episode in range(parameters.evaluation_episodes)]


def table(
    cells: Sequence[TrainingRun], records: Sequence[Record], parameters: PolicyTrainingParameters
) -> list[Record]:
    """One entry an environment and algorithm: references, and what each seed's policy returns."""
    found = []
    pairs = zip(cells, records, strict=True)
    for _, group in groupby(pairs, lambda pair: (pair[0].environment, pair[0].algorithm)):
        members = list(group)
        recipe, environment = members[0][0].recipe, members[0][0].environment
        chance = fmean(random_returns(environment, recipe.options, evaluation_seeds(parameters)))
        common = {"random_return": chance, "learned_share": parameters.learned_share}
        entry = {
            "environment": environment,
            "algorithm": members[0][0].algorithm,
            "seeds": [cell.seed for cell, _ in members],
            "total_steps": max(record["steps"] for _, record in members),
            "reference_return": recipe.reference_return,
            "reference_source": recipe.reference_source,
        }
        found.append(entry | common | {"policies": [judged(*member, common) for member in members]})
    return found


def judged(cell: TrainingRun, record: Record, common: Mapping[str, float]) -> Record:
    """One policy's returns, and whether it has learned."""
    mean = fmean(record["returns"])
    bar = (common["random_return"], cell.recipe.reference_return, common["learned_share"])
    return {
        "seed": cell.seed,
        "returns": record["returns"],
        "mean_return": mean,
        "learned": has_learned(mean, *bar),
        "weights_sha256": record["weights_sha256"],
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "work", "models", "learning", "table", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
