"""What a benchmark measures: the configurations as models, with the columns that never change."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from sustainable.artifact.errors import UserError
from sustainable.artifact.files import read_json
from sustainable.compression.accounting import account
from sustainable.compression.configuration import ACTIONS, Configuration, compress
from sustainable.forecaster import WeatherGRU, correct, sequence_flops
from sustainable.frugal import frugal_predictions
from sustainable.weather import Windows

Choices = Mapping[str, Configuration | Literal["search"]]


@dataclass(frozen=True)
class Subject:
    """One model to measure; `labels` are the columns that its rows share, `hits` [n] its right windows."""

    model: nn.Module
    labels: dict[str, Any]
    hits: Tensor


def make_subjects(
    base: WeatherGRU, choices: Choices, best: Path, inputs: Tensor, target: Tensor, batch_size: int
) -> dict[str, Subject]:
    """Compress `base` as each of `choices` says; `best` is where the search left its own.

    `inputs` [n, days, features], `target` [n]. Raises `UserError` when the first is not the baseline.
    """
    configurations = {
        name: _searched(best) if chosen == "search" else chosen for name, chosen in choices.items()
    }
    first = next(iter(configurations))
    if configurations[first] != Configuration():
        raise UserError(f"benchmark: configurations: {first}: the first must be the uncompressed baseline")
    flops = sequence_flops(base.architecture, inputs.shape[1])
    subjects = {}
    for name, configuration in configurations.items():
        model = compress(base, configuration, inputs[:1])
        labels = _labels(configuration, model, inputs) | {"flops": flops}
        subjects[name] = Subject(model, labels, correct(model, inputs, target, batch_size))
    return subjects


def hits_table(subjects: Mapping[str, Subject], train: Windows, test: Windows) -> list[dict[str, int]]:
    """A row a test window: the day it begins, and which configurations and frugal forecasters get it
    right (1) or wrong (0)."""
    hits = {name: subject.hits.numpy() for name, subject in subjects.items()}
    hits |= {name: said == test.target for name, said in frugal_predictions(train, test).items()}
    return [
        {"first_day": int(day)} | {name: int(right[index]) for name, right in hits.items()}
        for index, day in enumerate(test.first_day)
    ]


def _searched(best: Path) -> Configuration:
    document = read_json(best)
    action = document.get("best_seen", {}).get("action") if isinstance(document, dict) else None
    if not isinstance(action, int) or not 0 <= action < ACTIONS:
        raise UserError(f"{best}: best_seen.action is {action!r}; run `dvc repro rl_search` again")
    return Configuration.of_action(action)


def _labels(configuration: Configuration, model: nn.Module, inputs: Tensor) -> dict[str, Any]:
    counted = account(model, inputs.shape[1], inputs.shape[2])
    return {
        "name": configuration.name,
        "pruning": configuration.pruning,
        "quantization": configuration.quantization,
        "precision": "int8" if counted.int8_parameters else "fp32",
        **asdict(counted),
    }
