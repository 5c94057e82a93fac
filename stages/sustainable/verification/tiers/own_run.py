"""`make verify RUN=1`: the run that this host has left in data/ and paper/, against the reference."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sustainable.core.errors import UserError
from sustainable.core.files import read_rows
from sustainable.reporting.forecasting.results import ROW_COLUMNS
from sustainable.verification.content import content_sha256
from sustainable.verification.items import Item, Origin, Tier, compared, skipped
from sustainable.verification.lock import Stage, made_by, md5_of, read_yaml, upstream, value_at
from sustainable.verification.manifest import SETTINGS
from sustainable.verification.place import Place
from sustainable.verification.tiers.shipped import report_of, safely
from sustainable.verification.tiers.statistical import (
    CANDIDATES,
    MEASURED,
    Margin,
    check_candidates,
    check_measured,
    same_models,
)
from sustainable.verification.tiers.tolerances import compare_numeric, tolerances_for, tolerances_of
from sustainable.verification.tiers.verdicts import (
    check_claims,
    check_pages,
    check_tracing,
    check_verdicts,
    read_claims,
)

Tolerances = Mapping[str, Mapping[str, float | None]]
HERE: Origin = "recomputed here"
SEARCHED = ("agent_optimized", "ppo_stepwise", "oracle")
"""Configurations that a search chooses on the host's own table: they may be other models here."""
NOT_COMPARED = {
    "T4": "it follows from rows that this host measured itself: its claims are judged (T4)",
    "none": "what the run cost, and the host that it ran on, differ by nature",
}


def check_run(root: Path) -> list[Item]:
    """Every item of this host's run; raises `UserError` when there is none, or a smoke run."""
    place = Place(root)
    refuse_no_run(place)
    items = [
        *safely("T0", "lock", lambda: check_own_lock(place)),
        *safely("T1", "artifacts", lambda: check_artifacts(place)),
        *safely("T3", "measured rows", lambda: check_rows(place)),
        *safely("T4", "claims", lambda: check_own_claims(place)),
    ]
    return sorted(with_first_stage(place, items), key=lambda item: item.tier)


def refuse_no_run(place: Place) -> None:
    """A run is there, and it is none of a smoke profile."""
    path = place.root / "data/benchmark/audited.csv"
    if not path.is_file():
        raise UserError(f"{path}: missing; `make reproduce` first, then `make verify RUN=1`")
    profiles = set(read_rows(path, ROW_COLUMNS)["profile"])
    if profiles != {"paper"}:
        raise UserError(f"{path}: rows of profile {min(profiles)}, no evidence; `make reproduce` first")


def check_own_lock(place: Place) -> Iterator[Item]:
    """The run's lock fits its files, and its stages ran with the reference's code and parameters."""
    for name, stage in place.own_lock.items():
        wrong = [
            path
            for path, md5 in stage.outputs.items()
            if not (place.root / path).exists() or md5_of(place.root / path) != md5
        ]
        expected = f"{len(stage.outputs)} outputs as locked"
        found = expected if not wrong else f"{wrong[0]} is another"
        advice = f"`dvc repro -s -f {name}` makes it again"
        yield compared("T0", f"outputs of {name}", HERE, expected, found, stage=name, advice=advice)
    for name, stage in place.lock.items():
        yield _same_making(name, stage, place.own_lock.get(name))


def _same_making(name: str, stage: Stage, own: Stage | None) -> Item:
    """Code and parameters of a stage here and in the reference run."""
    expected, found = "the reference's code and parameters", "the reference's code and parameters"
    if own is None:
        found = "no such stage"
    else:
        changed = [path for path, md5 in stage.code.items() if own.code.get(path) != md5]
        changed += [key for key in stage.parameters if value_at_or_none(own, key) != stage.parameters[key]]
        found = expected if not changed else f"{changed[0]} differs ({len(changed)} in all)"
    advice = "this run was made by other code or parameters: check out the release, `make reproduce`"
    return compared("T0", f"making of {name}", HERE, expected, found, stage=name, advice=advice)


def value_at_or_none(stage: Stage, key: str) -> object:
    """A parameter of a stage, stored under its dotted key or nested."""
    if key in stage.parameters:
        return stage.parameters[key]
    try:
        return value_at(stage.parameters, key)
    except KeyError:
        return None


def check_artifacts(place: Place) -> Iterator[Item]:
    """Every artifact of the manifest: the tier that it must reach, and the strongest that it reached."""
    tolerances = tolerances_of(place.reference / "tolerances.json")
    for path, entry in place.artifacts.items():
        own, tier = place.root / path, str(entry["tier"])
        if tier == "T3":
            continue  # rows: apart
        if not own.is_file():
            yield _absent(path, tier, entry["stage"])
        elif content_sha256(own) == entry["content"]:
            declared: Tier = tier if tier in ("T1", "T2", "T4") else "T1"  # type: ignore[assignment]
            yield Item(declared, path, "ok", HERE, "reached T1", stage=entry["stage"], reached="T1")
        elif tier in NOT_COMPARED:
            yield skipped("T4" if tier == "T4" else "T2", path, NOT_COMPARED[tier], HERE)
        else:
            yield _numeric(place, path, tier, tolerances)


def _absent(path: str, tier: str, stage: str) -> Item:
    if path == "paper/paper.pdf":
        return skipped("T1", path, "no PDF was compiled here: it needs TeX", HERE)
    advice = f"`dvc repro -s -f {stage}` makes it"
    return Item("T1", path, "FAIL", HERE, f"must reach {tier}", "a file", "nothing", stage, advice)


def _numeric(place: Place, path: str, tier: str, tolerances: Tolerances) -> Item:
    """An artifact whose content differs, against the tolerances of its columns."""
    entry = place.artifacts[path]
    expected, found = f"content {entry['content'][:16]}", f"{content_sha256(place.root / path)[:16]}"
    advice = "another CPU? see `make test-cpu`; another version? see `make doctor`"
    if entry["shipped"] is None:
        text = f"must reach {tier}; not shipped, so that only its hash can be compared"
        return Item("T1", path, "FAIL", HERE, text, expected, found, entry["stage"], advice)
    differences = compare_numeric(
        place.root / entry["shipped"], place.root / path, tolerances_for(path, tolerances) or {}
    )
    within = all(one.within for one in differences)
    worst = "; ".join(one.line for one in differences[:3])
    if within and tier == "T2":
        return Item("T2", path, "ok", HERE, f"reached T2: {worst}", stage=entry["stage"], reached="T2")
    text = f"must reach {tier}, " + ("reached T2 alone" if within else "reached none") + f": {worst}"
    reached: Tier | None = "T2" if within else None
    return Item(
        "T2" if tier == "T2" else "T1",
        path,
        "FAIL",
        HERE,
        text,
        expected,
        found,
        entry["stage"],
        advice,
        reached,
    )


def check_rows(place: Place) -> Iterator[Item]:
    """Measured tables: the same models, and ratios that agree."""
    declared = read_yaml(place.root / SETTINGS)
    margin = Margin(float(declared["margin"]), float(declared["confidence"]))
    for measured in MEASURED:
        own, reference = place.root / measured.path, place.reference / measured.path.removeprefix("data/")
        yield from _models(place, measured.path)
        yield from check_measured(own, reference, measured, margin)
    yield from check_candidates(
        place.root / CANDIDATES, place.reference / CANDIDATES.removeprefix("data/"), margin
    )


def _models(place: Place, path: str) -> Iterator[Item]:
    """The weights that were measured are the reference's, but for what a search chose here."""
    own, reference = pd.read_csv(place.root / path), pd.read_csv(place.reference / path.removeprefix("data/"))
    if "weights_sha256" not in reference:
        return
    count, wrong = same_models(own, reference, SEARCHED)
    expected = f"{count} models as in the reference"
    found = expected if not wrong else f"{wrong[0]} has other weights ({len(wrong)} in all)"
    stage = made_by(place.lock, path)
    yield compared(
        "T1", f"{path}: models", HERE, expected, found, stage=stage, advice="see the weights above"
    )


def check_own_claims(place: Place) -> Iterator[Item]:
    """This run's claims and pages follow from its rows, and its verdicts are the reference's."""
    report = report_of(place, place.root / "data")
    yield from check_claims(report, place.root / "paper/claims.json", HERE)
    yield from check_pages(report, place.root / "paper/templates", place.root / "paper", HERE)
    yield from check_tracing(place.root, report)
    yield from check_verdicts(report.found.judged, read_claims(place.reference / "claims.json"))


def with_first_stage(place: Place, items: list[Item]) -> Iterator[Item]:
    """Failures name the first stage, in the pipeline's order, that leads to them and has failed itself."""
    failed = {item.stage for item in items if item.status == "FAIL" and item.tier in ("T0", "T1", "T2")}
    for item in items:
        if item.status != "FAIL" or item.stage not in place.lock:
            yield item
            continue
        first = next((name for name in upstream(place.lock, item.stage) if name in failed), item.stage)
        yield replace(item, stage=first)
