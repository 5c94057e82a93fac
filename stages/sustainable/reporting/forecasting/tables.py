"""The tables of study A.

Captions, headers and rows may not type a number or a comparison: they print values. Exceptions are declared
in paper/templates/static.yaml, each with a reason.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

from sustainable.reporting import formats
from sustainable.reporting.forecasting.results import MICRO_IN_MILLI, scaled
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.searching import (
    ABLATION,
    NEAR_ORACLE,
    OTHER_SPACE,
    RANKED,
    SearcherLine,
)
from sustainable.reporting.forecasting.source import PublishedLine
from sustainable.reporting.forecasting.source_tables import source_tables
from sustainable.reporting.forecasting.summary import Forecasting, days_at_one_per_second
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.reporting.tables import (
    BLANK,
    NOT_AVAILABLE,
    UNCHANGED,
    Code,
    Column,
    ReportTable,
    Row,
    Spanning,
    claims_table,
    rows_of,
)
from sustainable.statistics import BreakEven, Estimate, Summary, student_interval

CLAIMS_CAPTION = "The claims of study A: statement, verdict on this run's rows, and reason."
QUALITY_SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error")
TIMED = attrgetter("cpu_time_ms", "ratio", "to_uncompressed", "detectable", "attained", "energy")
TASKS = {"audited": "weather", "mnist1d": "MNIST-1D"}
"""The tasks under the audited protocol, by the name of their section in params.yaml."""
THREE = partial(formats.fixed, digits=3)
FOUR = partial(formats.spread_text, digits=4)


def forecasting_tables(
    run: Run,
    study: Forecasting,
    claims: Sequence[Any],
    published: Mapping[str, Any],
    parameters: ReportParameters,
) -> list[ReportTable]:
    """Declare every table of study A."""
    return [
        claims_table("claims", CLAIMS_CAPTION, claims, ("Claim", "Reason")),
        results_table(study),
        *source_tables(study, run.actions, parameters),
        blocks_table(study, parameters),
        accuracy_table(study, published, parameters, run),
        models_table(study),
        latency_table(study, run.conditions["remeasured"]["frozen"]["latency"]),
        break_even_table(study, parameters),
        audited_table(study, parameters),
        gate_table(study, parameters),
        decomposition_table(study),
        quality_table(run.metrics["audited"]["baseline"]),
        tasks_table(run, parameters),
        controls_table(study, parameters),
        searchers_table(study, parameters),
        budgets_table(study, parameters),
        repairs_table(study, parameters),
        proxies_table(study, len(run.candidates), parameters),
        pay_back_table(study, parameters),
    ]


def identical(what: str, line: Any, labels: Mapping[str, str]) -> str:
    """Say below a row that it repeats another; printed only where hashes are equal."""
    if not line.same_as:
        return ""
    return f"the same {what} as {labels[line.same_as]}: no difference between them is an effect"


def results_table(study: Forecasting) -> ReportTable:
    results, source, rows = study.results["published"], study.source, []
    grams = source.lines[BASELINE].intensity
    for place, line in enumerate(results.lines.values()):
        printed = _published_cells(source.lines.get(line.key))
        rows.append(Row([study.labels[line.key], "published", *printed], space=bool(place)))
        about = [(f"{line.name}, ", Code(line.weights_sha256[:8])), "reproduced"]
        counted = (line.accuracy, line.correct, results.windows)
        times = [line.outcomes["cpu_time_ms"], line.outcomes["latency_ms"]]
        energy = scaled(line.outcomes["energy_mwh"], MICRO_IN_MILLI)
        values = [*about, counted, *times, energy, scaled(energy, grams)]
        rows.append(Row(values, note=identical("weights", line, study.labels)))
    columns = (
        Column("Configuration"),
        Column("Source"),
        Column("Accuracy", format=_accuracy),
        Column("CPU time (ms/forecast)", format=FOUR),
        Column("Latency (ms/forecast)", format=FOUR),
        Column("Energy (µWh/forecast)", format=partial(formats.spread_text, digits=2)),
        Column("CO2 (µg/forecast)", format=partial(formats.spread_text, digits=2)),
    )
    caption = (
        "Published figures, and the recipe reproduced with the published method of measuring: mean ± "
        f"standard deviation over {results.blocks} runs in fixed order. Accuracy counts the test windows "
        f"classified correctly. The reproduced energy is {formats.estimated(results.cpu_evidence)}; CO2 is "
        f"that energy at the source's own {formats.fixed(grams, digits=3)} kg per kWh, an estimate. The "
        "published energy is converted from Wh per pass over the test windows, which is what the source "
        "computes; it prints mWh."
    )
    return ReportTable("results", caption, columns, rows)


def _published_cells(line: PublishedLine | None) -> list[Any]:
    """The published accuracy, CPU time, latency, energy and CO2; the source gives no CPU time."""
    if line is None:
        return [NOT_AVAILABLE] * len(("accuracy", "CPU time", "latency", "energy", "CO2"))
    return [line.accuracy, NOT_AVAILABLE, line.latency_ms, line.energy_uwh, line.co2_ug]


def _accuracy(value: Summary | tuple[float, int, int]) -> str:
    if isinstance(value, Summary):
        return formats.spread_text(value, digits=5)
    accuracy, correct, windows = value
    return f"{formats.fixed(accuracy, digits=5)} ({correct}/{windows})"


def blocks_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    results, rows = study.results["remeasured"], []
    for line in results.lines.values():
        time, mean = line.compared["cpu_time_ms"], line.outcomes["cpu_time_ms"]
        tests = [time.bootstrap, time.p_holm, time.p_equivalence, time.detectable, time.clean]
        others = [line.compared[name].ratio for name in ("latency_ms", "energy_mwh", "net_energy_mwh")]
        compared: list[Any] = [time.ratio, *tests, *others]
        if line.key == BASELINE:
            compared = [UNCHANGED, *[BLANK for _ in tests], *[UNCHANGED for _ in others]]
        note = identical("weights", line, study.labels)
        rows.append(Row([study.labels[line.key], mean, *compared], note))
    timed = partial(Column, group="CPU time relative to the baseline")
    energy = f"Energy ({results.cpu_evidence})"
    columns = (
        Column("Configuration"),
        Column("CPU time (ms/forecast)", format=FOUR),
        timed("ratio", format=formats.interval_text),
        timed("BCa interval", format=formats.interval_text, page="html"),
        *(timed(f"p ({test})", format=formats.p_value) for test in ("Holm", "TOST")),
        timed("detectable", format=formats.percent),
        timed("without flagged", format=formats.interval_text),
        Column("ratio", format=formats.interval_text, group="Latency"),
        Column("ratio", format=formats.interval_text, group=energy),
        Column("ratio net of idle", format=formats.interval_text, group=energy, page="html"),
    )
    caption = (
        f"The models remeasured in {results.blocks} randomised blocks. CPU time: mean ± standard deviation "
        "over blocks. Ratios: geometric mean of the ratio to the baseline within blocks, with its "
        f"{declared_percent(parameters.confidence)} interval (Student's t over blocks). p (Holm): "
        "sign-flip test, corrected over the declared family. p (TOST): equivalence within "
        f"{formats.percent(parameters.equivalence_margin)}. Detectable: the effect that the rule "
        f"of the claims, noise floor included, finds with a power of {declared_percent(POWER)}. Without "
        "flagged: windows flagged for contention left out. CPU time and "
        f"latency are read from the clock; energy is {formats.estimated(results.cpu_evidence)}."
    )
    return ReportTable("blocks", caption, columns, rows)


def accuracy_table(
    study: Forecasting, published: Mapping[str, Any], parameters: ReportParameters, run: Run
) -> ReportTable:
    windows = published["test_windows"]
    right = (round(published["test_accuracy"] * windows), windows)
    rows = [Row(["GRU as published", right, NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE])]
    for key, against in study.accuracy.items():
        base, persistence = against[BASELINE], against["persistence"]
        label = study.labels.get(key, formats.words(key))
        rows.append(Row([label, study.hits[key], base, base.p, persistence, persistence.p]))
    columns = (
        Column("Forecaster"),
        Column("Correct", format=lambda pair: f"{pair[0]}/{pair[1]}", align="r"),
        *(
            Column(header, format=format_, group=f"Relative to {reference}")
            for reference in ("the baseline", "persistence")
            for header, format_ in (("difference", formats.difference_text), ("p", formats.p_value))
        ),
    )
    model = next(iter(run.metrics["published"]["baseline"]["seeds"].values()))
    caption = (
        "Test windows classified correctly, and the difference in accuracy on the shared test windows with "
        f"its {declared_percent(parameters.confidence)} interval (bootstrap over windows) and p of McNemar's "
        f"exact test. Exact counts. The network's weights are those of epoch {model['best_epoch']} of "
        f"{model['epochs']}."
    )
    return ReportTable("accuracy", caption, columns, rows)


def models_table(study: Forecasting) -> ReportTable:
    counted = partial(Column, format=formats.grouped, align="r", group="Counted in the model")
    reported = partial(counted, group="Reported by the proxies")
    columns = (
        Column("Configuration", of=lambda line: study.labels[line.key]),
        Column("Weights", of=lambda line: Code(line.weights_sha256[:8])),
        Column("Type", of=lambda line: line.precision),
        counted("parameters", of=lambda line: line.counts["parameters"]),
        counted("nonzero", of=lambda line: line.counts["nonzero"]),
        counted("operations", of=lambda line: line.counts["flops"]),
        counted("bytes", of=lambda line: line.counts["size_bytes"]),
        reported("parameters", of=lambda line: line.counts["proxy_parameters"]),
        reported("FLOPs", of=lambda line: line.counts["proxy_flops"]),
    )
    rows = rows_of(study.results["published"].lines.values(), columns)
    caption = (
        "What each configuration contains, counted from the layers' shapes and the stored weights, and what "
        "the published proxies report for it: parameters() of PyTorch, and FLOPs of ptflops. Weights: the "
        "first digits of their SHA-256; equal hashes are equal models. Exact counts."
    )
    return ReportTable("models", caption, columns, rows)


def latency_table(study: Forecasting, latency: Mapping[str, Any]) -> ReportTable:
    calls = [(key, *call) for key in study.results["remeasured"].lines for call in latency[key].items()]
    rows = [Row([study.labels[key], size, *quantiles.values()]) for key, size, quantiles in calls]
    timed = partial(Column, format=THREE, group="Latency (ms/call)", align="r")
    columns = (Column("Configuration"), Column("Batch"), *map(timed, calls[0][2]))
    caption = (
        "Latency of a single call by batch size, with the meter off: percentiles over calls, read from the "
        "clock."
    )
    return ReportTable("latency", caption, columns, rows)


def break_even_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    evidence = study.results["remeasured"].cpu_evidence
    rows = []
    for key, quantities in study.break_even.items():
        for quantity, even in quantities.items():
            about = f" ({formats.estimated(evidence)})" if quantity == "energy" else ""
            rows.append(Row([study.labels[key], quantity + about, *_forecasts(even, days=True)]))
    columns = (
        Column("Configuration"),
        Column("Quantity"),
        *EVEN_COLUMNS,
        Column("Days, at a forecast per second", format=partial(formats.fixed, digits=1)),
    )
    caption = (
        "Forecasts after which a configuration has repaid the published search and the training of its "
        f"baseline, with {declared_percent(parameters.confidence)} intervals (bootstrap over "
        f"{study.results['remeasured'].blocks} blocks)."
    )
    return ReportTable("break_even", caption, columns, rows, page="html")


def _forecasts(even: BreakEven, days: bool) -> list[Any]:
    """The cells of a break-even, or the reason why there is none."""
    values: list[Any] = [even.inferences, (even.low, even.high)]
    values += [days_at_one_per_second(even)] if days else []
    return values if even.inferences else [Spanning(even.reason, len(values))]


EVEN_COLUMNS = (
    Column("Forecasts", format=formats.grouped),
    Column("Interval", format=lambda ends: " to ".join(map(formats.grouped, ends))),
)


def audited_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    audited, rows = study.audited, []
    for line in audited.lines.values():
        values: list[Any] = [study.labels[line.key], line.name, Code(line.weights_sha256[:8])]
        values += [line.accuracy, line.over_seeds, line.crossed]
        for timing in line.timings.values():
            values += TIMED(timing)
        rows.append(Row(values, identical("model", line, study.labels)))
    for place, name in enumerate(("persistence", "majority")):
        rows.append(Row([name.capitalize(), "lookup table", BLANK, audited.accuracies[name]], rule=not place))
    columns = [
        Column("Configuration"),
        Column("Deployment"),
        Column("Weights", page="html"),
        Column("mean", format=THREE, group="Test accuracy"),
        Column("over seeds alone", format=formats.difference_text, group="Test accuracy", page="html"),
        Column("difference", format=formats.difference_text, group="Test accuracy"),
    ]
    for size in audited.batch_sizes:
        timed = partial(Column, group=f"CPU time, batch {size}")
        columns += [
            timed("ms/forecast", format=formats.significant),
            timed("to eager", format=formats.small_ratio_text),
            timed("to best runtime", format=formats.small_ratio_text),
            timed("detectable", format=formats.percent),
            timed("of peak FLOP/s", format=formats.ceiling_share, page="html"),
            timed(f"energy to eager ({audited.cpu_evidence})", format=formats.small_ratio_text, page="html"),
        ]
    caption = (
        f"Deployments of study A on {audited.windows} test windows, over {audited.blocks} randomised blocks "
        f"and {audited.seeds} training seeds. Accuracy: mean over seeds, and difference to the baseline. CPU "
        "time: geometric mean, and its ratio to the eager baseline and to the best runtime, which is the "
        "uncompressed fp32 deployment with the least CPU time at that batch size. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t: CPU time over training seeds, "
        "accuracy over seeds and test windows). Detectable: "
        f"the effect found with a power of {declared_percent(POWER)}. CPU time is read from the clock; "
        f"{audited.flagged} windows are flagged for contention."
    )
    return ReportTable("audited", caption, columns, rows)


def quality_table(quality: Mapping[str, Any]) -> ReportTable:
    rows = []
    network = f"GRU, mean of {len(quality['seeds'])} seeds"
    named = {network: quality["mean_over_seeds"], **quality["forecasters"]}
    for place, part in enumerate(("validation", "test")):
        for index, (name, scores) in enumerate(named.items()):
            values = [scores[part][score] for score in QUALITY_SCORES]
            rows.append(Row([formats.words(name), part, *values], space=bool(place) and not index))
    headers = ("accuracy", "balanced", "log-loss", "Brier", "calibration error")
    scores = (Column(header, format=THREE, align="r") for header in headers)
    columns = (Column("Forecaster"), Column("Windows"), *scores)
    caption = (
        "Forecasting quality of the network and of the frugal forecasters on the chronological split: "
        "accuracy, balanced accuracy, log-loss, Brier score and expected calibration error. Exact for the "
        "given windows."
    )
    return ReportTable("quality", caption, columns, rows)


def tasks_table(run: Run, parameters: ReportParameters) -> ReportTable:
    rows, classes = [], len(run.metrics["mnist1d"]["preprocess"]["test"]["of_class"])
    for place, task in enumerate(TASKS):
        scores = run.metrics[task]["baseline"]
        own = [seed["test"]["accuracy"] for seed in scores["seeds"].values()]
        name = TASKS[task]
        rows.append(Row([name, "the network", sum(own) / len(own), BLANK], rule=bool(place)))
        rows += [
            Row([name, formats.words(key), one["test"]["accuracy"], lead_over(own, one, parameters)])
            for key, one in scores["forecasters"].items()
        ]
    columns = (
        Column("Task"),
        Column("Forecaster"),
        Column("Test accuracy", format=THREE),
        Column("The network minus it", format=formats.difference_text),
    )
    caption = (
        "The network's lead over frugal forecasters, on the audited weather and MNIST-1D (generated, "
        f"{classes} classes). Brackets: {declared_percent(parameters.confidence)} intervals (Student's t "
        "over training seeds; the test windows are taken as they are)."
    )
    return ReportTable("tasks", caption, columns, rows)


def lead_over(
    own: Sequence[float], frugal: Mapping[str, Any], parameters: ReportParameters
) -> Estimate | None:
    """The network's lead in test accuracy over a frugal forecaster, with its interval over training seeds."""
    leads = [accuracy - frugal["test"]["accuracy"] for accuracy in own]
    return student_interval(leads, parameters.confidence)


def controls_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    loss = partial(Column, format=formats.interval_text, group="Validation loss")
    columns = (
        Column("Widths", of=itemgetter("widths")),
        Column("Method", of=itemgetter("method")),
        loss("before training", of=itemgetter("before")),
        loss("after training", of=itemgetter("loss")),
    )
    rows = rows_of(study.controls, columns)
    caption = (
        "Narrow networks by method: pruned by norm or at random and fine-tuned, trained from scratch, or "
        "distilled from the baseline. Validation loss before and after that training, mean over "
        f"{study.controls[0]['seeds']} training seeds with {declared_percent(parameters.confidence)} "
        "intervals (Student's t)."
    )
    return ReportTable("controls", caption, columns, rows)


GROUP_TITLES = {
    RANKED: "Searchers of the same space",
    ABLATION: "Ablations of the step-by-step PPO, not ranked",
    OTHER_SPACE: "Search another space, not ranked",
}


def searchers_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    searching = study.searching
    regret = partial(Column, format=formats.interval_text, group="Regret (nats)")
    counted = partial(Column, group="Evaluations", align="r")
    html, two_digits = partial(Column, page="html"), partial(formats.fixed, digits=2)
    share = partial(Column, format=formats.share_text)
    energy = f"CPU energy (J, {study.audited.cpu_evidence})"
    columns = (
        Column("Searcher", of=lambda line: formats.words(line.name)),
        regret("mean over the budget", of=attrgetter("mean_regret")),
        regret("final", of=attrgetter("final_regret")),
        share("finds the oracle", of=attrgetter("found")),
        share("or a tie", of=lambda line: line.at[searching.budget].tied),
        counted(f"to {declared_percent(NEAR_ORACLE)}", format=_near, of=lambda line: line),
        counted("used", format=partial(formats.fixed, digits=0), of=attrgetter("distinct")),
        Column("CPU time (s)", format=two_digits, align="r", of=lambda line: line.cost["cpu_time_s"]),
        html(energy, partial(formats.fixed, digits=1), of=lambda line: line.cost["cpu_j"]),
        html("mean regret of ours minus this", formats.difference_text, of=attrgetter("against")),
        html("Holm's p", formats.p_value, of=attrgetter("adjusted_p")),
    )
    rows: list[Row] = []
    for group, title in GROUP_TITLES.items():
        lines = searching.of(group)
        if lines:
            heading = f"{title} ({lines[0].seeds} seeds)"
            rows += [Row([Spanning(heading, len(columns))], space=bool(rows)), *rows_of(lines, columns)]
    caption = (
        f"Searchers on the table of the task {searching.task}, with the main budget of {searching.budget} "
        "distinct evaluations. Regret: the oracle's reward minus that of the best deployment found so far; "
        f"intervals at {declared_percent(parameters.confidence)} (Student's t over seeds). Finds the oracle: "
        "share of seeds, with Wilson's interval; or a tie: any of the candidates that the noise of timing "
        f"cannot tell from the oracle, of which there are {searching.ties} with the oracle itself. To "
        f"{declared_percent(NEAR_ORACLE)}: median evaluations until that share of the oracle's reward, with "
        "the count of seeds that reach it. Used: mean count of distinct evaluations in a search of "
        f"{max(searching.budgets)}. CPU time: the searcher's, without evaluations."
    )
    return ReportTable("searchers", caption, columns, rows)


def budgets_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    searching = study.searching
    interval = partial(Column, format=formats.interval_text)
    columns = (
        Column("Budget"),
        Column("Searcher"),
        interval("regret (nats)"),
        interval("normalised regret"),
        Column("mean rank", format=partial(formats.interval_text, digits=2)),
        Column("reaches a tie", format=formats.share_text),
        interval("test regret (nats)"),
    )
    rows: list[Row] = []
    for budget, share in searching.budgets.items():
        title = f"{budget} ({declared_percent(share)})"
        for index, line in enumerate(searching.of(RANKED)):
            at = line.at[budget]
            values = [at.regret, at.normalised, at.rank, at.tied, at.test_regret]
            rows.append(Row([BLANK if index else title, formats.words(line.name), *values], space=not index))
    tested = "the chosen deployments compared by their test accuracy, which no searcher sees"
    if not searching.tested:
        tested += "; not available in these rows, because their candidates have no test accuracy"
    caption = (
        f"Searchers of the same space at each budget, on the table of the task {searching.task}: mean over "
        f"{searching.best.seeds} seeds, with {declared_percent(parameters.confidence)} intervals (bootstrap "
        "over seeds; Wilson's for shares). Budget: distinct evaluations, and their share of the grid. "
        "Normalised regret: regret as a share of the range between the best and worst reward of the grid. "
        f"Rank: among these searchers, by regret. Test regret: {tested}."
    )
    return ReportTable("budgets", caption, columns, rows)


def _near(line: SearcherLine) -> str:
    if line.near_after is None:
        return "not reached"
    return f"{formats.fixed(line.near_after, digits=0)} ({line.near} of {line.seeds})"


def repairs_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    span = formats.span_text
    timed = partial(Column, format=formats.small_ratio_text, group="CPU time of the pick, to eager")
    columns = (
        Column("Repair", of=itemgetter("variant")),
        Column("Most frequent pick", width=0.26, of=lambda line: ", ".join(line["picks"])),
        Column("on seeds", of=lambda line: f"{line['on']} of {line['seeds']}"),
        Column("ties", of=lambda line: f"{span(line['ties'])} ({span(line['models'])} models)"),
        Column("test accuracy difference", format=formats.difference_text, of=itemgetter("accuracy")),
        *(timed(f"batch {size}", of=itemgetter(size)) for size in study.audited.batch_sizes),
    )
    rows = rows_of([line | line["ratios"] for line in study.repairs], columns)
    caption = (
        "The published search on the audited networks, with its flaws repaired in turn: what it picks, and "
        f"what that pick achieves, over {study.audited.seeds} training seeds. CPU time is measured in eager "
        "PyTorch; the accuracy difference to the baseline is counted on all test windows. Where actions "
        "tie, the figures are means over the tied actions. Brackets: "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over seeds)."
    )
    return ReportTable("repairs", caption, columns, rows)


def gate_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    gate, audited = study.audited.gate, study.audited
    rows = [
        Row(
            [study.labels.get(key, formats.words(key)), line.role, line.accuracy, line.difference]
            + [line.passes, line.power]
        )
        for key, line in gate.lines.items()
    ]
    columns = (
        Column("Forecaster"),
        Column("Role"),
        Column("Test accuracy", format=THREE),
        Column("Minus the baseline's", format=formats.difference_text),
        Column("Passes", format=lambda passes: "yes" if passes else "no"),
        Column("Power", format=formats.percent),
    )
    caption = (
        "The accuracy gate: a forecaster passes if its accuracy minus the baseline's lies above "
        f"-{gate.margin:g} with its whole {declared_percent(parameters.confidence)} interval (over "
        f"{audited.seeds} training seeds and {audited.windows} test windows). If a frugal forecaster or a "
        "network that was broken on purpose passes, the task cannot tell, and the gate decides nothing. "
        "Power: the probability that a forecaster equal to the baseline passes, given the interval's width."
    )
    return ReportTable("gate", caption, columns, rows)


def decomposition_table(study: Forecasting) -> ReportTable:
    rows = []
    for way in study.decomposition:
        order = ", ".join(formats.words(change) for change in way.order)
        rows += [
            Row([str(way.batch_size), order, formats.words(one.change), one.to, one.cpu_time_ms, one.factor])
            for one in way.factors
        ]
        rows.append(Row([str(way.batch_size), order, "all", BLANK, way.factors[-1].cpu_time_ms, way.whole]))
    columns = (
        Column("Batch"),
        Column("Order"),
        Column("Change"),
        Column("To"),
        Column("ms/forecast", format=formats.significant),
        Column("Factor", format=formats.significant),
    )
    caption = (
        "Where the saving of the step-by-step PPO's choice comes from: CPU time of a forecast before each "
        "change, divided by that after it, in either order; a change with a factor below unity costs. The "
        "times are those of the candidates, medians over rounds of the first training seed; they are read "
        "from the clock."
    )
    return ReportTable("decomposition", caption, columns, rows)


def proxies_table(study: Forecasting, candidates: int, parameters: ReportParameters) -> ReportTable:
    proxies, within = study.ranking.proxies, study.ranking.within
    rows = [Row([formats.words(name), "all", *by_size.values()]) for name, by_size in proxies.items()]
    rows += [
        Row([formats.words("flops"), target, *by_size.values()], rule=not place)
        for place, (target, by_size) in enumerate(within.items())
    ]
    sizes = [f"batch {size}" for size in study.audited.batch_sizes]
    columns = (
        Column("Proxy"),
        Column("Candidates"),
        *(Column(size, format=formats.interval_text) for size in sizes),
    )
    caption = (
        f"Spearman's rank correlation of each proxy with measured CPU time, over all {candidates} "
        "candidates and over those of one precision and runtime (sparsity with its sign turned), with "
        f"{declared_percent(parameters.confidence)} intervals (bootstrap over candidates). A network has "
        "equal operations on every target, which keeps the correlation over all candidates low. Proxies are "
        "exact counts; CPU time is read from the clock."
    )
    return ReportTable("proxies", caption, columns, rows)


def pay_back_table(study: Forecasting, parameters: ReportParameters) -> ReportTable:
    rows = [
        Row([study.labels[one.reference], str(one.batch_size), *_forecasts(one.even, days=False)])
        for one in study.pay_back
    ]
    columns = (Column("Reference"), Column("Batch"), *EVEN_COLUMNS)
    spent = ", ".join(f"{purpose} {formats.fixed(s, digits=0)} s" for purpose, s in study.invested.items())
    caption = (
        "Forecasts after which the step-by-step PPO's choice has repaid the CPU time spent to find it "
        f"({spent}), with {declared_percent(parameters.confidence)} intervals (bootstrap over blocks)."
    )
    return ReportTable("pay_back", caption, columns, rows, page="html")
