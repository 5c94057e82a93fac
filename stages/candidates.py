"""Stage candidates: score every deployment on the validation windows, and time it. Runs without the pins."""

from sustainable.measuring.process import settle, start_afresh, start_stage_afresh

if __name__ == "__main__":
    start_stage_afresh("candidates")  # before the libraries read the environment

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.forecasting.benchmark.candidates import (
    CandidateParameters,
    candidate_table,
    name_of,
    networks,
    offered_targets,
    refusals,
    score_all,
    time_all,
    timed_candidates,
)
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.compression.shrinking import ShrinkParameters, width_pairs
from sustainable.forecasting.data.windows import load_windows
from sustainable.measuring.host import describe_host

import torch

SMALL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8", "LRU_CACHE_CAPACITY": "8"}
"""Settings of oneDNN and of PyTorch's binding to it. By default they keep the kernels of 1,024 shapes, and a
process that scores grows by 300 MiB, although it needs hardly any shape again."""


def main() -> None:
    paths = "params windows models exports work candidates conditions cost"
    arguments = stage_arguments(__doc__, paths, text="task")
    parameters = read_section(arguments.params, "candidates", CandidateParameters)
    shrink = read_section(arguments.params, "shrink", ShrinkParameters, arguments.task)
    metering = read_section(arguments.params, "metering", MeterParameters)
    start_afresh(parameters.threads, parameters.keep_memory)
    parts = load_windows(arguments.windows)
    sources = Sources(arguments.models, arguments.exports, arguments.exports, parts["train"])
    seeds = sources.seeds()
    full = sources.baseline(seeds[0]).widths
    every = networks(shrink.widths, full, width_pairs(full, shrink), parameters)
    inputs = torch.from_numpy(parts["validation"].inputs)
    targets, refused = offered_targets(sources.baseline(seeds[0]), inputs, sources)
    report_left_out(refused)
    weights = [file_sha256(path) for path in sorted(arguments.models.rglob("*.safetensors"))]
    identity = fingerprint([asdict(parameters), asdict(shrink), asdict(metering), targets, weights])
    scored = RowJournal(arguments.work / "quality.jsonl", identity)
    timed = RowJournal(arguments.work / "times.jsonl", identity)
    with small_caches():
        score_all(every, seeds, targets, sources, arguments.windows, metering, scored)
    quality = [row for line in scored.rows for row in line["rows"]]
    failed = refusals(quality)
    failures = {name_of(key): reason for key, reason in failed.items()}
    report_left_out(failures)
    threads = settle(parameters.threads)
    time_all(timed_candidates(every, targets, failed), sources, inputs, parameters, metering, timed)
    timings = [row for line in timed.rows for row in line["rows"]]
    write_json(arguments.cost, total_cost([line["cost"] for line in (*scored.rows, *timed.rows)]))
    write_json(arguments.conditions, {"host": describe_host() | threads, "refused": refused | failures})
    write_rows(arguments.candidates, candidate_table(quality, timings, parameters.batch_sizes))
    scored.discard()
    timed.discard()


@contextmanager
def small_caches() -> Iterator[None]:
    """Start processes with `SMALL_CACHES`. This process keeps its own caches: it times the candidates."""
    before = {name: os.environ.pop(name, None) for name in SMALL_CACHES}
    os.environ.update(SMALL_CACHES)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def report_left_out(refused: dict[str, str]) -> None:
    """Print what this host does not support, and why."""
    for name, reason in refused.items():
        print(f"left out here: {name}: {reason}", flush=True)


if __name__ == "__main__":
    run_stage(main)
