"""The tables of study B."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sustainable.policies.returns import SURVIVES
from sustainable.reporting import formats
from sustainable.reporting.formats import declared_percent, interval_text, percent
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.costs import SPLIT_PARTS, STEP_PARTS, MeasuredCell, PolicyLine
from sustainable.reporting.policies.deployment_tables import libraries_table, memory_table
from sustainable.reporting.policies.returns import Trained, beside_published
from sustainable.reporting.policies import summary
from sustainable.reporting.policies.summary import Policies, part_share
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, NOTHING, UNCHANGED
from sustainable.reporting.tables import Column, Page, ReportTable, Row, Spanning, claims_table, rows_of
from sustainable.statistics import Estimate, Ratio

SURVIVAL = {
    "structured": "Units, raw return",
    "unstructured": "Masked weights, raw return",
    "measured": "All ways, from random",
}
"""Ways of counting the policies that pruning breaks (see `beside_published`), and their headers."""
CAUSES = ("total", "length", "step", *STEP_PARTS)
"""A change and its parts, in the order of the table."""


def policies_tables(
    policies: Policies,
    claims: Sequence[Any],
    findings: Sequence[Any],
    published: Mapping[str, Any],
    parameters: ReportParameters,
) -> list[ReportTable]:
    """Declare every table of study B."""
    split = summary.split_cells(policies)
    return [
        claims_table(
            "policies_claims",
            "The claims of study B: statement, verdict on this run's rows, and reason.",
            claims,
            ("Claim", "Reason"),
        ),
        claims_table(
            "policies_findings",
            "The takeaways and guidelines of the course notebook on study B's source (that of Amdahl's law "
            "is ours), judged on this run's rows; those that the rows contradict are struck out.",
            findings,
            ("Takeaway", "On these rows"),
        ),
        trained_table(policies, parameters),
        *(cell_table(policies, cell, parameters) for cell in policies.cells),
        costs_table(policies, parameters),
        savings_table(policies),
        split_table(policies, split, parameters),
        causes_table(policies, parameters),
        doses_table(policies, parameters),
        survival_table(policies, published, parameters),
        libraries_table(policies, parameters),
        memory_table(policies, parameters),
        scores_table("policies_scores", policies, split, "latex", parameters),
        scores_table("policies_scores_all", policies, policies.cells, "html", parameters),
    ]


def trained_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    caption = (
        "The trained policies, uncompressed: interquartile mean of the return over training seeds and their "
        f"episodes, with its {declared_percent(parameters.confidence)} interval (stratified bootstrap over "
        "seeds and episodes); the count of seeds that have learned; a random policy's return; and the "
        "return that others report, with their source."
    )
    columns = (
        Column("Environment", of=lambda one: one.entry["environment"]),
        Column("Algorithm", of=lambda one: one.entry["algorithm"]),
        Column("Seeds", of=lambda one: one.seeds),
        Column("Episodes", page="html", of=lambda one: one.episodes),
        Column("Steps", format=formats.grouped, of=lambda one: one.entry["total_steps"]),
        Column("Return (IQM)", format=formats.any_size_text, of=lambda one: one.iqm),
        Column("Learned", of=_learned),
        Column("Random policy", format=formats.NO_DIGIT, of=lambda one: one.entry["random_return"]),
        Column("Reported elsewhere", of=_reference),
    )
    return ReportTable("policies", caption, columns, rows_of(policies.trained, columns))


def _learned(one: Trained) -> str:
    return "not judged" if one.entry["reference_return"] is None else f"{one.learned} of {one.seeds}"


def _reference(one: Trained) -> str:
    reference, source = one.entry["reference_return"], one.entry["reference_source"]
    return NOT_AVAILABLE if reference is None else f"{formats.NO_DIGIT(reference)} ({source})"


def cell_table(policies: Policies, cell: MeasuredCell, parameters: ReportParameters) -> ReportTable:
    """Declare the table of one environment and algorithm, with everything that was measured."""
    rows = []
    for key, line in cell.lines.items():
        values: list[Any] = [policies.labels[key], line.size_bytes, line.size_ratio, line.return_mean]
        values += [UNCHANGED if key == BASELINE else line.kept, line.steps_per_episode]
        values += [line.costs[part] for part in ("step", *STEP_PARTS)]
        values += _effects(line)
        rows.append(Row(values, f"same model as {policies.labels[line.same_as]}" if line.same_as else ""))
    cost = partial(Column, format=formats.ONE_DIGIT, group="CPU time per step (µs)")
    step = partial(Column, format=interval_text, group="CPU time per step, ratio")
    energy = partial(Column, format=interval_text, group="Energy per step, to baseline")
    columns = (
        Column("Configuration"),
        Column("bytes", format=formats.grouped, group="Weights"),
        Column("to baseline", format=formats.THREE_DIGITS, group="Weights"),
        Column("mean", format=formats.ONE_DIGIT, group="Return"),
        Column("kept", format=formats.coarse_text, group="Return"),
        Column("Steps per episode", format=formats.ONE_DIGIT),
        cost("total"),
        *(cost(part) for part in STEP_PARTS),
        step("to baseline"),
        step("to same runtime"),
        Column("detectable", format=percent, group="CPU time per step, ratio"),
        step("without flagged"),
        Column("policy call, to same runtime", format=interval_text),
        Column("steps", format=interval_text, group="Episode, to baseline"),
        Column("CPU time", format=interval_text, group="Episode, to baseline"),
        energy(f"with idle ({policies.energy_evidence})"),
        energy(f"net of idle ({policies.cpu_evidence})"),
    )
    learned = "" if cell.learned else " (not learned)"
    early = "can end early" if cell.ends_early else "always have full length"
    caption = (
        f"{cell.name}{learned}: {cell.blocks} randomised blocks, {cell.seeds} training seeds; episodes "
        f"{early}. Ratios within blocks: to the baseline, and to the uncompressed policy under the same "
        f"runtime; {declared_percent(parameters.confidence)} intervals (Student's t over training seeds)."
    )
    return ReportTable(f"policies_{cell.name}", caption, columns, rows, page="html")


def _effects(line: PolicyLine) -> list[Any]:
    if line.key == BASELINE:
        return [Spanning(UNCHANGED, columns=9)]
    step, policy = line.effects["step"], line.effects["policy"]
    others = [
        line.effects[name].to_baseline for name in ("steps", "episode", "energy_step", "net_energy_step")
    ]
    if line.reference == line.key:
        return [step.to_baseline, UNCHANGED, BLANK, BLANK, UNCHANGED, *others]
    return [step.to_baseline, step.same_runtime, step.detectable, step.clean, policy.same_runtime, *others]


def costs_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    columns = (
        Column("Configuration"),
        Column("Bytes", format=formats.grouped),
        Column("Return kept", format=formats.coarse_text),
        Column("Step to baseline", format=_ratio_or_cost),
        Column("Step to same runtime", format=interval_text),
    )
    rows: list[Row] = []
    for cell in summary.shown(policies):
        rows.append(Row([Spanning(cell.name, len(columns))], space=bool(rows)))
        for key, line in cell.lines.items():
            rows.append(Row([policies.labels[key], line.size_bytes, *_kept_and_ratios(line)]))
    caption = (
        "Bytes of the weights, normalised return, and CPU time per step, for every learned policy. Return "
        "kept: on a scale from the random policy's return to the baseline's. Step to baseline: ratio of CPU "
        "time per step within blocks; for the baseline, its CPU time in brackets. To same runtime: ratio to "
        f"the uncompressed policy under that runtime. {_over_seeds(parameters)} Evidence class: clock."
    )
    return ReportTable("policies_costs", caption, columns, rows, long=True)


def _kept_and_ratios(line: PolicyLine) -> list[Any]:
    if line.key == BASELINE:
        return [UNCHANGED, line.costs["step"], UNCHANGED]
    step = line.effects["step"]
    return [line.kept, step.to_baseline, UNCHANGED if line.reference == line.key else step.same_runtime]


def _ratio_or_cost(value: Ratio | float | None) -> str:
    """A ratio; for the baseline, of which its cost is given, the ratio to itself and that cost."""
    if isinstance(value, float):
        return f"{UNCHANGED} ({formats.significant(value)} µs)"
    return interval_text(value)


def _over_seeds(parameters: ReportParameters) -> str:
    return f"Brackets: {declared_percent(parameters.confidence)} intervals (Student's t over training seeds)."


def savings_table(policies: Policies) -> ReportTable:
    caption = (
        "Which compression saves CPU time under which runtime. Ratios are to the uncompressed policy under "
        "the same runtime; CPU time: smallest and largest over learned policies. Less, more: policies whose "
        "interval over training seeds lies wholly below, or above, no change."
    )
    columns = (
        Column("Compressed", of=lambda line: policies.labels[line["key"]]),
        Column("Runtime", of=lambda line: line["runtime"]),
        Column("Policies", of=lambda line: line["policies"]),
        Column("Bytes, ratio", format=formats.TWO_DIGITS, of=lambda line: line["size_ratio"]),
        Column("CPU time per step, ratio", format=_range, of=lambda line: line["range"]),
        Column("less CPU time in", width=0.26, of=lambda line: ", ".join(line["less"]) or "no policy"),
        Column("more CPU time in", width=0.26, of=lambda line: ", ".join(line["more"]) or "no policy"),
    )
    return ReportTable("policies_savings", caption, columns, rows_of(summary.savings(policies), columns))


def _range(ends: Sequence[float] | None) -> str:
    return NOT_AVAILABLE if ends is None else " to ".join(map(formats.THREE_DIGITS, ends))


def split_table(
    policies: Policies, cells: Sequence[MeasuredCell], parameters: ReportParameters
) -> ReportTable:
    caption = (
        "Change of an episode's CPU time relative to the baseline, by cause, as logarithms (nats) that add "
        "up: length of the episode, and cost of a step in the policy, the environment and the remainder. "
        f"{_over_seeds(parameters)} No change: the interval of the total contains it."
    )
    changes = partial(Column, group="Change by cause (nats)")
    columns = (
        Column("Policy", of=lambda pair: pair[0].name),
        Column("Configuration", of=lambda pair: policies.labels[pair[1].key]),
        Column(
            "Episode's CPU time, ratio",
            format=interval_text,
            of=lambda pair: pair[1].effects["episode"].to_baseline,
        ),
        changes("total", format=formats.difference_text, of=lambda pair: pair[1].split["total"]),
        *(
            changes(part, format=formats.signed_text, of=partial(_entry, "split", part))
            for part in SPLIT_PARTS
        ),
        Column("Length : step, shares of the change", of=_length_and_step),
    )
    return ReportTable("policies_split", caption, columns, rows_of(_changed(cells), columns), page="latex")


def _entry(mapping: str, name: str, pair: tuple[MeasuredCell, PolicyLine]) -> Any:
    return getattr(pair[1], mapping)[name]


def _length_and_step(pair: tuple[MeasuredCell, PolicyLine]) -> str:
    split = pair[1].split
    shares = [part_share(split[part], split["total"]) for part in ("length", "step")]
    return "no change" if None in shares else " : ".join(map(percent, shares))


def causes_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    rows = []
    for cell, line in _changed(policies.cells):
        changes = [line.split[name] for name in CAUSES]
        shares: list[Any] = [part_share(line.split[part], line.split["total"]) for part in SPLIT_PARTS]
        if None in shares:
            shares = [Spanning("the total may be no change", columns=4)]
        rows.append(Row([cell.name, policies.labels[line.key], *changes, *shares]))
    change = partial(Column, format=formats.difference_text, group="Change (nats)")
    columns = (
        Column("Policy"),
        Column("Configuration"),
        *(change(name) for name in CAUSES),
        *(Column(part, format=percent, group="Share of the total") for part in SPLIT_PARTS),
    )
    caption = (
        "Change of an episode's CPU time relative to the baseline, by cause, as logarithms (nats): "
        "ln(episode) = ln(steps) + ln(step), and the step by component, for every policy. "
        f"{_over_seeds(parameters)}"
    )
    return ReportTable("policies_causes", caption, columns, rows, page="html")


def _changed(cells: Sequence[MeasuredCell]) -> list[tuple[MeasuredCell, PolicyLine]]:
    """Every line but the baselines, with its cell."""
    return [(cell, line) for cell in cells for key, line in cell.lines.items() if key != BASELINE]


def doses_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    caption = (
        "Amdahl's law in a simulated environment whose step takes an added CPU time. Predicted: ratio of "
        "CPU time per step to the baseline, from the policy's share of the baseline's step and the speed-up "
        "of its call. Measured: that ratio within blocks. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over training seeds, or over "
        "blocks of a sole policy)."
    )
    columns = (
        Column("Added (µs)", format=formats.NO_DIGIT, of=lambda dose: dose.dose_us),
        Column("Configuration", of=lambda dose: policies.labels[dose.key]),
        Column("Policy's share", format=percent, of=lambda dose: dose.policy_share),
        Column("Call's speed-up", format=formats.significant, of=lambda dose: dose.speed_up),
        Column("Predicted", format=formats.THREE_DIGITS, of=lambda dose: dose.predicted),
        Column("Measured", format=interval_text, of=lambda dose: dose.measured),
        Column("Measured / predicted", format=interval_text, of=lambda dose: dose.error),
    )
    return ReportTable("policies_doses", caption, columns, rows_of(policies.doses, columns))


def survival_table(
    policies: Policies, published: Mapping[str, Any], parameters: ReportParameters
) -> ReportTable:
    rows = []
    said = published["pruning_survival"]
    for line in beside_published(policies.survival, policies.largest, said, parameters.confidence):
        more = "more than " if line["more_than"] else ""
        tested = "" if line["tested"] is None else f" (all ways: tested at {percent(line['tested'])})"
        what = f"do not survive {more}{percent(line['share'])} pruning{tested}"
        counted = [value for name in SURVIVAL for value in _measured(line[name])]
        rows.append(Row([what, line["lost"], *counted]))
    best = policies.quantizers.best if policies.quantizers else {}
    for place, name in enumerate(("ptdq", "qat", "ptsq")):
        share = published["best_quantizer_share"].get(name.upper())
        what = f"{name.upper()} keeps the most return"
        values = [what, share, BLANK, BLANK, BLANK, BLANK, *_measured(best.get(name))]
        rows.append(Row(values, rule=not place))
    columns = (
        Column("Models that"),
        Column("Published", format=percent),
        *(
            Column(header, format=form, group=group)
            for group in SURVIVAL.values()
            for header, form in (("measured", formats.share_text), ("models", str))
        ),
    )
    ties = policies.quantizers.ties if policies.quantizers else None
    tied = f" {ties} models, for which quantizers tie, are not counted." if ties else ""
    caption = (
        "Survival of pruning, and the quantizer that keeps the most return, beside the published figures. As "
        "the source counts: a learned policy and the pruned share up to which it keeps "
        f"{declared_percent(SURVIVES)} of the raw return. The source removes units; masks stand apart. "
        "All ways: every policy and way of pruning is a model, and its return is counted from the random "
        "policy's. Wilson's "
        f"{declared_percent(parameters.confidence)} intervals.{tied}"
    )
    return ReportTable("policies_survival", caption, columns, rows)


def _measured(share: Estimate | None) -> list[Any]:
    return [NOT_AVAILABLE, NOTHING] if share is None else [share, share.n]


ONLY_ON_THE_PAGE = ("cpu_us_per_step_and_mib", "energy_uj_per_return", "energy_uj_per_step_and_mib")
"""Scores for which the paper has no room."""


def scores_table(
    name: str, policies: Policies, cells: Sequence[MeasuredCell], page: Page, parameters: ReportParameters
) -> ReportTable:
    scores = {
        "cpu_us_per_return": ("CPU time (µs)", "per return"),
        "cpu_us_per_step_and_mib": ("CPU time (µs)", "per step and MiB"),
        "energy_uj_per_step": ("Energy (µJ)", "per step"),
        "net_energy_uj_per_step": ("Energy (µJ)", "per step, net"),
        "energy_uj_per_return": ("Energy (µJ)", "per return"),
        "energy_uj_per_step_and_mib": ("Energy (µJ)", "per step and MiB"),
        "steps_per_joule": ("Per joule", "steps"),
        "return_per_joule": ("Per joule", "return"),
    }
    caption = (
        "Efficiency: means over training seeds. Returns are counted from the random policy's. "
        f"{_over_seeds(parameters)} CPU time is read from the clock. Energy with that of the idle "
        f"host is of evidence class {policies.energy_evidence}; net of it, {policies.cpu_evidence}."
    )
    columns = (
        Column("Policy", of=lambda pair: pair[0].name),
        Column("Configuration", of=lambda pair: policies.labels[pair[1].key]),
        *(
            Column(
                header,
                format=formats.any_size_text,
                group=group,
                of=partial(_entry, "scores", score),
                page="html" if score in ONLY_ON_THE_PAGE else None,
            )
            for score, (group, header) in scores.items()
        ),
    )
    lines = [(cell, line) for cell in cells for line in cell.lines.values()]
    return ReportTable(name, caption, columns, rows_of(lines, columns), page=page)
