"""Jinja2 templates: LaTeX with delimiters that LaTeX does not use, and HTML.

What a template prints is escaped unless it was made here as markup; a name that it does not know is an
error. Numbers are formatted by filters, so that no template holds one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from sustainable.statistics import Ratio, Summary

MISSING = "n/a"

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
}


class Latex(str):
    """Text that is LaTeX already and is not escaped again."""


def escape_latex(value: Any) -> str:
    """`value` as text that LaTeX prints as it is."""
    if isinstance(value, Latex):
        return value
    return "".join(LATEX_SPECIAL.get(character, character) for character in str(value))


def fixed(value: float | None, digits: int) -> str:
    """A number with so many decimals; one that is missing says so."""
    return MISSING if value is None else f"{value:.{digits}f}"


def grouped(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


def ratio_text(ratio: Ratio | None) -> str:
    """`0.402 [0.395, 0.411]`."""
    if ratio is None:
        return MISSING
    return f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def percent(share: float | None) -> str:
    """`1.3 %` for 0.013."""
    return MISSING if share is None else f"{100 * share:.1f} %"


def p_value(p: float | None) -> str:
    """Three decimals; below that only the bound."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def difference_text(difference: Any) -> str:
    """`+0.010 [-0.020, +0.041]`, from anything with an estimate and an interval."""
    return f"{difference.estimate:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def spread_latex(summary: Summary, digits: int) -> Latex:
    """Mean and standard deviation."""
    if summary.mean is None:
        return Latex(MISSING)
    return Latex(rf"{summary.mean:.{digits}f} $\pm$ {fixed(summary.std, digits)}")


def spread_html(summary: Summary, digits: int) -> str:
    """Mean and standard deviation."""
    if summary.mean is None:
        return MISSING
    return f"{summary.mean:.{digits}f} ± {fixed(summary.std, digits)}"


FILTERS = {
    "fixed": fixed,
    "grouped": grouped,
    "percent": percent,
    "p_value": p_value,
    "ratio": ratio_text,
    "difference": difference_text,
}


def render_latex(folder: Path, name: str, values: Mapping[str, Any]) -> str:
    r"""Render a LaTeX template: `\VAR{...}`, `\BLOCK{...}`, and `\NOTE{...}` for comments."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\NOTE{",
        comment_end_string="}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=escape_latex,
    )
    environment.filters |= FILTERS | {"spread": spread_latex}
    return environment.get_template(name).render(values)


def render_html(folder: Path, name: str, values: Mapping[str, Any]) -> str:
    """Render an HTML template, escaped by Jinja2 itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS | {"spread": spread_html}
    return environment.get_template(name).render(values)
