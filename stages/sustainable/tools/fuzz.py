"""Give every reader many damaged files: it must return a value, or the clean error of one line.

Exit status 1 if a reader ended in any other exception. A line per reader counts: files tried, read, refused,
and other exceptions, with the seed that makes the first file of each kind again.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sustainable.core.determinism  # noqa: F401  (first)

import numpy as np
import torch
import yaml

from sustainable.assessing.examples import read_arrays
from sustainable.assessing.model import load_model
from sustainable.core import documents
from sustainable.core.documents import METRICS
from sustainable.core.errors import exit_on_error
from sustainable.core.files import read_json, read_rows
from sustainable.core.parallel import available_cores, in_parallel
from sustainable.core.parameters import read_profile, read_protocols, read_section, read_tasks
from sustainable.core.schema import Table
from sustainable.core.tensors import read_tensors
from sustainable.forecasting.data.daily import DailyParameters, read_daily_table
from sustainable.forecasting.data.windows import Windows, load_windows, save_windows
from sustainable.forecasting.model.gru import Architecture, WeatherGRU, load_forecaster
from sustainable.forecasting.model.training import Trainer, TrainingRecipe
from sustainable.forecasting.benchmark.choices import resolve
from sustainable.policies.policy import load_policy
from sustainable.reporting.forecasting import run as study_a
from sustainable.reporting.forecasting.source import read_published
from sustainable.reporting.host_folders import read_host
from sustainable.reporting.policies.source import read_published_policies
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies import notebook, run as study_b
from sustainable.reporting.published import read_citation
from sustainable.verification.claim.forecast import shipped_efforts
from sustainable.verification.fuzzing import Reader, Tried, try_reader
from sustainable.verification.lock import read_lock, read_yaml
from sustainable.verification.place import REFERENCE, ROOT, Place, read_claims, read_sums

COUNT = 10_000
LOCKED = 4
"""Stages of the lock that is damaged."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="damaged files per reader")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; the next has the next one")
    parser.add_argument("--reader", help="only readers whose name contains this")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes at a time")
    arguments = parser.parse_args()
    start = time.perf_counter()
    names = [one.name for one in readers() if (arguments.reader or "") in one.name]
    tasks = [(name, arguments.seed, arguments.count) for name in names]
    print(f"{'reader':<34}{'tried':>8}{'read':>8}{'refused':>9}{'other':>7}")
    seen = []
    for name, one in zip(names, in_parallel(fuzz, tasks, "readers", arguments.workers), strict=True):
        seen.append(one)
        print("\n".join(lines_of(name, one)), flush=True)  # now: the next may take minutes
    failed = sum(sum(one.tracebacks.values()) for one in seen)
    tried = sum(one.tried for one in seen)
    print(
        f"{tried} files, {len(seen)} readers: {failed} other exceptions ({time.perf_counter() - start:.0f} s)"
    )
    if failed:
        sys.exit(1)


def lines_of(name: str, one: Tried) -> Iterator[str]:
    """Print the counts of a reader, and where it raised another exception."""
    other = sum(one.tracebacks.values())
    yield f"{name:<34}{one.tried:>8}{one.read:>8}{one.refused:>9}{other:>7}"
    for where, count in one.tracebacks.most_common(5):
        yield f"    {count} x {where} (--reader '{name}' --seed {one.examples[where]} --count 1)"


def fuzz(name: str, seed: int, count: int) -> Tried:
    """Try the reader of this name with `count` files."""
    reader = next(one for one in readers() if one.name == name)
    with TemporaryDirectory(prefix="fuzz-") as folder:
        return try_reader(reader, Path(folder), range(seed, seed + count))


def table(name: str, path: str, kind: Table) -> Reader:
    """A reader of rows."""
    return Reader(name, ROOT / REFERENCE / path, lambda file: read_rows(file, kind))


def document(name: str, path: str, kind: Any) -> Reader:
    """A reader of a JSON file."""
    return Reader(name, ROOT / REFERENCE / path, lambda file: read_json(file, kind))


def readers() -> list[Reader]:
    """Every reader of a file that somebody else may have written, each with such a file."""
    return [*_settings(), *_tables(), *_documents(), *_binary(), *_verified()]


def _settings() -> list[Reader]:
    params, dvc = ROOT / "params.yaml", [ROOT / "dvc.yaml"]
    daily = read_section(params, "preprocess", DailyParameters, "published")
    return [
        Reader(
            "weather CSV", ROOT / "data/raw/seattle-weather.csv", lambda file: read_daily_table(file, daily)
        ),
        Reader("params: profile", params, read_profile, dvc),
        Reader("params: protocols", params, read_protocols, dvc),
        Reader("params: tasks", params, read_tasks, dvc),
        Reader("params: report", params, lambda file: read_section(file, "report", ReportParameters), dvc),
        Reader("published.yaml", ROOT / "paper/published.yaml", read_published),
        Reader("published.yaml, policies", ROOT / "paper/published.yaml", read_published_policies),
        Reader("CITATION.cff", ROOT / "CITATION.cff", read_citation),
    ]


def _tables() -> list[Reader]:
    weather = ROOT / REFERENCE / "search/weather"
    costs = read_json(ROOT / REFERENCE / "metrics/weather/searchers_cost.json")

    def searches(file: Path) -> None:
        study_a.read_searches(file.parent, costs)

    actions = ROOT / REFERENCE / "search/published/actions.csv"
    improvements, choices = weather / "improvements.csv", weather / "choices.json"
    return [
        Reader("actions.csv", actions, study_a.read_actions),
        Reader("improvements.csv, with choices", improvements, searches, [choices]),
        Reader("choices.json, with improvements", choices, searches, [improvements]),
        table("candidates.csv", "search/weather/candidates.csv", study_a.CANDIDATES),
        table("repairs.csv", "search/weather/repairs.csv", study_a.REPAIRS),
        table("narrow.csv", "training/weather/narrow.csv", study_a.NARROW),
        table("history.csv", "training/published/history.csv", study_a.HISTORY),
        table("curve.csv", "search/published/curve.csv", study_a.CURVE),
        table("discovery.csv", "search/published/discovery.csv", study_a.DISCOVERY),
        table("searches.csv", "search/layerwise/searches.csv", study_a.SEARCHES),
        table("plans.csv", "search/layerwise/plans.csv", study_a.PLANS),
        table("benchmark rows", "benchmark/published.csv", study_a.MEASURED),
        table("hits.csv", "benchmark/published.hits.csv", study_a.HITS),
        table("policies.csv", "benchmark/policies.csv", study_b.WINDOWS),
        table("workload.csv", "benchmark/workload.csv", study_b.DOSES),
        table("memory.csv", "benchmark/memory.csv", study_b.MEMORY),
        table("learning.csv", "policies/learning.csv", study_b.LEARNING),
        table("notebook.csv", "benchmark/notebook.csv", notebook.TESTS),
        table("notebook.power.csv", "benchmark/notebook.power.csv", notebook.POWER),
    ]


def _documents() -> list[Reader]:
    best = ROOT / REFERENCE / "search/published/best_action.json"
    costs = ("training_cost", "searchers_cost", "baseline", "preprocess", "confirmed")
    host = ROOT / "data/hosts/amd-zen4"
    return [
        Reader("best_action.json", best, lambda file: read_json(file, documents.BestAction)),
        Reader("best_action.json, its choice", best, lambda file: resolve("search", file)),
        Reader("choices.json, the oracle", best.parents[1] / "weather/choices.json",
               lambda file: resolve("oracle", file)),
        *(document(f"{name}.json", f"metrics/weather/{name}.json", METRICS.get(name, documents.Cost))
          for name in costs),
        document("conditions.json", "benchmark/weather.conditions.json", documents.AuditedConditions),
        document("policies/table.json", "policies/table.json", list[documents.PolicyCell]),
        document("tuned.json", "search/weather/tuned.json", documents.Tuned),
        Reader("host.json", host / "host.json", lambda file: read_host(file.parent),
               [host / "policies.conditions.json"]),
        Reader("effort.json", ROOT / REFERENCE / "effort.json", lambda file: shipped_efforts(file.parent)),
        Reader("claims.json", ROOT / REFERENCE / "claims.json", read_claims),
    ]  # fmt: skip


def _binary() -> list[Reader]:
    policy = ROOT / "data/actors/Hopper-v5/SAC/seed_11.safetensors"
    small = ROOT / "data/deployed/mnist1d.safetensors"
    model = small.with_suffix(".onnx")
    return [
        Reader("weights", small, read_tensors),
        Reader("weights of a forecaster", small, load_forecaster),
        Reader("windows", Path("windows.safetensors"), load_windows, make=write_windows),
        Reader("checkpoint", Path("checkpoint.safetensors"), resumed, make=resumed),
        Reader("policy, its weights", policy, load_policy, [policy.with_suffix(".json")]),
        Reader("policy, its description", policy.with_suffix(".json"),
               lambda file: load_policy(file.with_suffix(".safetensors")), [policy]),
        Reader("arrays to assess, .npz", Path("inputs.npz"), read_arrays, make=write_arrays),
        Reader("arrays to assess, .npy", Path("y.npy"), read_arrays,
               make=lambda file: np.save(file, np.ones(9))),
        Reader("ONNX model to assess", model, lambda file: load_model(file, "own")),
    ]  # fmt: skip


def write_windows(file: Path) -> None:
    """Write a few windows."""
    numbers = np.arange(4)
    inputs = np.linspace(0, 1, 4 * 5 * 2, dtype=np.float32).reshape(4, 5, 2)
    save_windows(file, {"train": Windows(inputs, numbers % 2 > 0, numbers % 2 > 0, numbers)})


def write_arrays(file: Path) -> None:
    """Write the inputs of a model."""
    np.savez(file, x=np.ones((3, 2), np.float32), y=np.arange(3))


def resumed(file: Path) -> None:
    """Train a tiny network for an epoch from the checkpoint, if there is one, and leave a checkpoint."""
    epochs = 2 if file.exists() else 1
    recipe = TrainingRecipe("AdamW", 0.001, 0.0, 4, epochs, 5, 5, 0.0, 1)
    data = torch.ones(4, 5, 2), torch.tensor([0.0, 1.0, 0.0, 1.0])
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        Trainer(WeatherGRU(Architecture(2, 4, 1, 0.0)), recipe, 1, file, "identity").fit(data, data)


def _verified() -> list[Reader]:
    reference = ROOT / REFERENCE

    def of_place(read: Callable[[Place], Any]) -> Callable[[Path], Any]:
        return lambda file: read(_Folder(file.parent))

    return [
        Reader("dvc.lock", Path("dvc.lock"), read_lock, make=write_lock),
        Reader("manifest.json", reference / "manifest.json", of_place(lambda place: place.manifest)),
        Reader("SHA256SUMS", reference.parent / "SHA256SUMS", read_sums),
    ]


def write_lock(file: Path) -> None:
    """Write the first stages of the shipped lock: all of them take long to read 10,000 times."""
    lock = read_yaml(ROOT / REFERENCE / "dvc.lock")
    stages = dict(list(lock["stages"].items())[:LOCKED])
    file.write_text(yaml.safe_dump(lock | {"stages": stages}), encoding="utf-8")


class _Folder(Place):
    """A reference that lies in the folder itself."""

    @property
    def reference(self) -> Path:
        return self.root


if __name__ == "__main__":
    exit_on_error(main)
