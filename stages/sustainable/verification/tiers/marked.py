r"""Render LaTeX templates and record which expression printed what.

A template prints its own text and the values of expressions (`\VAR{...}`). A mark is put before each and
removed from the page again, which leaves the bytes that the report writes.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from sustainable.core.errors import UserError
from sustainable.reporting.pages import latex_sources
from sustainable.reporting.templates import latex_environment

SUFFIX = ".tex.j2"
MARK = re.compile("\ue000(\\d+)\ue001")
"""Private characters, which no template and no value contains."""
NAME_IN_EXPRESSION = re.compile(r""""[^"]*"|'[^']*'|(?<![\w.|])[A-Za-z_]\w*""")
"""Names, but not attributes and filters. Strings match as a whole, so that their content is kept."""
LOOP_INDEX = (
    ("variable_begin", ""), ("name", "loop"), ("dot", "."), ("name", "index0"), ("variable_end", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """A stretch of a template."""

    template: str
    offset: int
    line: int
    kind: str  # `text`, a printed `expression`, a `for` loop, or another `block`
    text: str
    depth: int  # number of loops around it


@dataclass(frozen=True)
class Piece:
    """What a stretch of a template has printed."""

    place: Stretch
    text: str
    offset: int  # in the page
    item: str  # the expression with the names of loops replaced: `claims[3].reason`; empty for own text


class Marking(Extension):
    """Print a mark before everything that is printed, and the index at the start of a loop's body."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.places: list[Stretch] = []

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        places = iter(places_of(self.environment, str(stream.name)))
        loop: Stretch | None = None
        for token in stream:
            if token.type in ("data", "variable_begin", "block_begin"):
                place = next(places)
                loop = place if place.kind == "for" else None
                if token.type != "block_begin":
                    yield self._mark(place, token.lineno)
            yield token
            if token.type == "block_end" and loop is not None:
                yield self._mark(loop, token.lineno)
                yield from (Token(token.lineno, kind, value) for kind, value in LOOP_INDEX)
                loop = None

    def _mark(self, place: Stretch, line: int) -> Token:
        self.places.append(place)
        return Token(line, "data", f"\ue000{len(self.places) - 1}\ue001")


def source_of(environment: jinja2.Environment, template: str) -> str:
    """Return the text of a template, with the line ends by which offsets are counted."""
    assert environment.loader is not None
    return re.sub("\r\n?", "\n", environment.loader.get_source(environment, template)[0])


def places_of(environment: jinja2.Environment, template: str) -> list[Stretch]:
    """Split a template into its stretches, in order and without comments."""
    source = source_of(environment, template)
    places: list[Stretch] = []
    cursor = start = depth = 0
    for _, token, value in environment.lex(source):
        begin = source.index(value, cursor)
        cursor = begin + len(value)
        if token in ("variable_begin", "block_begin"):
            start = cursor
        if token not in ("data", "variable_end", "block_end"):
            continue
        offset = begin if token == "data" else start
        text = value if token == "data" else source[start:begin]
        word = text.split()[0] if token == "block_end" else ""
        kind = {"data": "text", "variable_end": "expression"}.get(token, "for" if word == "for" else "block")
        depth -= word == "endfor"
        places.append(Stretch(template, offset, source.count("\n", 0, offset) + 1, kind, text, depth))
        depth += word == "for"
    return places


def render_traced(templates: Path, values: Mapping[str, Any]) -> dict[str, list[Piece]]:
    """Render every LaTeX page as pieces; joined, they are the bytes that the report writes.

    Raises `UserError` if a template cannot be rendered with `values`.
    """
    environment = latex_environment(templates)
    environment.add_extension(Marking)
    marking = environment.extensions[Marking.identifier]
    assert isinstance(marking, Marking)
    rendered = {}
    for page, (name, printed) in latex_sources(values).items():
        try:
            rendered[page] = list(_pieces(environment.get_template(name).render(printed), marking.places))
        except jinja2.TemplateError as error:
            raise UserError(f"{templates / name}: cannot be rendered ({error}); restore it") from None
    return rendered


def _pieces(marked: str, places: Sequence[Stretch]) -> Iterator[Piece]:
    """Split a page at its marks. Names are kept by template and loop, the innermost last."""
    scopes: dict[str, list[dict[str, str]]] = {}
    offset, parts = 0, MARK.split(marked)
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        place = places[int(number)]
        scope = scopes.setdefault(place.template, [{}])
        del scope[place.depth + 1 :]
        names = ChainMap(*reversed(scope))
        if place.kind == "for":
            scope.append(_names_of_loop(place.text, int(text), names))
        else:
            yield Piece(place, text, offset, in_full(place.text, names) if place.kind == "expression" else "")
            offset += len(text)


def _names_of_loop(text: str, index: int, names: Mapping[str, str]) -> dict[str, str]:
    targets, _, over = text.strip().removeprefix("for ").partition(" in ")
    whole = in_full(over, names).strip()
    element = f"({whole})[{index}]" if " if " in over else f"{whole}[{index}]"
    if "," not in targets:
        return {targets.strip(): element}
    return {name.strip(): f"{element}[{place}]" for place, name in enumerate(targets.split(","))}


def in_full(expression: str, names: Mapping[str, str]) -> str:
    """Replace `names` in an expression by what they stand for."""
    return NAME_IN_EXPRESSION.sub(lambda found: names.get(found[0], found[0]), expression)
