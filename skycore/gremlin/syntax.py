"""From query text to syntax tree, and back.

::

    query     := 'G' { '.' step }
    step      := 'G' | NAME '(' parameters ')'
    parameters := { parameter [','] }
    parameter := number | string | TRUE | FALSE | ASC | DESC | NOW | FOREVER | PREDICATE '(' parameters ')'

Keywords and step names are written in any case.  White space (space, tab, CR, LF) is allowed between tokens, and
commas between parameters may be left out.  Numbers are those of JSON.  A string stands in ``'`` or ``"`` and may hold
the escapes of JSON and ``\\'``; before any other character a backslash stands for itself, so that
``Regex('eth\\d+')`` means what it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias, final

import attrs

from skycore.errors import GremlinSyntaxError

MAX_LENGTH: Final = 64 << 10
MAX_STEPS: Final = 1000
MAX_DEPTH: Final = 16

# Predicates, and how many parameters each takes (None: any number).
PREDICATES: Final[dict[str, int | None]] = {
    "Within": None,
    "Without": None,
    "Metadata": None,
    "Lt": 1,
    "Gt": 1,
    "Lte": 1,
    "Gte": 1,
    "Ne": 1,
    "Nee": 1,
    "Regex": 1,
    "Ipv4Range": 1,
    "Inside": 2,
    "Outside": 2,
    "Between": 2,
}
_PREDICATE_NAMES: Final = {name.upper(): name for name in PREDICATES}
_WORDS: Final = frozenset({"ASC", "DESC", "NOW", "FOREVER"})


@final
@attrs.frozen
class Literal:
    """A number, string or bool; ``offset`` is its place in the query."""

    value: str | int | float | bool = attrs.field(eq=lambda value: (type(value), value))
    offset: int = attrs.field(default=0, eq=False)


@final
@attrs.frozen
class Word:
    """``ASC``, ``DESC``, ``NOW`` or ``FOREVER``."""

    name: str
    offset: int = attrs.field(default=0, eq=False)


@final
@attrs.frozen
class Predicate:
    """A call inside parameters, such as ``Ne('lo')``; ``name`` is one of PREDICATES."""

    name: str
    arguments: tuple[Parameter, ...]
    offset: int = attrs.field(default=0, eq=False)


Parameter: TypeAlias = Literal | Word | Predicate


@final
@attrs.frozen
class Step:
    """One step; ``name`` is spelt as its definition spells it.  ``G`` has no parameters and no parentheses."""

    name: str
    arguments: tuple[Parameter, ...] = ()
    offset: int = attrs.field(default=0, eq=False)


@final
@attrs.frozen
class Query:
    """The steps after the first ``G``."""

    steps: tuple[Step, ...]


def parse(text: str, names: Mapping[str, str]) -> Query:
    """Read a query.  ``names`` gives for each step name in upper case the spelling that the tree shall have.

    Raises GremlinSyntaxError with the place of the first thing that cannot be read.
    """
    if len(text) > MAX_LENGTH:
        raise GremlinSyntaxError(f"the query is too long: {len(text)} characters, at most {MAX_LENGTH} are taken")
    surrogate = _SURROGATE.search(text)
    if surrogate:
        raise GremlinSyntaxError("a lone surrogate is no character", text, surrogate.start())
    return _Parser(text, names).query()


def write(query: Query) -> str:
    """The text of a tree; parsing it gives the same tree again."""
    return "".join(["G", *(f".{write_step(step)}" for step in query.steps)])


def write_parameter(parameter: Parameter) -> str:
    match parameter:
        case Literal(value):
            return json.dumps(value, ensure_ascii=False)
        case Word(name):
            return name
        case Predicate(name, arguments):
            return f"{name}({', '.join(map(write_parameter, arguments))})"


def show(parameters: Iterable[Parameter]) -> str:
    """Parameters as Skydive's messages show them: ``[a 1 true]``, cut after 200 characters."""
    texts = (
        one.value if isinstance(one, Literal) and isinstance(one.value, str) else write_parameter(one)
        for one in parameters
    )
    return f"[{_cut(' '.join(texts), 200)}]"


def write_step(step: Step) -> str:
    """The text of one step, without the dot before it."""
    return "G" if step.name == "G" else f"{step.name}({', '.join(map(write_parameter, step.arguments))})"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


_SURROGATE = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(
    r"""[ \t\r\n]*+
    (?: (?P<name>[A-Za-z][A-Za-z0-9_]*+)
      | (?P<number>-?[0-9](?:[eE][+-]|[A-Za-z0-9_.])*+)
      | (?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
      | (?P<mark>[().,])
      | (?P<end>\Z)
      | (?P<unknown>.) )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NUMBER = re.compile(r"-?[0-9]+(?P<float>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_ESCAPE = re.compile(
    r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<code>[0-9a-fA-F]{4})|(?P<char>.))",
    re.DOTALL,
)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\", "/": "/"}


class _Parser:
    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self._text = text
        self._names = names
        self._next = self._scan(0)

    def query(self) -> Query:
        first = self._take()
        if first.text.upper() != "G":
            raise self._error(f'found "{_cut(first.text, 40)}", expected `G`', first)
        steps: list[Step] = []
        while self._next.kind != "end":
            dot = self._take()
            if dot.text != ".":
                raise self._error(f'found "{_cut(dot.text, 40)}", expected `.`', dot)
            step = self._step()
            if len(steps) == MAX_STEPS:
                raise GremlinSyntaxError(f"too many steps: at most {MAX_STEPS} are taken", self._text, step.offset)
            steps.append(step)
        return Query(tuple(steps))

    def _step(self) -> Step:
        token = self._take()
        upper = token.text.upper() if token.kind == "name" else ""
        if upper == "G":
            return Step("G", (), token.offset)
        name = self._names.get(upper)
        if name is None:
            message = f"Expected step function, got: {_shown(token)}"
            raise self._error(message + (_suggestion(token.text, self._names.values()) if upper else ""), token)
        return Step(name, self._parameters(1), token.offset)

    def _parameters(self, depth: int) -> tuple[Parameter, ...]:
        opening = self._take()
        if opening.text != "(":
            raise self._error(f"Expected left parenthesis, got: {_shown(opening)}", opening)
        if depth > MAX_DEPTH:
            raise self._error(f"parameters are nested too deeply: at most {MAX_DEPTH} levels are taken", opening)
        parameters: list[Parameter] = []
        while True:
            token = self._take()
            if token.text == ")":
                return tuple(parameters)
            if token.kind == "end":
                raise self._error("Expected right parenthesis", token)
            if token.text != ",":
                parameters.append(self._parameter(token, depth))

    def _parameter(self, token: _Token, depth: int) -> Parameter:
        if token.kind == "string":
            return Literal(self._string(token), token.offset)
        if token.kind == "number":
            return Literal(self._number(token), token.offset)
        if token.kind == "name":
            upper = token.text.upper()
            if upper in ("TRUE", "FALSE"):
                return Literal(upper == "TRUE", token.offset)
            if upper in _WORDS:
                return Word(upper, token.offset)
            name = _PREDICATE_NAMES.get(upper)
            if name is not None:
                return self._predicate(name, token, self._parameters(depth + 1))
            suggestion = _suggestion(token.text, PREDICATES)
            raise self._error(f"Unexpected token while parsing parameters, got: {_shown(token)}{suggestion}", token)
        if token.text in ('"', "'"):
            raise self._error(f"Unterminated string: the closing {token.text} is missing", token)
        raise self._error(f"Unexpected token while parsing parameters, got: {_shown(token)}", token)

    def _predicate(self, name: str, token: _Token, arguments: tuple[Parameter, ...]) -> Predicate:
        count = PREDICATES[name]
        if count is not None and len(arguments) != count:
            expected = "One parameter" if count == 1 else "Two parameters"
            raise self._error(f"{expected} expected with {name.upper()}: {show(arguments)}", token)
        if name == "Metadata" and len(arguments) % 2:
            raise self._error(f"slice must be defined by pair k,v: {show(arguments)}", token)
        return Predicate(name, arguments, token.offset)

    def _number(self, token: _Token) -> int | float:
        match = _NUMBER.fullmatch(token.text)
        # No longer text can stand for a number of 64 bits, and Python refuses to convert very long ones.
        if match and len(token.text) <= 400:
            if not match["float"]:
                integer = int(token.text)
                if -(1 << 63) <= integer < 1 << 64:
                    return integer
            elif abs(number := float(token.text)) != float("inf"):
                return number
        raise self._error(f"Expected number token, got: {_shown(token)}", token)

    def _string(self, token: _Token) -> str:
        body = token.text[1:-1]
        if "\\" not in body:
            return body

        def replace(match: re.Match[str]) -> str:
            if match["high"]:
                return chr(0x10000 + ((int(match["high"], 16) - 0xD800) << 10) + int(match["low"], 16) - 0xDC00)
            char: str = match["char"] or chr(int(match["code"], 16))
            if match["char"] and char != "u":
                return _ESCAPES.get(char, "\\" + char)
            if match["char"] or _SURROGATE.match(char):
                place = token.offset + 1 + match.start()
                raise GremlinSyntaxError(
                    r"\u needs the four hexadecimal digits of a character (or two such pairs of surrogates)",
                    self._text,
                    place,
                )
            return char

        return _ESCAPE.sub(replace, body)

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._next = self._scan(token.offset + len(token.text))
        return token

    def _scan(self, start: int) -> _Token:
        match = _TOKEN.match(self._text, start)
        assert match is not None  # every text goes on with a token, be it an unknown one
        assert match.lastgroup is not None
        return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))

    def _error(self, message: str, token: _Token) -> GremlinSyntaxError:
        return GremlinSyntaxError(message, self._text, token.offset)


def _shown(token: _Token) -> str:
    return "end of query" if token.kind == "end" else _cut(token.text, 40)


def _suggestion(name: str, known: Iterable[str]) -> str:
    if len(name) > 40:
        return ""
    # Imported only for a wrong query.
    from difflib import get_close_matches  # noqa: PLC0415

    spellings = {spelling.upper(): spelling for spelling in known}
    close = get_close_matches(name.upper(), spellings, n=1, cutoff=0.6)
    return f" (did you mean {spellings[close[0]]}?)" if close else ""
