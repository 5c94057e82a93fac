"""The deployment space: every network that was made, in every runtime and precision, scored and timed.

Quality is a mean over the training seeds, on validation windows alone. Time is CPU time of single calls, in
rounds that hold every candidate once in random order, so that a drift of the machine falls on all alike.
"""

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from sustainable.core.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.forecasting.compression.accounting import Account, account
from sustainable.forecasting.compression.runtimes import TARGETS, Deployed, Precision, Runtime, deploy
from sustainable.compression.weights import Scope, prune_weights
from sustainable.forecasting.model.gru import Forecaster, sequence_flops
from sustainable.forecasting.model.scores import score
from sustainable.forecasting.benchmark.subjects import Sources

Family = Literal["grid", "diagonal", "masked"]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Target = tuple[Precision, Runtime]
SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error")
FOUND = (*(field.name for field in fields(Account)), *(f"validation_{name}" for name in SCORES))
"""The columns that are known of a candidate only once it is deployed."""


@dataclass(frozen=True, config=STRICT)
class CandidateParameters:
    """`masked_shares`, `masked_scopes`: unstructured sparsity of the full network, to be timed beside the
    rest; `rounds` of timings, each of at least `window_s` seconds, at every batch size."""

    masked_shares: list[Share]
    masked_scopes: list[Scope]
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    rounds: Annotated[int, Field(ge=1, le=1000)]
    window_s: Annotated[float, Field(gt=0.0, le=60.0)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    keep_memory: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@plain_dataclass(frozen=True)
class Network:
    """One network of the space, whatever runs it: of these widths, or the full one with zeros in it."""

    family: Family
    widths: tuple[int, ...]
    masked_share: float = 0.0
    scope: Scope | None = None

    def load(self, sources: Sources, seed: int) -> Forecaster:
        """The network as it was made from the baseline of `seed`."""
        model = sources.narrow(seed, self.widths)
        return model if self.scope is None else prune_weights(model, self.masked_share, self.scope)

    def columns(self) -> dict[str, Any]:
        """What names it in a table."""
        widths = {f"width_{depth}": width for depth, width in enumerate(self.widths)}
        return {"family": self.family, **widths, "masked_share": self.masked_share, "scope": self.scope}


def networks(
    widths: Sequence[int],
    full: tuple[int, ...],
    others: Sequence[tuple[int, ...]],
    parameters: CandidateParameters,
) -> list[Network]:
    """The grid of `widths` (the full network among them), the `others` that are not in it, and the masked."""
    grid = list(product(widths, repeat=len(full)))
    found = [Network("grid", pair) for pair in grid]
    found += [Network("diagonal", pair) for pair in others if pair not in grid]
    found += [
        Network("masked", full, share, scope)
        for scope, share in product(parameters.masked_scopes, parameters.masked_shares)
    ]
    return found


def offered_targets(
    model: Forecaster, example: Tensor, sources: Sources
) -> tuple[list[Target], dict[str, str]]:
    """What this host can run of `TARGETS`, and why not the rest; `model` is the full network."""
    offered: list[Target] = []
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
    targets: Sequence[Target],
    sources: Sources,
    inputs: Tensor,
    target: np.ndarray,
) -> list[dict[str, Any]]:
    """Quality of a network of one seed on every target, and its exact counts; a row a target.

    `inputs` [n, days, features] and `target` [n] are the validation windows. Where the network does not
    pass the checks of a target, `refused` is the reason, and nothing is known but the operations.
    """
    model = network.load(sources, seed)
    flops = sequence_flops(inputs.shape[2], model.widths, inputs.shape[1])
    rows = []
    for precision, runtime in _targets_of(network, targets):
        found, refused = dict.fromkeys(FOUND), None
        try:
            found = _found(deploy(model, precision, runtime, inputs, sources.cache), inputs, target)
        except CompressionError as error:
            refused = str(error)
        place = network.columns() | {"precision": precision, "runtime": runtime, "seed": seed}
        rows.append(place | found | {"flops": flops, "refused": refused})
    return rows


def _found(deployed: Deployed, inputs: Tensor, target: np.ndarray) -> dict[str, Any]:
    """The columns `FOUND` of one deployment."""
    probability = torch.sigmoid(torch.from_numpy(deployed.logits(inputs, len(inputs)))).double().numpy()
    scores = asdict(score(probability, target))
    counted = asdict(account(deployed.model, inputs.shape[1], inputs.shape[2]))
    counted["size_bytes"] = deployed.size_bytes or counted["size_bytes"]
    return counted | {f"validation_{name}": scores[name] for name in SCORES}


def _targets_of(network: Network, targets: Sequence[Target]) -> list[Target]:
    """Masked networks are timed in fp32 alone: zeros are what they are to show."""
    return [pair for pair in targets if network.scope is None or pair[0] == "fp32"]


def deployments(
    every: Sequence[Network],
    targets: Sequence[Target],
    sources: Sources,
    seed: int,
    example: Tensor,
    refused: Container[tuple[Any, ...]] = frozenset(),
) -> Iterator[tuple[dict[str, Any], Deployed]]:
    """Every candidate of one seed whose key is not `refused`, with the columns that name it."""
    for network in every:
        model = network.load(sources, seed)
        for precision, runtime in _targets_of(network, targets):
            columns = network.columns() | {"precision": precision, "runtime": runtime}
            if key_of(columns) not in refused:
                yield columns, deploy(model, precision, runtime, example, sources.cache)


def round_order(count: int, number: int, seed: int) -> np.ndarray:
    """The order [count] in which round `number` takes the candidates."""
    return np.random.default_rng([seed, number]).permutation(count)


def time_call_ms(deployed: Deployed, windows: Tensor, window_s: float) -> float:
    """CPU milliseconds of one forecast in a call with all of `windows` [n, days, features].

    Calls are doubled until they fill `window_s`; the last, longest series counts, and the others warm up.
    """
    batch = deployed.prepare(windows)
    calls, taken = 1, 0.0
    while taken < window_s:
        taken = _cpu_s(deployed.run, batch, calls)
        calls *= 2
    return 1000 * taken / (calls // 2) / len(windows)


def _cpu_s(run: Callable[[Any], Any], batch: Any, calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        run(batch)
    return time.process_time() - start


KEY = ("family", "width_0", "width_1", "masked_share", "scope", "precision", "runtime")


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells candidates apart."""
    return tuple(row[name] for name in KEY)


def name_of(key: Sequence[Any]) -> str:
    """A candidate in words."""
    family, width_0, width_1, share, scope, precision, runtime = key
    masked = f" with {share:.0%} masked by {scope}" if family == "masked" else ""
    return f"{width_0}x{width_1}{masked} {precision} on {runtime}"


def refusals(quality: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """Why candidates were refused, by key: the first seed that was, and its reason. One seed is enough,
    because a mean over fewer seeds than the others' compares with nothing."""
    found: dict[tuple[Any, ...], str] = {}
    for row in quality:
        if row.get("refused") is not None:
            found.setdefault(key_of(row), f"seed {row['seed']}: {row['refused']}")
    return found


def candidate_table(
    quality: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]], batch_sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a candidate: quality as the mean over seeds, counts of the first seed, time as the median over
    rounds, and the spread of both. `sparsity` is the share of the full network's numbers that is gone.
    A refused candidate has its reason instead of all these."""
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
    """One candidate from its rows, one a seed; the full network has `full` parameters."""
    first = {name: value for name, value in rows[0].items() if name not in ("seed", "refused")}
    left = first["nonzero"] if first["family"] == "masked" else first["parameters"]
    means = {f"validation_{name}": float(np.mean([r[f"validation_{name}"] for r in rows])) for name in SCORES}
    spread = float(np.std([r["validation_accuracy"] for r in rows], ddof=1)) if len(rows) > 1 else None
    spreads = {"validation_accuracy_sd": spread, "seeds": len(rows), "sparsity": 1 - left / full}
    return first | means | spreads


def _blank(row: Mapping[str, Any], batch_sizes: Sequence[int]) -> dict[str, Any]:
    """The columns of a refused candidate: what names it, and its operations."""
    empty = dict.fromkeys([*FOUND, "validation_accuracy_sd", "seeds", "sparsity"])
    times = {f"cpu_time_{what}_batch_{size}": None for size in batch_sizes for what in ("ms", "range")}
    return {name: row[name] for name in (*KEY, "flops")} | empty | times


def _time_columns(times: Mapping[int, Sequence[float]], batch_sizes: Sequence[int]) -> dict[str, float]:
    """Median and relative range over the rounds, by batch size."""
    columns = {}
    for size in batch_sizes:
        median = float(np.median(times[size]))
        columns[f"cpu_time_ms_batch_{size}"] = median
        columns[f"cpu_time_range_batch_{size}"] = float(np.ptp(times[size])) / median
    return columns
