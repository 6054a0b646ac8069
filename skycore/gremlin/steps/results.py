"""``Count``, ``Values``, ``Dedup``, ``Limit``, ``Range``: steps that shape what is answered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, final

import attrs

from skycore.graph.fields import freeze
from skycore.graph.view import MISSING
from skycore.gremlin.operation import (
    COUNT,
    EDGES,
    ELEMENT_KINDS,
    NODES,
    VALUES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.syntax import Literal, Parameter, write_parameter

_ELEMENTS = {NODES: NODES, EDGES: EDGES}


@final
@attrs.frozen
class CountItems(Operation):
    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return Stream(COUNT, (len(stream.items),))
        yield


@step("Count", parameters="()", gives={NODES: COUNT, EDGES: COUNT}, named_refusal=True)
def count(call: Call, kind: Kind) -> Operation:
    """The number of elements."""
    call.refuse_parameters()
    return CountItems()


@final
@attrs.frozen
class TakeValues(Operation):
    """The values of a key; elements without it, or with an empty list or object there, are left out."""

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind = ELEMENT_KINDS[stream.kind]
        taken: list[Any] = []
        for part in chunks(stream.items):
            for value in execution.view.values(kind, self.key, part):
                if value is not MISSING and value not in ([], {}):
                    taken.append(value)
            execution.hold(len(taken))
            yield
        return Stream(VALUES, taken)


@step("Values", parameters="(key)", gives={NODES: VALUES}, named_refusal=True)
def values(call: Call, kind: Kind) -> Operation:
    """The value of the key of each node that has it."""
    return TakeValues(call.one_text(f"Values requires 1 parameter : {call.shown()}"))


@final
@attrs.frozen
class KeepFirst(Operation):
    """Keep the first of the items that are the same, and of these the ones from ``start`` up to ``stop``."""

    keys: tuple[str, ...]
    start: int = 0
    stop: int | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        seen: set[Hashable] = set()
        kept: list[Any] = []
        for part in chunks(stream.items):
            if self.stop is not None and len(kept) >= self.stop:
                break
            for item, identity in zip(part, self._identities(execution, stream.kind, part), strict=True):
                if identity is None or identity not in seen:
                    seen.add(identity)
                    kept.append(item)
            execution.hold(len(kept))
            yield
        return Stream(stream.kind, kept[self.start : self.stop])

    def _identities(self, execution: Execution, kind: Kind, part: list[Any]) -> Iterable[Hashable]:
        """What makes each item the same as another; None: it is the same as no other."""
        if kind == VALUES:
            return [("value", freeze(value)) for value in part]
        if not self.keys:
            return part
        columns = [execution.view.values(ELEMENT_KINDS[kind], key, part) for key in self.keys]
        rows: Iterable[tuple[Any, ...]] = zip(*columns, strict=True)
        return [None if all(value is MISSING for value in row) else tuple(map(freeze, row)) for row in rows]

    def absorb(self, following: Operation) -> Operation | None:
        if not isinstance(following, Narrow):
            return None
        window = Narrow(start=self.start, stop=self.stop).then(following)
        if window is None or window.filter != Narrow().filter:
            return None
        return KeepFirst(self.keys, window.start, window.stop)


@step("Dedup", parameters="([key, …])", gives={**_ELEMENTS, VALUES: VALUES}, named_refusal=True)
def dedup(call: Call, kind: Kind) -> Operation:
    """Keeps the first of equal elements: of the same ID, or of the same values of the keys (having none: all kept)."""
    message = f"Dedup parameters have to be string keys : {call.shown()}"
    keys = tuple(call.text(argument, message) for argument in call.arguments)
    if kind == VALUES and keys:
        raise call.error(f"Dedup after Values takes no keys : {call.shown()}", call.arguments[0])
    return KeepFirst(keys)


@step("Limit", parameters="(n)", gives=_ELEMENTS, named_refusal=True)
def limit(call: Call, kind: Kind) -> Operation:
    """The first n elements."""
    if len(call.arguments) != 1:
        raise call.error(f"Limit requires 1 parameter : {call.shown()}")
    return Narrow(stop=_index(call, call.arguments[0]))


@step("Range", parameters="(from, to)", gives=_ELEMENTS, named_refusal=True)
def range(call: Call, kind: Kind) -> Operation:
    """The elements from the place `from` (the first is 0) up to but not including the place `to`."""
    if len(call.arguments) != 2:
        raise call.error(f"Range requires 2 parameters : {call.shown()}")
    start, stop = (_index(call, argument) for argument in call.arguments)
    return Narrow(start=start, stop=max(start, stop))


_GO_TYPES: dict[type, tuple[str, Callable[[Any], str]]] = {
    float: ("float64", lambda value: repr(value).removesuffix(".0")),
    bool: ("bool", lambda value: "true" if value else "false"),
}


def _index(call: Call, argument: Parameter) -> int:
    value = argument.value if isinstance(argument, Literal) else None
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise call.error(f"{value} is negative: {call.name} counts from 0", argument)
        return value
    if isinstance(value, str):
        shown = value[:200]
    elif value is not None:
        name, form = _GO_TYPES[type(value)]
        shown = f"%!s({name}={form(value)})"
    else:
        shown = write_parameter(argument)[:200]
    raise call.error(f"{shown} is not an integer", argument)


STEPS = (count, values, dedup, limit, range)
