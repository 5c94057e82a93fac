"""`make verify RUN=1`: compare the run that this host left in data/ and paper/ with the reference."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_rows
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.pages import Report
from sustainable.verification.content import content_sha256
from sustainable.verification.folders import copy
from sustainable.verification.items import HERE, Item, Tier, compared, current, none_wrong, passed, skipped
from sustainable.verification.lock import differences, made_by, md5_of, read_lock, read_yaml, upstream
from sustainable.verification.manifest import PAPER
from sustainable.verification.place import REPORT, SETTINGS, Place, read_claims
from sustainable.verification.tiers import orders, statistical, verdicts
from sustainable.verification.tiers.integrity import shipped_name, stages_run
from sustainable.verification.tiers.kinds import other_kind, other_kinds
from sustainable.verification.tiers.shipped import report_of, safely

CHOSEN_BY_SEARCH = ("agent_optimized", "ppo_stepwise", "chosen_widths", "chosen_fp32", "oracle")
"""Configurations that a search chooses on the host's own table: they may be other models here."""
WIDTHS_CHOSEN = "data/models/*/confirmed/narrow/l1/*"
"""Fresh networks of the widths that are deployed. Some of these are a search's choice."""
NOT_COMPARED: dict[str, tuple[Tier, str]] = {
    "T4": ("T4", "it follows from rows that this host measured: its claims are judged (T4)"),
    "none": ("T2", "the cost of the run and the host that it ran on differ by nature"),
}
NOT_RUN = "this stage was not run here"
COPIED = "these are the shipped rows, digit by digit: nothing was measured here"


def check_run(root: Path) -> list[Item]:
    """Check this host's run, or the stages of it that were run here; the others are skipped.

    Raises `UserError` if nothing was run here, or only a smoke run.
    """
    place = Place(root)
    run = stages_run(place)
    refuse_no_evidence(place, run)
    items = [
        *safely("T0", "lock", lambda: check_own_lock(place, run)),
        *safely("T1", "artifacts", lambda: compare_artifacts(place, run)),
        *safely("T3", "measured rows", lambda: check_rows(place, run)),
        *safely("T4", "claims", lambda: check_own_claims(place, run)),
    ]
    return sorted(with_first_stage(place, items), key=lambda item: item.tier)


def refuse_no_evidence(place: Place, run: Set[str]) -> None:
    """Raise `UserError` unless a stage was run here, and all measured rows are of profile paper."""
    if not run:
        data = place.root / "data"
        raise UserError(f"{data}: no run is here; run `make reproduce` first, then `make verify RUN=1`")
    paths = [one.path for one in statistical.MEASURED if made_by(place.lock, one.path) in run]
    for path in (place.root / path for path in paths):
        profiles = set(read_rows(path, ()).get("profile", pd.Series(["paper"])))
        if profiles != {"paper"}:
            raise UserError(
                f"{path}: rows of profile {min(profiles)}, not evidence; run `make reproduce` first"
            )


def check_own_lock(place: Place, run: Set[str]) -> Iterator[Item]:
    """Check that the run's lock matches its files, and that it was made with the reference's code."""
    own_lock = read_lock(place.root / "dvc.lock")
    for name, stage in own_lock.items():
        if name not in run:
            yield skipped("T0", f"outputs of {name}", NOT_RUN, HERE)
            continue
        files = {path: place.root / path for path in stage.outputs}
        wrong = [
            f"{path} has changed"
            for path, file in files.items()
            if not file.exists() or md5_of(file) != stage.outputs[path]
        ]
        expected, advice = f"{len(files)} outputs as locked", f"`dvc repro -s -f {name}` makes it again"
        yield none_wrong("T0", f"outputs of {name}", HERE, expected, wrong, stage=name, advice=advice)
    for name, stage in place.lock.items():
        if name in run:
            yield current(f"making of {name}", differences(stage, own_lock[name]), name, HERE)


def compare_artifacts(place: Place, run: Set[str]) -> Iterator[Item]:
    """Compare the artifacts of the stages in `run` with the manifest's, by the tier that each must reach."""
    for path, entry in place.artifacts.items():
        own, tier, stage = place.root / path, str(entry["tier"]), entry["stage"]
        if tier == "T3" or stage not in run:
            continue  # measured rows: see check_rows
        if not own.is_file() and path == PAPER:
            yield skipped("T1", path, "no PDF was compiled here: it needs TeX", HERE)
        elif not own.is_file() and fnmatch(path, WIDTHS_CHOSEN):
            yield skipped("T1", path, "the searches here chose other widths", HERE)
        elif not own.is_file():
            detail, advice = f"must reach {tier}", f"`dvc repro -s -f {stage}` makes it"
            yield compared("T1", path, HERE, "a file", None, stage=stage, advice=advice, detail=detail)
        elif (found := content_sha256(own)) == entry["content"]:
            declared: Tier = "T2" if tier == "T2" else "T4" if tier == "T4" else "T1"
            yield replace(passed(declared, path, HERE, "reached T1", stage), reached="T1")
        elif tier in NOT_COMPARED:
            shown, why = NOT_COMPARED[tier]
            yield skipped(shown, path, why, HERE)
        elif tier == "T2":
            yield from safely("T2", path, lambda path=path, stage=stage: [_compare_hits(place, path, stage)])  # type: ignore[misc]
        else:
            advice = "if this is another CPU, run `make test-cpu`; if another version, run `make doctor`"
            expected = f"content {entry['content'][:16]}"
            yield compared("T1", path, HERE, expected, found[:16], stage=stage, advice=advice)


def _compare_hits(place: Place, path: str, stage: str) -> Item:
    """Compare a table of hits: each configuration may have at most `flipped_limit` of its windows flipped."""
    shipped = place.root / place.artifacts[path]["shipped"]
    counts, windows = statistical.flipped(shipped, place.root / path, CHOSEN_BY_SEARCH)
    allowed = int(float(read_yaml(place.root / SETTINGS)["flipped_limit"]) * windows)
    name, most = max(counts.items(), key=lambda entry: entry[1])
    if most <= allowed:
        detail = f"reached T2: {most} of {windows} forecasts of {name} flipped, {allowed} allowed"
        return passed("T2", path, HERE, detail, stage)
    expected, found = f"at most {allowed} of {windows} flipped", f"{most} of {name}"
    advice = "the weights differ or a runtime is faulty: see T1 above"
    return compared("T2", path, HERE, expected, found, stage=stage, advice=advice)


def check_rows(place: Place, run: Set[str]) -> Iterator[Item]:
    """Compare the measured tables: the same models, ratios that agree, and the declared orders."""
    declared = read_yaml(place.root / SETTINGS)
    margin = statistical.Margin(float(declared["margin"]), float(declared["confidence"]))
    for measured in statistical.MEASURED:
        if made_by(place.lock, measured.path) in run:
            yield from _compare_windows(place, measured, margin)
    for path in statistical.CANDIDATE_TABLES:
        if made_by(place.lock, path) in run:
            yield from _compare_candidates(place, path, margin)


def _compare_windows(
    place: Place, measured: statistical.MeasuredTable, margin: statistical.Margin
) -> Iterator[Item]:
    own, reference = place.root / measured.path, place.reference / shipped_name(measured.path)
    tables = pd.read_csv(own), pd.read_csv(reference)
    if "weights_sha256" in tables[1]:
        yield _models(place, measured.path, *tables)
    if is_copy(*(table[measured.value] for table in tables)):
        yield skipped("T3", measured.path, COPIED, HERE)
    else:
        kinds = other_kind(place, measured.path)
        yield from statistical.check_measured(own, reference, measured, margin, kinds)
        yield from orders.check_table(place, measured, own, margin, HERE)


def _compare_candidates(place: Place, path: str, margin: statistical.Margin) -> Iterator[Item]:
    own, reference = place.root / path, place.reference / shipped_name(path)
    if is_copy(*(pd.read_csv(table)["cpu_time_ms_batch_1"] for table in (own, reference))):
        yield skipped("T3", path, COPIED, HERE)
    else:
        yield from statistical.check_candidates(path, own, reference, margin, other_kind(place, path))


def is_copy(own: pd.Series, reference: pd.Series) -> bool:
    """Whether most values of a clock are among the reference's: a second measurement repeats hardly any.

    Whole numbers, such as bytes of memory, may repeat.
    """
    return own.dtype.kind == "f" and bool(own.dropna().isin(set(reference.dropna())).mean() > 0.5)


def _models(place: Place, path: str, own: pd.DataFrame, reference: pd.DataFrame) -> Item:
    """Check that the measured weights are the reference's, except those that a search chose here."""
    keys = ["environment", "algorithm"] if "environment" in reference else []
    keys += ["configuration", *(["training_seed"] if "training_seed" in reference else [])]
    hashes = []
    for table in (own, reference):
        named = table[~table["configuration"].isin(CHOSEN_BY_SEARCH)].dropna(subset=["weights_sha256"])
        hashes.append(named.groupby(keys)["weights_sha256"].agg(lambda found: " ".join(sorted(set(found)))))
    here, there = hashes
    keys = [key for key in there.index.union(here.index) if here.get(key) != there.get(key)]
    wrong, stage = [f"{key} has other weights" for key in keys], made_by(place.lock, path)
    name, expected = f"{path}: models", f"{len(there)} models as in the reference"
    return none_wrong("T1", name, HERE, expected, wrong, stage=stage, advice="see the weights above")


def check_own_claims(place: Place, run: Set[str]) -> Iterator[Item]:
    """Check that this run's claims and pages follow from its rows, and its verdicts are the reference's.

    Without a report of this run, only claims that its rows decide are judged. The other rows are shipped.
    """
    if REPORT in run:
        report = report_of(place, place.root / "data")
        yield from verdicts.check_claims(report, place, HERE)
        yield from verdicts.check_pages(report, place, HERE)
        yield from verdicts.check_tracing(report, place)
        yield from _check_verdicts(place, report)
        return
    own = {
        name for name, one in DECLARATIONS.items() if one.decided_by and _all_of(place, one.decided_by, run)
    }
    for name in DECLARATIONS.keys() - own:
        yield skipped("T4", f"verdict on {name}", "rows that decide it were not measured here", HERE)
    if not own:
        return
    with TemporaryDirectory(prefix="run-") as scratch:
        yield from _check_verdicts(place, report_of(place, _completed(place, run, Path(scratch))), own)


def _all_of(place: Place, paths: Iterable[str], run: Set[str]) -> bool:
    return all(made_by(place.lock, path) in run for path in paths)


def _completed(place: Place, run: Set[str], folder: Path) -> Path:
    """Fill a folder like `data` with this run's files, and with the shipped ones of stages not in `run`.

    Networks that the searches here did not choose are left out. A lost file is, too: it fails elsewhere.
    """
    for path, entry in place.artifacts.items():
        own = entry["stage"] in run
        source = path if own else entry["shipped"]
        if path.startswith("data/") and source and (place.root / source).exists():
            copy(place.root / source, folder / path)
    return folder / "data"


def _check_verdicts(place: Place, report: Report, names: Set[str] | None = None) -> Iterator[Item]:
    """Compare the verdicts on the claims `names` (None: all) with the reference's."""
    shipped = read_claims(place.reference / "claims.json")
    wanted = {name: entry for name, entry in shipped.items() if names is None or name in names}
    known = DECLARATIONS.keys() & wanted
    kinds = {name: other_kinds(place, DECLARATIONS[name].decided_by) for name in known}
    yield from verdicts.check_verdicts(report.found.judged, wanted, kinds)


def with_first_stage(place: Place, items: list[Item]) -> Iterator[Item]:
    """Make failures name the first failed stage that leads to them, in the pipeline's order."""
    failed = {item.stage for item in items if item.status == "FAIL" and item.tier in ("T0", "T1", "T2")}
    for item in items:
        if item.status == "FAIL" and item.stage in place.lock:
            leading = (name for name in upstream(place.lock, item.stage) if name in failed)
            yield replace(item, stage=next(leading, item.stage))
        else:
            yield item
