"""Whether whatever the rendered LaTeX says of a result comes from a value.

Numbers and comparison words belong to values. In a template's own text they are a problem, unless
`static.yaml` beside the templates allows the very snippet, with a reason; and a page must be what the
templates make of the values. What is left traces to an expression.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import one_line
from sustainable.reporting.templates import latex_environment
from sustainable.verification.tiers.marked import SUFFIX, Piece, Place, places_of, render_traced, source_of

ALLOWED = "static.yaml"
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
FOUND = re.compile(
    rf"(?P<number>[\w.,]*\d(?:[\w.,]*\w)?)|(?<![\w\\])(?P<word>{WORDS})(?!\w)",
    re.IGNORECASE,
)
"""Whatever has a digit, and whole words."""
LITERAL = re.compile(r""""[^"]*"|'[^']*'|(?<![\w.])\d[\w.]*""")
FORMATTING = re.compile(r"\|\s*(?:fixed|spread)\(\d\)|\[[\d:]*\]")
"""Digits of an expression that are no number of the page: decimals to print, and places in a sequence."""
TYPED = re.compile(r"(?<![\w.])(?<![A-Za-z]-)\d[\w.,]*(\s*%)?")
BOUNDS = ("0", "1")


@dataclass(frozen=True)
class Trace:
    """A number or a word that a page has from a value. `item` is the expression in full (see `Piece`)."""

    page: str
    line: int
    found: str
    kind: Literal["number", "word"]
    expression: str
    item: str
    template: str
    template_line: int


@dataclass(frozen=True)
class Problem:
    """What does not trace: where, and what. Line 0 is the whole file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Allowed:
    """What may stand: in one template, or, as a piece of LaTeX's syntax, in any (`template` is None)."""

    template: str | None
    said: str
    pattern: re.Pattern[str]


def trace(templates: Path, values: Mapping[str, Any]) -> list[Trace]:
    """Every number and comparison word that a page has from a value, with the expression that printed it."""
    rendered = render_traced(templates, values)
    return [found for page, pieces in rendered.items() for found in _traces(page, pieces)]


def _traces(page: str, pieces: Sequence[Piece]) -> Iterator[Trace]:
    line = 1
    for piece in pieces:
        place = piece.place
        for hit in FOUND.finditer(piece.text) if place.kind == "expression" else ():
            yield Trace(
                page=page,
                line=line + piece.text.count("\n", 0, hit.start()),
                found=hit[0],
                kind="number" if hit["number"] else "word",
                expression=place.text,
                item=piece.item,
                template=place.template,
                template_line=place.line,
            )
        line += piece.text.count("\n")


def check_rendered(rendered: Path, templates: Path, values: Mapping[str, Any]) -> list[Problem]:
    """Whether the folder `rendered` (paper.tex, tables/) holds what the templates make of `values`: where it
    does not, the first line that differs, the number there, and the expression that should have made it."""
    expected, problems = render_traced(templates, values), []
    for page, pieces in expected.items():
        path = rendered / page
        if not path.is_file():
            problems.append(Problem(page, 0, "missing; `dvc repro -s -f report` makes it"))
            continue
        found = path.read_bytes().decode("utf-8", errors="replace")
        if found != "".join(piece.text for piece in pieces):
            problems.append(_difference(page, pieces, found))
    there = {f"tables/{path.name}" for path in (rendered / "tables").glob("*.tex")}
    return problems + [Problem(page, 0, "no template makes it") for page in sorted(there - expected.keys())]


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
    """Where the first number or word of a line differs, and both; the rest of both where none does."""
    for first, second in zip_longest(FOUND.finditer(own), FOUND.finditer(other)):
        if first is not None and (second is None or first[0] != second[0]):
            return first.start(), first[0], second[0] if second else ""
    column = next((at for at, (a, b) in enumerate(zip_longest(own, other)) if a != b), 0)
    return column, own[column:], other[column:]


def check_static(templates: Path) -> list[Problem]:
    """Numbers and comparison words that a template types itself, in its text or as an expression's constant,
    and that no entry of `static.yaml` covers; and entries that cover nothing (any more)."""
    environment, entries = latex_environment(templates), read_allowed(templates / ALLOWED)
    problems, used = [], set()
    for name in sorted(path.name for path in templates.glob(f"*{SUFFIX}")):
        source = source_of(environment, name)
        spans = [
            (entry, *span.span())
            for entry in entries
            if entry.template in (None, name)
            for span in entry.pattern.finditer(source)
        ]
        for begin, text in _typed(places_of(environment, name)):
            covering = {entry for entry, start, end in spans if start <= begin and begin + len(text) <= end}
            used |= covering
            if not covering:
                line = source.count("\n", 0, begin) + 1
                problems.append(Problem(name, line, f"{text!r} is typed; print a value, or allow it there"))
    return problems + [
        Problem(ALLOWED, 0, f"{entry.template or 'syntax'}: {entry.said!r} allows nothing; remove it")
        for entry in entries
        if entry not in used
    ]


def _typed(places: Iterable[Place]) -> Iterator[tuple[int, str]]:
    """Numbers and words that stand in a template itself, each with its offset."""
    for place in places:
        parts = [(0, place.text)]
        if place.kind != "text":
            masked = FORMATTING.sub(lambda found: " " * len(found[0]), place.text)
            parts = [(literal.start(), literal[0]) for literal in LITERAL.finditer(masked)]
        for start, text in parts:
            yield from ((place.offset + start + hit.start(), hit[0]) for hit in FOUND.finditer(text))


def read_allowed(path: Path) -> list[Allowed]:
    """What `static.yaml` allows; nothing where there is none. `UserError` for an entry without a reason."""
    if not path.is_file():
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        syntax = [Allowed(None, said, re.compile(said)) for said in _reasoned(content.get("syntax", {}))]
        texts = [
            Allowed(template, said, _flowing(said))
            for template, entries in content.get("text", {}).items()
            for said in _reasoned(entries)
        ]
    except (yaml.YAMLError, re.error, TypeError, AttributeError) as error:
        raise UserError(f"{path}: texts, each with a reason, are needed ({one_line(error)})") from None
    return syntax + texts


def _reasoned(entries: Mapping[str, str]) -> Iterator[str]:
    for said, reason in entries.items():
        if not (isinstance(said, str) and said.strip() and isinstance(reason, str) and reason.strip()):
            raise TypeError(f"{said!r}: {reason!r}")
        yield said


def _flowing(text: str) -> re.Pattern[str]:
    """The very text, wherever its lines break."""
    return re.compile(r"\s+".join(re.escape(word) for word in text.split()))


def check_reasons(modules: Iterable[Path]) -> list[Problem]:
    """Numbers typed in the strings of Python modules that judge: rules and reasons print parameters and what
    was found. 0 and 1 may stand, as bounds, but not as percentages; so may names with a digit (A2, fp32)."""
    problems = []
    for path in modules:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        silent = {id(part) for node in ast.walk(tree) for part in _unprinted(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                problems += [
                    Problem(path.name, node.lineno, f"{hit[0]!r} is typed; print a parameter")
                    for hit in TYPED.finditer(node.value)
                    if hit[0].rstrip(".,") not in BOUNDS
                ]
    return problems


def _unprinted(node: ast.AST) -> Iterable[ast.AST]:
    """Docstrings, and how numbers are formatted."""
    if isinstance(node, ast.Expr):
        return [node.value]
    return ast.walk(node.format_spec) if isinstance(node, ast.FormattedValue) and node.format_spec else []
