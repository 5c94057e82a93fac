"""Summaries of study B's measured windows: costs of policies and their parts, doses, and memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sustainable.policies.returns import amdahl, normalised_return, split_log_ratio
from sustainable.reporting.measured_rows import BASELINE, IDLE, TWIN
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.reporting.policies.run import NO_METHOD
from sustainable.statistics import (
    Estimate,
    Ratio,
    detectable_ratio,
    ratio_over_units,
    student_interval,
    unit_means,
)

STEP_PARTS = ("policy", "environment", "remainder")
EFFECTS = ("step", "episode", "steps", "policy", "energy_step", "energy_episode")
EAGER = "torch-eager"
MIB, MICRO = 2**20, 1e6


@dataclass(frozen=True)
class Effect:
    """One outcome as ratios within blocks, with intervals over training seeds."""

    to_baseline: Ratio | None  # to the eager fp32 baseline
    same_runtime: Ratio | None  # to the uncompressed policy under the same runtime
    clean: Ratio | None  # `same_runtime` without flagged windows
    detectable: float | None  # smallest effect found with `POWER`


@dataclass(frozen=True)
class PolicyLine:
    """One configuration of one cell."""

    key: str
    method: str
    norm: str | None
    share: float
    runtime: str
    reference: str  # the uncompressed configuration under the same runtime
    same_as: str | None  # first configuration with equal weights and runtime; None if this is the first
    size_bytes: float
    size_ratio: float
    to_reference_size: float
    return_mean: float
    kept: Estimate | None  # return relative to the baseline's, both counted from a random policy's
    steps_per_episode: float
    costs: Mapping[str, float]  # CPU time per step in µs, in total (`step`) and by part
    effects: Mapping[str, Effect]
    split: Mapping[str, Estimate | None]  # ln(episode's cost / baseline's) in nats, by cause
    scores: Mapping[str, Estimate | None]

    @property
    def compressed(self) -> bool:
        return self.method != NO_METHOD


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


@dataclass(frozen=True)
class Measures:
    """Outcomes as tables [block, configuration], and the unit of each block: its training seed."""

    tables: Mapping[str, pd.DataFrame]
    units: Sequence[int]

    def ratio(self, outcome: str, key: str, reference: str, confidence: float) -> Ratio | None:
        table = self.tables[outcome]
        return ratio_over_units(table[key].to_list(), table[reference].to_list(), self.units, confidence)

    def clean_ratio(self, outcome: str, key: str, reference: str, confidence: float) -> Ratio | None:
        doubtful = self.tables["flagged"][[key, reference]].astype(bool).any(axis=1)
        values = self.tables[outcome][key].mask(doubtful).to_list()
        return ratio_over_units(values, self.tables[outcome][reference].to_list(), self.units, confidence)


def with_outcomes(rows: pd.DataFrame) -> pd.DataFrame:
    """Add one column per outcome to measured windows; energies are NaN if a metered part is missing."""
    models = rows[rows["configuration"] != IDLE]
    steps, episodes = models["steps"], models["episodes"]
    joules = pd.Series(0.0, index=models.index)
    for part in ("cpu", "ram", "gpu"):
        joules += models[f"{part}_j"].astype(float).where(models[f"{part}_evidence"].notna(), 0.0)
    joules = joules.where(models["cpu_evidence"].notna())
    return models.assign(
        step=models["cpu_time_per_step_us"],
        episode=models["cpu_time_s"] / episodes,
        steps_per_episode=steps / episodes,
        policy=models["policy_us"],
        energy_step=joules / steps,
        energy_episode=joules / episodes,
        flagged=models["flags"].notna(),
    )


def measures_of(own: pd.DataFrame) -> Measures:
    """Tables of one cell from its windows (`with_outcomes`)."""
    columns = {name: name for name in EFFECTS} | {"steps": "steps_per_episode"}
    columns |= {part: f"{part}_us" for part in ("environment", "remainder")}
    columns |= {name: name for name in ("flagged", "return_mean", "episodes", "wall_time_s")}
    tables = {
        name: own.pivot(index="block", columns="configuration", values=column).sort_index()
        for name, column in columns.items()
    }
    units = own.groupby("block")["training_seed"].first().sort_index()
    return Measures(tables, [int(unit) for unit in units])


def summarise_cell(
    own: pd.DataFrame, learned: bool, ends_early: bool, random: float, parameters: ReportParameters
) -> MeasuredCell:
    """Summarise the windows of one cell."""
    measures = measures_of(own)
    described = own.drop_duplicates("configuration").set_index("configuration")
    others = sorted(set(described.index) - {BASELINE, TWIN})  # an order that no shuffled block changes
    others.sort(
        key=lambda key: (described.loc[key, "method"] != NO_METHOD, described.loc[key, "runtime"] != EAGER)
    )
    keys = [BASELINE, *others, TWIN]
    seed = measures.units[0]
    hashes = own[own["training_seed"] == seed].drop_duplicates("configuration")
    sha = hashes.set_index("configuration")["weights_sha256"]
    first_of: dict[tuple[str, str], str] = {}
    lines = {}
    for key in keys:
        same = first_of.setdefault((str(sha[key]), str(described.loc[key, "runtime"])), key)
        reference = reference_of(described, key)
        about = described.loc[key]
        lines[key] = _line(
            key, about, reference, None if same == key else same, measures, own, random, parameters
        )
    environment, algorithm = own[["environment", "algorithm"]].iloc[0]
    seeds = len(set(measures.units))
    return MeasuredCell(environment, algorithm, learned, ends_early, len(measures.units), seeds, lines)


def reference_of(described: pd.DataFrame, key: str) -> str:
    """Return the uncompressed configuration under the runtime of `key`, or the baseline if there is none."""
    same = described[
        (described["method"] == NO_METHOD) & (described["runtime"] == described.loc[key, "runtime"])
    ]
    others = [str(name) for name in same.index if name != TWIN]
    return BASELINE if BASELINE in others or not others else others[0]


def _line(
    key: str,
    about: pd.Series,
    reference: str,
    same_as: str | None,
    measures: Measures,
    own: pd.DataFrame,
    random: float,
    parameters: ReportParameters,
) -> PolicyLine:
    sizes = own.groupby("configuration")["size_bytes"].mean()
    tables = measures.tables
    norm = about["norm"]
    return PolicyLine(
        key=key,
        method=str(about["method"]),
        norm=None if pd.isna(norm) else str(norm),
        share=float(about["share"]),
        runtime=str(about["runtime"]),
        reference=reference,
        same_as=same_as,
        size_bytes=float(sizes[key]),
        size_ratio=float(sizes[key] / sizes[BASELINE]),
        to_reference_size=float(sizes[key] / sizes[reference]),
        return_mean=float(np.mean(list(mean_returns(measures, key).values()))),
        kept=kept_return(measures, key, random, parameters.confidence),
        steps_per_episode=float(tables["steps"][key].mean()),
        costs={name: float(tables[name][key].mean()) for name in ("step", *STEP_PARTS)},
        effects={name: _effect(measures, name, key, reference, parameters.confidence) for name in EFFECTS},
        split=split_episode(measures, key, parameters.confidence),
        scores=efficiency(measures, key, float(sizes[key]), random, parameters.confidence),
    )


def _effect(measures: Measures, outcome: str, key: str, reference: str, confidence: float) -> Effect:
    ratios = measures.tables[outcome][key] / measures.tables[outcome][reference]
    logs = np.log(ratios.to_numpy()).tolist()
    return Effect(
        to_baseline=measures.ratio(outcome, key, BASELINE, confidence),
        same_runtime=measures.ratio(outcome, key, reference, confidence),
        clean=measures.clean_ratio(outcome, key, reference, confidence),
        detectable=detectable_ratio(np.array(unit_means(logs, measures.units)), power=POWER),
    )


def mean_returns(measures: Measures, key: str) -> dict[int, float]:
    """Compute the mean return of all measured episodes, by training seed."""
    found = {}
    for seed in sorted(set(measures.units)):
        here = [unit == seed for unit in measures.units]
        returns, weights = (measures.tables[name].loc[here, key] for name in ("return_mean", "episodes"))
        found[seed] = float(np.average(returns, weights=weights))
    return found


def kept_return(measures: Measures, key: str, random: float, confidence: float) -> Estimate | None:
    """Compute the normalised return, with Student's interval over training seeds."""
    own, base = mean_returns(measures, key), mean_returns(measures, BASELINE)
    values = [normalised_return(own[seed], base[seed], random) for seed in own]
    return student_interval([value for value in values if math.isfinite(value)], confidence)


def split_episode(measures: Measures, key: str, confidence: float) -> dict[str, Estimate | None]:
    """Split ln(CPU time of an episode / baseline's) by length and part of a step, over training seeds."""
    columns = {
        name: {part: measures.tables[part][name].to_list() for part in ("steps", *STEP_PARTS)}
        for name in (key, BASELINE)
    }
    found: dict[str, list[float]] = {name: [] for name in ("total", "length", "step", *STEP_PARTS)}
    for place in range(len(measures.units)):
        steps, base_steps = (columns[name]["steps"][place] for name in (key, BASELINE))
        own, base = ({part: columns[name][part][place] for part in STEP_PARTS} for name in (key, BASELINE))
        split = split_log_ratio(steps, own, base_steps, base)
        whole = {"total": split.total, "length": split.length, "step": split.step}
        for name, value in {**whole, **split.parts}.items():
            found[name].append(value)
    return {
        name: student_interval(unit_means(values, measures.units), confidence)
        for name, values in found.items()
    }


def efficiency(
    measures: Measures, key: str, size_bytes: float, random: float, confidence: float
) -> dict[str, Estimate | None]:
    """Compute efficiency scores with Student's interval over training seeds.

    Returns are counted from the random policy's, because a negative return has no cost per unit. A cost per
    unit of return is missing if a seed's return is not above random.
    """
    tables = measures.tables
    earned = (tables["return_mean"][key] - random).to_numpy()
    positive = np.where(earned > 0, earned, np.nan)
    episode_us, step_us = MICRO * tables["episode"][key].to_numpy(), tables["step"][key].to_numpy()
    step_j, episode_j = tables["energy_step"][key].to_numpy(), tables["energy_episode"][key].to_numpy()
    scores = {
        "cpu_us_per_return": episode_us / positive,
        "cpu_us_per_step_and_mib": step_us / (size_bytes / MIB),
        "energy_uj_per_step": MICRO * step_j,
        "energy_uj_per_return": MICRO * episode_j / positive,
        "energy_uj_per_step_and_mib": MICRO * step_j / (size_bytes / MIB),
        "steps_per_joule": 1 / step_j,
        "return_per_joule": earned / episode_j,
    }
    return {
        name: student_interval(unit_means(values.tolist(), measures.units), confidence)
        for name, values in scores.items()
    }


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
        measures = Measures(measures_of(own).tables, [int(unit) for unit in units])
        for key in sorted(set(own["configuration"]) - {BASELINE}):
            found.append(_dose(float(dose), key, measures, parameters.confidence))
    return found


def _dose(dose: float, key: str, measures: Measures, confidence: float) -> Dose:
    policy, step = measures.tables["policy"], measures.tables["step"]
    shares = np.minimum(policy[BASELINE] / step[BASELINE], 1.0)  # both are timed: noise may pass 1
    speed_ups = policy[BASELINE] / policy[key]
    predicted = [amdahl(share, speed) for share, speed in zip(shares, speed_ups, strict=True)]
    measured = step[key] / step[BASELINE]
    return Dose(
        dose_us=dose,
        key=key,
        policy_share=float(shares.mean()),
        speed_up=float(np.exp(np.log(speed_ups).mean())),
        predicted=float(np.exp(np.log(predicted).mean())),
        measured=measures.ratio("step", key, BASELINE, confidence),
        error=ratio_over_units(measured.to_list(), predicted, measures.units, confidence),
    )


@dataclass(frozen=True)
class MemoryLine:
    """Resident memory of fresh processes with one configuration; intervals over processes."""

    key: str
    method: str
    norm: str | None
    share: float
    runtime: str
    processes: int
    rss_mib: float
    process: Ratio | None  # to the baseline
    same_runtime: Ratio | None  # to the uncompressed policy under the same runtime
    policy_difference_mib: Estimate | None  # the policy's part, minus the baseline's
    weights_bytes_disk: float
    weights_bytes_memory: float

    def precise(self, width: float) -> bool:
        """Return whether the interval to the same runtime is narrower than `width` (0.01: 1 %)."""
        found = self.same_runtime
        return found is not None and found.high - found.low < width


def summarise_memory(memory: pd.DataFrame, confidence: float) -> dict[str, MemoryLine]:
    """Summarise memory by configuration, comparing processes of the same repeat and cell."""
    units = {
        key: number for number, (key, _) in enumerate(memory.groupby(["environment", "algorithm", "repeat"]))
    }
    places = [
        units[key]
        for key in memory[["environment", "algorithm", "repeat"]].itertuples(index=False, name=None)
    ]
    memory = memory.assign(unit=places)
    described = memory.drop_duplicates("configuration").set_index("configuration")
    return {
        str(key): _memory_line(str(key), reference_of(described, str(key)), memory, confidence)
        for key in described.index
    }


def _memory_line(key: str, reference: str, memory: pd.DataFrame, confidence: float) -> MemoryLine:
    by_unit = {
        name: own.set_index("unit")
        for name, own in memory.groupby("configuration")
        if name in {key, reference, BASELINE}
    }
    own = by_unit[key]

    def ratio(other: str) -> Ratio | None:
        pair = own.join(by_unit[other], rsuffix="_other", how="inner")
        columns = (pair["process_rss_bytes"].to_list(), pair["process_rss_bytes_other"].to_list())
        return ratio_over_units(*columns, pair.index.to_list(), confidence)

    difference = (own["policy_rss_bytes"] - by_unit[BASELINE]["policy_rss_bytes"]).dropna() / MIB
    return MemoryLine(
        key=key,
        method=str(own["method"].iloc[0]),
        norm=None if pd.isna(own["norm"].iloc[0]) else str(own["norm"].iloc[0]),
        share=float(own["share"].iloc[0]),
        runtime=str(own["runtime"].iloc[0]),
        processes=len(own),
        rss_mib=float(own["process_rss_bytes"].mean() / MIB),
        process=ratio(BASELINE),
        same_runtime=ratio(reference),
        policy_difference_mib=student_interval(difference.to_list(), confidence),
        weights_bytes_disk=float(own["weights_bytes_disk"].mean()),
        weights_bytes_memory=float(own["weights_bytes_memory"].mean()),
    )
