"""The deployment space: every network in every runtime and precision, scored and timed.

Quality is the mean over the training seeds, on the validation windows. Beside it stands the accuracy on the
test windows, to judge searches; no searcher reads it. Time is the CPU time of single calls. It is measured in
rounds; each round times every candidate once, in random order, so that a drift of the machine affects all
candidates alike.
"""

import math
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, fields
from dataclasses import dataclass as plain_dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from sustainable.core.journal import RowJournal
from sustainable.core.parallel import end_workers
from sustainable.core.parameters import STRICT, Share
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.parallel import in_metered_parallel
from sustainable.forecasting.data.windows import Windows, load_windows
from sustainable.compression import CompressionError
from sustainable.forecasting.compression.accounting import Account, account
from sustainable.forecasting.compression.runtimes import (
    CHECKED_AT_ONCE,
    TARGETS,
    Deployed,
    Precision,
    Runtime,
    checked_logits,
    deploy,
    deploy_unchecked,
)
from sustainable.compression.weights import Scope, prune_weights
from sustainable.forecasting.model.gru import Forecaster, logits_of, probabilities, sequence_flops
from sustainable.forecasting.model.scores import score
from sustainable.forecasting.benchmark.subjects import Sources

Family = Literal["grid", "diagonal", "masked"]
RuntimeTarget = tuple[Precision, Runtime]
SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error")
TEST_SCORE = "test_accuracy"
"""The column that judges a search and that no searcher reads."""
DEPLOYED_COLUMNS = (
    *(field.name for field in fields(Account)),
    *(f"validation_{name}" for name in SCORES),
    TEST_SCORE,
)
"""The columns of a candidate that are known only after it is deployed."""


@dataclass(frozen=True, config=STRICT)
class CandidateParameters:
    """Section `candidates` of params.yaml."""

    masked_shares: list[Share]  # unstructured sparsity of the full network: the shares of weights set to zero
    masked_scopes: list[Scope]  # whether a share applies to each matrix or to all of them together
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    rounds: Annotated[int, Field(ge=1, le=1000)]  # timings of every candidate at every batch size
    window_s: Annotated[float, Field(gt=0.0, le=60.0)]  # minimum CPU time of one timing
    threads: Annotated[int, Field(ge=1, le=1024)]
    keep_memory: bool  # whether the process keeps freed memory (see `measuring.process.KEEP_MEMORY`)
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # seed of the order within rounds


@plain_dataclass(frozen=True)
class Network:
    """One network of the space, independent of its runtime."""

    family: Family
    widths: tuple[int, ...]  # hidden units per layer
    masked_share: float = 0.0  # share of weights set to zero; 0 unless `family` is `masked`
    scope: Scope | None = None  # scope of the mask; None unless `family` is `masked`

    def load(self, sources: Sources, seed: int) -> Forecaster:
        """Return the network that was made from the baseline of `seed`."""
        model = sources.narrow(seed, self.widths)
        return model if self.scope is None else prune_weights(model, self.masked_share, self.scope)

    def columns(self) -> dict[str, Any]:
        """Return the columns that identify the network in a table."""
        widths = {f"width_{depth}": width for depth, width in enumerate(self.widths)}
        return {"family": self.family, **widths, "masked_share": self.masked_share, "scope": self.scope}


def networks(
    widths: Sequence[int],
    full: tuple[int, ...],
    others: Sequence[tuple[int, ...]],
    parameters: CandidateParameters,
) -> list[Network]:
    """Return the grid of `widths`, the pairs of `others` that are not on the grid, and the masked networks.

    The grid includes the network of the `full` widths.
    """
    grid = list(product(widths, repeat=len(full)))
    space = [Network("grid", pair) for pair in grid]
    space += [Network("diagonal", pair) for pair in others if pair not in grid]
    space += [
        Network("masked", full, share, scope)
        for scope, share in product(parameters.masked_scopes, parameters.masked_shares)
    ]
    return space


def offered_targets(
    model: Forecaster, example: Tensor, sources: Sources
) -> tuple[list[RuntimeTarget], dict[str, str]]:
    """Return the members of `TARGETS` that this host can run, and the reason for each one that it cannot.

    `model` is the full network, `example` [n, days, features] the windows on which it is checked.
    """
    offered: list[RuntimeTarget] = []
    refused = {}
    for precision, runtime in TARGETS:
        try:
            deploy(model, precision, runtime, example, sources.cache)
            offered.append((precision, runtime))
        except CompressionError as error:
            refused[f"{precision} on {runtime}"] = str(error)
    return offered, refused


def evaluate(
    network: Network,
    seed: int,
    targets: Sequence[RuntimeTarget],
    sources: Sources,
    validation: Windows,
    test: Windows,
) -> list[dict[str, Any]]:
    """Score a network of one seed on every target and count its weights; one row per target.

    Every score is that on the `validation` windows; of the `test` windows only the accuracy is kept. If
    the network fails the checks of a target, `refused` is the reason and every column but `flops` is None.
    """
    model, inputs = network.load(sources, seed), torch.from_numpy(validation.inputs)
    flops = sequence_flops(inputs.shape[2], model.widths, inputs.shape[1], model.architecture.classes)
    expected, rows = logits_of(model, inputs, CHECKED_AT_ONCE).numpy(), []
    for precision, runtime in _targets_of(network, targets):
        columns, refused = dict.fromkeys(DEPLOYED_COLUMNS), None
        try:
            deployed = deploy_unchecked(model, precision, runtime, inputs.shape[1], sources.cache)
            logits = checked_logits(deployed, inputs, expected)
            columns = _quality(deployed, logits, validation, test)
        except CompressionError as error:
            refused = str(error)
        key = Candidate(network, precision, runtime).columns() | {"seed": seed}
        rows.append(key | columns | {"flops": flops, "refused": refused})
    return rows


def _quality(deployed: Deployed, logits: np.ndarray, validation: Windows, test: Windows) -> dict[str, Any]:
    """Return the columns `DEPLOYED_COLUMNS` of one deployment, whose `logits` are those of `validation`."""
    scores, tested = _scores_of(logits, validation), _scores(deployed, test)
    counted = asdict(account(deployed.model, *validation.inputs.shape[1:]))
    counted["size_bytes"] = deployed.size_bytes or counted["size_bytes"]
    scored = {f"validation_{name}": scores[name] for name in SCORES}
    return counted | scored | {TEST_SCORE: tested["accuracy"]}


def _scores(deployed: Deployed, part: Windows) -> dict[str, float]:
    """Return every score of a deployment on the windows of `part`."""
    return _scores_of(deployed.logits(torch.from_numpy(part.inputs), CHECKED_AT_ONCE), part)


def _scores_of(logits: np.ndarray, part: Windows) -> dict[str, float]:
    return asdict(score(probabilities(torch.from_numpy(logits)).numpy(), part.target))


def _targets_of(network: Network, targets: Sequence[RuntimeTarget]) -> list[RuntimeTarget]:
    """Return the targets of a network; a masked one runs only in fp32, to show the effect of its zeros."""
    return [pair for pair in targets if network.scope is None or pair[0] == "fp32"]


@plain_dataclass(frozen=True)
class Candidate:
    """One point of the deployment space: a network in a precision and a runtime."""

    network: Network
    precision: Precision
    runtime: Runtime

    def columns(self) -> dict[str, Any]:
        """Return the columns that identify the candidate in a table (`KEY`)."""
        return self.network.columns() | {"precision": self.precision, "runtime": self.runtime}

    def deploy(self, sources: Sources, seed: int, days: int) -> Deployed:
        """Deploy the network of `seed` for windows of `days`; `evaluate` has checked it already."""
        model = self.network.load(sources, seed)
        return deploy_unchecked(model, self.precision, self.runtime, days, sources.cache)


def timed_candidates(
    every: Sequence[Network],
    targets: Sequence[RuntimeTarget],
    refused: Container[tuple[Any, ...]] = frozenset(),
) -> list[Candidate]:
    """Return every network on each of its targets, without the candidates whose key is in `refused`."""
    space = [Candidate(network, *pair) for network in every for pair in _targets_of(network, targets)]
    return [candidate for candidate in space if key_of(candidate.columns()) not in refused]


def time_candidate(deployed: Deployed, inputs: Tensor, parameters: CandidateParameters) -> dict[int, float]:
    """Return the CPU milliseconds per forecast of a new deployment at each batch size.

    `inputs` [n, days, features]. One call with the largest batch comes first and is not timed: it allocates
    the runtime's working memory, which the first timed call of a slow model would otherwise include.
    """
    deployed.run(deployed.prepare(inputs[: max(parameters.batch_sizes)]))
    return {
        size: time_call_ms(deployed, inputs[:size], parameters.window_s) for size in parameters.batch_sizes
    }


def round_order(count: int, number: int, seed: int) -> np.ndarray:
    """Return the order [count] in which round `number` times the candidates."""
    return np.random.default_rng([seed, number]).permutation(count)


def time_call_ms(deployed: Deployed, windows: Tensor, window_s: float) -> float:
    """Return the CPU milliseconds per forecast of a call with all of `windows` [n, days, features].

    The number of calls is doubled until a series lasts `window_s`. Only this last series counts; the shorter
    ones before it are the warm-up.
    """
    batch = deployed.prepare(windows)
    calls, series_s = 1, 0.0
    while series_s < window_s:
        start = time.process_time()
        for _ in range(calls):
            deployed.run(batch)
        series_s = time.process_time() - start
        calls *= 2
    return 1000 * series_s / (calls // 2) / len(windows)


def score_all(
    networks: Sequence[Network],
    seeds: list[int],
    targets: Sequence[RuntimeTarget],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
    journal: RowJournal,
) -> None:
    """Score every network of every seed on the validation windows; append one journal line for each.

    The worker processes end here: the candidates are timed without their memory and their threads.
    """
    tasks = [(network, seed, targets, sources, windows, metering) for network in networks for seed in seeds]
    for line in in_metered_parallel(score_network, tasks[len(journal.rows) :], "scoring", metering):
        journal.append(line)
    end_workers()


def score_network(
    network: Network,
    seed: int,
    targets: Sequence[RuntimeTarget],
    sources: Sources,
    windows: Path,
    metering: MeterParameters,
) -> dict[str, Any]:
    """Score one network of one seed for every target; return the rows and the cost of scoring."""
    torch.set_num_threads(1)
    meter = choose_meter(metering).make()
    meter.start()
    parts = load_windows(windows)
    rows = evaluate(network, seed, targets, sources, parts["validation"], parts["test"])
    return {"rows": rows, "cost": asdict(meter.stop())}


def time_all(
    candidates: Sequence[Candidate],
    sources: Sources,
    inputs: Tensor,
    parameters: CandidateParameters,
    metering: MeterParameters,
    journal: RowJournal,
) -> None:
    """Time every candidate of the first seed at every batch size; append one journal line per round.

    A candidate is deployed for its turn and released after it. ONNX Runtime and OpenVINO never shrink a
    session's working memory, so that all deployments of a run together take more than 5 GiB.
    """
    seed, days = sources.seeds()[0], inputs.shape[1]
    for number in range(len(journal.rows), parameters.rounds):
        meter = choose_meter(metering).make()
        meter.start()
        order, rows = round_order(len(candidates), number, parameters.seed), []
        for index in progress(order, f"timing, round {number + 1} of {parameters.rounds}", len(order)):
            candidate = candidates[index]
            times_ms = time_candidate(candidate.deploy(sources, seed, days), inputs, parameters)
            rows += [
                candidate.columns() | {"round": number, "batch_size": size, "cpu_time_ms": time_ms}
                for size, time_ms in times_ms.items()
            ]
        journal.append({"rows": rows, "cost": asdict(meter.stop())})


KEY = ("family", "width_0", "width_1", "masked_share", "scope", "precision", "runtime")


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of `KEY`, which identify a candidate."""
    return tuple(row[name] for name in KEY)


def name_of(key: Sequence[Any]) -> str:
    """Return a readable name for a candidate's key."""
    family, width_0, width_1, share, scope, precision, runtime = key
    masked = f" with {share:.0%} masked by {scope}" if family == "masked" else ""
    return f"{width_0}x{width_1}{masked} {precision} on {runtime}"


def refusals(quality: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """Return the refused candidates by key, each with the first refused seed and its reason.

    One refused seed is enough: a mean over fewer seeds is not comparable with the other candidates' means.
    """
    reasons: dict[tuple[Any, ...], str] = {}
    for row in quality:
        if row.get("refused") is not None:
            reasons.setdefault(key_of(row), f"seed {row['seed']}: {row['refused']}")
    return reasons


def candidate_table(
    quality: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]], batch_sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row per candidate.

    Quality is the mean over seeds, counts are those of the first seed, time is the median over rounds; the
    spread of quality and time is included. `sparsity` is the share of the full network's weights that is
    removed or zero. A refused candidate has only its key, `flops` and the reason in `refused`.
    """
    by_candidate: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in quality:
        by_candidate.setdefault(key_of(row), []).append(row)
    times: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in timings:
        times.setdefault(key_of(row), {}).setdefault(row["batch_size"], []).append(row["cpu_time_ms"])
    full = max((row["parameters"] for row in quality if row["parameters"] is not None), default=0)
    refused = refusals(quality)
    return [
        _blank(rows[0], batch_sizes) | {"refused": refused[key]}
        if key in refused
        else _quality_columns(rows, full) | _time_columns(times[key], batch_sizes) | {"refused": None}
        for key, rows in by_candidate.items()
    ]


def _quality_columns(rows: Sequence[Mapping[str, Any]], full: int) -> dict[str, Any]:
    """Combine the rows of one candidate, one per seed; the full network has `full` parameters."""
    first = {name: value for name, value in rows[0].items() if name not in ("seed", "refused")}
    left = first["nonzero"] if first["family"] == "masked" else first["parameters"]
    scored = (*(f"validation_{name}" for name in SCORES), TEST_SCORE)
    means = {name: float(np.mean([row[name] for row in rows])) for name in scored}
    spread = float(np.std([r["validation_accuracy"] for r in rows], ddof=1)) if len(rows) > 1 else None
    spreads = {"validation_accuracy_sd": spread, "seeds": len(rows), "sparsity": 1 - left / full}
    return first | means | spreads


def _blank(row: Mapping[str, Any], batch_sizes: Sequence[int]) -> dict[str, Any]:
    """Return the row of a refused candidate: its key, its operations, and None elsewhere."""
    times = [f"cpu_time_{kind}_batch_{size}" for size in batch_sizes for kind in ("ms", "se", "range")]
    empty = dict.fromkeys([*DEPLOYED_COLUMNS, "validation_accuracy_sd", "seeds", "sparsity", *times])
    return {name: row[name] for name in (*KEY, "flops")} | empty


def standard_error_of_median(values: Sequence[float]) -> float | None:
    """Return the standard error of the median of `values` [n], as for normal values; None for fewer than two.

    It is sqrt(pi / 2) times that of the mean, which is a little too much for few values (n = 5: 5 %).
    """
    if len(values) < 2:
        return None
    return math.sqrt(math.pi / 2) * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _time_columns(
    times: Mapping[int, Sequence[float]], batch_sizes: Sequence[int]
) -> dict[str, float | None]:
    """Return the median over the rounds, its standard error, and the relative range, at each batch size."""
    columns: dict[str, float | None] = {}
    for size in batch_sizes:
        median = float(np.median(times[size]))
        columns[f"cpu_time_ms_batch_{size}"] = median
        columns[f"cpu_time_se_batch_{size}"] = standard_error_of_median(times[size])
        columns[f"cpu_time_range_batch_{size}"] = float(np.ptp(times[size])) / median
    return columns
