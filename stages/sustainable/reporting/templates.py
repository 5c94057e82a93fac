r"""Jinja2 environments: LaTeX with delimiters that LaTeX does not use, and HTML.

Printed values are escaped; an unknown name is an error. Filters format the numbers, so that no template
holds one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from sustainable.reporting.formats import ceiling_share, declared_percent, difference_text, fixed, grouped
from sustainable.reporting.formats import interval_text, parts_text, percent, significant, small_ratio_text
from sustainable.reporting.formats import words
from sustainable.reporting.tables import Code, Struck, Text, VerdictText
from sustainable.reporting.wording import (
    compared_regret,
    counted_verdicts,
    cpu_text,
    details_text,
    fraction_text,
)
from sustainable.reporting.wording import listed, point_text, side_text
from sustainable.reporting.names import searcher_name

LATEX_SPECIAL = {character: f"\\{character}" for character in "{}$&#%_"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "µ": r"$\mu$",
}
FILTERS: dict[str, Any] = {
    "fixed": fixed,
    "grouped": grouped,
    "percent": percent,
    "significant": significant,
    "ceiling_share": ceiling_share,
    "declared": declared_percent,
    "words": words,
    "share": partial(interval_text, digits=1, as_percent=True),
    "interval": interval_text,
    "ratio": small_ratio_text,
    "difference": difference_text,
    "point": point_text,
    "fraction": fraction_text,
    "relation": side_text,
    "listed": listed,
    "searcher": searcher_name,
    "parts": parts_text,
    "verdicts": counted_verdicts,
    "regret": compared_regret,
    "details": details_text,
    "cpu": cpu_text,
    "elsewhere": partial(details_text, with_parts=False),
}


HEADER_WIDTH = 12
"""Letters from which on the header of a column is broken."""


class Latex(str):
    """Text that is LaTeX already and is not escaped again."""


def escape_latex(value: Any) -> str:
    """Escape `value` so that LaTeX prints it literally."""
    if isinstance(value, Latex):
        return value
    return "".join(LATEX_SPECIAL.get(character, character) for character in str(value))


def cell_latex(text: Text) -> Latex:
    """Typeset a cell of a table."""
    if isinstance(text, tuple):
        return Latex("".join(map(cell_latex, text)))
    escaped = escape_latex(text)
    if isinstance(text, Code):
        return Latex(rf"\texttt{{{escaped}}}")
    return Latex(rf"(struck out) \emph{{{escaped}}}" if isinstance(text, Struck) else escaped)


def header_latex(text: str) -> Latex:
    """Typeset the header of a column, a long one in two lines of about equal length."""
    words_of = text.split()
    if len(text) <= HEADER_WIDTH or len(words_of) < 2:
        return Latex(escape_latex(text))
    splits = [(" ".join(words_of[:cut]), " ".join(words_of[cut:])) for cut in range(1, len(words_of))]
    first, second = min(splits, key=lambda parts: max(map(len, parts)))
    return Latex(rf"\shortstack[l]{{{escape_latex(first)}\\{escape_latex(second)}}}")


def cell_html(text: Text) -> Markup:
    """Mark up a cell of a table."""
    if isinstance(text, tuple):
        return Markup("").join(map(cell_html, text))
    if isinstance(text, Code):
        return Markup("<code>{}</code>").format(str(text))
    if isinstance(text, Struck):
        return Markup("<s>{}</s>").format(str(text))
    if isinstance(text, VerdictText):
        return Markup('<span class="verdict {0}">{0}</span>').format(str(text))
    return escape(text)


def latex_environment(folder: Path) -> jinja2.Environment:
    r"""Create the environment of LaTeX templates, with `\VAR{...}`, `\BLOCK{...}` and `\NOTE{...}`."""
    return _environment(
        folder,
        cell_latex,
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\NOTE{",
        comment_end_string="}",
        finalize=escape_latex,
    )


def _environment(
    folder: Path | Sequence[Path], cell: Callable[[Text], str], **options: Any
) -> jinja2.Environment:
    loader, undefined = jinja2.FileSystemLoader(folder), jinja2.StrictUndefined
    blocks: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(loader=loader, undefined=undefined, **blocks, **options)
    environment.filters |= FILTERS | {"cell": cell, "header": header_latex}
    return environment


kept_environment = lru_cache(maxsize=4)(latex_environment)
"""Templates are compiled once, which takes longer than to render them. Jinja2 notices edits."""


def render_latex(folder: Path, name: str, values: Mapping[str, Any]) -> str:
    """Render the LaTeX template `name` of `folder`."""
    return kept_environment(folder).get_template(name).render(values)


def html_environment(folder: Path | Sequence[Path]) -> jinja2.Environment:
    """Create the environment of HTML templates of one or several folders; it escapes what it prints."""
    return _environment(folder, cell_html, autoescape=True)


def render_html(folder: Path | Sequence[Path], name: str, values: Mapping[str, Any]) -> str:
    """Render an HTML template; Jinja2 escapes what it prints."""
    return html_environment(folder).get_template(name).render(values)
