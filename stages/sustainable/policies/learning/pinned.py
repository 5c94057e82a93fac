"""Actors that are shipped in data/actors and taken as they are: training them takes too long for every run.

Each has three files: the weights, the description that every policy has, and a record: its recipe, its
learning curve, the hash of its weights, and the largest difference that converting it to torch made.
"""

from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import existing, read_json, write_json
from sustainable.core.hashing import fingerprint
from sustainable.core.tensors import tensors_sha256
from sustainable.policies.environments.guarded import Record, make_environment
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.policy import Policy, check_fits, load_policy, save_policy


def write_actor(folder: Path, run: TrainingRun, policy: Policy, origin: Record) -> None:
    """Write a trained actor's files; the record is last, so that an actor with a record is whole.

    `origin` says how it was trained: `curve`, `conversion_difference` and `trained_with`.
    """
    save_policy(folder / run.file, policy)
    weights = tensors_sha256(policy.actor.state_dict())
    write_json(_record(folder, run), {"recipe": run.identity, "weights_sha256": weights, **origin})


def is_shipped(run: TrainingRun, folder: Path) -> bool:
    """Return whether `folder` has an actor that was trained by this recipe."""
    path = _record(folder, run)
    return path.is_file() and _fits_recipe(read_json(path), run)


def take_actor(run: TrainingRun, folder: Path) -> tuple[Policy, Record]:
    """Return a shipped actor and its record.

    Raises `UserError` if a file is missing or damaged, or if recipe, weights or shape do not fit.
    """
    path = existing(_record(folder, run))
    record, policy = read_json(path), load_policy(folder / run.file)
    check_fits(policy, make_environment(run.environment, **run.recipe.options))
    if not _fits_recipe(record, run):
        raise UserError(
            f"{path}: trained by another recipe than params.yaml's train_policies.recipes.{run.environment}."
            f"{run.algorithm}; restore it (`git checkout {folder}`) or train it again: "
            "`python -m sustainable.tools.actors`"
        )
    if tensors_sha256(policy.actor.state_dict()) != record["weights_sha256"]:
        raise UserError(f"{folder / run.file}: not the weights that {path.name} names; restore both with git")
    return policy, record


def actor_files(run: TrainingRun, folder: Path) -> tuple[Path, Path, Path]:
    """Return the files that `take_actor` reads: weights, description and record."""
    weights = folder / run.file
    return weights, weights.with_suffix(".json"), _record(folder, run)


def _record(folder: Path, run: TrainingRun) -> Path:
    return (folder / run.file).with_suffix(".record.json")


def _fits_recipe(record: Any, run: TrainingRun) -> bool:
    return isinstance(record, dict) and fingerprint(record.get("recipe")) == fingerprint(run.identity)
