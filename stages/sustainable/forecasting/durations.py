"""How long the pipeline takes on this host: a few steps timed here, times what the parameters ask for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import torch

from sustainable.core.parallel import available_cores
from sustainable.forecasting.benchmark.candidates import CandidateParameters, networks
from sustainable.forecasting.compression.runtimes import TARGETS
from sustainable.forecasting.benchmark.blocks import BlocksParameters
from sustainable.forecasting.benchmark.runs import RunsParameters
from sustainable.forecasting.model.gru import Architecture, WeatherGRU, sequence_flops
from sustainable.forecasting.compression.shrinking import ShrinkParameters, plan_shrinking, width_pairs
from sustainable.forecasting.model.training import TrainingRecipe, TrainingParameters

CALIBRATION_S = 4.0
TRAINING_WINDOWS = {"published": 1029, "audited": 701}
FEATURES, DAYS = 4, 30
STARTING_S = 6.0
STEP_OVERHEAD = 0.05
"""What a training step of the smallest network takes, as a share of the full one's."""
SEARCH_S, REPORT_S, SCORING_S, REPAIRS_S, SEARCHER_S = 20.0, 40.0, 0.5, 6.0, 3.0
"""Seconds of the published search, of rendering, of scoring one network, of the repairs of one seed, and of
one seed of one searcher; as they were on the host of the shipped run."""


@dataclass(frozen=True)
class Plan:
    """The parameters that decide how long a run takes."""

    training: Mapping[str, TrainingParameters]
    epochs: Mapping[str, int]
    shrink: ShrinkParameters
    candidates: CandidateParameters
    searches: int
    runs: RunsParameters
    blocks: Mapping[str, BlocksParameters]


def minutes_by_stage(asked: Plan) -> dict[str, float]:
    """Minutes by stage, and of `all`, from training steps timed now and the lengths that are asked for."""
    step_s = {name: seconds_a_step(training) for name, training in asked.training.items()}
    cores = available_cores()
    seconds = {f"preprocess@{name}": STARTING_S / 2 for name in asked.training}
    for name, training in asked.training.items():
        rounds = ceil(len(training.seeds) / cores)
        work = asked.epochs[name] * batches(training.recipe, name) * step_s[name] * rounds
        seconds[f"train_baseline@{name}"] = STARTING_S + work
    seconds |= {
        "shrink": STARTING_S + shrinking_s(asked, step_s["audited"]) / cores,
        "candidates": STARTING_S + candidates_s(asked, cores),
        "rl_search@published": STARTING_S + SEARCH_S,
        "compare_searchers": STARTING_S + SEARCHER_S * asked.searches / cores,
        "repair_search": STARTING_S + REPAIRS_S * len(asked.training["audited"].seeds),
        "benchmark@published": STARTING_S + asked.runs.runs * len(asked.runs.configurations) * 0.3,
        **{f"benchmark@{name}": STARTING_S + blocks_s(own) for name, own in asked.blocks.items()},
        "report": REPORT_S,
    }
    minutes = {stage: value / 60 for stage, value in seconds.items()}
    return minutes | {"all": sum(minutes.values())}


def batches(recipe: TrainingRecipe, protocol: str) -> int:
    """Training steps of one epoch."""
    return ceil(TRAINING_WINDOWS[protocol] / recipe.batch_size)


def shrinking_s(asked: Plan, step_s: float) -> float:
    """CPU seconds of all narrower networks; about half of the epochs that are allowed are needed."""
    training = asked.training["audited"]
    full = (training.hidden,) * training.layers
    whole = sequence_flops(FEATURES, full, DAYS)
    total = 0.0
    for task in plan_shrinking(full, training.seeds, asked.shrink):
        recipe = asked.shrink.fine_tune if task.method != "scratch" else asked.shrink.controls.from_scratch
        share = sequence_flops(FEATURES, task.widths, DAYS) / whole
        steps = recipe.epochs / 2 * batches(recipe, "audited")
        total += steps * step_s * (STEP_OVERHEAD + (1 - STEP_OVERHEAD) * share)
    return total


def candidates_s(asked: Plan, cores: int) -> float:
    """Seconds of scoring every network of every seed, and of timing every candidate in every round."""
    training, own = asked.training["audited"], asked.candidates
    full = (training.hidden,) * training.layers
    every = networks(asked.shrink.widths, full, width_pairs(full, asked.shrink), own)
    timed = sum(1 if network.scope else len(TARGETS) for network in every) * len(own.batch_sizes)
    scoring = SCORING_S * len(every) * len(training.seeds) / cores
    return scoring + own.rounds * timed * 2.5 * own.window_s  # doubling reaches the window in 1.5 to 3 of it


def blocks_s(own: BlocksParameters) -> float:
    """Seconds of a benchmark in blocks: warm-up, calibration, windows and latencies."""
    items = len(own.configurations) * len(own.batch_sizes)
    warm_up = min(own.warm_up_limit_s, 1.5 * items) + min(1.0, own.window_s) * items
    latency = len(own.configurations) * own.latency_calls * 0.03
    return warm_up + (items + 1) * own.blocks * own.window_s + latency


def seconds_a_step(training: TrainingParameters) -> float:
    """One optimisation step of the real network, under the settings that training uses."""
    model = WeatherGRU(Architecture(FEATURES, training.hidden, training.layers, training.dropout))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    size = training.recipe.batch_size
    inputs, target = torch.rand(size, DAYS, FEATURES), torch.ones(size)
    times: list[float] = []
    end = time.perf_counter() + CALIBRATION_S
    while time.perf_counter() < end or len(times) < 4:
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(inputs), target).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    settled = sorted(times[len(times) // 2 :])  # the first steps also load libraries
    return settled[len(settled) // 2]
