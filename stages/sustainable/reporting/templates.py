"""Jinja2 templates: LaTeX with delimiters that LaTeX does not use, and HTML.

What a template prints is escaped unless it was made here as markup; a name that it does not know is an
error. Numbers are formatted by filters, so that no template holds one.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from sustainable.statistics import Estimate, Ratio, Summary

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


def declared_percent(share: float) -> str:
    """`90 %` for 0.9: for what was declared, with no more digits than it has."""
    return f"{100 * share:g} %"


def p_value(p: float | None) -> str:
    """Three decimals; below that only the bound."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def significant(value: float | None) -> str:
    """Three significant digits, without an exponent: `0.00412`."""
    if value is None or value == 0:
        return MISSING if value is None else "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def small_ratio_text(ratio: Ratio | None) -> str:
    """`0.0102 [0.0100, 0.0105]`: a ratio that may be far below 1."""
    if ratio is None:
        return MISSING
    return f"{significant(ratio.estimate)} [{significant(ratio.low)}, {significant(ratio.high)}]"


def interval_text(found: Estimate | None) -> str:
    """`0.640 [0.610, 0.671]`."""
    return MISSING if found is None else f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def wide_text(found: Estimate | None) -> str:
    """`3,120 [2,980, 3,210]`, and more decimals the smaller the numbers are: for anything of any size."""
    if found is None:
        return MISSING
    largest = max(abs(found.low), abs(found.high))
    digits = 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 1 else 4
    return f"{found.estimate:,.{digits}f} [{found.low:,.{digits}f}, {found.high:,.{digits}f}]"


def two_text(found: Estimate | None) -> str:
    """`0.64 [0.61, 0.67]`."""
    return MISSING if found is None else f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"


def signed_text(found: Estimate | None) -> str:
    """`+0.010`, without its interval."""
    return MISSING if found is None else f"{found.estimate:+.3f}"


def fine_ratio_text(ratio: Ratio | None) -> str:
    """`1.0012 [1.0003, 1.0021]`: a ratio about which 1 % is much."""
    return MISSING if ratio is None else f"{ratio.estimate:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]"


def share_text(share: Estimate) -> str:
    """`85 % [64 %, 95 %]`."""
    return f"{share.estimate:.0%} [{share.low:.0%}, {share.high:.0%}]".replace("%", " %")


def span_text(ends: Sequence[int]) -> str:
    """`8`, or `1 to 8` where the ends differ."""
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"


def difference_text(difference: Any) -> str:
    """`+0.010 [-0.020, +0.041]`, from anything with an estimate and an interval."""
    if difference is None:
        return MISSING
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
    "declared": declared_percent,
    "p_value": p_value,
    "ratio": ratio_text,
    "difference": difference_text,
    "significant": significant,
    "small_ratio": small_ratio_text,
    "interval": interval_text,
    "share": share_text,
    "span": span_text,
    "wide": wide_text,
    "two": two_text,
    "signed": signed_text,
    "fine_ratio": fine_ratio_text,
}


def latex_environment(folder: Path) -> jinja2.Environment:
    r"""Where LaTeX templates are read: `\VAR{...}`, `\BLOCK{...}`, and `\NOTE{...}` for comments."""
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
    return environment


def render_latex(folder: Path, name: str, values: Mapping[str, Any]) -> str:
    """Render the LaTeX template `name` of `folder`."""
    return latex_environment(folder).get_template(name).render(values)


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
