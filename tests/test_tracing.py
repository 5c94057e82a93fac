"""The LaTeX pages: typed numbers and words are found, printed ones trace to their expression."""

import re
from functools import partial

import pytest

from sustainable.core.errors import UserError
from sustainable.reporting.formats import fixed
from sustainable.reporting.pages import latex_pages
from sustainable.reporting.tables import Column, ReportTable, Row
from sustainable.verification.tiers.marked import in_full, render_traced
from sustainable.verification.tiers.tracing import check_reasons, check_rendered, check_static, trace

VALUES = {
    "title": "5 % of a_b, less",
    "claims": [{"id": "A1", "ratio": 0.5}, {"id": "A2", "ratio": 0.25}],
    "tables": {
        "claims": ReportTable(
            "claims",
            "A caption.",
            [Column("Claim"), Column("Ratio", format=partial(fixed, digits=2))],
            [Row(["A1", 0.5]), Row(["A2", 0.25])],
        )
    },
    "cells": {"Hopper": {"rows": [1, 2]}, "Pendulum": {"rows": [3]}},
}
TABLE = r"""\NOTE{a comment with 7}
\begin{tabular}{\VAR{alignment}}
\BLOCK{for row in table.rows}
\BLOCK{for cell in table.printed(row)}\VAR{cell.text|cell} & \BLOCK{endfor} \\
\BLOCK{endfor}
\end{tabular}
"""
PAPER = r"""\title{\VAR{title}}
\BLOCK{for name, cell in cells.items() if name != "none"}
\VAR{loop.index}. \VAR{name}:
\BLOCK{for row in cell.rows}
 \VAR{row}\BLOCK{if not loop.last},\BLOCK{endif}
\BLOCK{endfor}
.
\BLOCK{endfor}
\BLOCK{include "part.tex.j2"}
"""
PART = r"""\BLOCK{for claim in claims if claim.ratio < 0.4}
Left: \VAR{claim.id|lower}
\BLOCK{endfor}
"""


@pytest.fixture
def templates(tmp_path):
    """A function that writes templates (name: text) and gives their folder."""

    def write(**texts):
        folder = tmp_path / "templates"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / (f"{name}.yaml" if name == "static" else f"{name}.tex.j2")).write_text(text)
        return folder

    return write


@pytest.fixture
def whole(templates):
    return templates(table=TABLE, paper=PAPER, part=PART)


@pytest.fixture
def rendered(whole, tmp_path):
    """The pages of `whole`, as the report writes them."""
    folder = tmp_path / "paper"
    (folder / "tables").mkdir(parents=True)
    for page, text in latex_pages(whole, VALUES).items():
        (folder / page).write_text(text)
    return folder


def said(problems):
    """Where and what was typed, by problem."""
    return [(problem.line, re.match(r"'(.*)' is typed", problem.message)[1]) for problem in problems]


def test_typed_numbers_and_comparison_words_are_found(templates):
    folder = templates(
        x="Saves 3.7\\,\\% energy,\n\\VAR{a} is twice it,\n1e9 or int8; Significantly\nbe\\lesssim\n"
    )
    assert said(check_static(folder)) == [
        (1, "Saves"),
        (1, "3.7"),
        (2, "twice"),
        (3, "1e9"),
        (3, "int8"),
        (3, "Significantly"),
    ]


def test_typed_constants_of_expressions_are_found_and_formatting_is_none(templates):
    folder = templates(
        x="\\VAR{a[0].b_2|fixed(3)} \\VAR{a[:8]|fixed(4)}\n"
        "\\BLOCK{set c = 4 * a}\n\\BLOCK{if a > 0.5}\\VAR{b or 'none'}\\BLOCK{endif}\n\\VAR{'3 %'}\n"
    )
    assert said(check_static(folder)) == [(2, "4"), (3, "0.5"), (3, "none"), (4, "3")]


def test_what_is_allowed_may_stand_in_its_template_alone(templates):
    static = "syntax:\n  '\\d+mm': a length\ntext:\n  x.tex.j2:\n    'the same model': equal hashes\n"
    folder = templates(x="22mm, the\nsame model, the same", y="the same model", static=static)
    found = check_static(folder)
    assert [(problem.file, *where) for problem, where in zip(found, said(found), strict=True)] == [
        ("x.tex.j2", 2, "same"),
        ("y.tex.j2", 1, "same"),
    ]


def test_an_entry_that_allows_nothing_is_a_problem(templates):
    static = "syntax:\n  '\\d+mm': a length\ntext:\n  x.tex.j2:\n    'plain text': why\n    '5': why\n"
    problems = check_static(templates(x="5 and plain text", static=static))
    assert [problem.file for problem in problems] == ["static.yaml", "static.yaml"]
    assert r"syntax: '\\d+mm' allows nothing" in problems[0].message
    assert "x.tex.j2: 'plain text' allows nothing" in problems[1].message


@pytest.mark.parametrize("entry", ["'5':", "'5': ''", "'': why", "5: why", "- '5'"])
def test_an_entry_without_a_reason_is_refused(templates, entry):
    with pytest.raises(UserError, match=r"static\.yaml: every entry needs a text and a reason"):
        check_static(templates(x="5", static=f"text:\n  x.tex.j2:\n    {entry}\n"))


def test_tracing_changes_no_byte_and_names_what_printed(whole):
    pieces = {
        page: "".join(piece.text for piece in found) for page, found in render_traced(whole, VALUES).items()
    }
    assert pieces == latex_pages(whole, VALUES)
    assert pieces.keys() == {"tables/claims.tex", "paper.tex"}
    found = [(one.page, one.line, one.found, one.kind, one.item) for one in trace(whole, VALUES)]
    assert found[:4] == [
        ("tables/claims.tex", 2, "A1", "number", "table.printed(table.rows[0])[0].text|cell"),
        ("tables/claims.tex", 2, "0.50", "number", "table.printed(table.rows[0])[1].text|cell"),
        ("tables/claims.tex", 3, "A2", "number", "table.printed(table.rows[1])[0].text|cell"),
        ("tables/claims.tex", 3, "0.25", "number", "table.printed(table.rows[1])[1].text|cell"),
    ]
    items = '(cells.items() if name != "none")'
    assert [one[1:] for one in found[4:]] == [
        (1, "5", "number", "title"),
        (1, "less", "word", "title"),
        (2, "1", "number", "loop.index"),
        (3, "1", "number", f"{items}[0][1].rows[0]"),
        (3, "2", "number", f"{items}[0][1].rows[1]"),
        (4, "2", "number", "loop.index"),
        (5, "3", "number", f"{items}[1][1].rows[0]"),
        (6, "a2", "number", "(claims if claim.ratio < 0.4)[0].id|lower"),
    ]
    assert [one.template for one in trace(whole, VALUES)][-1] == "part.tex.j2"


def test_names_in_full_leave_strings_attributes_and_filters_alone():
    names = {"ratio": "lines[0]", "key": "keys[1]"}
    assert in_full('ratio|ratio(key, "key").ratio', names) == 'lines[0]|ratio(keys[1], "key").ratio'


def test_pages_as_rendered_are_no_problem(rendered, whole):
    assert check_rendered(rendered, whole, VALUES) == []


@pytest.mark.parametrize(
    ("page", "old", "new", "line", "message"),
    [
        (
            "tables/claims.tex",
            "0.25",
            "0.2",
            3,
            "expected '0.25' from table.printed(table.rows[1])[1].text|cell (table.tex.j2:4), found '0.2'",
        ),
        ("tables/claims.tex", "A1", "A17", 2, "found 'A17'"),
        ("tables/claims.tex", "tabular", "tab", 1, "from the text of table.tex.j2:2, found"),
        ("paper.tex", " 1, 2.", " 1, 2, 9.", 3, "found ', 9.'"),
        ("paper.tex", "Pendulum", "pendulum", 4, "expected 'Pendulum:' from (cells.items()"),
        ("paper.tex", "Left", "Slower: left", 6, "found 'Slower'"),
        ("tables/claims.tex", "{tabular}\n", "{tabular}\r\n", 4, "found '\\r'"),
    ],
)  # fmt: skip
def test_an_edited_page_is_found_with_the_expression(rendered, whole, page, old, new, line, message):
    text = (rendered / page).read_bytes().decode()
    assert old in text
    (rendered / page).write_bytes(text.replace(old, new, 1).encode())
    (problem,) = check_rendered(rendered, whole, VALUES)
    assert (problem.file, problem.line) == (page, line)
    assert message in problem.message


def test_lost_ends_missing_pages_and_foreign_ones_are_found(rendered, whole):
    path = rendered / "tables/claims.tex"
    path.write_text(path.read_text().rstrip("\n"))
    assert [problem.line for problem in check_rendered(rendered, whole, VALUES)] == [5]
    path.rename(rendered / "tables/other.tex")
    found = [str(problem) for problem in check_rendered(rendered, whole, VALUES)]
    assert found[0].startswith("tables/claims.tex: is missing")
    assert found[1] == "tables/other.tex: no table or template renders it"


def test_a_template_that_cannot_be_rendered_is_named(whole):
    with pytest.raises(UserError, match=r"paper\.tex\.j2: cannot be rendered .*'title' is undefined"):
        trace(whole, {"tables": {}})


def test_numbers_typed_in_rules_are_found(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text(
        '"""A docstring with 7."""\n'
        'rule = f"within {margin:.2f} of 1, above 0; A2, fp32, width_0, utf-8"\n'
        'reason = f"a fall of 1 % to {most:g} %, 5 times, 1.5"\n'
    )
    found = check_reasons([path])
    assert [(problem.line, problem.message.split("'")[1]) for problem in found] == [
        (3, "1 %"),
        (3, "5"),
        (3, "1.5"),
    ]


def test_numbers_and_comparisons_typed_in_a_table_are_found(templates, tmp_path):
    path = tmp_path / "study/tables.py"
    path.parent.mkdir()
    path.write_text(
        '"""A docstring with 7."""\n'
        'columns = [Column("faster by", format=partial(fixed, digits=3)), Column("Time", width=0.3)]\n'
        'rows = [Row([name, results[1], "3.7 %"]), Row([name, 0.289])]\n'
        'rows += [Row([Spanning(f"{name[:8]} the same model, {share:.1f}", columns=4), Mark("1")])]\n'
    )
    static = "text:\n  study/tables.py:\n    'the same model': equal hashes\n"
    folder = templates(x="plain", static=static)
    found = check_static(folder, [path])
    assert {problem.file for problem in found} == {"study/tables.py"}
    assert sorted(said(found)) == [(2, "faster"), (3, "0.289"), (3, "3.7"), (4, "1")]


def test_the_project_types_no_result(project):
    reporting = project / "stages/sustainable/reporting"
    declarations = [*reporting.glob("*_tables.py"), *reporting.glob("*/*tables.py")]
    assert check_static(project / "paper/templates", declarations) == []
    judges = [*reporting.rglob("*claims.py"), *reporting.rglob("*findings.py")]
    assert len(judges) > 1
    assert check_reasons(judges) == []


def test_the_shipped_pages_trace_and_one_edited_digit_is_seen(project, shipped_report, tmp_path):
    templates, values = project / "paper/templates", shipped_report.values
    pages, pieces = latex_pages(templates, values), render_traced(templates, values)
    assert {page: "".join(piece.text for piece in found) for page, found in pieces.items()} == pages
    for page, text in pages.items():
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(text)
    assert check_rendered(tmp_path, templates, values) == []
    cells = (one for one in trace(templates, values) if one.page == "tables/results.tex")
    cell = next(one for one in cells if one.item.endswith(".text|cell"))
    lines = pages[cell.page].split("\n")
    lines[cell.line - 1] = lines[cell.line - 1].replace(cell.found, "1" + cell.found, 1)
    (tmp_path / cell.page).write_text("\n".join(lines))
    (problem,) = check_rendered(tmp_path, templates, values)
    assert (problem.file, problem.line) == (cell.page, cell.line)
    assert f"found '1{cell.found}'" in problem.message
