"""Study B as it is printed: every summary of its rows, and the values that the paper's sentences need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import words
from sustainable.reporting.measured_rows import EVIDENCE_COLUMNS, IDLE, describe_evidence
from sustainable.reporting.names import POLICY_NAMES
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies import costs, returns
from sustainable.reporting.policies.costs import PolicyDeployment, Dose, MeasuredCell, MemoryLine, PolicyLine
from sustainable.energy.meter import weakest_evidence
from sustainable.policies.published.rule import NotebookRule
from sustainable.reporting.policies.notebook import Notebook, summarise_notebook
from sustainable.reporting.policies.returns import Lengths, Quantizers, Split, Survival, Trained
from sustainable.reporting.policies.run import CELL, LARGE, POLICY, PoliciesRun, by_cell, learned_seeds
from sustainable.statistics import Estimate

PRUNED_LABELS = {"unstructured": "weights", "structured": "units", "mixed": "units"}
RUNTIME_LABELS = {"numpy": ", NumPy", "onnxruntime": ", ONNX Runtime", "sb3-predict": ", SB3 predict()"}


@dataclass(frozen=True)
class Policies:
    """Everything that study B's rows say."""

    cells: Sequence[MeasuredCell]  # with the seeds that have learned, or all of them if none has
    trained: Sequence[Trained]
    doses: Sequence[Dose]
    memory: Mapping[str, MemoryLine]  # of a policy
    large: Mapping[str, MemoryLine]  # of a network whose weights are a visible share of a process
    survival: Sequence[Survival]
    largest: Mapping[str, pd.Series]  # see `largest_surviving`
    quantizers: Quantizers | None
    steps: pd.DataFrame
    kept: pd.DataFrame  # see `returns.kept_returns`
    lengths: Lengths
    paid_per_step: Sequence[str]  # environments in which the return is the number of steps
    split: Split | None  # of the returns that PTDQ keeps, by kind of algorithm
    notebook: Notebook
    unlearned: Sequence[str]  # cells or seeds that claims leave out
    known: int  # variants whose mean return reached the requested precision
    variants: int
    flagged: int
    windows: int
    minimum_blocks: int  # with fewer, a cell is in no verdict on measurements
    stamps: Sequence[str]
    cpu_evidence: str
    energy_evidence: str  # of all metered components together: that of the weakest
    meter: str

    @property
    def learned(self) -> list[MeasuredCell]:
        return [cell for cell in self.cells if cell.learned]

    @property
    def measured(self) -> list[MeasuredCell]:
        """The learned cells with enough blocks for a verdict."""
        return [cell for cell in self.learned if cell.blocks >= self.minimum_blocks]

    @property
    def thin(self) -> list[str]:
        """Names of the learned cells with too few blocks for a verdict, with their blocks."""
        cells = [cell for cell in self.learned if cell.blocks < self.minimum_blocks]
        return [f"{cell.name} ({cell.blocks})" for cell in cells]

    @property
    def measured_pairs(self) -> list[tuple[MeasuredCell, PolicyLine]]:
        """Every compressed configuration of every cell in `measured`, with its cell."""
        return [(cell, line) for cell in self.measured for line in cell.compressed]

    @property
    def pairs(self) -> list[tuple[MeasuredCell, PolicyLine]]:
        """Every compressed configuration of every learned cell, with its cell."""
        return [(cell, line) for cell in self.learned for line in cell.compressed]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Every measured configuration in plain words."""
        labels = {dose.key: POLICY_NAMES.get(dose.key, words(dose.key)) for dose in self.doses}
        labels |= {key: label_of(key, line) for key, line in self.memory.items()}
        return labels | {key: label_of(key, line) for cell in self.cells for key, line in cell.lines.items()}


def summarise_policies(run: PoliciesRun, rule: NotebookRule, parameters: ReportParameters) -> Policies:
    """Compute every summary of study B from its rows; `rule` is that of its source's notebook."""
    exact = run.returns.groupby([*CELL, "seed", "variant"])["return_known"].first()
    kept = returns.kept_returns(run.returns, run.table)
    return Policies(
        trained=returns.trained_policies(run.returns, run.table, parameters),
        memory=costs.summarise_memory(run.memory, POLICY, parameters.confidence),
        large=costs.summarise_memory(run.memory, LARGE, parameters.confidence),
        survival=returns.survival_curves(kept, parameters.confidence),
        largest=returns.largest_surviving(kept),
        quantizers=returns.best_quantizers(kept, parameters.confidence),
        steps=returns.spread_of_steps(returns.of_learned_policies(run.returns, run.table)),
        kept=kept,
        lengths=_lengths(kept, run, parameters),
        paid_per_step=sorted(returns.environments_paying_per_step(run.returns)),
        split=returns.split_by_algorithm(returns.mean_outcomes(run.returns), "ptdq", parameters.confidence),
        notebook=summarise_notebook(run.notebook, rule, parameters),
        known=int(exact.sum()),
        variants=len(exact),
        unlearned=unlearned_names(run.table),
        minimum_blocks=parameters.minimum_blocks,
        **_of_windows(run, parameters),
    )


def with_windows(policies: Policies, run: PoliciesRun, parameters: ReportParameters) -> Policies:
    """Return the same summary with what follows from other windows, those of `run`.

    The episodes stay this run's, but only those of the cells of these windows count.
    """
    cells = pd.MultiIndex.from_frame(run.rows[CELL].drop_duplicates())
    shared = policies.kept[pd.MultiIndex.from_frame(policies.kept[CELL]).isin(cells)]
    lengths = _lengths(shared, run, parameters)
    return replace(policies, lengths=lengths, **_of_windows(run, parameters))


def _lengths(kept: pd.DataFrame, run: PoliciesRun, parameters: ReportParameters) -> Lengths:
    """Return the lengths of episodes by return, where the return does not itself count the steps."""
    early = returns.environments_ending_early(run.returns)
    counted = early - returns.environments_paying_per_step(run.returns)
    margin = parameters.policies.saving_of_interest
    return returns.lengths_by_return(kept, counted, margin, parameters.confidence)


def _of_windows(run: PoliciesRun, parameters: ReportParameters) -> dict[str, Any]:
    """Return the fields of `Policies` that follow from windows, doses included."""
    early = returns.environments_ending_early(run.returns)
    places = run.rows.groupby(CELL).indices  # a copy of all windows at once would take much memory
    cells = [
        costs.summarise_cell(
            costs.with_outcomes(run.rows.iloc[places[cell]]),
            learned_seeds(entry),
            cell[0] in early,
            float(entry["random_return"]),
            parameters,
        )
        for cell, entry in by_cell(run.table).items()
        if cell in places
    ]
    models = run.rows.loc[run.rows["configuration"] != IDLE, EVIDENCE_COLUMNS]
    evidence = {*models["cpu_evidence"].dropna().unique(), *models["ram_evidence"].dropna().unique()}
    return {
        "cells": cells,
        "doses": costs.summarise_doses(run.workload, parameters),
        "flagged": int(run.rows["flags"].notna().sum() + run.workload["flags"].notna().sum()),
        "windows": len(run.rows) + len(run.workload),
        "energy_evidence": weakest_evidence(evidence),
        **describe_evidence(models),
    }


def unlearned_names(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what claims leave out: whole cells, or single seeds of one.

    Cells without a reference return (our own environment) are in no claim and are not named.
    """
    names = []
    for cell, entry in by_cell(table).items():
        failed = [str(policy["seed"]) for policy in entry["policies"] if policy["learned"] is False]
        if failed:
            names.append(" ".join(cell) + (f" (seed {', '.join(failed)})" if learned_seeds(entry) else ""))
    return names


def shown(policies: Policies) -> list[MeasuredCell]:
    """Return the learned cells, or all cells if none has learned (the page says so)."""
    return policies.learned or list(policies.cells)


def of_each_environment(policies: Policies) -> list[MeasuredCell]:
    """Return one cell per environment: the first that has learned."""
    found: dict[str, MeasuredCell] = {}
    for cell in shown(policies):
        found.setdefault(cell.environment, cell)
    return list(found.values())


def split_cells(policies: Policies) -> list[MeasuredCell]:
    """Return Hopper and HalfCheetah if learned, else one cell that can end early and one that cannot."""
    cells = of_each_environment(policies)
    named = [cell for cell in cells if cell.environment in ("Hopper-v5", "HalfCheetah-v5")]
    if len(named) == 2:
        return named
    kinds = {cell.ends_early: cell for cell in reversed([*cells, *named])}
    return [kinds[kind] for kind in (True, False) if kind in kinds]


def label_of(key: str, line: PolicyDeployment) -> str:
    """Describe a configuration in plain words."""
    if key in POLICY_NAMES or line.method not in PRUNED_LABELS:
        return POLICY_NAMES.get(key, words(key))
    norm = f" by {line.norm.upper()}" if line.norm else ""
    also = " + PTDQ" if line.method == "mixed" else ""
    runtime = RUNTIME_LABELS.get(line.runtime, "")
    return f"{PRUNED_LABELS[line.method]} {100 * line.share:.0f} %{norm}{also}{runtime}"


def policies_values(run: PoliciesRun, policies: Policies) -> dict[str, Any]:
    """Collect what the sentences of the paper and of the HTML report print of study B."""
    host = run.conditions["host"]
    return {"policies": policies, "policies_host": host, "policy_costs": run.costs, "survives": SURVIVES}


def part_share(part: Estimate | None, total: Estimate | None) -> float | None:
    """Return the share of a change that a part makes up; None if the total may be no change."""
    if part is None or total is None or total.low <= 0 <= total.high:
        return None
    return part.estimate / total.estimate


def savings(policies: Policies) -> list[dict[str, Any]]:
    """List for each compressed configuration the learned policies whose steps cost certainly less, or more.

    The reference is the uncompressed policy under the same runtime.
    """
    by_key: dict[str, list[tuple[str, PolicyLine]]] = {}
    for cell, line in policies.pairs:
        by_key.setdefault(line.key, []).append((cell.name, line))
    found = []
    for key, lines in by_key.items():
        ratios = {name: line.effects["step"].same_runtime for name, line in lines}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        estimates = [ratio.estimate for ratio in known.values()]
        found.append(
            {
                "key": key,
                "runtime": lines[0][1].runtime,
                "policies": len(lines),
                "size_ratio": sum(line.to_reference_size for _, line in lines) / len(lines),
                "less": [name for name, ratio in known.items() if ratio.high < 1],
                "more": [name for name, ratio in known.items() if ratio.low > 1],
                "range": [min(estimates), max(estimates)] if known else None,
            }
        )
    return found


def policies_metrics(policies: Policies) -> dict[str, Any]:
    """Collect the main numbers by cell and configuration, for `dvc metrics`."""
    return {
        cell.name: {key: _main_numbers(line) for key, line in cell.lines.items()} for cell in policies.cells
    }


def _main_numbers(line: PolicyLine) -> dict[str, Any]:
    ratios = {name: line.effects[name].to_baseline for name in ("step", "episode", "steps", "policy")}
    numbers = {f"{name}_ratio": ratio and ratio.estimate for name, ratio in ratios.items()}
    return {"return": line.return_mean, "size_ratio": line.size_ratio, **numbers}
