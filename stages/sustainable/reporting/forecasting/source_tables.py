"""Tables about the source: its units, its reward, its discovery, its conditions, and its later version."""

from functools import partial
from operator import attrgetter, itemgetter

import pandas as pd

from sustainable.reporting import formats
from sustainable.reporting.forecasting.conditions import INT8
from sustainable.reporting.forecasting.layerwise import SearcherAnswers
from sustainable.reporting.forecasting.results import PRIMARY, Line
from sustainable.reporting.forecasting.run import PAID_TERMS
from sustainable.reporting.forecasting.source import reward_groups
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.formats import FOUR_DIGITS, NO_DIGIT, ONE_DIGIT, THREE_DIGITS, TWO_DIGITS
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.tables import NOT_AVAILABLE, UNCHANGED, Column, Mark, ReportTable, rows_of


def source_tables(
    study: Forecasting, actions: pd.DataFrame, parameters: ReportParameters
) -> list[ReportTable]:
    """Declare every table about the source."""
    intervals = f"{formats.declared_percent(parameters.confidence)} intervals (Student's t over"
    return [
        units_table(study),
        gap_table(study),
        reward_table(study, actions),
        discovery_table(study, actions),
        conditions_table(study, intervals),
        layerwise_table(study, intervals),
        zeros_table(study, intervals),
    ]


def units_table(study: Forecasting) -> ReportTable:
    intensity = partial(Column, format=THREE_DIGITS, group="kg CO2 per kWh")
    columns = (
        Column("Configuration", of=attrgetter("label")),
        intensity("as printed", of=attrgetter("intensity_as_printed")),
        intensity("as computed", of=attrgetter("intensity")),
        Column("power of a pass (W)", format=ONE_DIGIT, of=attrgetter("power_w")),
    )
    caption = (
        "The unit of the source's energy. Energy and CO2 imply a carbon intensity. From mWh, as printed, "
        "follows an intensity that no grid has; from Wh, as computed, that of a common grid. "
        f"The printed energies are too small by a factor of {formats.grouped(study.source.mislabelled)}. All "
        "are estimates of the source."
    )
    return ReportTable("units", caption, columns, rows_of(study.source.lines.values(), columns))


def gap_table(study: Forecasting) -> ReportTable:
    factor = partial(Column, format=TWO_DIGITS, group="Ours to the source's")
    watts = partial(Column, format=ONE_DIGIT, group="Modelled power (W)")
    columns = (
        Column("Configuration", of=attrgetter("label")),
        *(factor(name, of=attrgetter(name)) for name in ("latency", "power", "energy")),
        watts("source", of=attrgetter("published_w")),
        watts("ours", of=attrgetter("own_w")),
    )
    caption = (
        "The gap between the published energy and ours, per forecast, under the published conditions: the "
        "factor in energy is that in latency times that in power. Power is energy over time; on both sides "
        "it follows from assumed watts and is an estimate. The factor in latency is not explained: the "
        "source's CPU and PyTorch are not available here."
    )
    return ReportTable("gap", caption, columns, rows_of(study.gaps.values(), columns))


def reward_table(study: Forecasting, actions: pd.DataFrame) -> ReportTable:
    term = partial(Column, format=FOUR_DIGITS, align="r", group="Terms of the reward")
    columns = (
        Column("Actions", of=itemgetter("label")),
        Column("how many", align="r", of=itemgetter("count")),
        *(term(name, of=itemgetter(f"reward_{name}")) for name in PAID_TERMS),
        Column("reward", format=FOUR_DIGITS, align="r", of=itemgetter("reward")),
    )
    published = dict.fromkeys(("count", *(f"reward_{name}" for name in PAID_TERMS)), NOT_AVAILABLE)
    best = {"label": "published: quantized", **published, "reward": study.source.best_reward}
    caption = (
        "What the published formula pays on our network. Accuracy compares a batch of test windows with the "
        "whole test set, so that even an untouched network is paid. All actions of a group have the reward "
        "that its row shows. Computed from counts, not measured."
    )
    return ReportTable("reward", caption, columns, rows_of([*reward_groups(actions), best], columns))


def discovery_table(study: Forecasting, actions: pd.DataFrame) -> ReportTable:
    found, names = study.discovery, dict(zip(actions["action"], actions["name"], strict=True))
    columns = (
        Column("Action", of=lambda action: f"{action} ({names[action]})"),
        Column("reported by", align="r", of=lambda action: found.wins[action]),
        Column("by chance", format=ONE_DIGIT, align="r", of=lambda action: found.by_chance),
    )
    caption = (
        f"The action that each of {found.searches} searches reports: the first maximum of its rewards. Only "
        "the tied actions are listed. Against the uniform distribution over them: p "
        f"{formats.p_value(found.uniform_p)} (chi-square). {found.before_updates} searches sampled their "
        "action before the policy was first updated. Exact counts."
    )
    return ReportTable("discovery", caption, columns, rows_of(found.tied, columns))


def conditions_table(study: Forecasting, intervals: str) -> ReportTable:
    source = study.source
    columns = (
        Column("Condition replaced", of=attrgetter("changed")),
        Column("batch", align="r", of=attrgetter("batch_size")),
        Column("threads", align="r", of=attrgetter("threads")),
        Column("baseline (ms/forecast)", format=THREE_DIGITS, align="r", of=attrgetter("baseline_ms")),
        Column("int8 to baseline", format=formats.interval_text, of=attrgetter("int8")),
        Column("A/A control", format=formats.interval_text, of=attrgetter("twin")),
    )
    caption = (
        "From the published benchmark to the randomised blocks: each row replaces a further condition and "
        f"keeps those of the rows before it. Ratios of latency with {intervals} runs or blocks). Latency is "
        "read from the clock. The source's own ratio is "
        f"{formats.fixed(source.claimed(INT8, 'latency_ms'), digits=3)}, at "
        f"{formats.fixed(source.lines[BASELINE].latency_ms.mean, digits=3)} ms per forecast of the baseline. "
        "What no row explains stays open: its CPU and PyTorch are not available here."
    )
    return ReportTable("conditions", caption, columns, rows_of(study.steps, columns))


def layerwise_table(study: Forecasting, intervals: str) -> ReportTable:
    columns = (
        Column("Searcher", of=attrgetter("label")),
        Column("searches", align="r", of=attrgetter("searches")),
        Column("evaluations", format=NO_DIGIT, align="r", of=attrgetter("evaluations")),
        Column("distinct", format=NO_DIGIT, align="r", of=attrgetter("distinct")),
        Column("best reward", format=formats.ends_text, of=attrgetter("reward")),
        Column("ties", format=formats.span_text, align="r", of=attrgetter("tied")),
        Column("sparsity", format=formats.ends_text, of=attrgetter("sparsity")),
        Column("mean sparsity", format=formats.interval_text, of=attrgetter("mean_sparsity")),
        Column("test accuracy difference", format=formats.difference_text, of=_difference),
    )
    published = "; ".join(
        f"{name} {formats.percent(line['sparsity'])}, accuracy "
        f"{formats.fixed(line['accuracy'] - study.source.later[BASELINE]['accuracy'], digits=3)}"
        for name, line in study.source.later.items()
        if name != BASELINE
    )
    caption = (
        "The source's later version on our published network: zeros per layer and quantization, searched on "
        f"the validation windows. Ranges over searches, and means with {intervals} seeds). Ties: plans that "
        "share a search's reward, of which it reports the first. Rows named published evaluate the plans "
        f"that the source reports. Its own table has these sparsities and differences: {published}. All are "
        "exact counts."
    )
    return ReportTable("layerwise", caption, columns, rows_of(study.layerwise.answers.values(), columns))


def _difference(answers: SearcherAnswers) -> object:
    """The difference of accuracy; without an interval for a plan that was not searched."""
    return answers.accuracy if answers.mean_sparsity else Mark(formats.signed_text(answers.accuracy))


def zeros_table(study: Forecasting, intervals: str) -> ReportTable:
    results = study.layerwise.measured

    def time(line: Line) -> object:
        return UNCHANGED if line.key == BASELINE else line.compared[PRIMARY].ratio

    counted = partial(Column, format=formats.grouped, align="r")
    columns = (
        Column("Configuration", of=lambda line: study.labels[line.key]),
        Column("Model", of=attrgetter("name")),
        counted("operations executed", of=lambda line: line.counts["flops"]),
        counted("nonzero parameters", of=lambda line: line.counts["nonzero"]),
        counted("stored (bytes)", of=lambda line: line.counts["size_bytes"]),
        Column("CPU time to the baseline", format=formats.interval_text, of=time),
    )
    caption = (
        f"What zeros are worth: the plans that the source reports, in {results.blocks} randomised blocks. "
        "The agent's plan is also measured in floating point, where its zeros alone set it apart from the "
        f"baseline. Ratios with {intervals} blocks). CPU time is read from the clock."
    )
    return ReportTable("zeros", caption, columns, rows_of(results.lines.values(), columns))
