"""How much work the parameters ask a stage to do, so that a forecast can scale what the stage took before.

Each function takes params.yaml as a mapping, the part of a stage (`weather` of `benchmark@weather`) and the
number of cores, and gives roughly the wall seconds on the host of the shipped run. Only ratios are used.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import ceil
from typing import Any

Params = Mapping[str, Any]
Phases = list[list[float]]
BATCH_SIZE = 64
"""Of the published training, whose steps are the unit of speed (see `calibration`)."""
BEST_EPOCH = {"published": 276, "weather": 20, "mnist1d": 30}
"""Epoch with the lowest validation loss in the shipped run (of several seeds, about their mean)."""
EPOCH_S, FINE_TUNE_EPOCH_S = 3.4, 2.3
"""An epoch of a network of 256 units per layer on the weather: trained as published, and fine-tuned."""
SCORING_S, EPISODE_S, PREPARING_S, PROCESS_S = 0.5, 0.03, 3.0, 3.0
"""Scoring a network; an episode; preparing a policy for int8; a process whose memory is read."""
TEST_EPISODE_S = 0.18
"""An episode of the course notebook."""
TARGET_COUNT = 7
"""Pairs of precision and runtime of a candidate: the length of `TARGETS`, whose module loads torch."""
FEWEST_PASSES, MOST_PASSES, STEPS_PER_PASS = 40, 800, 300
"""Passes of the network in a search of layers (of equal shares, of all); PPO's steps in the time of one."""
TRAINING_STEPS_PER_S = {"PPO": 5000.0, "TRPO": 5000.0, "SAC": 50.0, "TD3": 75.0, "DDPG": 75.0}
SMALLEST_SHARE = 0.05
"""Time of a training step of the smallest network, as a share of the full one's."""


def baseline_work(params: Params, part: str, cores: int) -> float:
    seeds = params["train_baseline"][part]["seeds"]
    return float(ceil(len(seeds) / cores) * _baseline_s(params, part))


def baseline_cells(params: Params, part: str) -> Phases:
    """One cell per seed."""
    return [[_baseline_s(params, part)] * len(params["train_baseline"][part]["seeds"])]


def shrink_cells(params: Params, part: str) -> Phases:
    """One cell per network and seed. Training stops early: about half of the allowed epochs are needed."""
    training, shrink = params["train_baseline"][part], params["shrink"][part]
    full = _full(training)
    pruned = [*_pairs(shrink), *([(1 - share) * width for width in full] for share in shrink["equal_shares"])]
    controls, scratch = shrink["controls"], ("scratch", "distilled")
    epochs = [shrink["fine_tune"]["epochs"] * _share(widths, full) for widths in pruned]
    for method, widths in product(controls["methods"], controls["widths"]):
        recipe = controls["from_scratch"] if method in scratch else shrink["fine_tune"]
        epochs.append(recipe["epochs"] * _share(widths, full))
    return [[count / 2 * FINE_TUNE_EPOCH_S for count in epochs for _ in training["seeds"]]]


def candidates_work(params: Params, part: str, cores: int) -> float:
    """Scoring shares the cores. Timing does not: every precision and runtime in every round, each for about
    2.5 windows, because the number of calls is doubled until it fills one."""
    candidates, shrink = params["candidates"], params["shrink"][part]
    masked = len(candidates["masked_shares"]) * len(candidates["masked_scopes"])
    dense = len(_pairs(shrink)) + len(shrink["equal_shares"])
    scoring = SCORING_S * (dense + masked) * len(params["train_baseline"][part]["seeds"]) / cores
    timed = (TARGET_COUNT * dense + masked) * len(candidates["batch_sizes"])
    return float(scoring + candidates["rounds"] * timed * 2.5 * candidates["window_s"])


def confirm_cells(params: Params, part: str) -> Phases:
    """For every fresh seed a baseline, then the networks that the benchmark names, for half of the epochs.

    The baseline's widths stand for the network that is trained on. What searches choose is small: left out.
    """
    training, shrink = params["train_baseline"][part], params["shrink"][part]
    full, configurations = _full(training), params["benchmark"][part]["configurations"].values()
    named = {tuple(one["widths"]) for one in configurations if isinstance(one, Mapping)}
    epoch_s = FINE_TUNE_EPOCH_S * _cost(full) / _cost([256, 256])
    shares = [_share(widths, full) for widths in sorted({tuple(full), *named})]
    shrunk = [share * shrink["fine_tune"]["epochs"] / 2 * epoch_s for share in shares]
    seeds = params["confirm"]["seeds"]
    return [[_baseline_s(params, part) for _ in seeds], [seconds for seconds in shrunk for _ in seeds]]


def tuning_cells(params: Params, part: str) -> Phases:
    """One cell per search; all count alike."""
    tuning = params["tune_searchers"]
    return [[1.0] * (len(tuning["grids"]) * tuning["settings"] * tuning["seeds"])]


def searchers_cells(params: Params, part: str) -> Phases:
    """One cell per search; all count alike."""
    compared = params["compare_searchers"]
    return [[1.0] * (compared["seeds"] * len(compared["searchers"]))]


def layerwise_work(params: Params, part: str, cores: int) -> float:
    """A trial of a sampler is often a network that was not seen before; a step of an agent seldom is."""
    asked = params["layerwise_search"]
    samplers, agents = asked["samplers"], asked["agents"].values()
    trials = 4 * samplers["trials"] * samplers["seeds"]
    steps = sum(agent["seeds"] * agent["training"]["timesteps"] for agent in agents)
    return float(FEWEST_PASSES + min(trials, MOST_PASSES) + steps / STEPS_PER_PASS)


def benchmark_work(params: Params, part: str, cores: int) -> float:
    """Seconds of a benchmark: runs, or warm-up, windows in blocks, and latencies."""
    asked = params["benchmark"][part]
    configurations = len(asked["configurations"])
    if asked["method"] == "runs":
        return float(asked["runs"] * configurations)
    items = configurations * len(asked["batch_sizes"])
    warm_up = min(asked["warm_up_limit_s"], 1.5 * items) + min(1.0, asked["window_s"]) * items
    latencies = 0.03 * configurations * asked["latency_calls"]
    return float(warm_up + (items + 1) * asked["blocks"] * asked["window_s"] + latencies)


def policy_training_cells(params: Params, part: str) -> Phases:
    """One cell per environment, algorithm and seed."""
    training = params["train_policies"]
    seconds = [
        training["recipes"][environment][algorithm]["steps"] / TRAINING_STEPS_PER_S[algorithm]
        for algorithm, environments in training["cells"].items()
        for environment in environments
    ]
    return [[cell for cell in seconds for _ in training["seeds"]]]


def compression_cells(params: Params, part: str) -> Phases:
    """One cell per policy; all count alike."""
    training, asked = params["train_policies"], params["compress_policies"]
    groups = [*training["cells"].values(), *training.get("pinned", {}).values()]
    policies = len(training["seeds"]) * sum(map(len, groups))
    variants = len(asked["others"]) + 3 * len(asked["shares"])  # two norms for units, one for weights
    return [[compression_s(asked, variants)] * policies]


def compression_s(asked: Params, variants: int) -> float:
    """Seconds to prepare a policy for int8 and to evaluate its variants, by section `compress_policies`."""
    episodes = variants * asked["episodes_minimum"] + asked["episodes_maximum"]
    return float(PREPARING_S + episodes * EPISODE_S)


def policy_designs(params: Params, cores: int) -> list[float]:
    """Seconds of each design: the windows of every cell, the doses, and the readings of memory."""
    asked = params["benchmark_policies"]
    windows, workload, memory = asked["windows"], asked["workload"], asked["memory"]
    cells = sum(map(len, asked["cells"].values()))
    doses = len(workload["doses_us"]) * len(workload["configurations"])
    return [
        *[design_s(windows, len(asked["configurations"]), windows["window_s"])] * cells,
        design_s(windows, doses, workload["window_s"]),
        PROCESS_S * memory["repeats"] * len(memory["configurations"]) / cores,
    ]


def notebook_work(params: Params, part: str, cores: int) -> float:
    """Seconds of all experiments: the idle host, and the episodes of every test."""
    asked = params["notebook"]
    experiments = 2 * asked["seeds"] + 6 * asked["repaired_seeds"]
    return float(
        experiments * (asked["monitor"]["idle_s"] + len(asked["tests"]) * asked["episodes"] * TEST_EPISODE_S)
    )


CELLS: Mapping[str, Callable[[Params, str], Phases]] = {
    "train_baseline": baseline_cells,
    "shrink": shrink_cells,
    "tune_searchers": tuning_cells,
    "compare_searchers": searchers_cells,
    "confirm": confirm_cells,
    "train_policies": policy_training_cells,
    "compress_policies": compression_cells,
}
"""By stage that runs cells (see `core.cells`): seconds of each on one core. A phase ends before the next."""


def cells_work(stage: str) -> Callable[[Params, str, int], float]:
    """Return the function of a stage's work: that of its cells, shared evenly by the cores."""
    return lambda params, part, cores: sum(map(sum, CELLS[stage](params, part))) / cores


WORK: Mapping[str, Callable[[Params, str, int], float]] = {
    **{stage: cells_work(stage) for stage in CELLS},
    "train_baseline": baseline_work,
    "candidates": candidates_work,
    "rl_search": lambda params, part, cores: float(params["rl_search"][part]["agent"]["timesteps"]),
    "layerwise_search": layerwise_work,
    "repair_search": lambda params, part, cores: len(params["train_baseline"]["weather"]["seeds"]),
    "benchmark": benchmark_work,
    "benchmark_policies": lambda params, part, cores: sum(policy_designs(params, cores)),
    "notebook": notebook_work,
}
"""By stage; the work of the others (preprocess, report) does not depend on the parameters."""


def _baseline_s(params: Params, part: str) -> float:
    """Seconds to train one baseline."""
    training = params["train_baseline"][part]
    recipe = training["recipe"]
    epochs = min(recipe["epochs"], BEST_EPOCH[part] + recipe["patience_epochs"])
    return float(epochs * EPOCH_S * _cost(_full(training)) / _cost([256, 256]))


def _full(training: Params) -> list[int]:
    """Widths of the baseline."""
    return [training["hidden"]] * training["layers"]


def _pairs(shrink: Params) -> list[Sequence[float]]:
    return list(product(shrink["widths"], repeat=2))


def _cost(widths: Sequence[float]) -> float:
    """Operations per day of a stacked GRU, up to a factor."""
    return sum(width * (width + below) for width, below in zip(widths, [4, *widths], strict=False))


def _share(widths: Sequence[float], full: Sequence[float]) -> float:
    """Time of a training step, as a share of the full network's."""
    return SMALLEST_SHARE + (1 - SMALLEST_SHARE) * _cost(widths) / _cost(full)


def design_s(windows: Params, places: int, window_s: float) -> float:
    """Seconds of one design: warm-up, then all places and an idle window in every block.

    Windows hold the same episodes for all configurations, so on average they take 1.5 times as long as the
    baseline's; what is timed beside each takes 0.2 s.
    """
    block_s = (places + 1) * (1.5 * window_s + 0.2)
    return float(min(windows["warm_up_limit_s"], places) + windows["blocks"] * block_s)
