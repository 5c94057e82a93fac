"""`make verify`: check the shipped artifact without training, measuring or network."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.reporting.pages import Report, report_on
from sustainable.verification.export.check import check_crate, check_repro
from sustainable.verification.items import RESTORE, Item, Tier, compared, skipped
from sustainable.verification.manifest import check_manifest
from sustainable.verification.place import MANIFEST, REFERENCE, Place
from sustainable.verification.tiers.exact import (
    check_figures,
    check_oracle,
    check_splits,
    check_weights,
)
from sustainable.verification.tiers.integrity import (
    check_entries,
    check_inputs,
    check_making,
    check_packages,
    check_sources,
    check_sums,
    check_tracked,
)
from sustainable.verification.tiers.verdicts import check_claims, check_metrics, check_pages, check_tracing

NOT_RUN: tuple[tuple[Tier, str, str], ...] = (
    ("T1", "training", "nothing is trained here: `make test-cpu` trains a few steps, `make reproduce` all"),
    ("T2", "numeric artifacts", "no forecasts are made here: `make verify RUN=1`"),
    (
        "T3",
        "measured rows",
        "nothing is measured here: `make verify RUN=1`, or `make claim-...` for one claim",
    ),
)


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of verification."""

    tier: Tier
    name: str
    check: Callable[[Place], Iterable[Item]]
    read: tuple[str, ...] = ("*",)
    """Patterns of the paths that it reads: its result is the same while none of them changes."""

    def items(self, place: Place) -> list[Item]:
        return safely(self.tier, self.name, lambda: self.check(place))


def check_shipped(root: Path) -> list[Item]:
    """Run every mechanism in two processes: those that need the report on the rows, and the rest."""
    place = Place(root)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as beside:
        rest = [beside.submit(one.items, place) for one in MECHANISMS if one.check not in NEED_REPORT]
        items = [item for one in MECHANISMS if one.check in NEED_REPORT for item in one.items(place)]
        items = [item for future in rest for item in future.result()] + items
    items += [skipped(tier, name, why) for tier, name, why in NOT_RUN]
    return sorted(items, key=lambda item: item.tier)


def report_of(place: Place, data: Path) -> Report:
    """The report on the run in `data`, with this project's parameters and published numbers.

    It is computed once for the same bytes, so that several mechanisms (and attacks elsewhere) share it.
    """
    published, params = place.root / "paper/published.yaml", place.root / "params.yaml"
    rows = [path for folder in ROW_FOLDERS for path in sorted((data / folder).rglob("*"))]
    read = [published, params, *(path for path in rows if path.suffix in (".csv", ".json"))]
    state = fingerprint({str(path): file_sha256(path) for path in read})
    return _report(state, data, published, params)


ROW_FOLDERS = ("benchmark", "metrics", "policies", "search", "training")
"""The folders of a run that a report reads."""


@lru_cache(maxsize=4)
def _report(state: str, data: Path, published: Path, params: Path) -> Report:
    return report_on(data, published, params)


def _shipped_report(place: Place) -> Report:
    return report_of(place, place.reference)


def _claims(place: Place) -> Iterator[Item]:
    return check_claims(_shipped_report(place), place.reference / "claims.json", "shipped")


def _metrics(place: Place) -> list[Item]:
    return [check_metrics(_shipped_report(place), place.reference / "metrics/benchmark.json")]


def _pages(place: Place) -> Iterator[Item]:
    templates, written = place.root / "paper/templates", place.reference / "paper"
    return check_pages(_shipped_report(place), templates, written, "shipped")


def _tracing(place: Place) -> Iterator[Item]:
    return check_tracing(place.root, _shipped_report(place))


def _manifest_claims(place: Place) -> Iterator[Item]:
    """Check that the verdicts of the manifest follow from the rows."""
    verdicts = {claim.id: claim.verdict for claim in _shipped_report(place).found.judged}
    stated = {key: entry["verdict"] for key, entry in place.manifest["claims"].items()}
    name = f"verdicts of {MANIFEST} follow from the rows"
    wrong = [key for key in {**verdicts, **stated} if verdicts.get(key) != stated.get(key)]
    expected = f"{len(verdicts)} verdicts"
    found = f"{wrong[0]} {stated.get(wrong[0], 'missing')}" if wrong else expected
    yield compared("T4", name, "recomputed here", expected, found, stage="report", advice=RESTORE)


def safely(tier: Tier, name: str, check: Callable[[], Iterable[Item]]) -> list[Item]:
    """The items of a check. An unreadable file is a failure of this check; the other checks continue."""
    items: list[Item] = []
    try:
        items.extend(check())
    except (UserError, OSError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        expected = "files that can be read"
        items.append(Item(tier, name, "FAIL", "shipped", "", expected, found, None, RESTORE))
    return items


REPORTED = (
    "params.yaml", "paper/*", "stages/sustainable/reporting/*", f"{REFERENCE}/paper/*",
    f"{REFERENCE}/claims.json", *(f"{REFERENCE}/{folder}/*" for folder in ROW_FOLDERS),
)  # fmt: skip
MECHANISMS = (
    Mechanism("T0", "sums", check_sums, (f"{REFERENCE}/*",)),
    Mechanism("T0", "manifest entries against files", check_entries, (f"{REFERENCE}/*",)),
    Mechanism("T0", "manifest entries against lock", check_manifest),
    Mechanism("T0", "sources", check_sources),
    Mechanism("T0", "making of stages", check_making),
    Mechanism("T0", "inputs of stages", check_inputs),
    Mechanism("T0", "tracked copies", check_tracked),
    Mechanism("T0", "installed packages", check_packages, ("requirements.txt",)),
    Mechanism("T0", "RO-Crate", check_crate, (f"{REFERENCE}/*",)),
    Mechanism("T1", "splits", check_splits, ("data/raw/*", "params.yaml", f"{REFERENCE}/{MANIFEST}")),
    Mechanism("T1", "weights", check_weights, (f"{REFERENCE}/models/*", f"{REFERENCE}/policies/table.json",
              f"{REFERENCE}/metrics/*", f"{REFERENCE}/benchmark/published.csv")),
    Mechanism("T1", "oracle", check_oracle, ("params.yaml", f"{REFERENCE}/search/*")),
    Mechanism("T1", "figures", check_figures, ("shipped/*", f"{REFERENCE}/{MANIFEST}")),
    Mechanism("T1", "repro.yaml", check_repro, (f"{REFERENCE}/*",)),
    Mechanism("T1", "pages", _pages, REPORTED),
    Mechanism("T4", "claims", _claims, REPORTED),
    Mechanism("T4", "manifest verdicts", _manifest_claims, (*REPORTED, f"{REFERENCE}/{MANIFEST}")),
    Mechanism("T4", "metrics", _metrics, REPORTED),
    Mechanism("T4", "tracing", _tracing, REPORTED),
)  # fmt: skip
NEED_REPORT = (_pages, _claims, _manifest_claims, _metrics, _tracing)
