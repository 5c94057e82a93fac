"""What should I deploy? The cheapest candidate of study A that is accurate enough, from the measured table.

The answer names the host that measured the table: measure it again where you deploy it. Exit status 1, and
one line, if no candidate reaches the floor or an option makes no sense.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parameters import read_section, read_tasks
from sustainable.reporting.forecasting.recommendation import DEFAULT_RATE_PER_S, Choices, Offer
from sustainable.reporting.forecasting.recommendation import Recommendation, break_even_text, choices_of
from sustainable.reporting.forecasting.recommendation import default_floor, recommend, saving_text
from sustainable.reporting.forecasting.run import read_task
from sustainable.reporting.formats import estimated, fixed, significant
from sustainable.reporting.parameters import ReportParameters, timing_rounds
from sustainable.verification.place import REFERENCE, ROOT


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--task", default="weather", help="task of study A (default: weather)")
    parser.add_argument(
        "--accuracy-floor",
        type=float,
        help="lowest validation accuracy (default: the baseline's less the margin)",
    )
    parser.add_argument(
        "--rate", type=float, default=DEFAULT_RATE_PER_S, help="requests per second (default: 1)"
    )
    parser.add_argument("--batch-size", type=int, default=1, help="requests per call (default: 1)")
    parser.add_argument(
        "--data", type=Path, default=ROOT / REFERENCE, help="a run (default: the shipped one)"
    )
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    choices, margin = read_choices(arguments.data, arguments.params, arguments.task)
    floor = arguments.accuracy_floor
    floor = default_floor(choices, margin) if floor is None else floor
    answer = recommend(choices, floor, arguments.rate, arguments.batch_size)
    if arguments.json:
        print(json.dumps(answer_document(answer, choices), indent=2, sort_keys=True, allow_nan=False))
    else:
        print("\n".join(lines_of(answer, choices)))


def read_choices(data: Path, params: Path, task: str) -> tuple[Choices, float]:
    """Read the candidates of a task from the run in `data`, and the loss of accuracy that counts as none."""
    tasks = read_tasks(params)
    if task not in tasks:
        raise UserError(f"{task}: unknown task; name one of {', '.join(tasks)}")
    parameters = read_section(params, "report", ReportParameters)
    run, rounds = read_task(data, task), timing_rounds(params)
    return choices_of(task, run, rounds, parameters.confidence), parameters.audited.accuracy_margin


def answer_document(answer: Recommendation, choices: Choices) -> dict[str, Any]:
    """The answer for machines: what the lines for people say, unrounded."""
    return {
        "task": choices.task,
        "accuracy_floor": answer.floor,
        "rate_per_s": answer.rate_per_s,
        "batch_size": answer.batch_size,
        "choice": _offer_document(answer, answer.choice),
        "runner_up": answer.runner_up and _offer_document(answer, answer.runner_up),
        "within_noise": answer.within_noise,
        "below_floor_on_test": answer.misses_on_test,
        "baseline_cpu_time_ms": choices.baseline.costs[answer.batch_size].cpu_time_ms,
        "invested_cpu_s": dict(choices.invested_cpu_s),
        "left_out": dict(choices.left_out),
        "confidence": choices.confidence,
        "host": {name: choices.host[name] for name in ("cpu", "isa", "threads")},
        "evidence": {"cpu_time": "clock", "energy": choices.energy_evidence},
    }


def _offer_document(answer: Recommendation, offer: Offer) -> dict[str, Any]:
    one = offer.candidate
    return {
        "name": one.name,
        "trivial": one.trivial,
        "validation_accuracy": one.validation_accuracy,
        "test_accuracy": one.test_accuracy,
        "cpu_time_ms": offer.cost.cpu_time_ms,
        "cpu_time_is_upper_bound": offer.cost.at_most,
        "cores": answer.cores(offer.cost),
        "saving": asdict(offer.saving),
        "saving_over_uncompressed": asdict(offer.over_uncompressed),
        "break_even_forecasts": asdict(offer.break_even),
        "break_even_days": answer.days(offer.break_even.inferences),
    }


def lines_of(answer: Recommendation, choices: Choices) -> Iterator[str]:
    """The answer for people."""
    size = answer.batch_size
    yield f"{choices.title}: accuracy floor {answer.floor:.4g}, rate {answer.rate_per_s:g}/s, batch {size}"
    yield f"\nDeploy: {answer.choice.candidate.name}"
    yield from _offer_lines(answer, answer.choice, choices)
    if answer.misses_on_test:
        yield "  note            below the floor on the test windows"
    if answer.runner_up is None:
        yield "\nRunner-up: none; nothing else reaches the floor"
    else:
        yield f"\nRunner-up: {answer.runner_up.candidate.name}"
        yield from _offer_lines(answer, answer.runner_up, choices)
        if answer.within_noise:
            yield "  note            timing cannot tell the two apart"
    for name, reason in choices.left_out.items():
        yield f"\nLeft out: {name}: {reason}"
    host, energy = choices.host, choices.energy_evidence
    yield f"\nMeasured on: {host['cpu']}, {host['isa']}, threads: {host['threads']}."
    yield f"Evidence: CPU time by the clock; energy {estimated(energy)}."
    yield "Another CPU may order them otherwise: measure where you deploy (`make claim-C4` times them all)."


def _offer_lines(answer: Recommendation, offer: Offer, choices: Choices) -> Iterator[str]:
    one, base = offer.candidate, choices.baseline.costs[answer.batch_size]
    bound = "at most " if offer.cost.at_most else ""
    own_ms, base_ms = (significant(cost.cpu_time_ms) for cost in (offer.cost, base))
    cores, base_cores = (significant(answer.cores(cost)) for cost in (offer.cost, base))
    other = choices.uncompressed[answer.batch_size].name
    yield f"  accuracy        {one.validation_accuracy:.3f} (validation), {one.test_accuracy:.3f} (test)"
    yield f"  CPU time        {bound}{own_ms} ms per forecast (eager baseline: {base_ms} ms)"
    yield f"  saving          {saving_text(offer.saving)} of the eager baseline's CPU time"
    yield f"                  {saving_text(offer.over_uncompressed)} of that of {other}"
    yield f"  break-even      {pay_back_text(answer, offer, sum(choices.invested_cpu_s.values()))}"
    yield f"  load            {bound}{cores} cores (eager baseline: {base_cores})"


def pay_back_text(answer: Recommendation, offer: Offer, invested_s: float) -> str:
    """After how many forecasts and days the search is repaid, or why it is not."""
    text, days = break_even_text(offer), answer.days(offer.break_even.inferences)
    if not days:  # at once, or never
        return text
    return f"{text}, {fixed(days, 2)} days: finding it took {invested_s:.0f} s of CPU time"


if __name__ == "__main__":
    exit_on_error(main)
