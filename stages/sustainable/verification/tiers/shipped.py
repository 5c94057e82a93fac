"""`make verify`: the shipped artifact, without training, measuring or network."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.reporting.pages import Report, report_on
from sustainable.verification.tiers.exact import check_figures, check_oracle, check_weights, check_windows
from sustainable.verification.tiers.integrity import RERUN, check_integrity
from sustainable.verification.items import RESTORE, Item, Tier, skipped
from sustainable.verification.manifest import check_manifest
from sustainable.verification.place import MANIFEST, REFERENCE, Place
from sustainable.verification.tiers.verdicts import check_claims, check_metrics, check_pages, check_tracing

NOT_RUN: tuple[tuple[Tier, str, str], ...] = (
    ("T1", "training", "nothing is trained here: `make test-cpu` trains a few steps, `make reproduce` all"),
    ("T2", "numeric artifacts", "nothing numeric but the splits is computed here: `make verify RUN=1`"),
    (
        "T3",
        "measured rows",
        "nothing is measured here: `make verify RUN=1`, or `make claim-...` for one claim",
    ),
)


@dataclass(frozen=True)
class Part:
    """Checks that belong together. `read`: what they read of the project, as patterns of paths, so that a
    part need not be repeated where none of it has changed."""

    tier: Tier
    name: str
    check: Callable[[Place], Iterable[Item]]
    read: tuple[str, ...]

    def items(self, root: Path) -> list[Item]:
        return safely(self.tier, self.name, lambda: self.check(Place(root)))


def check_shipped(root: Path) -> list[Item]:
    """Every item of the shipped artifact, in two processes: what follows from the rows, and the rest."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as beside:
        others = [beside.submit(part.items, root) for part in PARTS if part.tier != "T4"]
        items = [item for part in PARTS if part.tier == "T4" for item in part.items(root)]
        items = [item for one in others for item in one.result()] + items
    items += [skipped(tier, name, why) for tier, name, why in NOT_RUN]
    return sorted(items, key=lambda item: item.tier)


def _claims_and_pages(place: Place) -> Iterable[Item]:
    """What follows from the shipped rows."""
    report = report_of(place, place.reference)
    reference = place.reference
    return [
        *check_claims(report, reference / "claims.json", "shipped"),
        *check_manifest_claims(place, report),
        check_metrics(report, reference / "metrics/benchmark.json"),
        *check_pages(report, place.root / "paper/templates", reference / "paper", "shipped"),
        *check_tracing(place.root, report),
    ]


def report_of(place: Place, data: Path) -> Report:
    """The report on the run in `data`, with this project's parameters and published numbers. Computed once
    for the same bytes: what is forged elsewhere leaves it as it is."""
    published, params = place.root / "paper/published.yaml", place.root / "params.yaml"
    read = [published, params, *(path for path in data.rglob("*") if path.suffix in (".csv", ".json"))]
    state = fingerprint({str(path): file_sha256(path) for path in read if path.name != MANIFEST})
    return _report(state, data, published, params)


@lru_cache(maxsize=4)
def _report(state: str, data: Path, published: Path, params: Path) -> Report:
    return report_on(data, published, params)


def check_manifest_claims(place: Place, report: Report) -> Iterable[Item]:
    """The verdicts of the manifest are those of the rows."""
    verdicts = {claim.id: claim.verdict for claim in report.found.judged}
    stated = {key: entry["verdict"] for key, entry in place.manifest["claims"].items()}
    name = f"verdicts of {MANIFEST} follow from the rows"
    wrong = [key for key in {**verdicts, **stated} if verdicts.get(key) != stated.get(key)]
    if not wrong:
        yield Item(
            "T4", name, "ok", "recomputed here", f"{len(stated)} verdicts", stage="report", reached="T4"
        )
        return
    expected, found = verdicts.get(wrong[0]), stated.get(wrong[0])
    yield Item("T4", name, "FAIL", "shipped", wrong[0], str(expected), str(found), "report", RESTORE)


def safely(tier: Tier, name: str, check: Callable[[], Iterable[Item]]) -> list[Item]:
    """The items of a check; what cannot be read is a failure of its own, and the other checks go on."""
    items: list[Item] = []
    try:
        items.extend(check())
    except (UserError, OSError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        items.append(Item(tier, name, "FAIL", "shipped", "", "files that can be read", found, None, RERUN))
    return items


def _integrity(place: Place) -> Iterable[Item]:
    yield from check_integrity(place)
    yield from check_manifest(place)


PARTS = (
    Part("T0", "integrity", _integrity, ("*",)),
    Part("T1", "windows", check_windows, ("data/raw/*", "params.yaml", f"{REFERENCE}/{MANIFEST}")),
    Part("T1", "weights", check_weights, (f"{REFERENCE}/models/*", f"{REFERENCE}/policies/table.json",
                                          f"{REFERENCE}/metrics/*", f"{REFERENCE}/benchmark/published.csv")),
    Part("T1", "oracle", check_oracle, ("params.yaml", f"{REFERENCE}/search/*")),
    Part("T1", "figures", check_figures, (f"{REFERENCE}/{MANIFEST}",)),
    Part("T4", "claims", _claims_and_pages, ("params.yaml", "paper/*", f"{REFERENCE}/*")),
)  # fmt: skip
