"""What may be typed next in a query: steps, keys, values, predicates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, final

import attrs
import msgspec

from skycore.cli.shell.scan import Place, scan
from skycore.errors import ClientError

_GRAPH: Final = "graph"
_VALUES_AT_MOST: Final = 100
# Steps whose arguments are keys, and those whose arguments are keys and values in turn.
_KEYS: Final = frozenset({"haskey", "hasnot", "values", "dedup", "sum", "group"})
_MOVES: Final = frozenset(
    ["out", "in", "both", "oute", "ine", "bothe", "outv", "inv", "bothv", "nodes", "hops", "flows"]
)
_PAIRS: Final = frozenset({"has", "haseither", "v", "e"}) | _MOVES
_WORDS: Final = {"sort": ("ASC", "DESC"), "at": ("NOW",), "context": ("NOW",)}


class Step(msgspec.Struct):
    """As `/api/gremlin` describes it."""

    Name: str
    Aliases: list[str]
    Parameters: str
    Summary: str
    Gives: dict[str, str]


class Language(msgspec.Struct):
    """What `/api/gremlin` answers."""

    Steps: list[Step]
    Predicates: list[str]


@final
@attrs.frozen
class Suggestion:
    """``text`` replaces what was typed from ``start`` on; ``meaning`` is shown beside it."""

    text: str
    start: int
    meaning: str = ""


@final
class Suggester:
    """Knows the language, and asks for keys and values; ``ask`` gives the result of a query."""

    def __init__(self, language: Language, ask: Callable[[str], Any]) -> None:
        self._language = language
        self._ask = ask
        self._steps = {name.lower(): step for step in language.Steps for name in (step.Name, *step.Aliases)}
        self._known: dict[str, list[Any]] = {}

    def step(self, name: str) -> Step | None:
        """The step of this name or alias, in any case."""
        return self._steps.get(name.lower())

    @property
    def steps(self) -> Sequence[Step]:
        return self._language.Steps

    def forget(self) -> None:
        """Ask for keys and values anew; the graph has moved on."""
        self._known.clear()

    def after(self, text: str) -> Iterator[Suggestion]:
        """What may follow the text."""
        place = scan(text)
        if not place.calls:
            yield from self._next_steps(place)
            return
        call = place.calls[-1]
        if place.quote or not place.word:
            yield from self._arguments(text, place)
        if not place.quote:
            words = (*_WORDS.get(call.name.lower(), ()), *(f"{name}(" for name in self._language.Predicates))
            yield from (Suggestion(word, place.start) for word in words if _begins(word, place.word) and place.word)

    def _next_steps(self, place: Place) -> Iterator[Suggestion]:
        if not place.after_dot:
            if not place.steps and _begins("G", place.word):
                yield Suggestion("G", place.start, "the graph")
            return
        kind = self._kind(place.steps)
        for step in self._language.Steps:
            for name in (step.Name, *step.Aliases):
                if _begins(name, place.word) and (kind is None or kind in step.Gives):
                    empty = step.Parameters == "()"
                    yield Suggestion(
                        f"{name}{'()' if empty else '('}", place.start, f"{step.Parameters} {step.Summary}"
                    )

    def _kind(self, steps: Sequence[str]) -> str | None:
        """What the steps give; None when one is unknown."""
        kind = _GRAPH
        for name in steps:
            if name.upper() == "G":
                continue
            step = self.step(name)
            given = step.Gives.get(kind) if step else None
            if given is None:
                return None
            kind = given
        return kind

    def _arguments(self, text: str, place: Place) -> Iterator[Suggestion]:
        of = place.calls[-1]
        inside = None
        if len(place.calls) > 1:
            # A value inside a predicate: Has('Name', Within('…
            inside, of = of, place.calls[-2]
        name = of.name.lower()
        before = _stream(text[: place.calls[0].start], name)
        if name in _KEYS or (name in _PAIRS and inside is None and len(of.arguments) % 2 == 0):
            yield from self._quoted(place, map(str, self._asked(f"{before}.Keys()")), "key")
        elif name in _PAIRS and of.arguments:
            key = _unquoted(of.arguments[-1])
            if key:
                query = f"{before}.HasKey({json.dumps(key)}).Dedup({json.dumps(key)}).Limit({_VALUES_AT_MOST})"
                found = self._asked(f"{query}.Values({json.dumps(key)})")
                yield from self._quoted(place, found, f"value of {key}")

    def _quoted(self, place: Place, values: Any, meaning: str) -> Iterator[Suggestion]:
        quote = place.quote or "'"
        for value in values:
            if isinstance(value, str):
                # As a string of the language is written; the quote that stands there already is not repeated.
                written = json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"').replace(quote, f"\\{quote}")
                if _begins(written, place.word):
                    yield Suggestion(f"{'' if place.quote else quote}{written}{quote}", place.start, meaning)
            elif not place.quote and not isinstance(value, list | dict | bool) and value is not None:
                yield Suggestion(json.dumps(value), place.start, meaning)

    def _asked(self, query: str) -> list[Any]:
        """The values that a query gives; none when it cannot be answered, as what stands before may be wrong."""
        if query not in self._known:
            try:
                found = self._ask(query)
            except ClientError:
                found = None
            self._known[query] = found if isinstance(found, list) else []
        return self._known[query]


def _stream(before: str, name: str) -> str:
    """The query of the elements that a step chooses from."""
    before = before.rstrip().removesuffix(".").rstrip()
    if name in ("v", "e"):
        return f"{before}.{name.upper()}()"
    if name in _MOVES:
        return f"{before}.{name}()"
    return before


def _begins(whole: str, typed: str) -> bool:
    return whole.lower().startswith(typed.lower())


def _unquoted(argument: str) -> str:
    return argument[1:-1] if len(argument) > 1 and argument[0] in "'\"" and argument[-1] == argument[0] else ""
