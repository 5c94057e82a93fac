r"""LaTeX templates rendered so that for everything that is printed it is known what has printed it.

What a template prints is either its own text or the value of an expression (`\VAR{...}`). A mark is put
before both, and taken out of the page again, which leaves the very bytes that the report writes.
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
from sustainable.reporting.templates import latex_environment

SUFFIX, TABLE, PAPER = ".tex.j2", "_table.tex.j2", "paper.tex.j2"
MARK = re.compile("\ue000(\\d+)\ue001")
"""Private characters, which no template and no value has."""
NAME = re.compile(r""""[^"]*"|'[^']*'|(?<![\w.|])[A-Za-z_]\w*""")
"""Names, but not attributes and filters; strings are found so that what is in them is left alone."""


@dataclass(frozen=True)
class Place:
    """A stretch of a template from `offset` on. `kind`: its own `text`, an `expression` that is printed, or a
    `block` (`for` and `set` are those that name a value). `depth`: how many loops are around it."""

    template: str
    offset: int
    line: int
    kind: str
    text: str
    depth: int


@dataclass(frozen=True)
class Piece:
    """What a place has printed, from `offset` on in the page. `item` is its expression with the names of
    loops put in full, by position: `claims[3].reason` (of `items()`, the n-th); empty for own text."""

    place: Place
    text: str
    offset: int
    item: str


class Marking(Extension):
    """Puts a mark before everything that is printed, and prints the position in front of a loop's body."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.places: list[Place] = []

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        places = iter(places_of(self.environment, str(stream.name)))
        naming: Place | None = None
        for token in stream:
            if token.type in ("data", "variable_begin", "block_begin"):
                place = next(places)
                naming = place if place.kind in ("for", "set") else None
                if token.type != "block_begin":
                    yield self._mark(place, token.lineno)
            yield token
            if token.type == "block_end" and naming is not None:
                yield self._mark(naming, token.lineno)
                if naming.kind == "for":
                    yield from _printed(token.lineno, ("name", "loop"), ("dot", "."), ("name", "index0"))
                naming = None

    def _mark(self, place: Place, line: int) -> Token:
        self.places.append(place)
        return Token(line, "data", f"\ue000{len(self.places) - 1}\ue001")


def _printed(line: int, *tokens: tuple[str, str]) -> Iterator[Token]:
    around = [("variable_begin", ""), *tokens, ("variable_end", "")]
    return (Token(line, kind, value) for kind, value in around)


def source_of(environment: jinja2.Environment, template: str) -> str:
    """The text of a template, with the line ends by which offsets are counted."""
    assert environment.loader is not None
    return re.sub("\r\n?", "\n", environment.loader.get_source(environment, template)[0])


def places_of(environment: jinja2.Environment, template: str) -> list[Place]:
    """Everything that a template holds but its comments, in order."""
    source = source_of(environment, template)
    places: list[Place] = []
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
        kind = {"data": "text", "variable_end": "expression"}.get(token) or _kind_of_block(text)
        depth -= kind == "block" and text.split()[0] == "endfor"
        places.append(Place(template, offset, source.count("\n", 0, offset) + 1, kind, text, depth))
        depth += kind == "for"
    return places


def _kind_of_block(text: str) -> str:
    word = text.split()[0]
    return word if word == "for" or (word == "set" and "=" in text) else "block"


def pages(templates: Path) -> dict[str, str]:
    """The template of every page, by the page's path in the paper's folder: the tables, and `paper.tex`. The
    other templates are included by these."""
    names = sorted(path.name for path in templates.glob(f"*{SUFFIX}"))
    found = {f"tables/{name.removesuffix(TABLE)}.tex": name for name in names if name.endswith(TABLE)}
    return found | ({"paper.tex": PAPER} if PAPER in names else {})


def render_traced(templates: Path, values: Mapping[str, Any]) -> dict[str, list[Piece]]:
    """Every page as pieces: joined, they are what `render_latex` gives, byte by byte.

    Raises `UserError` for a template that cannot be rendered with `values`.
    """
    environment = latex_environment(templates)
    environment.add_extension(Marking)
    marking = environment.extensions[Marking.identifier]
    assert isinstance(marking, Marking)
    rendered = {}
    for page, name in pages(templates).items():
        try:
            rendered[page] = list(_pieces(environment.get_template(name).render(values), marking.places))
        except jinja2.TemplateError as error:
            raise UserError(f"{templates / name}: cannot be rendered ({error}); restore it") from None
    return rendered


def _pieces(marked: str, places: Sequence[Place]) -> Iterator[Piece]:
    """What was printed between the marks. Names are kept by template and loop, the innermost last."""
    scopes: dict[str, list[dict[str, str]]] = {}
    offset, parts = 0, MARK.split(marked)
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        place = places[int(number)]
        scope = scopes.setdefault(place.template, [{}])
        del scope[place.depth + 1 :]
        names = ChainMap(*reversed(scope))
        if place.kind == "for":
            scope.append(_names_of_loop(place.text, int(text), names))
        elif place.kind == "set":
            target, _, value = place.text.partition("=")
            scope[-1][target.split()[-1]] = f"({in_full(value, names).strip()})"
        else:
            item = in_full(place.text, names) if place.kind == "expression" else ""
            yield Piece(place, text, offset, item)
            offset += len(text)


def _names_of_loop(text: str, index: int, names: Mapping[str, str]) -> dict[str, str]:
    targets, _, over = text.strip().removeprefix("for ").partition(" in ")
    filtered, whole = " if " in over, in_full(over, names).strip()
    element = f"({whole})[{index}]" if filtered else f"{whole}[{index}]"
    if "," not in targets:
        return {targets.strip(): element}
    return {name.strip(): f"{element}[{place}]" for place, name in enumerate(targets.split(","))}


def in_full(expression: str, names: Mapping[str, str]) -> str:
    """An expression with `names` replaced by what they stand for."""
    return NAME.sub(lambda found: names.get(found[0], found[0]), expression)
