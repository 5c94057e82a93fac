"""`make verify`: check the shipped artifact without training, measuring or network."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.reporting.evidence import FOLDERS
from sustainable.reporting.pages import Report, report_on
from sustainable.verification.export.witness import check_crate, check_repro
from sustainable.verification.items import RESTORE, Item, Tier, skipped
from sustainable.verification.manifest import check_host, check_manifest
from sustainable.verification.listed import LIST
from sustainable.verification.packages import check_packages
from sustainable.verification.place import HOST, HOSTS, MANIFEST, REFERENCE, Place
from sustainable.verification.sent_rows import check_hosts
from sustainable.verification.tiers import exact, integrity, orders, verdicts

SUMMARIES = ("metrics/benchmark.json", "metrics/headline.json")
"""What the report itself writes into these folders."""
RUN = "`make verify RUN=1`"
NOT_RUN: dict[Tier, tuple[str, str]] = {
    "T1": ("training", "nothing is trained here: `make test-cpu` trains a few steps, `make reproduce` all"),
    "T2": ("numeric artifacts", f"no forecasts are made here: {RUN}"),
    "T3": ("ratios", f"nothing is measured here: {RUN}, or `make claim-...` for one claim"),
}


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of verification."""

    tier: Tier
    name: str
    check: Callable[..., Iterable[Item]]
    """From the place, or from the report on the shipped rows and the place."""
    read: tuple[str, ...] = ("*",)
    """Patterns of the paths that it reads: its result is the same while none of them changes."""
    needs_report: bool = False

    def items(self, place: Place) -> list[Item]:
        def run() -> Iterable[Item]:
            report = [report_of(place, place.reference)] if self.needs_report else []
            return self.check(*report, place)

        return safely(self.tier, self.name, run)


def check_shipped(root: Path) -> list[Item]:
    """Run every mechanism in two processes: those that need the report on the rows, and the rest."""
    place = Place(root)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as beside:
        rest = [beside.submit(one.items, place) for one in MECHANISMS if not one.needs_report]
        items = [item for one in MECHANISMS if one.needs_report for item in one.items(place)]
        items = [item for future in rest for item in future.result()] + items
    items += [skipped(tier, name, why) for tier, (name, why) in NOT_RUN.items()]
    return sorted(items, key=lambda item: item.tier)


def report_of(place: Place, data: Path) -> Report:
    """The report on the run in `data`, with this project's parameters and published numbers.

    It is computed once for the same bytes, so that several mechanisms (and attacks elsewhere) share it.
    """
    published, params = place.root / "paper/published.yaml", place.root / "params.yaml"
    rows = [path for folder in FOLDERS for path in sorted((data / folder).rglob("*"))]
    rows = [path for path in rows if path.relative_to(data).as_posix() not in SUMMARIES]
    hosts = place.root / HOSTS
    rows += sorted(hosts.rglob("*"))
    tables = (path for path in rows if path.suffix in (".csv", ".json"))
    read = [published, params, place.root / "CITATION.cff", *tables]
    state = fingerprint({str(path): file_sha256(path) for path in read})
    return _report(state, data, published, params, hosts)


@lru_cache(maxsize=4)
def _report(state: str, data: Path, published: Path, params: Path, hosts: Path) -> Report:
    return report_on(data, published, params, hosts)


def safely(tier: Tier, name: str, check: Callable[[], Iterable[Item]]) -> list[Item]:
    """The items of a check. An unreadable file is a failure of this check; the other checks continue."""
    items: list[Item] = []
    try:
        items.extend(check())
    except (UserError, OSError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        found = f"{type(error).__name__}: {one_line(error)}"[:300]
        expected = "files that can be read"
        items.append(Item(tier, name, "FAIL", "shipped", "", expected, found, None, RESTORE))
    return items


SHIPPED = (f"{REFERENCE}/*", LIST)
EFFORT = f"{REFERENCE}/effort.json"
MANIFEST_FILE = f"{REFERENCE}/{MANIFEST}"
ROWS = (*(f"{REFERENCE}/{folder}/*" for folder in FOLDERS), f"{HOSTS}/*")
REPORTED = (
    "params.yaml", "paper/*", "stages/sustainable/reporting/*", f"{REFERENCE}/paper/*",
    f"{REFERENCE}/claims.json", *ROWS,
)  # fmt: skip
MECHANISMS = (
    Mechanism("T0", "files", integrity.check_files),
    Mechanism("T0", "manifest entries against files", integrity.check_entries, SHIPPED),
    Mechanism("T0", "manifest entries against lock", check_manifest),
    Mechanism("T0", "making of stages", integrity.check_making),
    Mechanism("T0", "inputs of stages", integrity.check_inputs),
    Mechanism("T0", "tracked copies", integrity.check_tracked),
    Mechanism("T0", "packages", check_packages, ("requirements.txt", f"{REFERENCE}/{HOST}")),
    Mechanism("T0", "JSON keys", integrity.check_json, SHIPPED),
    Mechanism("T0", "RO-Crate", check_crate, SHIPPED),
    Mechanism("T0", "hosts of the shipped rows", check_host, SHIPPED),
    Mechanism("T0", "other hosts", check_hosts, (f"{HOSTS}/*",)),
    Mechanism("T1", "splits", exact.check_splits, ("data/raw/*", "params.yaml", MANIFEST_FILE)),
    Mechanism("T1", "weights", exact.check_weights, tuple(f"{REFERENCE}/{name}" for name in (
              "models/*", "policies/table.json", "metrics/*", "benchmark/published.csv"))),
    Mechanism("T1", "oracle", exact.check_oracle, ("params.yaml", f"{REFERENCE}/search/*")),
    Mechanism("T1", "figures", exact.check_figures, ("shipped/*", MANIFEST_FILE)),
    Mechanism("T1", "repro.yaml", check_repro, SHIPPED),
    Mechanism("T3", "orders", orders.check_shipped, (*ROWS, "stages/sustainable/verification/verify.yaml")),
    Mechanism("T1", "pages", verdicts.check_pages, REPORTED, True),
    Mechanism("T4", "claims", verdicts.check_claims, REPORTED, True),
    Mechanism("T4", "manifest verdicts", verdicts.check_manifest_verdicts, (*REPORTED, MANIFEST_FILE), True),
    Mechanism("T4", "metrics", verdicts.check_metrics, REPORTED, True),
    Mechanism("T4", "tracing", verdicts.check_tracing, REPORTED, True),
    Mechanism("T4", "documents", verdicts.check_documents, (*REPORTED, "README.md", EFFORT), True),
)  # fmt: skip
