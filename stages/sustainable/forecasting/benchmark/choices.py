"""What a benchmark's configurations may be: compressions, deployments, what a search chose, and controls."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.core.parameters import STRICT
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration
from sustainable.forecasting.compression.runtimes import Precision, Runtime
from sustainable.forecasting.layerwise.plan import LayerPlan
from sustainable.forecasting.model.gru import Width

SearchedChoice = Literal[
    "search", "oracle", "ppo_stepwise", "best_uncompressed", "chosen_widths", "chosen_fp32"
]
"""What a search chose. The last two are steps on the way to the choice of `ppo_stepwise`: its widths alone,
in eager fp32, and its widths and runtime in fp32."""
FrugalChoice = Literal["logistic_last_day", "logistic_window"]
BrokenChoice = Literal["random_weights", "masked_90", "width_1"]
"""Networks that were compressed until they break, without fine-tuning: the accuracy gate must refuse them."""
ControlChoice = BrokenChoice | Literal["continued"]
"""What is scored and not timed: broken networks, and the baseline trained on as long as a pruned one."""


@dataclass(frozen=True, config=STRICT)
class Deployment:
    """A network in a precision and a runtime."""

    widths: tuple[Width, ...]
    """Hidden units per layer; fewer than the baseline's mean the pruned and fine-tuned network."""
    precision: Precision
    runtime: Runtime

    @property
    def name(self) -> str:
        """Return a name such as `128x64 int8 torch-eager`."""
        return f"{'x'.join(map(str, self.widths))} {self.precision} {self.runtime}"


BenchmarkChoice = Configuration | LayerPlan | Deployment | SearchedChoice | FrugalChoice
ResolvedChoice = Configuration | LayerPlan | Deployment | FrugalChoice | ControlChoice


def resolve(choice: BenchmarkChoice | ControlChoice, path: Path) -> ResolvedChoice:
    """Replace what a search chose by its choice in the file `path`; return all others as they are."""
    match choice:
        case "search":
            return _published_choice(path)
        case "oracle" | "ppo_stepwise" | "best_uncompressed":
            return _chosen_deployment(path, choice)
        case "chosen_widths":
            return Deployment(_chosen_deployment(path, "ppo_stepwise").widths, "fp32", "torch-eager")
        case "chosen_fp32":
            chosen = _chosen_deployment(path, "ppo_stepwise")
            return Deployment(chosen.widths, "fp32", chosen.runtime)
    return choice


def deployed_widths(choices: Iterable[BenchmarkChoice], path: Path) -> list[tuple[int, ...]]:
    """Return the widths of all deployments among `choices`, without duplicates; `path` as in `resolve`."""
    resolved = [resolve(choice, path) for choice in choices]
    return list(dict.fromkeys(choice.widths for choice in resolved if isinstance(choice, Deployment)))


def _published_choice(path: Path) -> Configuration:
    document: Any = read_json(path)
    try:
        action = document["best_seen"]["action"]
    except (KeyError, TypeError):
        action = None
    if not isinstance(action, int) or not 0 <= action < ACTION_COUNT:
        raise UserError(f"{path}: best_seen.action is {action!r:.60}; run `dvc repro rl_search` again")
    return Configuration.of_action(action)


def _chosen_deployment(path: Path, name: str) -> Deployment:
    document: Any = read_json(path)
    try:
        point = document["choices"][name]
        return Deployment((point["width_0"], point["width_1"]), point["precision"], point["runtime"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: choices.{name} is not a deployment; run `dvc repro compare_searchers` again"
        ) from None
