"""Words of the paper's sentences that follow from values: directions, verdicts, lists.

A template prints these instead of typing a comparison, so that a sentence turns with its rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.searching import OURS, Searching
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.reporting.formats import MISSING, declared_percent, parts_text, percent, significant
from sustainable.reporting.names import searcher_name
from sustainable.reporting.policies.costs import MemoryLine
from sustainable.reporting.policies.notebook import CONTROL, PUBLISHED
from sustainable.reporting.policies.returns import beside_published
from sustainable.reporting.policies.summary import Policies, shown
from sustainable.statistics import Estimate, Ratio

FRACTION_BELOW = 0.5
MASKED = "masked"
"""The family of candidates that no searcher reads."""
INT8_LIBRARY, INT8_ONNX = ("ptdq", "ptsq", "qat"), ("ptdq_onnxruntime", "ptsq_onnxruntime", "qat_onnxruntime")

CITED = {
    "PPO": "schulman2017ppo",
    "TRPO": "schulman2015trpo",
    "SAC": "haarnoja2018sac",
    "TD3": "fujimoto2018td3",
}
"""Keys of the bibliography by algorithm."""


def fraction_text(ratio: Ratio | None) -> str:
    """Print `1/190` for a ratio of 0.00526, and `0.69` for one of 0.694."""
    return MISSING if ratio is None else fraction(ratio.estimate)


def fraction(value: float) -> str:
    """Print a share as `fraction_text` does."""
    if value >= FRACTION_BELOW:
        return f"{value:.2f}"
    return f"1/{1 / value:,.0f}" if 10 * value <= 1 else f"1/{1 / value:.1f}"


def point_text(found: Estimate | None) -> str:
    """Print an estimate without its interval, with three significant digits."""
    return MISSING if found is None else significant(found.estimate)


def cpu_text(host: Mapping[str, Any]) -> str:
    """Name the CPU of a described host, its microarchitecture (if it is known) and its instructions."""
    known = [host.get("microarchitecture"), host["isa"]]
    return f"{host['cpu']} ({'; '.join(filter(None, known))})"


def side_text(interval: Any, reference: float = 1.0) -> str:
    """Say on which side of `reference` an interval lies: `less than`, `more than` or neither."""
    if interval is None:
        return "not compared with"
    if interval.high < reference:
        return "less than"
    return "more than" if interval.low > reference else "not certainly more or less than"


def listed(names: Iterable[str]) -> str:
    """Join as in `a, b and c`; `none` if there is none."""
    found = list(names)
    return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]])) if found else "none"


def counted_verdicts(claims: Iterable[Claim]) -> str:
    """Count the verdicts: `2 confirmed, 9 refuted and 3 inconclusive`."""
    counts = Counter(claim.verdict for claim in claims)
    return listed(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def details_text(claim: Claim, with_parts: bool = True) -> str:
    """What stands after a verdict, as in ` (bytes: confirmed; other hosts: confirmed on amd-zen4)`.

    Empty for a claim without parts that no other host has judged.
    """
    by_verdict: dict[str, list[str]] = {}
    for name, host in claim.hosts.items():
        by_verdict.setdefault(host.verdict, []).append(name)
    others = ", ".join(f"{verdict} on {listed(names)}" for verdict, names in sorted(by_verdict.items()))
    found = [parts_text(claim)] if with_parts and claim.parts else []
    found += [f"other hosts: {others}"] if others else []
    return f" ({'; '.join(found)})" if found else ""


def compared_regret(searching: Searching) -> str:
    """Say which searchers our agent's mean regret is higher and lower than."""
    named = {searcher_name(line.name): line.ours_is for line in searching.rivals}
    phrases = {
        "higher": "higher than that of {}",
        "lower": "lower than that of {}",
        "undecided": "not significantly different from that of {}",
    }
    return "; ".join(by_direction(named, phrases)) or "not compared"


def by_direction(named: Mapping[str, str | None], phrases: Mapping[str, str]) -> list[str]:
    """Fill each of `phrases` with the names that have its direction; one without names is left out."""
    names = {way: [name for name, own in named.items() if own == way] for way in phrases}
    return [phrase.format(listed(names[way])) for way, phrase in phrases.items() if names[way]]


@dataclass(frozen=True)
class Ends:
    """The smallest and the largest of some estimates; None if there are none."""

    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return MISSING if self.low is None else f"{self.low:.2f} to {self.high:.2f}"


def ends_of(ratios: Iterable[Ratio | None]) -> Ends:
    """Collect the ends of the estimates."""
    found = [ratio.estimate for ratio in ratios if ratio is not None]
    return Ends(min(found, default=None), max(found, default=None), len(found))


def story_values(
    study: Forecasting, policies: Policies, published: Mapping[str, Any], confidence: float
) -> dict[str, Any]:
    """Collect what only the paper's sentences print. `published` is study B's source."""
    tasks = study.tasks
    return policies_story(policies, published, confidence) | {
        "candidate_seeds": listed_numbers(task.run.candidates["seeds"].max() for task in tasks.values()),
        "unmasked": [int((task.run.candidates["family"] != MASKED).sum()) for task in tasks.values()],
        "grid_points": sum(int(task.searching.choices["grid_points"]) for task in tasks.values()),
        "lowest_regret": listed(
            f"{searcher_name(task.searching.best.name)} ({task.title})" for task in tasks.values()
        ),
        "published_sparsity": percent(study.source.later["ppo"]["sparsity"]),
        "relation_to_uncompressed": {name: _against_uncompressed(task) for name, task in tasks.items()},
    }


def policies_story(policies: Policies, published: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """Collect what only the paper's sentences on study B print."""
    arms, cells = policies.notebook.arms, published["cells"]
    environments = {name for own in cells.values() for name in own}
    trained = {one.entry["environment"].partition("-")[0] for one in policies.trained}
    algorithms = dict.fromkeys(one.entry["algorithm"] for one in policies.trained)
    phrases = {PUBLISHED: "when it is repaired only so far that it runs", CONTROL: "with nothing compressed"}
    return {
        "policy_numbers": policy_numbers(policies),
        "policy_seeds": listed_numbers(len(one.entry["policies"]) for one in policies.trained),
        "learned_share": policies.trained[0].entry["learned_share"],
        "source_algorithms": len(cells),
        "source_environments": len(environments),
        "shared_environments": listed(sorted(environments & trained)),
        "survival": _survival(policies, published["pruning_survival"], confidence),
        "algorithms": [{"name": name, "key": CITED.get(name)} for name in algorithms],
        "notebook_arms": [
            {"validated": arms[name].validated, "phrase": phrase}
            for name, phrase in phrases.items()
            if name in arms
        ],
    }


def _survival(policies: Policies, said: Sequence[Mapping[str, Any]], confidence: float) -> list[Any]:
    """The published shares of policies that do not survive pruning, beside ours, counted the source's way."""
    lines = beside_published(policies.survival, policies.largest, said, confidence)
    return [
        {"found": line["structured"], "lost": line["lost"], "pruned": pruned_text(line)}
        for line in lines
        if line.get("structured")
    ]


def pruned_text(line: Mapping[str, Any]) -> str:
    """Write the pruned share of a published statement: `more than 5 %`."""
    return ("more than " if line["more_than"] else "") + declared_percent(line["share"])


def _against_uncompressed(task: AuditedTask) -> str:
    """Relate the choice to the fastest uncompressed runtime, at the batch size where it saves least."""
    ratios = [timing.to_uncompressed for timing in task.audited.lines[OURS].timings.values()]
    known = [ratio for ratio in ratios if ratio is not None]
    return side_text(max(known, key=lambda ratio: ratio.high, default=None))


def listed_numbers(numbers: Iterable[float]) -> str:
    """List different whole numbers in ascending order: `5` or `3 and 5`."""
    return listed(str(number) for number in sorted({int(number) for number in numbers}))


def policy_numbers(policies: Policies) -> dict[str, Any]:
    """Ranges over learned policies that the paper's sentences on study B print."""
    cells = shown(policies)

    def effects(keys: Sequence[str], outcome: str, to: str = "same_runtime") -> Ends:
        lines = [cell.lines[key] for cell in cells for key in keys if key in cell.lines]
        return ends_of(getattr(line.effects[outcome], to) for line in lines)

    return {
        "int8_calls": effects(INT8_LIBRARY, "policy"),
        "int8_onnx_calls": effects(INT8_ONNX, "policy"),
        "int8_steps": effects(INT8_LIBRARY, "step"),
        "int8_onnx_steps": effects(INT8_ONNX, "step"),
        "masked_steps": effects(("unstructured_l1_50",), "step"),
        "smaller_steps": effects(("structured_l1_50",), "step"),
        "onnx_steps": effects(("onnxruntime",), "step", "to_baseline"),
        "numpy_steps": effects(("numpy",), "step", "to_baseline"),
        "memory": memory_ends(policies.memory),
        "large_memory": memory_ends(policies.large),
    }


def memory_ends(lines: Mapping[str, MemoryLine]) -> Ends:
    """The ends of the memory of compressed networks relative to the uncompressed ones."""
    return ends_of(line.same_runtime for line in lines.values() if line.method != "none")
