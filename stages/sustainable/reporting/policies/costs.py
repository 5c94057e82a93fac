"""Summaries of study B's measured windows: costs of policies and their parts, doses, and memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sustainable.policies.returns import SURVIVES, amdahl, normalised_return, split_log_ratio
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN, repeated
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.reporting.policies.run import NO_METHOD
from sustainable import statistics
from sustainable.statistics import Estimate, Numbers, Ratio

STEP_PARTS = ("policy", "environment", "remainder")
SPLIT_PARTS = ("length", *STEP_PARTS)
"""The causes of a change of an episode's cost, which add up."""
EFFECTS = ("step", "episode", "steps", "policy", "energy_step", "energy_episode", "net_energy_step")
"""Outcomes; energies are of all metered components, with the idle host's or net of it."""
EAGER = "torch-eager"
MIB, MICRO = 2**20, 1e6


@dataclass(frozen=True)
class Measures:
    """Outcomes as tables [block, configuration], and the unit [block] of each block: its training seed."""

    tables: Mapping[str, pd.DataFrame]
    units: np.ndarray
    confidence: float

    def ratio(self, outcome: str, key: str, reference: str) -> Ratio | None:
        """Return the ratio of two configurations."""
        return statistics.ratio_of_logs(self.logs(outcome, key, reference), self.confidence)

    def logs(self, outcome: str, key: str, reference: str, clean: bool = False) -> list[float]:
        """Return the mean logarithm of that ratio for each training seed that has one.

        `clean`: without flagged windows.
        """
        values, base = (self.tables[outcome][name].to_numpy(dtype=float) for name in (key, reference))
        logs = np.log(values) - np.log(base)
        if clean:
            flagged = self.tables["flagged"]
            logs[flagged[key].to_numpy(dtype=bool) | flagged[reference].to_numpy(dtype=bool)] = math.nan
        return statistics.unit_means(logs, self.units)

    def mean(self, values: Numbers) -> Estimate | None:
        """Return the mean of one value per block, with Student's interval over units."""
        return statistics.student_interval(statistics.unit_means(values, self.units), self.confidence)

    def mean_returns(self, key: str) -> dict[int, float]:
        """Return the mean return of all measured episodes, by training seed."""
        returns, weights = (self.tables[name][key].to_numpy() for name in ("return_mean", "episodes"))
        return {
            int(seed): float(np.average(returns[self.units == seed], weights=weights[self.units == seed]))
            for seed in np.unique(self.units)
        }


@dataclass(frozen=True)
class Effect:
    """One outcome as ratios within blocks, with intervals over training seeds.

    A number is computed when it is first read, because of most effects few numbers are printed.
    """

    measures: Measures
    outcome: str
    key: str
    reference: str  # the uncompressed configuration under the same runtime

    @cached_property
    def to_baseline(self) -> Ratio | None:
        """The ratio to the eager fp32 baseline."""
        return statistics.ratio_of_logs(self.logs_to_baseline, self.measures.confidence)

    @cached_property
    def same_runtime(self) -> Ratio | None:
        """The ratio to `reference`."""
        return statistics.ratio_of_logs(self.logs, self.measures.confidence)

    @cached_property
    def clean(self) -> Ratio | None:
        """`same_runtime` without flagged windows."""
        return statistics.ratio_of_logs(self.clean_logs, self.measures.confidence)

    @cached_property
    def logs(self) -> list[float]:
        """The natural logarithm of `same_runtime`, one mean per training seed."""
        return self.measures.logs(self.outcome, self.key, self.reference)

    @cached_property
    def logs_to_baseline(self) -> list[float]:
        """The natural logarithm of `to_baseline`, one mean per training seed."""
        return self.measures.logs(self.outcome, self.key, BASELINE)

    @cached_property
    def clean_logs(self) -> list[float]:
        """`logs` without flagged windows."""
        return self.measures.logs(self.outcome, self.key, self.reference, clean=True)

    @cached_property
    def detectable(self) -> float | None:
        """The smallest effect found with `POWER`."""
        table = self.measures.tables[self.outcome]
        logs, twin = (
            pd.Series(np.log(table[own] / table[other])).groupby(self.measures.units).mean()
            for own, other in ((self.key, self.reference), (TWIN, BASELINE))
        )
        return statistics.detectable_ratio(logs, twin, power=POWER)


@dataclass(frozen=True)
class PolicyDeployment:
    """A policy, compressed or not, in a runtime."""

    key: str
    method: str
    norm: str | None
    share: float
    runtime: str


@dataclass(frozen=True)
class PolicyLine(PolicyDeployment):
    """One configuration of one cell."""

    reference: str  # the uncompressed configuration under the same runtime
    same_as: str | None  # first configuration with equal weights and runtime; None if this is the first
    size_bytes: float
    size_ratio: float
    to_reference_size: float
    return_mean: float
    kept_by_seed: Sequence[float]  # normalised return of each training seed; NaN if it is not defined
    kept: Estimate | None  # return relative to the baseline's, both counted from a random policy's
    steps_per_episode: float
    costs: Mapping[str, float]  # CPU time per step in µs, in total (`step`) and by part
    effects: Mapping[str, Effect]
    split: Mapping[str, Estimate | None]  # ln(episode's cost / baseline's) in nats, by cause
    scores: Mapping[str, Estimate | None]

    @property
    def compressed(self) -> bool:
        return self.method != NO_METHOD

    @property
    def keeps(self) -> bool:
        """Whether the return is kept, by its whole interval."""
        return self.kept is not None and self.kept.low >= SURVIVES

    @property
    def loses(self) -> bool:
        """Whether the return is lost, by its whole interval."""
        return self.kept is not None and self.kept.high < SURVIVES


@dataclass(frozen=True)
class MeasuredCell:
    """An environment and an algorithm, with all lines by configuration."""

    environment: str
    algorithm: str
    learned: bool
    ends_early: bool  # some episode of some policy has terminated early
    blocks: int
    seeds: int
    lines: Mapping[str, PolicyLine]

    @property
    def name(self) -> str:
        return f"{self.environment} {self.algorithm}"

    @property
    def compressed(self) -> list[PolicyLine]:
        return [line for line in self.lines.values() if line.compressed]

    def twin(self, outcome: str) -> Ratio | None:
        """The A/A control: the baseline measured again, over the baseline."""
        return self.lines[TWIN].effects[outcome].to_baseline


def with_outcomes(rows: pd.DataFrame) -> pd.DataFrame:
    """Add one column per outcome to measured windows; energies are NaN if a metered part is missing.

    The power of the idle host is the mean over the idle windows of the same cell.
    """
    joules, cells = joules_of(rows), rows["environment"] + " " + rows["algorithm"]
    idle = rows["configuration"] == IDLE
    by_cell = [values[idle].groupby(cells[idle]).sum(min_count=1) for values in (joules, rows["wall_time_s"])]
    idle_j = cells.map(by_cell[0] / by_cell[1]) * rows["wall_time_s"]
    models = rows[~idle]
    steps, episodes = models["steps"], models["episodes"]
    joules, idle_j = joules[~idle], idle_j[~idle]
    return models.assign(
        step=models["cpu_time_per_step_us"],
        episode=models["cpu_time_s"] / episodes,
        steps_per_episode=steps / episodes,
        policy=models["policy_us"],
        energy_step=joules / steps,
        energy_episode=joules / episodes,
        net_energy_step=((joules - idle_j) / steps).where(joules > idle_j),
        flagged=models["flags"].notna(),
    )


def joules_of(rows: pd.DataFrame) -> pd.Series:
    """Sum the metered components of each window; NaN if one is missing, or if nothing is metered."""
    joules = pd.Series(0.0, index=rows.index)
    for part in ("cpu", "ram", "gpu"):
        joules += rows[f"{part}_j"].astype(float).where(rows[f"{part}_evidence"].notna(), 0.0)
    return joules.where(rows["cpu_evidence"].notna())


def measures_of(own: pd.DataFrame, confidence: float) -> Measures:
    """Tables of one cell from its windows (`with_outcomes`)."""
    columns = {name: name for name in (*EFFECTS, "flagged", "return_mean", "episodes")}
    columns |= {"steps": "steps_per_episode", "environment": "environment_us", "remainder": "remainder_us"}
    wide = own.set_index(["block", "configuration"])[list(columns.values())].unstack()
    units = own.groupby("block")["training_seed"].first().sort_index().to_numpy()
    tables = {name: pd.DataFrame(wide[column]) for name, column in columns.items()}
    return Measures(tables, units, confidence)


def summarise_cell(
    rows: pd.DataFrame, learned: Sequence[int], ends_early: bool, random: float, parameters: ReportParameters
) -> MeasuredCell:
    """Summarise the windows of one cell, of the seeds that have `learned`, or of all if none has."""
    own = rows[rows["training_seed"].isin(learned)] if learned else rows
    measures = measures_of(own, parameters.confidence)
    first_seed = own[own["training_seed"] == measures.units[0]]
    described = first_seed.drop_duplicates("configuration").set_index("configuration")
    uncompressed, eager = described["method"] == NO_METHOD, described["runtime"] == EAGER
    sizes = own.groupby("configuration")["size_bytes"].mean()
    others = set(described.index) - {BASELINE, TWIN}
    # An order that no shuffled block changes.
    ordered = sorted(others, key=lambda key: (not uncompressed[key], not eager[key], key))
    keys = [BASELINE, *ordered, TWIN]
    same_as = repeated({key: tuple(described.loc[key, ["weights_sha256", "runtime"]]) for key in keys})
    lines = {
        key: _line(described.loc[key], reference_of(described, key), same_as[key], sizes, measures, random)
        for key in keys
    }
    environment, algorithm = own[["environment", "algorithm"]].iloc[0]
    blocks, seeds = len(measures.units), len(np.unique(measures.units))
    return MeasuredCell(environment, algorithm, bool(learned), ends_early, blocks, seeds, lines)


def reference_of(described: pd.DataFrame, key: str) -> str:
    """Return the uncompressed configuration under the runtime of `key`, or the baseline if there is none."""
    same = (described["method"] == NO_METHOD) & (described["runtime"] == described.loc[key, "runtime"])
    others = [str(name) for name in described.index[same] if name != TWIN]
    return BASELINE if BASELINE in others or not others else others[0]


def _described(about: pd.Series) -> dict[str, Any]:
    """The fields of `PolicyDeployment`, from a row named by its configuration."""
    return {
        "key": str(about.name),
        "method": str(about["method"]),
        "norm": None if pd.isna(about["norm"]) else str(about["norm"]),
        "share": float(about["share"]),
        "runtime": str(about["runtime"]),
    }


def _line(
    about: pd.Series, reference: str, same_as: str | None, sizes: pd.Series, measures: Measures, random: float
) -> PolicyLine:
    key, tables = str(about.name), measures.tables
    own, base = measures.mean_returns(key), measures.mean_returns(BASELINE)
    kept = [normalised_return(own[seed], base[seed], random) for seed in own]
    return PolicyLine(
        **_described(about),
        reference=reference,
        same_as=same_as,
        size_bytes=float(sizes[key]),
        size_ratio=float(sizes[key] / sizes[BASELINE]),
        to_reference_size=float(sizes[key] / sizes[reference]),
        return_mean=float(np.mean(list(own.values()))),
        kept_by_seed=tuple(kept),
        kept=statistics.student_interval(list(filter(math.isfinite, kept)), measures.confidence),
        steps_per_episode=float(tables["steps"][key].mean()),
        costs={name: float(tables[name][key].mean()) for name in ("step", *STEP_PARTS)},
        effects={name: Effect(measures, name, key, reference) for name in EFFECTS},
        split=split_episode(measures, key),
        scores=efficiency(measures, key, float(sizes[key]), random),
    )


def split_episode(measures: Measures, key: str) -> dict[str, Estimate | None]:
    """Split ln(CPU time of an episode / baseline's) by length and part of a step, over training seeds."""
    parts = ("steps", *STEP_PARTS)
    own, base = (
        {part: measures.tables[part][name].to_numpy(dtype=float) for part in parts}
        for name in (key, BASELINE)
    )
    return {name: measures.mean(logs) for name, logs in split_log_ratio(own, base).items()}


def efficiency(measures: Measures, key: str, size_bytes: float, random: float) -> dict[str, Estimate | None]:
    """Compute efficiency scores with Student's interval over training seeds.

    Returns are counted from the random policy's, because a negative return has no cost per unit. A cost per
    unit of return is missing if a seed's return is not above random.
    """
    names = ("step", "episode", "energy_step", "net_energy_step", "energy_episode", "return_mean")
    step_us, episode_s, step_j, net_j, episode_j, returns = (measures.tables[name][key] for name in names)
    earned, mib = returns - random, size_bytes / MIB
    positive = earned.where(earned > 0)
    scores = {
        "cpu_us_per_return": MICRO * episode_s / positive,
        "cpu_us_per_step_and_mib": step_us / mib,
        "energy_uj_per_step": MICRO * step_j,
        "net_energy_uj_per_step": MICRO * net_j,
        "energy_uj_per_return": MICRO * episode_j / positive,
        "energy_uj_per_step_and_mib": MICRO * step_j / mib,
        "steps_per_joule": 1 / step_j,
        "return_per_joule": earned / episode_j,
    }
    return {name: measures.mean(values) for name, values in scores.items()}


@dataclass(frozen=True)
class Dose:
    """CPU time per step relative to the baseline, for one configuration at one cost of the environment."""

    dose_us: float
    key: str
    policy_share: float
    speed_up: float
    predicted: float  # by Amdahl's law
    measured: Ratio | None
    error: Ratio | None  # measured / predicted
    compressed: bool
    blocks: int
    bound_logs: Sequence[float]
    """ln(measured / smallest possible ratio) of each unit; below 0 if more was saved than can be."""

    @property
    def control(self) -> bool:
        return self.key == TWIN


def summarise_doses(workload: pd.DataFrame, parameters: ReportParameters) -> list[Dose]:
    """Compute predicted and measured ratios by dose and configuration.

    The unit is the training seed, or the block if there is only one policy.
    """
    models = with_outcomes(workload)
    seeds = models.groupby("block")["training_seed"].first()
    units = seeds if seeds.nunique() > 1 else pd.Series(seeds.index, index=seeds.index)
    found = []
    for dose in sorted(models["dose_us"].unique()):
        own = models[models["dose_us"] == dose]
        measures = replace(measures_of(own, parameters.confidence), units=units.to_numpy())
        compressed = set(own.loc[own["method"] != NO_METHOD, "configuration"])
        for key in sorted(set(own["configuration"]) - {BASELINE}):
            found.append(_dose(float(dose), key, measures, key in compressed))
    return found


def _dose(dose: float, key: str, measures: Measures, compressed: bool) -> Dose:
    policy, step = measures.tables["policy"], measures.tables["step"]
    shares = np.minimum(policy[BASELINE] / step[BASELINE], 1.0)  # both are timed: noise may pass 1
    speed_ups = policy[BASELINE] / policy[key]
    predicted = [amdahl(share, speed) for share, speed in zip(shares, speed_ups, strict=True)]
    measured = step[key] / step[BASELINE]
    spared = _spared(measures, key, compressed)
    return Dose(
        dose_us=dose,
        key=key,
        policy_share=float(shares.mean()),
        speed_up=float(np.exp(np.log(speed_ups).mean())),
        predicted=float(np.exp(np.log(predicted).mean())),
        measured=measures.ratio("step", key, BASELINE),
        error=statistics.ratio_over_units(measured.to_list(), predicted, measures.units, measures.confidence),
        compressed=compressed,
        blocks=int(measured.notna().sum()),
        bound_logs=statistics.unit_means(np.log(measured) - np.log(spared), measures.units),
    )


def _spared(measures: Measures, key: str, compressed: bool) -> pd.Series:
    """Return the share of the baseline's step that `key` cannot save, by block; NaN if none is left.

    A compressed policy can save its own calls. Another runtime also replaces the rest around the call, and
    the A/A control replaces nothing.
    """
    tables = measures.tables
    whole = tables["step"][BASELINE]
    if key == TWIN:
        return pd.Series(1.0, index=whole.index)
    left = 1 - tables["policy"][BASELINE] / whole if compressed else tables["environment"][BASELINE] / whole
    return left.where(left > 0)


@dataclass(frozen=True)
class MemoryLine(PolicyDeployment):
    """Resident memory of fresh processes with one configuration; intervals over processes."""

    network: str
    processes: int
    rss_mib: float
    process: Ratio | None  # to the baseline
    same_runtime: Ratio | None  # to the uncompressed network under the same runtime
    policy_difference_mib: Estimate | None  # the policy's part, minus the baseline's
    weights_bytes_disk: float
    weights_bytes_memory: float

    def falls_beyond(self, share: float) -> bool:
        """Return whether memory is certainly lower, under the same runtime, by more than `share`."""
        return self.same_runtime is not None and self.same_runtime.high < 1 - share

    def precise(self, width: float) -> bool:
        """Return whether the interval to the same runtime is narrower than `width` (0.01: 1 %)."""
        found = self.same_runtime
        return found is not None and found.high - found.low < width


def summarise_memory(memory: pd.DataFrame, network: str, confidence: float) -> dict[str, MemoryLine]:
    """Summarise a network's memory by configuration, comparing processes of the same repeat and cell."""
    memory = memory[memory["network"] == network]
    processes = memory.assign(unit=memory.groupby(["environment", "algorithm", "repeat"]).ngroup())
    by_key = {str(key): own.set_index("unit") for key, own in processes.groupby("configuration")}
    described = memory.drop_duplicates("configuration").set_index("configuration")
    return {
        str(key): _memory_line(about, reference_of(described, str(key)), by_key, confidence)
        for key, about in described.iterrows()
    }


def _memory_line(
    about: pd.Series, reference: str, by_key: Mapping[str, pd.DataFrame], confidence: float
) -> MemoryLine:
    own = by_key[str(about.name)]

    def ratio(other: str) -> Ratio | None:
        pair = own.join(by_key[other], rsuffix="_other", how="inner")
        columns = (pair["process_rss_bytes"].to_list(), pair["process_rss_bytes_other"].to_list())
        return statistics.ratio_over_units(*columns, pair.index.to_list(), confidence)

    difference = (own["policy_rss_bytes"] - by_key[BASELINE]["policy_rss_bytes"]).dropna() / MIB
    return MemoryLine(
        **_described(about),
        network=str(about["network"]),
        processes=len(own),
        rss_mib=float(own["process_rss_bytes"].mean() / MIB),
        process=ratio(BASELINE),
        same_runtime=ratio(reference),
        policy_difference_mib=statistics.student_interval(difference.to_list(), confidence),
        weights_bytes_disk=float(own["weights_bytes_disk"].mean()),
        weights_bytes_memory=float(own["weights_bytes_memory"].mean()),
    )
