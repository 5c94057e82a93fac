"""Check that every number and every comparison in the rendered pages comes from a value.

A number or comparison word that is typed in a template or in a table declaration is a problem, unless
`static.yaml` beside the templates allows that text, with a reason. Of HTML templates, only what a reader sees
counts. A LaTeX page must be what the templates render from the values. All else traces to an expression.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal


from sustainable.core.errors import UserError
from sustainable.core.reading import one_line, parsed_yaml, read_text
from sustainable.reporting.templates import html_environment, latex_environment
from sustainable.verification.tiers.marked import SUFFIX, Piece, Stretch, places_of, render_traced, source_of

ALLOWED = "static.yaml"
HTML_SUFFIX = ".html.j2"
TAG = re.compile(r"<[^<>]*>")
READ_IN_TAG = re.compile(r'\b(?:alt|aria-label|data-[\w-]*problem|data-unreached|title)="([^"]*)"')
"""Attributes whose text a reader sees or hears."""
NUMBER_WORDS = """
    one two three four five six seven eight nine ten eleven twelve twenty fifty hundred thousand million half
    halves third thirds quarter tenth hundredth once twice thrice double triple dozen none never zero
"""
COMPARISON_WORDS = """
    more most less least fewer fewest higher highest lower lowest lowers lowered faster fastest slower slowest
    quicker quickest better best worse worst larger largest smaller smallest bigger biggest greater greatest
    shorter shortest longer longest cheaper cheapest dearer dearest narrower wider stronger strongest weaker
    weakest earlier sooner above below beyond exceed exceeds exceeded equal equals equally same identical
    different differ differs differed unchanged save saves saved saving savings gain gains lose loses lost win
    wins beat beats beaten outperform outperforms reduce reduces reduced increase increases increased decrease
    decreases decreased improve improves improved rise rises fall falls fell fallen raise raises raised drop
    drops dropped shrink shrinks confirm confirms confirmed refute refutes refuted inconclusive significant
    significantly certain certainly negligible superior inferior dominate dominates dominated
"""
WORDS = "|".join(f"{NUMBER_WORDS} {COMPARISON_WORDS}".split())
SIGNIFICANT = re.compile(rf"(?P<number>[\w.,]*\d(?:[\w.,]*\w)?)|(?<![\w\\])(?P<word>{WORDS})(?!\w)", re.I)
"""Everything with a digit, and the words above."""
LITERAL = re.compile(r""""[^"]*"|'[^']*'|(?<![\w.])\d[\w.]*""")
FORMATTING = re.compile(r"\|\s*fixed\(\d\)|\[[\d:]*\]")
"""Digits of an expression that are not printed: the number of decimals, and places in a sequence."""
OPTIONS = ("digits", "width", "columns")
"""Keyword arguments of a table declaration whose values are not printed."""
TYPED = re.compile(r"(?<![\w.])(?<![A-Za-z]-)\d[\w.,]*(\s*%)?")
BOUNDS = ("0", "1")


@dataclass(frozen=True)
class PrintedValue:
    """A number or word of a page, and the expression that printed it."""

    page: str
    line: int
    found: str
    kind: Literal["number", "word"]
    item: str  # the expression in full (see `Piece`)
    template: str


@dataclass(frozen=True)
class Problem:
    """Something that does not trace to a value."""

    file: str
    line: int  # 0: the whole file
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Allowed:
    """A text that may be typed."""

    file: str | None  # None: in any template, as LaTeX syntax
    text: str
    pattern: re.Pattern[str]


def trace(templates: Path, values: Mapping[str, Any]) -> list[PrintedValue]:
    """List every number and comparison word that a value has printed, with its expression."""
    traced = []
    for page, pieces in render_traced(templates, values).items():
        line = 1
        for piece in pieces:
            for hit in SIGNIFICANT.finditer(piece.text) if piece.place.kind == "expression" else ():
                at = line + piece.text.count("\n", 0, hit.start())
                kind: Literal["number", "word"] = "number" if hit["number"] else "word"
                traced.append(PrintedValue(page, at, hit[0], kind, piece.item, piece.place.template))
            line += piece.text.count("\n")
    return traced


def check_rendered(rendered: Path, templates: Path, values: Mapping[str, Any]) -> list[Problem]:
    """Compare the folder `rendered` (paper.tex, tables/) with what the templates render from `values`.

    A problem names the first line that differs, the number there, and the expression that should print it.
    """
    expected, problems = render_traced(templates, values), []
    for page, pieces in expected.items():
        path = rendered / page
        if not path.is_file():
            problems.append(Problem(page, 0, "is missing; run `dvc repro -s -f report`"))
            continue
        found = path.read_bytes().decode("utf-8", errors="replace")
        if found != "".join(piece.text for piece in pieces):
            problems.append(_difference(page, pieces, found))
    there = {f"tables/{path.name}" for path in (rendered / "tables").glob("*.tex")}
    unknown = sorted(there - expected.keys())
    return problems + [Problem(page, 0, "no table or template renders it") for page in unknown]


def _difference(page: str, pieces: Sequence[Piece], found: str) -> Problem:
    wanted = "".join(piece.text for piece in pieces).split("\n")
    paired = enumerate(zip_longest(wanted, found.split("\n")))
    line, (own, other) = next((line, pair) for line, pair in paired if pair[0] != pair[1])
    column, said, instead = _first_difference(own or "", other or "")
    offset = sum(len(text) + 1 for text in wanted[:line]) + column
    piece = next((one for one in reversed(pieces) if one.text and one.offset <= offset), pieces[0])
    where = f"{piece.place.template}:{piece.place.line}"
    source = f"{piece.item} ({where})" if piece.item else f"the text of {where}"
    return Problem(page, line + 1, f"expected {said!r} from {source}, found {instead!r}")


def _first_difference(own: str, other: str) -> tuple[int, str, str]:
    """Return the column of the first number or word that differs, and both; else the rest of both lines."""
    for first, second in zip_longest(SIGNIFICANT.finditer(own), SIGNIFICANT.finditer(other)):
        if first is not None and (second is None or first[0] != second[0]):
            return first.start(), first[0], second[0] if second else ""
    column = next((at for at, (a, b) in enumerate(zip_longest(own, other)) if a != b), 0)
    return column, own[column:], other[column:]


def check_static(templates: Path, declarations: Iterable[Path] = ()) -> list[Problem]:
    """Find numbers and comparison words that are typed in templates and in table declarations.

    Typed means: in a template's text, as a constant of one of its expressions, or as a constant of the Python
    modules `declarations`. An entry of `static.yaml` can allow it; an entry that allows nothing is a problem.
    """
    entries = read_allowed(templates / ALLOWED)
    used: set[Allowed] = set()
    problems = []
    files = [*_of_templates(templates), *_of_html(templates), *_of_declarations(declarations)]
    for name, line, source, typed in files:
        applying = [entry for entry in entries if entry.file in (None, name)]
        spans = [(entry, *span.span()) for entry in applying for span in entry.pattern.finditer(source)]
        for begin, text in typed:
            covering = {entry for entry, start, end in spans if start <= begin and begin + len(text) <= end}
            used |= covering
            if not covering:
                at = line + source.count("\n", 0, begin)
                problems.append(Problem(name, at, f"{text!r} is typed; print a value, or allow it there"))
    return problems + [
        Problem(ALLOWED, 0, f"{entry.file or 'syntax'}: {entry.text!r} allows nothing; remove it")
        for entry in entries
        if entry not in used
    ]


TracedText = tuple[str, int, str, list[tuple[int, str]]]
"""A file, the line at which a text of it begins, the text, and what is typed there, with offsets."""


def _of_templates(templates: Path) -> Iterator[TracedText]:
    """Find numbers and words in the text of LaTeX templates, and in the literals of their expressions."""
    environment = latex_environment(templates)
    for name in sorted(path.name for path in templates.glob(f"*{SUFFIX}")):
        yield name, 1, source_of(environment, name), _typed(places_of(environment, name))


def _of_html(templates: Path) -> Iterator[TracedText]:
    """Find the same in HTML templates, except in tags: only attributes that a reader sees count there."""
    environment = html_environment(templates)
    for name in sorted(path.name for path in templates.glob(f"*{HTML_SUFFIX}")):
        source, places = source_of(environment, name), places_of(environment, name)
        tags = [span for tag in TAG.finditer(_markup(source, places)) for span in _unread(tag)]
        hits = _typed(places)
        yield name, 1, source, [hit for hit in hits if not any(low <= hit[0] < high for low, high in tags)]


def _markup(source: str, places: Iterable[Stretch]) -> str:
    """The text of a template with everything else replaced, so that a tag with expressions is one tag."""
    text = ["_"] * len(source)
    for place in places:
        if place.kind == "text":
            text[place.offset : place.offset + len(place.text)] = place.text
    return "".join(text)


def _unread(tag: re.Match[str]) -> list[tuple[int, int]]:
    """The parts of a tag that no reader sees, from and to."""
    spans, start = [], tag.start()
    for read in READ_IN_TAG.finditer(tag[0]):
        spans.append((start, tag.start() + read.start(1)))
        start = tag.start() + read.end(1)
    return [*spans, (start, tag.end())]


def _typed(places: Iterable[Stretch]) -> list[tuple[int, str]]:
    """Numbers and words in the text of `places`, and in the literals of expressions, with offsets."""
    typed = []
    for place in places:
        parts = [(0, place.text)]
        if place.kind != "text":
            masked = FORMATTING.sub(lambda found: " " * len(found[0]), place.text)
            parts = [(literal.start(), literal[0]) for literal in LITERAL.finditer(masked)]
        for start, text in parts:
            typed += [(place.offset + start + hit.start(), hit[0]) for hit in SIGNIFICANT.finditer(text)]
    return typed


def _of_declarations(modules: Iterable[Path]) -> Iterator[TracedText]:
    """Find typed constants of table declarations: whatever a table prints is a constant or a value."""
    for path in modules:
        for node in _printed_constants(path):
            if isinstance(node.value, str) or type(node.value) in (int, float):
                text = str(node.value)
                hits = [(hit.start(), hit[0]) for hit in SIGNIFICANT.finditer(text)]
                yield f"{path.parent.name}/{path.name}", node.lineno, text, hits


def _printed_constants(path: Path) -> list[ast.Constant]:
    """The constants of a module that are not documentation, format options, keys or places in a sequence."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    silent = {id(part) for node in nodes for part in _unprinted(node)}
    return [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in silent]


def _unprinted(node: ast.AST) -> Iterable[ast.AST]:
    if isinstance(node, ast.Expr):  # a docstring
        return [node.value]
    if isinstance(node, ast.FormattedValue) and node.format_spec:
        return ast.walk(node.format_spec)
    if isinstance(node, ast.Subscript):
        return ast.walk(node.slice)
    if isinstance(node, ast.keyword) and node.arg in OPTIONS:
        return [node.value]
    return []


def read_allowed(path: Path) -> list[Allowed]:
    """Read the entries of `static.yaml`; none if there is no such file.

    Raises `UserError` if an entry has no reason, or is not text.
    """
    if not path.is_file():
        return []
    try:
        content = parsed_yaml(read_text(path)) or {}
        syntax = [Allowed(None, text, re.compile(text)) for text in _reasoned(content.get("syntax", {}))]
        return syntax + [
            Allowed(file, text, re.compile(r"\s+".join(map(re.escape, text.split()))))  # wherever lines break
            for file, entries in content.get("text", {}).items()
            for text in _reasoned(entries)
        ]
    except (ValueError, re.error, TypeError, AttributeError) as error:
        raise UserError(f"{path}: every entry needs a text and a reason ({one_line(error)})") from None


def _reasoned(entries: Mapping[str, str]) -> Iterator[str]:
    for text, reason in entries.items():
        if not (isinstance(text, str) and text.strip() and isinstance(reason, str) and reason.strip()):
            raise TypeError(f"{text!r}: {reason!r}")
        yield text


def check_reasons(modules: Iterable[Path]) -> list[Problem]:
    """Find numbers typed in the strings of modules that judge: rules and reasons print values.

    Allowed are 0 and 1 as bounds, but not as percentages, and names with a digit (A2, fp32).
    """
    return [
        Problem(path.name, node.lineno, f"{hit[0]!r} is typed; print a parameter")
        for path in modules
        for node in _printed_constants(path)
        if isinstance(node.value, str)
        for hit in TYPED.finditer(node.value)
        if hit[0].rstrip(".,") not in BOUNDS
    ]
