"""The data of the page's interactive parts: the deployment spaces, the searches, and the decision aid.

The page draws and looks up; it judges nothing. Every answer of the decision aid is one of
`recommendation.steps_of`, which are all answers that there are.
"""

from collections.abc import Mapping
from typing import Any

from sustainable.reporting.forecasting.audited_claims import CHOICE
from sustainable.reporting.forecasting.recommendation import DEFAULT_RATE_PER_S, Choices, Deployable, Offer
from sustainable.reporting.forecasting.recommendation import break_even_text, default_floor, front_of
from sustainable.reporting.forecasting.recommendation import saving_text, steps_of
from sustainable.reporting.forecasting.searching import Searching
from sustainable.reporting.forecasting.summary import SECONDS_PER_DAY, Forecasting
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.reporting.formats import significant
from sustainable.reporting.names import searcher_name

DIGITS = 4
"""Significant digits of what is drawn; the decision aid has all digits."""
SHARE_OF_CURVE = 0.005
"""A curve is drawn only where it changes by more than this share."""


def interactive_data(study: Forecasting, choices: Mapping[str, Choices], margin: float) -> dict[str, Any]:
    """Collect what the page's script reads; `margin` is the loss of accuracy that counts as none."""
    return {
        "rate_per_s": DEFAULT_RATE_PER_S,
        "seconds_per_day": SECONDS_PER_DAY,
        "tasks": [
            {
                "key": name,
                "title": choices[name].title,
                "sizes": choices[name].batch_sizes,
                "floor": round(default_floor(choices[name], margin), 6),
                "candidates": _candidates(choices[name], task),
                "aid": {str(size): _steps(choices[name], size) for size in choices[name].batch_sizes},
                "baseline_ms": {str(s): c.cpu_time_ms for s, c in choices[name].baseline.costs.items()},
                "regret": _regret(task.searching),
            }
            for name, task in study.tasks.items()
        ],
    }


def drawn(value: float) -> float:
    """Round to the digits that are drawn."""
    return float(f"{value:.{DIGITS}g}")


def _candidates(choices: Choices, task: AuditedTask) -> list[dict[str, Any]]:
    chosen = task.audited.lines[CHOICE].name if CHOICE in task.audited.lines else None
    fronts = {size: [id(one) for one in front_of(choices, size)] for size in choices.batch_sizes}
    return [
        {
            "name": one.name,
            "runtime": "rule or regression" if one.trivial else one.runtime,
            "precision": one.precision,
            "accuracy": drawn(one.validation_accuracy),
            "test": drawn(one.test_accuracy),
            "ms": {str(size): drawn(cost.cpu_time_ms) for size, cost in one.costs.items()},
            "at_most": any(cost.at_most for cost in one.costs.values()),
            "front": [size for size, ids in fronts.items() if id(one) in ids],
            "role": _role(one, choices, chosen),
        }
        for one in choices.candidates
    ]


def _role(one: Deployable, choices: Choices, chosen: str | None) -> str:
    """What a candidate is marked as in the figure; empty for most."""
    if one is choices.baseline:
        return "baseline"
    if one.trivial:
        return one.name.split(" (")[0]
    return "the PPO searcher's choice" if one.name.replace(" on ", " ") == chosen else ""


def _steps(choices: Choices, size: int) -> list[dict[str, Any]]:
    """The answers by floor, ascending; neighbours that say the same are joined."""
    steps: list[dict[str, Any]] = []
    for upto, answer in steps_of(choices, size):
        step = {
            "choice": _offer(answer.choice, choices, size),
            "runner_up": answer.runner_up and _offer(answer.runner_up, choices, size),
            "within_noise": answer.within_noise,
        }
        if steps and {**steps[-1], "upto": None} == {**step, "upto": None}:
            steps[-1]["upto"] = upto
        else:
            steps.append({**step, "upto": upto})
    return steps


def _offer(offer: Offer, choices: Choices, size: int) -> dict[str, Any]:
    """An offer as the page prints it. Texts that depend on the request rate are left to the page's script."""
    one, even = offer.candidate, offer.break_even
    bound = "at most " if offer.cost.at_most else ""
    return {
        "name": one.name,
        "trivial": one.trivial,
        "accuracy": f"{one.validation_accuracy:.3f}",
        "test_accuracy": one.test_accuracy,
        "test": f"{one.test_accuracy:.3f}",
        "cpu_ms": offer.cost.cpu_time_ms,
        "cpu": f"{bound}{significant(offer.cost.cpu_time_ms)} ms per forecast",
        "bound": bound,
        "saving": saving_text(offer.saving),
        "over_uncompressed": f"{saving_text(offer.over_uncompressed)} ({choices.uncompressed[size].name})",
        "forecasts": even.inferences,
        "forecasts_text": break_even_text(offer),
        "reason": even.reason,
    }


def _regret(searching: Searching) -> dict[str, Any]:
    return {
        "budgets": list(searching.budgets),
        "main": searching.budget,
        "searchers": [
            {
                "name": searcher_name(line.name),
                "group": line.group,
                "learns": line.is_rl,
                "seeds": line.seeds,
                "curve": _curve(line.curve.mean, line.curve.low, line.curve.high),
            }
            for line in searching.lines.values()
        ],
    }


def _curve(mean: Any, low: Any, high: Any) -> list[list[float]]:
    """[evaluation, mean, low, high] where the mean changes, and at both ends."""
    points: list[list[float]] = []
    for index, values in enumerate(zip(mean, low, high, strict=True)):
        changed = not points or abs(values[0] - points[-1][1]) > SHARE_OF_CURVE * abs(points[-1][1])
        if changed or index == len(mean) - 1:
            points.append([index + 1, *(drawn(float(value)) for value in values)])
    return points
