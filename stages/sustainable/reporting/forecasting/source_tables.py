"""Tables about the source: its units, its reward, its discovery, its conditions, and its later version."""

from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import pandas as pd

from sustainable.reporting import formats
from sustainable.reporting.forecasting.results import PRIMARY
from sustainable.reporting.forecasting.run import REWARD_TERMS
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, Column, ReportTable, Row, rows_of

TWO = partial(formats.fixed, digits=2)
THREE = partial(formats.fixed, digits=3)
FOUR = partial(formats.fixed, digits=4)


def source_tables(
    study: Forecasting, actions: pd.DataFrame, parameters: ReportParameters
) -> list[ReportTable]:
    """Declare every table about the source."""
    return [
        units_table(study),
        gap_table(study),
        reward_table(study, actions),
        discovery_table(study, actions),
        conditions_table(study, parameters),
        layerwise_table(study, parameters),
        zeros_table(study, parameters),
    ]


def units_table(study: Forecasting) -> ReportTable:
    lines = [(study.labels[key], line) for key, line in study.source.lines.items()]
    columns = (
        Column("Configuration", of=itemgetter(0)),
        Column("as printed", THREE, group="kg CO2 per kWh", of=lambda pair: pair[1].intensity_as_printed),
        Column("as computed", THREE, group="kg CO2 per kWh", of=lambda pair: pair[1].intensity),
        Column("power of a pass (W)", partial(formats.fixed, digits=1), of=lambda pair: pair[1].power_w),
    )
    caption = (
        "The unit of the source's energy. Its energy and its CO2 together imply a carbon intensity: as "
        "printed "
        "(mWh) no grid has it; as computed (kWh multiplied to Wh) it is that of a common grid. The printed "
        f"energies are too small by a factor of {formats.grouped(study.source.mislabelled)}. Estimates of "
        "the source."
    )
    return ReportTable("units", caption, columns, rows_of(lines, columns))


def gap_table(study: Forecasting) -> ReportTable:
    lines = [(study.labels[key], gap) for key, gap in study.gaps.items()]
    factor = partial(Column, format=TWO, group="Ours to the source's")
    watts = partial(Column, format=partial(formats.fixed, digits=1), group="Modelled power (W)")
    columns = (
        Column("Configuration", of=itemgetter(0)),
        factor("latency", of=lambda pair: pair[1].latency),
        factor("power", of=lambda pair: pair[1].power),
        factor("energy", of=lambda pair: pair[1].energy),
        watts("source", of=lambda pair: pair[1].published_w),
        watts("ours", of=lambda pair: pair[1].own_w),
    )
    caption = (
        "The gap between the published energy and ours, per forecast, under the published conditions: the "
        "factor in energy is that in latency times that in power. Power is energy over time; on both sides "
        "it "
        "follows from assumed watts, so it is an estimate. The factor in latency belongs to the source's CPU "
        "and PyTorch, which this run does not have: it stays unexplained."
    )
    return ReportTable("gap", caption, columns, rows_of(lines, columns))


def reward_table(study: Forecasting, actions: pd.DataFrame) -> ReportTable:
    groups = {
        "nothing (action 0)": actions["action"] == 0,
        "pruned": (actions["pruning"] > 0) & ~actions["quantization"],
        "quantized": actions["quantization"],
    }
    terms = [name for name in REWARD_TERMS if name != "error"]
    term = partial(Column, format=FOUR, align="r", group="Terms of the reward")
    columns = (
        Column("Actions", of=itemgetter("label")),
        Column("how many", align="r", of=itemgetter("count")),
        *(term(formats.words(name), of=itemgetter(f"reward_{name}")) for name in terms),
        Column("reward", FOUR, align="r", of=itemgetter("reward")),
    )
    items = [
        {"label": label, "count": int(mask.sum()), **actions[mask].iloc[0]} for label, mask in groups.items()
    ]
    best = study.source.best_reward
    rows = [
        *rows_of(items, columns),
        Row(["best published", NOT_AVAILABLE, *[NOT_AVAILABLE] * len(terms), best], rule=True),
    ]
    caption = (
        "What the published formula pays on our network. Accuracy compares one batch of test windows with "
        "the "
        "whole test set, so that even an unchanged network is paid. Within a group every action has the same "
        "reward. Computed from counts, not measured."
    )
    return ReportTable("reward", caption, columns, rows)


def discovery_table(study: Forecasting, actions: pd.DataFrame) -> ReportTable:
    found, names = study.discovery, dict(zip(actions["action"], actions["name"], strict=True))
    chance = found.searches / len(found.tied)
    columns = (
        Column("Action", of=lambda action: f"{action} ({names[action]})"),
        Column("reported by", align="r", of=lambda action: found.wins[action]),
        Column("by chance", partial(formats.fixed, digits=1), align="r", of=lambda action: chance),
    )
    caption = (
        f"The action that each of {found.searches} searches reports: the first maximum of its rewards. Only "
        "the tied actions are ever reported. Against the uniform distribution over them: p "
        f"{formats.p_value(found.uniform_p)} (chi-square). {found.before_updates} searches sampled it "
        "before the "
        "policy was first updated. Exact counts."
    )
    return ReportTable("discovery", caption, columns, rows_of(found.tied, columns))


def conditions_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    columns = (
        Column("Condition replaced", of=attrgetter("changed")),
        Column("batch", align="r", of=attrgetter("batch_size")),
        Column("threads", align="r", of=attrgetter("threads")),
        Column("baseline (ms/forecast)", THREE, align="r", of=attrgetter("baseline_ms")),
        Column("int8 to baseline", _ratio_text, of=attrgetter("int8")),
        Column("A/A control", formats.interval_text, of=attrgetter("twin")),
    )
    published = study.source.claimed("manual_quantization", "latency_ms")
    rows = [
        Row(["published by the source", BLANK, BLANK, study.source.lines[BASELINE].latency_ms.mean,
             published, BLANK]),
        *rows_of(study.steps, columns),
    ]  # fmt: skip
    caption = (
        "From the published benchmark to the randomised blocks, one condition at a time; each row keeps the "
        "conditions of the row above. Ratio of latency with its "
        f"{formats.declared_percent(parameters.confidence)} "
        "interval (Student's t over runs or blocks). Latency is read from the clock. What the last step but "
        "one leaves of the difference to the source belongs to its CPU and PyTorch: unexplained here."
    )
    return ReportTable("conditions", caption, columns, rows)


def _ratio_text(ratio: Any) -> str:
    """Print a ratio with its interval, or a published one without."""
    return THREE(ratio) if isinstance(ratio, float) else formats.interval_text(ratio)


def layerwise_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    found = study.layerwise
    own = [(formats.words(name), answers) for name, answers in found.answers.items()]
    counted = partial(Column, format=partial(formats.fixed, digits=0), align="r")
    columns = (
        Column("Searcher", of=itemgetter(0)),
        Column("searches", align="r", of=lambda pair: pair[1].searches),
        counted("evaluations", of=lambda pair: pair[1].evaluations),
        counted("distinct", of=lambda pair: pair[1].distinct),
        Column("best reward", _span(3), of=lambda pair: pair[1].reward),
        Column("ties", formats.span_text, align="r", of=lambda pair: pair[1].tied),
        Column("sparsity", _span(3), of=lambda pair: pair[1].sparsity),
        Column("mean sparsity", formats.interval_text, of=lambda pair: pair[1].mean_sparsity),
        Column("test accuracy difference", _signed, of=lambda pair: pair[1]),
    )
    source = study.source.later
    rows = rows_of(own, columns) + [
        Row(
            [f"{name} (the source's table)", *[NOT_AVAILABLE] * 5, (line["sparsity"],) * 2, NOT_AVAILABLE,
             line["accuracy"] - source[BASELINE]["accuracy"]],
            rule=not place,
        )
        for place, (name, line) in enumerate((k, v) for k, v in source.items() if k != BASELINE)
    ]  # fmt: skip
    caption = (
        "The source's later version on our published network: zeros per layer and int8, searched on the "
        "validation windows. Lowest to highest over searches, and means with "
        f"{formats.declared_percent(parameters.confidence)} intervals (Student's t over seeds). Ties: plans "
        "that share "
        "a search's best reward, of which it reports the first. Rows with `published` evaluate the source's "
        "own "
        "plans. Exact counts."
    )
    return ReportTable("layerwise", caption, columns, rows)


def _span(digits: int) -> Any:
    def text(ends: tuple[float, float]) -> str:
        low, high = (formats.fixed(value, digits) for value in ends)
        return low if low == high else f"{low} to {high}"

    return text


def _signed(value: Any) -> str:
    """Print the difference of accuracy of a searcher's answers, or a published one."""
    if isinstance(value, float):
        return f"{value:+.3f}"
    if value.accuracy is None:
        return f"{value.accuracies[0]:+.3f}"
    return formats.difference_text(value.accuracy)


def zeros_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    lines = list(study.layerwise.measured.lines.values())
    columns = (
        Column("Configuration", of=lambda line: study.labels[line.key]),
        Column("model", of=attrgetter("name")),
        Column("operations executed", formats.grouped, align="r", of=lambda line: line.counts["flops"]),
        Column("weights not zero", formats.grouped, align="r", of=lambda line: line.counts["nonzero"]),
        Column("stored (bytes)", formats.grouped, align="r", of=lambda line: line.counts["size_bytes"]),
        Column("CPU time to the baseline", _or_unchanged, of=lambda line: line),
    )
    results = study.layerwise.measured
    caption = (
        f"What zeros save: the plans that the source reports, in {results.blocks} randomised blocks. "
        "`zeros` holds the agent's plan without int8, so that it differs from the baseline in its zeros "
        "alone. "
        f"Ratios with {formats.declared_percent(parameters.confidence)} intervals (Student's t over "
        "blocks). CPU time "
        "is read from the clock."
    )
    return ReportTable("zeros", caption, columns, rows_of(lines, columns))


def _or_unchanged(line: Any) -> str:
    return "1" if line.key == BASELINE else formats.interval_text(line.compared[PRIMARY].ratio)
