"""Run an assessment: prepare its rows, measure them in blocks, and write the report."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from sustainable.assessing.claims import claims_of
from sustainable.assessing.examples import Examples, cut_examples, read_arrays, read_target
from sustainable.assessing.model import Model
from sustainable.assessing.page import write_model_pages
from sustainable.assessing.quality import Quality, judge_quality, scores
from sustainable.assessing.results import Context, AssessedModel, by_configuration, fastest_runtime
from sustainable.assessing.results import assessed_rows, table_of
from sustainable.assessing.rows import Request, Rows, deploy_baseline, deploy_variants, open_model
from sustainable.assessing.runtimes import DeployedModel, Workbench, targets_of
from sustainable.assessing.settings import LONGEST_CALL_S, METERING, AssessSettings
from sustainable.assessing.windows import BASELINE, TWIN, Measured, measure
from sustainable.core.errors import UserError
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_section
from sustainable.energy.choice import Chosen, choose_meter
from sustainable.measuring.blocks import WindowParameters
from sustainable.measuring.clock import ClockMeter
from sustainable.measuring.cpu import instruction_sets
from sustainable.measuring.host import describe_host
from sustainable.measuring.process import settle
from sustainable.measuring.roofline import measure_roofline
from sustainable.reporting.measured_rows import joined
from sustainable.reporting.parameters import ReportParameters

ROOT = Path(__file__).resolve().parents[3]
"""The folder of this project: its thresholds and templates."""
ROOFLINE_S, START_S, ROW_S, EXPORT_S = 15.0, 8.0, 3.0, 15.0
"""For the forecast: the ceiling; loading the libraries; deploying a row; an export to ONNX."""
ENGINES = ("torch", "onnx", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True)
class PreparedRequest:
    """What is measured, and what its outputs are compared with."""

    baseline: Model
    examples: Examples
    target: np.ndarray | None
    rows: Rows


def measure_and_report(request: Request, out: Path) -> AssessedModel:
    """Assess a model and write the report into the folder `out`; a killed run continues with its journal.

    Raises `UserError` if the baseline cannot be measured; other rows are refused with the reason.
    """
    warnings.simplefilter("ignore", FutureWarning)  # PyTorch's notes to its own developers
    refuse_old_processors()
    settings = request.settings
    parameters = read_section(ROOT / "params.yaml", "report", ReportParameters)
    threads = settle(settings.threads)
    prepared = _prepare(request, out / "cache")
    rows = prepared.rows
    qualities = judge_target(rows.deployments, prepared.target, settings, parameters)
    windows = settings.windows_for(len(rows.deployments) + 1)
    chosen = choose_counter(settings.energy)
    journal = RowJournal(out / "journal.jsonl", _identity(request, windows, rows))
    measured = measure(rows.deployments, prepared.examples, windows, chosen, journal)
    print("measuring the ceiling", flush=True)
    context = Context(
        by_configuration(table_of(measured.rows)), rows.deployments, rows.counts, rows.changes, qualities,
        measured.latency_ms, rows.invested_cpu_s, measure_roofline(), parameters,
    )  # fmt: skip
    results = results_of(context, prepared, measured, chosen, settings)
    host = describe_host() | threads | {"versions": _versions(), "meter": chosen.name}
    host |= {"meter_overhead_p95": measured.meter_overhead}
    host |= {"model": request.model, "sha256": prepared.baseline.sha256}
    write_model_pages(out, ROOT / "paper/templates", results, claims_of(results), host, measured.rows)
    journal.discard()
    if results.contended:
        print(f"{results.flagged} of {results.windows} windows are flagged: measure again on an idle machine")
    return results


def _prepare(request: Request, cache: Path) -> PreparedRequest:
    """Load the model and its inputs, and deploy every row; files that it makes are in the folder `cache`."""
    settings, arrays = request.settings, read_arrays(request.inputs)
    baseline = open_model(request.model, BASELINE, arrays, settings)
    examples = cut_examples(baseline, arrays, request.inputs, settings.batch_size)
    target = None if request.target is None else read_target(request.target, examples)
    longest_s = LONGEST_CALL_S[settings.mode]
    bench = Workbench(examples, cache, settings.threads, longest_s, target is not None)
    _announce(request, baseline)
    rows = deploy_baseline(baseline, bench, settings)
    deploy_variants(rows, request, arrays, bench)
    return PreparedRequest(baseline, examples, target, rows)


def _identity(request: Request, windows: WindowParameters, rows: Rows) -> str:
    """The fingerprint of all that must be the same for a killed run to continue."""
    identity = [asdict(request.settings), asdict(windows), _versions(), file_sha256(request.inputs)]
    identity += [[key, row.model.identity, row.target.name] for key, row in rows.deployments.items()]
    return fingerprint(identity)


def refuse_old_processors() -> None:
    """Raise `UserError` without AVX2: the runtimes' int8 and fp32 kernels would be fallbacks."""
    isa = instruction_sets()
    if "AVX2" not in isa:
        raise UserError(
            f"this processor has no AVX2 ({isa}): the runtimes would use kernels that nobody deploys; "
            "measure on an x86-64 processor with AVX2"
        )


def _announce(request: Request, baseline: Model) -> None:
    """Print how long the assessment takes, roughly; it is known better once calls have been timed."""
    settings, variants = request.settings, len(request.variants) + len(request.compressors)
    rows = len(targets_of(baseline, settings.runtimes, True)) + 3 * variants
    windows = settings.windows_for(rows + 1)
    exports = EXPORT_S * (baseline.kind != "onnx") * (1 + variants)
    measuring = windows.blocks * (rows + 2) * windows.window_s + windows.warm_up_limit_s
    seconds = START_S + exports + ROW_S * rows + measuring + ROOFLINE_S
    print(
        f"forecast: about {seconds / 60:.1f} minutes on an idle machine: {rows} rows or fewer and the A/A "
        f"twin, {windows.blocks} blocks, windows of {windows.window_s:g} s. Leave the machine alone.",
        flush=True,
    )


def judge_target(
    deployments: Mapping[str, DeployedModel],
    target: np.ndarray | None,
    settings: AssessSettings,
    parameters: ReportParameters,
) -> dict[str, Quality]:
    """Compare every row with the baseline on the target; empty without a target."""
    if target is None:
        return {}
    scored = {key: scores(row.outputs, target, settings.threshold) for key, row in deployments.items()}
    measure, baseline = scored[BASELINE]
    margin = settings.margin or parameters.audited.accuracy_margin
    judged = {
        key: judge_quality(own, baseline, measure, margin, parameters.bootstrap)
        for key, (_, own) in scored.items()
        if key != BASELINE
    }
    return {BASELINE: Quality(measure, float(baseline.mean()), None, "")} | judged


def choose_counter(energy: bool) -> Chosen:
    """Choose a hardware counter if one can be read, and otherwise the clock alone.

    A model of energy would restate CPU time: it can decide no claim about energy.
    """
    if not energy:
        return Chosen(ClockMeter, "clock", "energy was switched off")
    chosen = choose_meter(METERING)
    return (
        chosen if chosen.whole_machine else Chosen(ClockMeter, "clock", chosen.reason.removeprefix("auto: "))
    )


def results_of(
    context: Context, prepared: PreparedRequest, measured: Measured, chosen: Chosen, settings: AssessSettings
) -> AssessedModel:
    """Collect what the pages print."""
    lines, parameters = assessed_rows(context), context.parameters
    rows, table = prepared.rows, table_of(measured.rows)
    margin = settings.margin or parameters.audited.accuracy_margin
    return AssessedModel(
        lines={key: line for key, line in lines.items() if key != TWIN},
        twin=lines[TWIN],
        changes=rows.changes,
        refused=rows.refused,
        blocks=int(table["block"].nunique()),
        minimum_blocks=parameters.minimum_blocks,
        flagged=int(table["flags"].notna().sum()),
        windows=len(table),
        batch_size=prepared.examples.batch_size,
        fastest=fastest_runtime(context.rows, rows.deployments),
        confidence=parameters.confidence,
        margin=None if prepared.target is None else margin,
        rate=settings.rate,
        meter=chosen.name,
        meter_reason=chosen.reason,
        evidence=joined(table["cpu_evidence"]),
        roofline=context.roofline,
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ENGINES}
