"""`make verify RUN=1`: compare the run that this host left in data/ and paper/ with the reference."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_rows
from sustainable.reporting.forecasting.results import ROW_COLUMNS
from sustainable.verification.content import content_sha256
from sustainable.verification.items import Item, Origin, compared, current, skipped
from sustainable.verification.lock import differences, made_by, md5_of, read_yaml, upstream
from sustainable.verification.manifest import SETTINGS
from sustainable.verification.place import Place
from sustainable.verification.tiers.hits import flipped
from sustainable.verification.tiers.shipped import report_of, safely
from sustainable.verification.tiers.statistical import (
    CANDIDATE_TABLE,
    MEASURED,
    Margin,
    check_candidates,
    check_measured,
    same_models,
)
from sustainable.verification.tiers.verdicts import (
    check_claims,
    check_pages,
    check_tracing,
    check_verdicts,
    read_claims,
)

HERE: Origin = "recomputed here"
CHOSEN_BY_SEARCH = ("agent_optimized", "ppo_stepwise", "oracle")
"""Configurations that a search chooses on the host's own table: they may be other models here."""
NOT_COMPARED = {
    "T4": "it follows from rows that this host measured: its claims are judged (T4)",
    "none": "the cost of the run and the host that it ran on differ by nature",
}


def check_run(root: Path) -> list[Item]:
    """Check this host's run; raises `UserError` if there is none, or only a smoke run."""
    place = Place(root)
    refuse_no_run(place)
    items = [
        *safely("T0", "lock", lambda: check_own_lock(place)),
        *safely("T1", "artifacts", lambda: compare_artifacts(place)),
        *safely("T3", "measured rows", lambda: check_rows(place)),
        *safely("T4", "claims", lambda: check_own_claims(place)),
    ]
    return sorted(with_first_stage(place, items), key=lambda item: item.tier)


def refuse_no_run(place: Place) -> None:
    """Raise `UserError` unless there is a run of profile paper."""
    path = place.root / "data/benchmark/audited.csv"
    if not path.is_file():
        raise UserError(f"{path}: missing; run `make reproduce` first, then `make verify RUN=1`")
    profiles = set(read_rows(path, ROW_COLUMNS)["profile"])
    if profiles != {"paper"}:
        raise UserError(f"{path}: rows of profile {min(profiles)}, not evidence; run `make reproduce` first")


def check_own_lock(place: Place) -> Iterator[Item]:
    """Check that the run's lock matches its files, and that it was made with the reference's code."""
    for name, stage in place.own_lock.items():
        wrong = [
            path
            for path, md5 in stage.outputs.items()
            if not (place.root / path).exists() or md5_of(place.root / path) != md5
        ]
        expected = f"{len(stage.outputs)} outputs as locked"
        found = expected if not wrong else f"{wrong[0]} has changed ({len(wrong)} in all)"
        advice = f"`dvc repro -s -f {name}` makes it again"
        yield compared("T0", f"outputs of {name}", HERE, expected, found, stage=name, advice=advice)
    for name, stage in place.lock.items():
        own = place.own_lock.get(name)
        changed = differences(stage, own) if own else ["this run has no such stage"]
        yield current(f"making of {name}", changed, name, HERE)


def compare_artifacts(place: Place) -> Iterator[Item]:
    """Compare every artifact of the manifest with this run's, by the tier that it must reach."""
    for path, entry in place.artifacts.items():
        own, tier, stage = place.root / path, str(entry["tier"]), entry["stage"]
        if tier == "T3":
            continue  # measured rows: see check_rows
        if not own.is_file():
            yield _absent(path, tier, stage)
        elif content_sha256(own) == entry["content"]:
            declared = next((known for known in ("T2", "T4") if known == tier), "T1")
            yield Item(declared, path, "ok", HERE, "reached T1", stage=stage, reached="T1")  # type: ignore[arg-type]
        elif tier in NOT_COMPARED:
            yield skipped("T4" if tier == "T4" else "T2", path, NOT_COMPARED[tier], HERE)
        elif tier == "T2":
            yield from safely("T2", path, lambda path=path, stage=stage: [_compare_hits(place, path, stage)])  # type: ignore[misc]
        else:
            expected, found = f"content {entry['content'][:16]}", content_sha256(own)[:16]
            advice = "if this is another CPU, run `make test-cpu`; if another version, run `make doctor`"
            yield compared("T1", path, HERE, expected, found, stage=stage, advice=advice)


def _absent(path: str, tier: str, stage: str) -> Item:
    if path == "paper/paper.pdf":
        return skipped("T1", path, "no PDF was compiled here: it needs TeX", HERE)
    advice = f"`dvc repro -s -f {stage}` makes it"
    return Item("T1", path, "FAIL", HERE, f"must reach {tier}", "a file", "nothing", stage, advice)


def _compare_hits(place: Place, path: str, stage: str) -> Item:
    """Compare a table of hits: each configuration may have at most `flipped_limit` of its windows flipped."""
    counts, windows = flipped(
        place.root / place.artifacts[path]["shipped"], place.root / path, CHOSEN_BY_SEARCH
    )
    allowed = int(float(read_yaml(place.root / SETTINGS)["flipped_limit"]) * windows)
    name, most = max(counts.items(), key=lambda entry: entry[1])
    detail = f"reached T2: {most} of {windows} forecasts of {name} flipped, {allowed} allowed"
    if most <= allowed:
        return Item("T2", path, "ok", HERE, detail, stage=stage, reached="T2")
    expected, found = f"at most {allowed} of {windows} flipped", f"{most} of {name}"
    advice = "the weights differ or a runtime is faulty: see T1 above"
    return Item("T2", path, "FAIL", HERE, "", expected, found, stage, advice)


def check_rows(place: Place) -> Iterator[Item]:
    """Compare the measured tables: the same models, and ratios that agree."""
    declared = read_yaml(place.root / SETTINGS)
    margin = Margin(float(declared["margin"]), float(declared["confidence"]))
    for measured in MEASURED:
        own, reference = place.root / measured.path, place.reference / measured.path.removeprefix("data/")
        yield from _models(place, measured.path)
        yield from check_measured(own, reference, measured, margin)
    yield from check_candidates(
        place.root / CANDIDATE_TABLE, place.reference / CANDIDATE_TABLE.removeprefix("data/"), margin
    )


def _models(place: Place, path: str) -> Iterator[Item]:
    """Check that the measured weights are the reference's, except those that a search chose here."""
    own, reference = pd.read_csv(place.root / path), pd.read_csv(place.reference / path.removeprefix("data/"))
    if "weights_sha256" not in reference:
        return
    count, wrong = same_models(own, reference, CHOSEN_BY_SEARCH)
    expected = f"{count} models as in the reference"
    found = expected if not wrong else f"{wrong[0]} has other weights ({len(wrong)} in all)"
    stage = made_by(place.lock, path)
    yield compared(
        "T1", f"{path}: models", HERE, expected, found, stage=stage, advice="see the weights above"
    )


def check_own_claims(place: Place) -> Iterator[Item]:
    """Check that this run's claims and pages follow from its rows, and its verdicts are the reference's."""
    report = report_of(place, place.root / "data")
    yield from check_claims(report, place.root / "paper/claims.json", HERE)
    yield from check_pages(report, place.root / "paper/templates", place.root / "paper", HERE)
    yield from check_tracing(place.root, report)
    yield from check_verdicts(report.found.judged, read_claims(place.reference / "claims.json"))


def with_first_stage(place: Place, items: list[Item]) -> Iterator[Item]:
    """Make failures name the first failed stage that leads to them, in the pipeline's order."""
    failed = {item.stage for item in items if item.status == "FAIL" and item.tier in ("T0", "T1", "T2")}
    for item in items:
        if item.status != "FAIL" or item.stage not in place.lock:
            yield item
            continue
        first = next((name for name in upstream(place.lock, item.stage) if name in failed), item.stage)
        yield replace(item, stage=first)
