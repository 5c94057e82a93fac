"""The tables of study A: those of the published recipe here, and all in order."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sustainable.reporting import formats
from sustainable.reporting.forecasting.results import MICRO_IN_MILLI, scaled
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.audited_tables import audited_tables
from sustainable.reporting.forecasting.shared_tables import EVEN_COLUMNS, FOUR, forecasts, identical
from sustainable.reporting.forecasting.source import PublishedLine
from sustainable.reporting.forecasting.source_tables import source_tables
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import POWER, ReportParameters
from sustainable.reporting.tables import BLANK, NOT_AVAILABLE, UNCHANGED, Code, Column, ReportTable, Row
from sustainable.reporting.tables import claims_table, rows_of
from sustainable.statistics import Summary

CLAIMS_CAPTION = "The claims of study A: statement, verdict on this run's rows, and reason."


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
        *audited_tables(study, parameters),
    ]


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
    model = next(iter(run.metrics["baseline"]["seeds"].values()))
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
    timed = partial(Column, format=formats.THREE_DIGITS, group="Latency (ms/call)", align="r")
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
            rows.append(Row([study.labels[key], quantity + about, *forecasts(even, days=True)]))
    columns = (
        Column("Configuration"),
        Column("Quantity"),
        *EVEN_COLUMNS,
        Column("Days, at a forecast per second", format=formats.ONE_DIGIT),
    )
    caption = (
        "Forecasts after which a configuration has repaid the published search and the training of its "
        f"baseline, with {declared_percent(parameters.confidence)} intervals (bootstrap over "
        f"{study.results['remeasured'].blocks} blocks)."
    )
    return ReportTable("break_even", caption, columns, rows, page="html")
