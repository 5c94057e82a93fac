"""Tier T1: results that are recomputed here have the reference's hash."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_json
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_section
from sustainable.reporting.latex import tex_version
from sustainable.verification.content import content_sha256, safetensors_sha256
from sustainable.verification.items import Item, compared, skipped
from sustainable.verification.place import REFERENCE, Place

RENDERED = "shipped"
"""The folder in which `make tables` renders the reference rows."""


def check_splits(place: Place) -> Iterator[Item]:
    """Recompute windows, splits and their metrics of both protocols from the raw data."""
    from sustainable.forecasting.data import (
        PreprocessParameters,
        preprocess,
        save_windows,
    )

    for protocol in place.parameters["protocols"]:
        parameters = read_section(place.root / "params.yaml", "preprocess", PreprocessParameters, protocol)
        parts, described = preprocess(place.root / "data/raw/seattle-weather.csv", parameters)
        with TemporaryDirectory() as scratch:
            made = {
                f"data/processed/{protocol}/windows.safetensors": Path(scratch) / "windows.safetensors",
                f"data/metrics/{protocol}/preprocess.json": Path(scratch) / "preprocess.json",
            }
            windows, metrics = made.values()
            save_windows(windows, parts)
            write_json(metrics, described)
            for path, file in made.items():
                yield same_content(place, path, file)


def same_content(place: Place, path: str, file: Path) -> Item:
    """Compare a file that was made here with the content hash that the manifest gives for `path`."""
    entry = place.artifacts.get(path)
    expected, stage = (entry["content"], entry["stage"]) if entry else (None, None)
    found = content_sha256(file)
    advice = "the same data and code give a different result on this host: run `make test-cpu`"
    return compared("T1", path, "recomputed here", expected, found, stage=stage, advice=advice)


def check_weights(place: Place) -> Iterator[Item]:
    """Check that the shipped weights have the hashes that the metrics and the measured rows name."""
    baseline = read_json(place.reference / "metrics/published/baseline.json")
    rows = read_rows(place.reference / "benchmark/published.csv", ("configuration", "weights_sha256"))
    measured = set(rows.loc[rows["configuration"] == "baseline", "weights_sha256"])
    for seed, entry in baseline["seeds"].items():
        path = place.reference / "models/published/baseline" / f"seed_{seed}.safetensors"
        named = {entry["weights_sha256"], *measured}
        yield _weights(path, named, "train_baseline@published")
    table = read_json(place.reference / "policies/table.json")
    for cell in table:
        for policy in cell["policies"]:
            folder = place.reference / "models/policies" / cell["environment"] / cell["algorithm"]
            path = folder / f"seed_{policy['seed']}.safetensors"
            yield _weights(path, {policy["weights_sha256"]}, "train_policies")


def _weights(path: Path, named: set[Any], stage: str) -> Item:
    """Compare a file of weights with the hashes that the tables give it."""
    name = "weights " + path.as_posix().split(f"{REFERENCE}/", 1)[-1]
    found = safetensors_sha256(path) if path.is_file() else None
    expected = " and ".join(sorted(map(str, named)))
    return compared("T1", name, "recomputed here", expected, found, stage=stage)


def check_figures(place: Place) -> Iterator[Item]:
    """Check the figures, page and PDF that `make tables` rendered here, if it was run."""
    folder = place.root / RENDERED
    paths = [path for path in place.artifacts if _is_rendered(path)]
    if not folder.is_dir():
        why = f"{len(paths)} files are not shipped: `make tables` renders them, then verify again"
        yield skipped("T1", "figures and page", why)
        return
    for path in paths:
        file = folder / path.removeprefix("paper/")
        if path == "paper/paper.pdf" and (other := _other_tex(file, place.artifacts[path]["tex"])):
            yield skipped("T1", path, other)
            continue
        found = file_sha256(file) if file.is_file() else None
        advice = f"remove the folder {RENDERED} and run `make tables` again"
        expected = place.artifacts[path]["sha256"]
        yield compared("T1", path, "recomputed here", expected, found, stage="report", advice=advice)


def _other_tex(file: Path, version: str) -> str | None:
    """Why a compiled paper cannot have the reference's bytes; None if it must."""
    if not file.is_file():
        return "no PDF was compiled here: it needs TeX"
    own = tex_version()
    return f"compiled by {own}, the reference by {version}" if own != version else None


def _is_rendered(path: str) -> bool:
    return path.startswith("paper/figures/") or path in ("paper/report.html", "paper/paper.pdf")


def check_oracle(place: Place) -> Iterator[Item]:
    """Check that the oracle of the shipped choices is the best deployment of the shipped table."""
    from sustainable.forecasting.search.landscape import (
        DeploymentReward,
        Landscape,
    )

    reward = DeploymentReward(**place.parameters["compare_searchers"]["reward"])
    table = read_rows(place.reference / "search/candidates.csv", ("family",))
    best = max(outcome.reward for outcome in Landscape.of_table(table, reward).outcomes.values())
    path = place.reference / "search/choices.json"
    try:
        named = read_json(path)["choices"]["oracle"]["reward"]
    except (KeyError, TypeError):
        raise UserError(f"{path}: no oracle; restore it from git") from None
    name = "the oracle of choices.json is the best of candidates.csv"
    yield compared("T1", name, "recomputed here", repr(best), repr(named), stage="compare_searchers")
