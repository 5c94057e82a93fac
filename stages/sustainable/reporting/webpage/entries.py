"""What the page shows of each claim: its rule and verdict, the rows that decide it, and how to repeat it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.task import TITLES
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED

GROUPS = {
    "A": "Study A: the claims of its source",
    "C": "Study A: our claims, audited",
    "B": "Study B: the claims of its source",
    "F": "Study B: the takeaways of its source",
}
"""What the letter of a claim's id stands for; any other letter is its own title."""
VERDICT_MARKS = {CONFIRMED: "✓", REFUTED: "✗", INCONCLUSIVE: "?"}
UNTESTED = "-"
"""The mark of a claim that this host cannot test."""
OF_TASK = {
    "data/benchmark/{}.csv": (("audited", "decomposition"), ("audited_{}", "decomposition_{}")),
    "data/benchmark/{}.hits.csv": (("gate", "tasks", "quality"), ()),
    "data/search/{}/candidates.csv": (("proxies",), ("proxies_{}", "candidates_{}")),
    "data/search/{}/improvements.csv": (("searchers", "budgets"), ("regret_{}", "ranks_{}")),
}
PRINTED: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "data/benchmark/published.csv": (("results", "gap"), ("configurations_published",)),
    "data/benchmark/remeasured.csv": (("blocks",), ("ratios", "configurations_remeasured")),
    "data/benchmark/published.hits.csv": (("accuracy",), ("configurations_published",)),
    "data/benchmark/remeasured.hits.csv": (("accuracy",), ()),
    "data/benchmark/layerwise.csv": (("zeros",), ()),
    "data/search/published/actions.csv": (("models", "reward"), ("counts", "action_rewards")),
    "data/search/published/best_action.json": (("reward",), ("action_rewards",)),
    "data/search/published/discovery.csv": (("discovery",), ("discovery",)),
    "data/search/layerwise/searches.csv": (("layerwise",), ("plans",)),
    "data/search/layerwise/plans.csv": (("layerwise",), ("plans",)),
    "data/benchmark/policies.csv": (
        ("policies_savings", "policies_causes"),
        ("policies_ratios", "policies_split"),
    ),
    "data/benchmark/workload.csv": (("policies_doses",), ("policies_doses",)),
    "data/benchmark/memory.csv": (("policies_memory",), ()),
    "data/benchmark/notebook.csv": (("notebook_arms", "notebook_tests"), ("notebook_panels",)),
    "data/policies/returns.csv": (("policies_survival", "policies_printed"), ("policies_survival",)),
} | {
    path.format(task): (tables, tuple(figure.format(task) for figure in figures))
    for task in TITLES
    for path, (tables, figures) in OF_TASK.items()
}
"""The tables and the figures that print a file of rows, the most telling first."""


@dataclass(frozen=True)
class ClaimEntry:
    """A judged claim as the page shows it."""

    claim: Claim
    files: Sequence[str]  # that decide it
    needs: Sequence[str]  # what a host must be able to count or measure
    untestable: str | None  # why no run can test it
    tables: Sequence[str]
    figures: Sequence[str]

    @property
    def mark(self) -> str:
        """A sign for the verdict, so that colour is never all that tells it."""
        return VERDICT_MARKS.get(self.claim.verdict, UNTESTED)

    @property
    def kind(self) -> str:
        """The first word of the verdict: the class of its style."""
        return self.claim.verdict.split()[0]


@dataclass(frozen=True)
class ClaimGroup:
    """The claims of one letter."""

    title: str
    entries: Sequence[ClaimEntry]


def claim_groups(judged: Sequence[Claim], tables: Sequence[str], figures: Sequence[str]) -> list[ClaimGroup]:
    """Group the claims by letter, each with those of `tables` and `figures` that print what decides it."""
    entries = [_entry(claim, tables, figures) for claim in judged]
    return [
        ClaimGroup(GROUPS.get(letter, letter), list(own))
        for letter, own in groupby(entries, key=lambda entry: entry.claim.id[0])
    ]


def _entry(claim: Claim, tables: Sequence[str], figures: Sequence[str]) -> ClaimEntry:
    declaration = DECLARATIONS[claim.id]
    printed = [PRINTED[path] for path in declaration.decided_by if path in PRINTED]
    return ClaimEntry(
        claim=claim,
        files=declaration.decided_by,
        needs=declaration.needs,
        untestable=declaration.untestable,
        tables=_known((name for of_file, _ in printed for name in of_file), tables),
        figures=_known((name for _, of_file in printed for name in of_file), figures),
    )


def _known(names: Iterable[str], there: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name in there]
