"""The paper's source: its bibliography, its references to tables and figures, its packages."""

import re
from types import SimpleNamespace

import pytest

from sustainable.core.errors import UserError
from sustainable.reporting.formats import parts_text
from sustainable.reporting.published import read_citation
from sustainable.reporting.wording import (
    CITED,
    counted_verdicts,
    fraction_text,
    listed,
    side_text,
)
from sustainable.statistics import Ratio

WITHOUT_IDENTIFIER = {"sustainable-agents", "onnxruntime", "openvino"}
"""A project report, and two programs that have neither a DOI nor an arXiv number."""
IN_DEBIAN = {
    "array", "booktabs", "caption", "geometry", "graphicx", "hyperref", "inputenc", "longtable", "microtype",
    "natbib", "pdflscape",
}  # fmt: skip
"""Packages of Debian's texlive-latex-base and texlive-latex-recommended that the paper may use."""


@pytest.fixture(scope="module")
def source(project):
    return "".join(path.read_text() for path in sorted((project / "paper/templates").glob("*.tex.j2")))


@pytest.fixture(scope="module")
def entries(project):
    """The bibliography: the text of each entry by its key."""
    text = (project / "paper/references.bib").read_text()
    return dict(re.findall(r"^@\w+\{([\w-]+),\n(.*?)^\}", text, re.M | re.S))


def cited(source):
    return {key for keys in re.findall(r"\\cite\{([\w,-]+)\}", source) for key in keys.split(",")}


def test_every_work_is_cited_and_has_an_identifier(entries, source):
    assert len(entries) >= 25
    assert cited(source) | set(CITED.values()) == set(entries)
    found = re.compile(r"\\arxiv\{\d{4}\.\d{4,5}\}|\\doi\{10\.\d{4,}/\S+\}")
    assert {key for key, text in entries.items() if not found.search(text)} == WITHOUT_IDENTIFIER
    identifiers = [match[0] for text in entries.values() if (match := found.search(text))]
    assert len(set(identifiers)) == len(identifiers)


def test_every_table_and_figure_is_referred_to(source, shipped_report):
    values = shipped_report.values
    tables = {table.anchor for table in values["tables"].values() if table.page != "html"}
    referred = set(re.findall(r"\\ref\{([\w:-]+)\}", source))
    assert {f"tab:{name}" for name in tables} <= referred
    figures = set(re.findall(r"\\label\{(fig:[\w-]+)\}", source))
    assert figures == {name for name in referred if name.startswith("fig:")}
    turned = {*values["turned_a"], *values["turned_b"]}
    put = set(re.findall(r"\\input\{tables/(\w+)\.tex\}", source)) | turned
    assert {name.replace("_", "-") for name in put} == tables


def test_every_figure_has_a_caption_with_its_class_of_evidence(source):
    floats = re.findall(r"\\begin\{figure\*?\}.*?\\end\{figure\*?\}", source, re.S)
    assert len(floats) > 20
    lacking = [one for one in floats if not re.search(r"\\caption\{.*\\label\{fig:", one, re.S)]
    assert lacking == []
    classes = re.compile(r"class|[Ee]xact counts?|as in Figure")
    assert [one for one in floats if not classes.search(one)] == []


def test_the_paper_needs_only_packages_that_debians_two_hold(source):
    used = re.findall(r"\\usepackage(?:\[[^]]*\])?\{([\w,]+)\}", source)
    assert {name for names in used for name in names.split(",")} <= IN_DEBIAN
    assert "resizebox" not in source


def test_title_and_authors_come_from_the_citation_file(tmp_path, project, source):
    path = tmp_path / "CITATION.cff"
    path.write_text(
        "title: T\nversion: 1.0\nauthors:\n- name: The group\n- given-names: A.\n  family-names: B\n"
    )
    assert read_citation(path) == {"title": "T", "authors": ["The group", "A. B"], "version": "1.0"}
    path.write_text("title: T\n")
    with pytest.raises(UserError, match=r"CITATION\.cff: needs a title, authors and a version"):
        read_citation(path)
    assert r"\title{\textbf{\VAR{citation.title}}" in source
    assert read_citation(project / "CITATION.cff")["authors"]


def test_relations_turn_with_the_interval():
    below, above, across = Ratio(0.5, 0.4, 0.6, 3), Ratio(2.0, 1.5, 2.5, 3), Ratio(1.0, 0.9, 1.1, 3)
    assert side_text(below) == "less than"
    assert side_text(above) == "more than"
    assert side_text(across) == "not certainly more or less than"
    assert side_text(None) == "not compared with"


@pytest.mark.parametrize(
    ("estimate", "text"), [(0.00526, "1/190"), (0.181, "1/5.5"), (0.694, "0.69"), (2.0, "2.00")]
)
def test_small_ratios_are_printed_as_fractions(estimate, text):
    assert fraction_text(Ratio(estimate, estimate, estimate, 3)) == text


def test_lists_and_verdicts_in_words():
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none", "a", "a and b", "a, b and c",
    ]  # fmt: skip
    claims = [SimpleNamespace(verdict=verdict) for verdict in ("refuted", "confirmed", "refuted")]
    assert counted_verdicts(claims) == "1 confirmed and 2 refuted"
    assert parts_text(SimpleNamespace(parts={"a": "confirmed", "b": "refuted"})) == "a: confirmed; b: refuted"
