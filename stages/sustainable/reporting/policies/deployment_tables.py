"""The tables of study B about deployments: quantization in two libraries, and memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sustainable.reporting import formats
from sustainable.reporting.formats import coarse_text, declared_percent, fine_text
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.costs import MeasuredCell, MemoryLine, PolicyLine
from sustainable.reporting.policies.returns import QUANTIZERS
from sustainable.reporting.policies.summary import Policies, shown
from sustainable.reporting.tables import NOT_AVAILABLE, NOTHING, UNCHANGED, Column, ReportTable, rows_of

LIBRARIES = {"": "torch.ao", "_onnxruntime": "ONNX Runtime"}
"""What ends the name of a configuration: the library that quantizes."""
Quantized = tuple[MeasuredCell, str]  # a cell, and a method


def libraries_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    caption = (
        "Quantization by library, each relative to the uncompressed policy under the same runtime: "
        "bytes, the return that is kept, and the CPU time of a call of the policy and of a whole step. "
        f"{declared_percent(parameters.confidence)} intervals over training seeds. In ONNX Runtime, PTDQ is "
        "the library's own; PTSQ and QAT hold the numbers of torch.ao's, except that the outputs of a tanh "
        "have as many bits as all other activations."
    )
    columns = [
        Column("Policy", of=lambda pair: pair[0].name),
        Column("Method", of=lambda pair: pair[1].upper()),
    ]
    values: dict[str, tuple[Any, Callable[[PolicyLine], Any]]] = {
        "bytes": (formats.TWO_DIGITS, lambda line: line.to_reference_size),
        "return": (coarse_text, lambda line: line.kept),
        "call": (coarse_text, lambda line: line.effects["policy"].same_runtime),
        "step": (coarse_text, lambda line: line.effects["step"].same_runtime),
    }
    for ending, library in LIBRARIES.items():
        for header, (format, value) in values.items():
            of = partial(_of_line, ending, value)
            columns.append(Column(header, format=format, group=library, of=of))
    pairs: list[Quantized] = [(cell, method) for cell in shown(policies) for method in QUANTIZERS]
    return ReportTable("policies_libraries", caption, tuple(columns), rows_of(pairs, tuple(columns)))


def _of_line(ending: str, value: Callable[[PolicyLine], Any], pair: Quantized) -> Any:
    cell, method = pair
    line = cell.lines.get(method + ending)
    return NOT_AVAILABLE if line is None else value(line)


def memory_table(policies: Policies, parameters: ReportParameters) -> ReportTable:
    width = parameters.policies.memory_change
    caption = (
        "Resident memory of fresh processes that load a model from a file, compressed or not: mean, and its "
        "ratio to the baseline and to the uncompressed network under the same runtime, with "
        f"{declared_percent(parameters.confidence)} intervals (Student's t over processes). An interval "
        f"resolves {declared_percent(width)}, and so can decide a claim about it, if it is narrower than "
        "that. The large network is untrained; it is the control, in which weights are a visible share of "
        "the process. Memory is read from the operating system."
    )
    process = partial(Column, group="Resident memory")
    weights = partial(Column, format=formats.grouped, group="Weights (bytes)")

    lines = [*policies.memory.values(), *policies.large.values()]

    def unless_baseline(
        value: Callable[[MemoryLine], Any], instead: str = UNCHANGED
    ) -> Callable[[MemoryLine], Any]:
        return lambda line: instead if line.key == BASELINE else value(line)

    columns = (
        Column("Network", of=lambda line: line.network),
        Column("Configuration", of=lambda line: policies.labels[line.key]),
        Column("Processes", of=lambda line: line.processes),
        process("MiB", format=formats.ONE_DIGIT, of=lambda line: line.rss_mib),
        process("to baseline", format=fine_text, of=unless_baseline(lambda line: line.process)),
        process("to same runtime", format=fine_text, of=unless_baseline(lambda line: line.same_runtime)),
        process(f"resolves {declared_percent(width)}", of=lambda line: ("no", "yes")[line.precise(width)]),
        Column(
            "Policy's part, minus baseline's (MiB)",
            format=formats.difference_text,
            of=unless_baseline(lambda line: line.policy_difference_mib, NOTHING),
        ),
        weights("on disk", of=lambda line: line.weights_bytes_disk),
        weights("in memory", of=lambda line: line.weights_bytes_memory),
    )
    return ReportTable("policies_memory", caption, columns, rows_of(lines, columns))
