"""The deployment space: every network that was made, in every runtime and precision, scored and timed.

Quality is a mean over the training seeds, on validation windows alone. Time is CPU time of single calls, in
rounds that hold every candidate once in random order, so that a drift of the machine falls on all alike.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from sustainable.artifact.parameters import STRICT
from sustainable.compression import CompressionError
from sustainable.compression.accounting import account
from sustainable.compression.runtimes import TARGETS, Deployed, Precision, Runtime, deploy
from sustainable.compression.weights import Scope, prune_weights
from sustainable.forecaster import Forecaster, sequence_flops
from sustainable.scores import score
from sustainable.subjects import Sources

Family = Literal["grid", "diagonal", "masked"]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Target = tuple[Precision, Runtime]
SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error")


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

    `inputs` [n, days, features] and `target` [n] are the validation windows.
    """
    model = network.load(sources, seed)
    rows = []
    for precision, runtime in _targets_of(network, targets):
        deployed = deploy(model, precision, runtime, inputs, sources.cache)
        probability = torch.sigmoid(torch.from_numpy(deployed.logits(inputs, len(inputs)))).double().numpy()
        scores = asdict(score(probability, target))
        counted = asdict(account(deployed.model, inputs.shape[1], inputs.shape[2]))
        counted["size_bytes"] = deployed.size_bytes or counted["size_bytes"]
        flops = sequence_flops(inputs.shape[2], model.widths, inputs.shape[1])
        place = network.columns() | {"precision": precision, "runtime": runtime, "seed": seed}
        quality = {f"validation_{name}": scores[name] for name in SCORES}
        rows.append(place | counted | {"flops": flops} | quality)
    return rows


def _targets_of(network: Network, targets: Sequence[Target]) -> list[Target]:
    """Masked networks are timed in fp32 alone: zeros are what they are to show."""
    return [pair for pair in targets if network.scope is None or pair[0] == "fp32"]


def deployments(
    every: Sequence[Network], targets: Sequence[Target], sources: Sources, seed: int, example: Tensor
) -> Iterator[tuple[dict[str, Any], Deployed]]:
    """Every candidate of one seed, with the columns that name it."""
    for network in every:
        model = network.load(sources, seed)
        for precision, runtime in _targets_of(network, targets):
            deployed = deploy(model, precision, runtime, example, sources.cache)
            yield network.columns() | {"precision": precision, "runtime": runtime}, deployed


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


def candidate_table(
    quality: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]], batch_sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a candidate: quality as the mean over seeds, counts of the first seed, time as the median over
    rounds, and the spread of both. `sparsity` is the share of the full network's numbers that is gone."""
    by_candidate: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in quality:
        by_candidate.setdefault(key_of(row), []).append(row)
    times: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in timings:
        times.setdefault(key_of(row), {}).setdefault(row["batch_size"], []).append(row["cpu_time_ms"])
    full = max(row["parameters"] for row in quality)
    table = []
    for key, rows in by_candidate.items():
        first = {name: value for name, value in rows[0].items() if name != "seed"}
        left = first["nonzero"] if first["family"] == "masked" else first["parameters"]
        means = {
            f"validation_{name}": float(np.mean([r[f"validation_{name}"] for r in rows])) for name in SCORES
        }
        spread = float(np.std([r["validation_accuracy"] for r in rows], ddof=1)) if len(rows) > 1 else None
        table.append(
            first
            | means
            | {"validation_accuracy_sd": spread, "seeds": len(rows), "sparsity": 1 - left / full}
            | _time_columns(times[key], batch_sizes)
        )
    return table


def _time_columns(times: Mapping[int, Sequence[float]], batch_sizes: Sequence[int]) -> dict[str, float]:
    """Median and relative range over the rounds, by batch size."""
    columns = {}
    for size in batch_sizes:
        median = float(np.median(times[size]))
        columns[f"cpu_time_ms_batch_{size}"] = median
        columns[f"cpu_time_range_batch_{size}"] = float(np.ptp(times[size])) / median
    return columns
