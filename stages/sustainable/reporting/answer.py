"""The answer of the paper and the page: three short texts, which turn with the verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sustainable.energy.meter import COUNTER
from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.audited_claims import CHOICE
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.reporting.names import searcher_name
from sustainable.reporting.wording import by_direction, fraction
from sustainable.statistics import CONFIRMED, REFUTED

FORECASTER, ACCURACY, TRIVIAL, POLICIES, AGENT = "C2", "C1", "C5", "B1", "C3"
"""The claims that the answer says."""
STEP = "cost of a step"
"""The part of `POLICIES` that is about cost, not about size."""


@dataclass(frozen=True)
class Part:
    """A part of the answer, and the claims that it follows from."""

    about: str
    text: str
    claims: Sequence[str]


def answer_of(study: Forecasting, judged: Sequence[Claim]) -> list[Part]:
    """Say whether compression saves in forecasters and in policies, and whether an agent helps to find it."""
    by_id = {claim.id: claim for claim in judged}
    return [
        Part("Forecasters", _forecasters(study, by_id), [FORECASTER, ACCURACY, TRIVIAL]),
        Part("Policies", _policies(by_id[POLICIES]), [POLICIES]),
        Part("The agent", _agent(study, by_id[AGENT].verdict), [AGENT]),
    ]


def _forecasters(study: Forecasting, by_id: Mapping[str, Claim]) -> str:
    verdict, titles = by_id[FORECASTER].verdict, [task.title for task in study.tasks.values()]
    said = {
        CONFIRMED: "Compressing a forecaster saves CPU time, also against the fastest uncompressed runtime",
        REFUTED: "Compressing a forecaster saves no CPU time against the fastest uncompressed runtime",
    }.get(
        verdict,
        f"The claim that compressing a forecaster saves CPU time against the fastest runtime is {verdict}",
    )
    of_runtime, of_baseline = _shares(study, "to_uncompressed"), _shares(study, "ratio")
    kept = _parts(by_id[ACCURACY].parts, {title: f"{title}, accuracy" for title in titles})
    better = _parts(by_id[TRIVIAL].parts, {title: title for title in titles})
    counted = study.results["remeasured"].cpu_evidence == COUNTER
    sentences = [
        f"{said}: relative to it, that of a forecast is {of_runtime}" if of_runtime else said,
        f"Relative to eager PyTorch, it is {of_baseline}" if of_baseline else "",
        f"The claim that its accuracy is not inferior is {kept}" if kept else "",
        f"The claim that the uncompressed network beats trivial forecasters is {better}" if better else "",
        "Energy was counted, too" if counted else "No energy was counted on this host",
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _parts(parts: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """As in `confirmed on MNIST-1D`, for each title whose key is a part."""
    return " and ".join(f"{parts[key]} on {title}" for title, key in keys.items() if key in parts)


def _shares(study: Forecasting, ratio: str) -> str:
    """As in `1/190 to 1/78 on Weather`, for every task whose choice was measured; `ratio` of `Timing`."""
    return " and ".join(filter(None, (_share(task, ratio) for task in study.tasks.values())))


def _share(task: AuditedTask, ratio: str) -> str:
    line = task.audited.lines.get(CHOICE)
    found = [getattr(timing, ratio) for timing in line.timings.values()] if line else []
    ratios = [one.estimate for one in found if one is not None]
    ends = [fraction(end) for end in (min(ratios), max(ratios))] if ratios else []
    return f"{' to '.join(dict.fromkeys(ends))} on {task.title}" if ends else ""


def _policies(claim: Claim) -> str:
    verdict = claim.parts.get(STEP, claim.verdict)
    said = {
        CONFIRMED: "Compressing a reinforcement-learning policy saves nothing per step",
        REFUTED: "Compressing a reinforcement-learning policy can save CPU time per step",
    }.get(
        verdict,
        f"The claim that compressing a reinforcement-learning policy saves nothing per step is {verdict}",
    )
    ratios = [
        float(pooled["ratio"]["estimate"])
        for pooled in claim.values.get("pooled", {}).values()
        if pooled["ratio"] is not None
    ]
    if not ratios:
        return f"{said}."
    return (
        f"{said}: pooled over policies, the {len(ratios)} compressed configurations take {min(ratios):.2f} "
        f"to {max(ratios):.2f} times the CPU time of the uncompressed policy under the same runtime."
    )


def _agent(study: Forecasting, verdict: str) -> str:
    said = {
        CONFIRMED: "With as many evaluations, the reinforcement-learning agent finds the best deployments",
        REFUTED: "With as many evaluations, another searcher finds better deployments than the "
        "reinforcement-learning agent",
    }.get(verdict, f"The claim that the reinforcement-learning agent finds the best deployments is {verdict}")
    compared = "; ".join(f"on {task.title} {_against(task)}" for task in study.tasks.values())
    return f"{said}: {compared}."


def _against(task: AuditedTask) -> str:
    """As in `its regret is higher than that of local search and TPE`."""
    named = {searcher_name(line.name): line.ours_is for line in task.searching.rivals}
    phrases = {
        "lower": "lower than that of {}",
        "higher": "higher than that of {}",
        "undecided": "undecided against {}",
    }
    found = by_direction(named, phrases)
    return f"its regret is {', '.join(found)}" if found else "it has no rival"
