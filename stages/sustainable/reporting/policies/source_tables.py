"""The tables about what study B's paper prints: returns that are kept, and sentences beside its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from sustainable.policies.returns import SURVIVES
from sustainable.reporting.formats import declared_percent
from sustainable.reporting.policies.source import METHODS, audit, kept_returns, printed_cells
from sustainable.reporting.tables import Column, ReportTable, Row


def source_tables(published: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> list[ReportTable]:
    """Declare the tables about the paper's own numbers; `published` is from `read_published_policies`."""
    cells = printed_cells(published["cells"])
    return [kept_table(cells), audit_table(published["sentences"], audit(cells, table))]


def kept_table(cells: Any) -> ReportTable:
    kept = kept_returns(cells).groupby(cells["algorithm"], sort=False).agg(["sum", "size"])
    caption = (
        "The paper's own policies that keep their return, by algorithm: in how many environments the mean "
        f"return is at least {declared_percent(SURVIVES)} of the uncompressed policy's, by the paper's first "
        "table (quantization) and its second (the pruned policy that it chose). Nothing is measured here."
    )
    names = (*METHODS, "pruned")
    columns = [Column("Algorithm"), *(Column(name) for name in names)]
    rows = [
        Row([algorithm, *(f"{own[name, 'sum']} of {own[name, 'size']}" for name in names)])
        for algorithm, own in kept.iterrows()
    ]
    return ReportTable("policies_printed", caption, columns, rows)


def audit_table(sentences: Mapping[str, Mapping[str, str]], found: Mapping[str, str]) -> ReportTable:
    caption = (
        "Sentences of the paper, and what its own tables give. The tables were read from a transcription of "
        "its text; its figures are pictures, and were not read."
    )
    columns = (Column("Where"), Column("The paper says", width=0.34), Column("Its tables give", width=0.44))
    rows = [Row([one["place"], one["text"], found[name]], space=True) for name, one in sentences.items()]
    return ReportTable("policies_audit", caption, columns, rows)
