"""Tier T1: what is computed again here has the reference's hash."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_json
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_section
from sustainable.reporting.latex import tex_version
from sustainable.verification.content import content_sha256, weights_sha256
from sustainable.verification.items import Item, compared, skipped
from sustainable.verification.place import REFERENCE, Place

RENDERED = "shipped"
"""Where `make tables` puts what it renders from the reference rows."""


def check_windows(place: Place) -> Iterator[Item]:
    """Windows, splits and their metrics of both protocols, made again from the raw data."""
    from sustainable.forecasting.data import (
        PreprocessParameters,
        preprocess,
        save_windows,
    )

    for protocol in place.parameters["protocols"]:
        parameters = read_section(place.root / "params.yaml", "preprocess", PreprocessParameters, protocol)
        parts, described = preprocess(place.root / place.parameters["csv"], parameters)
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
    """A file that was made here against the content that the manifest gives for `path`."""
    entry = place.artifacts.get(path)
    expected, stage = (entry["content"], entry["stage"]) if entry else (None, None)
    found = content_sha256(file)
    advice = "the same data and code give another result on this host: see `make test-cpu`"
    return compared("T1", path, "recomputed here", expected, found, stage=stage, advice=advice)


def check_weights(place: Place) -> Iterator[Item]:
    """The shipped weights, hashed again, are those that the metrics and the measured rows name."""
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
    """A file of weights against the hash that every table gives it."""
    name = "weights " + path.as_posix().split(f"{REFERENCE}/", 1)[-1]
    found = weights_sha256(path) if path.is_file() else None
    expected = " and ".join(sorted(map(str, named)))
    return compared("T1", name, "recomputed here", expected, found, stage=stage)


def check_figures(place: Place) -> Iterator[Item]:
    """Figures, page and PDF that `make tables` has rendered here, if it has."""
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
    """Why a compiled paper cannot have the reference's bytes; None where it must."""
    if not file.is_file():
        return "no PDF was compiled here: it needs TeX"
    own = tex_version()
    return f"compiled by {own}, the reference by {version}" if own != version else None


def _is_rendered(path: str) -> bool:
    return path.startswith("paper/figures/") or path in ("paper/report.html", "paper/paper.pdf")


def check_oracle(place: Place) -> Iterator[Item]:
    """The best deployment that the shipped choices name is the best of the shipped table."""
    from sustainable.forecasting.search.landscape import (
        DeploymentReward,
        Landscape,
    )

    reward = DeploymentReward(**place.parameters["compare_searchers"]["reward"])
    table = read_rows(place.reference / "search/candidates.csv", ("family",))
    best = max(one.reward for one in Landscape.of_table(table, reward).outcomes.values())
    path = place.reference / "search/choices.json"
    try:
        named = read_json(path)["choices"]["oracle"]["reward"]
    except (KeyError, TypeError):
        raise UserError(f"{path}: no oracle; restore it from git") from None
    name = "the oracle of choices.json is the best of candidates.csv"
    yield compared("T1", name, "recomputed here", repr(best), repr(named), stage="compare_searchers")
