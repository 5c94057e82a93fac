"""Tier T1: results that are recomputed here have the reference's hash."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_json
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_section
from sustainable.reporting.latex import tex_version
from sustainable.verification.content import content_sha256, safetensors_sha256
from sustainable.verification.items import HERE, Item, compared, skipped
from sustainable.verification.place import TASKS, Place
from sustainable.verification.tiers.integrity import sha256_or_none

RENDERED = "shipped"
"""The folder in which `make tables` renders the reference rows."""


def check_splits(place: Place) -> Iterator[Item]:
    """Recompute windows, splits and their metrics of every protocol from the raw data."""
    params = place.root / "params.yaml"
    advice = "the same data and code give a different result on this host: run `make test-cpu`"
    for protocol, source in place.parameters["protocols"].items():
        csv = place.root / source["csv"]
        state = file_sha256(csv) + file_sha256(params)
        for path, found in _split_hashes(state, csv, params, protocol).items():
            entry = place.artifacts.get(path, {"content": None, "stage": None})
            yield compared("T1", path, HERE, entry["content"], found, stage=entry["stage"], advice=advice)


@lru_cache(maxsize=4)
def _split_hashes(state: str, csv: Path, params: Path, protocol: str) -> dict[str, str]:
    """Hashes by content of what preprocessing makes; computed once for the same bytes (`state`)."""
    from sustainable.forecasting.data.preprocessing import PreprocessParameters, preprocess
    from sustainable.forecasting.data.windows import save_windows

    parts, described = preprocess(csv, read_section(params, "preprocess", PreprocessParameters, protocol))
    with TemporaryDirectory() as scratch:
        windows, metrics = Path(scratch) / "windows.safetensors", Path(scratch) / "preprocess.json"
        save_windows(windows, parts)
        write_json(metrics, described)
        return {
            f"data/processed/{protocol}/windows.safetensors": content_sha256(windows),
            f"data/metrics/{protocol}/preprocess.json": content_sha256(metrics),
        }


def check_weights(place: Place) -> Iterator[Item]:
    """Check that the shipped weights have the hashes that the metrics and the measured rows name."""
    baseline = read_json(place.reference / "metrics/published/baseline.json")
    rows = read_rows(place.reference / "benchmark/published.csv", ("configuration", "weights_sha256"))
    measured = set(rows.loc[rows["configuration"] == "baseline", "weights_sha256"])
    named = {
        f"published/baseline/seed_{seed}": ({entry["weights_sha256"], *measured}, "train_baseline@published")
        for seed, entry in baseline["seeds"].items()
    }
    for cell in read_json(place.reference / "policies/table.json"):
        for policy in cell["policies"]:
            path = f"policies/{cell['environment']}/{cell['algorithm']}/seed_{policy['seed']}"
            named[path] = {policy["weights_sha256"]}, "train_policies"
    for path, (hashes, stage) in named.items():
        name = f"models/{path}.safetensors"
        file, expected = place.reference / name, " and ".join(sorted(map(str, hashes)))
        found = safetensors_sha256(file) if file.is_file() else None
        yield compared("T1", f"weights {name}", HERE, expected, found, stage=stage)


def check_figures(place: Place) -> Iterator[Item]:
    """Check the figures, page and PDF that `make tables` rendered here, if it was run."""
    folder = place.root / RENDERED
    pages = ("paper/figures/", "paper/report.html", "paper/paper.pdf")
    rendered = {path: entry for path, entry in place.artifacts.items() if path.startswith(pages)}
    if not folder.is_dir():
        why = f"{len(rendered)} files are not shipped: `make tables` renders them, then verify again"
        yield skipped("T1", "figures and page", why)
        return
    advice = f"remove the folder {RENDERED} and run `make tables` again"
    for path, entry in rendered.items():
        file = folder / path.removeprefix("paper/")
        if path == "paper/paper.pdf" and (other := _other_tex(file, entry["tex"])):
            yield skipped("T1", path, other)
        else:
            found = sha256_or_none(file)
            yield compared("T1", path, HERE, entry["sha256"], found, stage="report", advice=advice)


def _other_tex(file: Path, version: str) -> str | None:
    """Why a compiled paper cannot have the reference's bytes; None if it must."""
    if not file.is_file():
        return "no PDF was compiled here: it needs TeX"
    own = tex_version()
    return f"compiled by {own}, the reference by {version}" if own != version else None


def check_oracle(place: Place) -> Iterator[Item]:
    """Check for every task that the oracle of the shipped choices is the best of the shipped candidates."""
    from sustainable.forecasting.search.landscape import Landscape
    from sustainable.forecasting.search.objective import DeploymentReward

    reward = DeploymentReward(**place.parameters["compare_searchers"]["reward"])
    for task in TASKS:
        folder = place.reference / "search" / task
        landscape = Landscape.of_table(read_rows(folder / "candidates.csv", ("family",)), reward)
        best = max(outcome.reward for outcome in landscape.outcomes.values())
        try:
            named = read_json(folder / "choices.json")["choices"]["oracle"]["reward"]
        except (KeyError, TypeError):
            raise UserError(f"{folder / 'choices.json'}: no oracle; restore it from git") from None
        name = f"the oracle of {task}/choices.json is the best of {task}/candidates.csv"
        stage = f"compare_searchers@{task}"
        yield compared("T1", name, HERE, repr(best), repr(named), stage=stage)
