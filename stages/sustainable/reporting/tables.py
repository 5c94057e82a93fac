"""Tables as data: columns with their formats, and rows of values. Two templates typeset every one of them.

A row holds values, not text: numbers come from the summaries, and the format of their column prints them. The
few texts that stand in for a value are `Mark`s. Captions, headers and rows type no number and no comparison:
`verification.tiers.tracing` checks the modules named `*tables.py`. paper/templates/static.yaml declares the
exceptions, each with a reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from sustainable.reporting import formats
from sustainable.statistics import REFUTED

Page = Literal["latex", "html"]


class Code(str):
    """Text in a fixed-width font, such as a hash."""


class Struck(str):
    """Text that is struck out."""


class VerdictText(str):
    """A verdict, in the colour of its outcome."""


class Mark(str):
    """Text in the place of a value; the format of the column is not applied."""


Text = str | tuple[str, ...]
"""A formatted cell: text, or several texts of different kinds."""

BLANK = Mark("")
NOT_AVAILABLE = Mark(formats.MISSING)
UNCHANGED = Mark("1")
"""The ratio of the reference to itself."""
NOTHING = Mark("0")
"""The difference of the reference from itself."""


def plain(value: Any) -> Text:
    """Print a value as it is."""
    return value if isinstance(value, str | tuple) else str(value)


@dataclass(frozen=True)
class Spanning:
    """A value that takes the place of several columns."""

    value: Any
    columns: int


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    header: str
    format: Callable[[Any], Text] = plain
    group: str = ""  # header above several adjacent columns
    align: str = "l"  # LaTeX column type
    width: float | None = None  # share of the line, for text that wraps; replaces `align`
    page: Page | None = None  # the only page that shows the column; None: both
    of: Callable[[Any], Any] | None = None  # the column's value of an item, for `rows_of`

    @property
    def latex(self) -> str:
        return (
            self.align
            if self.width is None
            else rf">{{\raggedright\arraybackslash}}p{{{self.width}\linewidth}}"
        )


LONG_NOTE = 110
"""Characters of a note that fit on a line of the paper."""


@dataclass(frozen=True)
class Row:
    """Values by column; the last columns may be left out and are then blank."""

    values: Sequence[Any]
    note: str = ""  # printed below the row, over the full width
    rule: bool = False  # a line above the row
    space: bool = False  # a little space above the row

    @property
    def has_long_note(self) -> bool:
        """Whether the note must wrap."""
        return len(self.note) > LONG_NOTE


def rows_of(items: Iterable[Any], columns: Sequence[Column]) -> list[Row]:
    """Return one row per item; every column has its `of`."""
    return [Row([column.of(item) for column in columns if column.of]) for item in items]


@dataclass(frozen=True)
class Printed:
    """A formatted cell and the number of columns that it takes."""

    text: Text
    columns: int = 1

    @property
    def spans(self) -> bool:
        return self.columns > 1


@dataclass(frozen=True)
class ColumnGroup:
    """A run of columns below one group header, by place, the first being 1."""

    header: str
    first: int
    last: int

    @property
    def columns(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class ReportTable:
    """A table of the paper and of the HTML report."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    stamp: str = ""  # printed across the table if its rows are no evidence
    long: bool = False  # may break across pages
    turned: bool = False  # too wide for a page of the paper unless turned
    page: Page | None = None  # the only page that shows the table; None: both

    def on(self, page: Page) -> "ReportTable":
        """Return the table with the columns that `page` shows."""
        kept = [column.page in (None, page) for column in self.columns]
        columns = [column for column, keep in zip(self.columns, kept, strict=True) if keep]
        rows = [replace(row, values=list(_kept(row.values, kept))) for row in self.rows]
        return replace(self, columns=columns, rows=rows)

    @property
    def heads(self) -> list[str]:
        """What ends each copy of the header in LaTeX: a long table has one for its first page and one for the
        others."""
        return ["firsthead", "head"] if self.long else [""]

    @property
    def anchor(self) -> str:
        """The end of its label in the paper."""
        return self.name.replace("_", "-")

    @property
    def alignment(self) -> str:
        """The column types of LaTeX."""
        return "".join(column.latex for column in self.columns)

    @property
    def groups(self) -> list[ColumnGroup]:
        """The group headers; empty if no column has one."""
        if not any(column.group for column in self.columns):
            return []
        places = enumerate(self.columns, start=1)
        grouped = groupby(places, key=lambda pair: (pair[1].group, 0 if pair[1].group else pair[0]))
        runs = [(header, [place for place, _ in run]) for (header, _), run in grouped]
        return [ColumnGroup(header, run[0], run[-1]) for header, run in runs]

    def printed(self, row: Row) -> list[Printed]:
        """Format the values of a row."""
        cells, place = [], 0
        for value in row.values:
            span = value.columns if isinstance(value, Spanning) else 1
            inner = value.value if isinstance(value, Spanning) else value
            format_ = str if isinstance(inner, Mark | Spanning) or span > 1 else self.columns[place].format
            cells.append(Printed(format_(inner), span))
            place += span
        return cells + [Printed("")] * (len(self.columns) - place)


def _kept(values: Sequence[Any], kept: Sequence[bool]) -> Iterator[Any]:
    """The values of the columns that are kept; a spanning value shrinks with its columns."""
    place = 0
    for value in values:
        span = value.columns if isinstance(value, Spanning) else 1
        visible = sum(kept[place : place + span])
        if visible:
            yield Spanning(value.value, visible) if isinstance(value, Spanning) else value
        place += span


VERDICT = Column("Verdict", format=lambda verdict: VerdictText(verdict.replace(" on this host", "")))


def short_claims_table(name: str, caption: str, claims: Sequence[Any]) -> ReportTable:
    """Declare a short table of judged claims, for the paper's main part: statement, verdict and its parts."""
    columns = (Column(""), Column("Claim", width=0.5), VERDICT, Column("Parts", width=0.27))
    rows = [Row([claim.id, claim.statement, claim.verdict, formats.parts_text(claim)]) for claim in claims]
    return ReportTable(name, caption, columns, rows, page="latex")


def claims_table(
    name: str, caption: str, claims: Sequence[Any], headers: tuple[str, str], strike: bool = False
) -> ReportTable:
    """Declare a table of judged claims; with `strike`, refuted statements are struck out.

    `headers` are those of the statement and of the reason.
    """
    columns = (
        Column(""),
        Column(headers[0], width=0.32),
        VERDICT,
        Column(headers[1], width=0.44),
        Column("Rule", page="html"),
        Column("Evidence", page="html"),
    )
    rows: list[Row] = []
    for claim in claims:
        statement = Struck(claim.statement) if strike and claim.verdict == REFUTED else claim.statement
        parts = formats.parts_text(claim)
        reason = f"{parts}. {claim.reason}" if parts else claim.reason
        values = [claim.id, statement, claim.verdict, reason, claim.rule, claim.evidence]
        rows.append(Row(values, space=bool(rows)))
    return ReportTable(name, caption, columns, rows, long=True)
