"""``Dedup`` and ``Sort``, ``Limit`` and ``Range``: which items, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar, Final, final

import attrs
import msgspec

from skycore.filter import EVERYTHING, MISSING
from skycore.graph.fields import freeze
from skycore.graph.pieces import sort_in_pieces
from skycore.gremlin.operation import (
    EDGES,
    ELEMENT_KINDS,
    NODES,
    PATHS,
    VALUES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
    column,
    prepare_key,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import by_element, element_ids
from skycore.gremlin.syntax import Literal, Parameter, Word, write_parameter

_ELEMENTS = {NODES: NODES, EDGES: EDGES}
_LISTS = {**_ELEMENTS, VALUES: VALUES, PATHS: PATHS}


def window_after(start: int, stop: int | None, following: Operation) -> tuple[int, int | None] | None:
    """The window that a following operation leaves of one, None when it is more than a window."""
    if not isinstance(following, Narrow) or following.filter != EVERYTHING:
        return None
    window = Narrow(start=start, stop=stop).then(following)
    return None if window is None else (window.start, window.stop)


@final
@attrs.frozen
class KeepFirst(Operation):
    """Keep the first of the items that are the same, and of these the ones from ``start`` up to ``stop``."""

    looks_around: ClassVar[bool] = False

    keys: tuple[str, ...]
    start: int = 0
    stop: int | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        seen: set[Hashable] = set()
        kept: list[Any] = []
        for key in self.keys:
            yield from prepare_key(execution.view, ELEMENT_KINDS[stream.kind], key, stream.items)
        for part in chunks(stream.items):
            if self.stop is not None and len(kept) >= self.stop:
                break
            for item, identity in zip(part, self._identities(execution, stream.kind, part), strict=True):
                if identity is None or identity not in seen:
                    seen.add(identity)
                    kept.append(item)
            execution.hold(len(kept))
            yield
        return Stream(stream.kind, kept if not self.start and self.stop is None else kept[self.start : self.stop])

    def _identities(self, execution: Execution, kind: Kind, part: list[Any]) -> Iterable[Hashable]:
        """What makes each item the same as another; None: it is the same as no other."""
        if kind == VALUES:
            return [value if type(value) is str else _NULL if value is None else freeze(value) for value in part]
        if not self.keys:
            return element_ids(execution.view, part)
        columns = [execution.view.values(ELEMENT_KINDS[kind], key, part) for key in self.keys]
        rows: Iterable[tuple[Any, ...]] = zip(*columns, strict=True)
        return [None if all(value is MISSING for value in row) else tuple(map(freeze, row)) for row in rows]

    def absorb(self, following: Operation) -> Operation | None:
        window = window_after(self.start, self.stop, following)
        return None if window is None else KeepFirst(self.keys, *window)

    @property
    def ignores_repetitions(self) -> bool:
        return not self.keys

    def without_repetitions(self) -> Operation | None:
        return None if self.keys or self.start or self.stop is not None else self

    def in_any_order(self) -> Operation | None:
        # Of those with the same values it depends on the order which one is kept.
        return None if self.keys or self.start or self.stop is not None else self


@final
@attrs.frozen
class NodesOfPaths(Operation):
    """The nodes on paths, each once."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        nodes: dict[str, None] = {}
        for part in chunks(stream.items):
            for path in part:
                nodes.update(dict.fromkeys(path))
            yield
        found = yield from by_element(execution.view, nodes)
        return Stream(NODES, [items[0] for items in found.values()])


@step("Dedup", parameters="([key, …])", gives={**_ELEMENTS, VALUES: VALUES, PATHS: NODES}, named_refusal=True)
def dedup(call: Call, kind: Kind) -> Operation:
    """Keeps the first of those with the same ID, or the same values of the keys; of paths: their nodes, each once."""
    message = f"Dedup parameters have to be string keys : {call.shown()}"
    keys = tuple(call.text(argument, message) for argument in call.arguments)
    if keys and kind not in ELEMENT_KINDS:
        after = "Values" if kind == VALUES else "ShortestPathTo"
        raise call.error(f"Dedup after {after} takes no keys : {call.shown()}", call.arguments[0])
    return NodesOfPaths() if kind == PATHS else KeepFirst(keys)


_NULL: Final = ("null",)
_BUCKET: Final = 2048


@final
@attrs.frozen
class SortBy(Operation):
    """Sort elements by a key; what is equal stays in the order in which it came, what lacks the key comes last."""

    looks_around: ClassVar[bool] = False

    key: str
    descending: bool
    start: int = 0
    stop: int | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        items = list(stream.items)
        values = yield from column(execution, ELEMENT_KINDS[stream.kind], self.key, items)
        ranks, whole = yield from _ranks(values)
        there: list[int] = []
        lacking: list[int] = []
        for part in chunks(range(len(values)), _BUCKET):
            if whole:
                there += part
            else:
                there += [index for index in part if values[index] is not MISSING]
                lacking += [index for index in part if values[index] is MISSING]
            yield
        by: Callable[[int], Any] = ranks.__getitem__
        if self.stop is not None and self.stop * 8 < len(there):
            chosen = heapq.nlargest if self.descending else heapq.nsmallest
            ordered: list[int] = []
            # The first ones of what is sorted so far and the next part; like sorted(), the heap keeps equals in order.
            for part in chunks(there, _BUCKET):
                ordered = chosen(self.stop, ordered + part, key=by)
                yield
        else:
            ordered = yield from sort_in_pieces(there, by, descending=self.descending)
        if self.stop is None or len(ordered) < self.stop:
            ordered += lacking
        sorted_items: list[str] = []
        for part in chunks(ordered[self.start : self.stop], _BUCKET):
            sorted_items += [items[index] for index in part]
            yield
        return Stream(stream.kind, sorted_items)

    def absorb(self, following: Operation) -> Operation | None:
        window = window_after(self.start, self.stop, following)
        return None if window is None else attrs.evolve(self, start=window[0], stop=window[1])

    def without_repetitions(self) -> Operation | None:
        return None if self.start or self.stop is not None else self

    in_any_order = without_repetitions


def _ranks(values: Sequence[Any]) -> Work[tuple[Sequence[Any], bool]]:
    """What to compare: the values themselves where that is possible, else (0, number), (1, string), (2, JSON).

    And whether no value is missing.
    """
    types: set[type] = set()
    for part in chunks(values, _BUCKET):
        types.update(map(type, part))
        yield
    whole = type(MISSING) not in types
    types.discard(type(MISSING))
    if types <= {int, float, bool} or types == {str}:
        return values, whole
    ranks: list[Any] = []
    for part in chunks(values):
        ranks += map(_rank, part)
        yield
    return ranks, whole


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    return (2, b"" if value is MISSING else msgspec.json.encode(value, order="deterministic"))


@step("Sort", parameters="([ASC|DESC, ]key)", gives=_ELEMENTS, named_refusal=True)
def sort(call: Call, kind: Kind) -> Operation:
    """Sorts by a key (none: by creation time): numbers, then strings, then others; without the key: last."""
    return SortBy(*sort_arguments(call, "@CreatedAt"))


def sort_arguments(call: Call, default: str) -> tuple[str, bool]:
    """The key that the parameters of a ``Sort`` name, and whether to sort descending."""
    arguments = call.arguments
    if not arguments:
        return default, False
    if len(arguments) > 2:
        raise call.error(f"Sort accepts at most two parameters : {call.shown()}", arguments[2])
    descending = False
    if len(arguments) == 2:
        order = arguments[0]
        if not isinstance(order, Word) or order.name not in ("ASC", "DESC"):
            raise call.error(f"Use ASC or DESC predicate : {write_parameter(order)[:200]}", order)
        descending = order.name == "DESC"
    key = arguments[-1]
    return call.text(key, f"Sort parameter has to be a string key : {write_parameter(key)[:200]}"), descending


@step("Limit", parameters="(n)", gives=_LISTS, named_refusal=True)
def limit(call: Call, kind: Kind) -> Operation:
    """The first n."""
    if len(call.arguments) != 1:
        raise call.error(f"Limit requires 1 parameter : {call.shown()}")
    return Narrow(stop=_index(call, call.arguments[0]))


@step("Range", parameters="(from, to)", gives=_LISTS, named_refusal=True)
def range_(call: Call, kind: Kind) -> Operation:
    """Those from the place `from` (the first is 0) up to but not including the place `to`."""
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


STEPS = (dedup, sort, limit, range_)
