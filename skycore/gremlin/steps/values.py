"""``Values``, ``ValueMap``, ``Keys``, ``Sum``: what stands in the elements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, Final, final

import attrs

from skycore.filter import MISSING, Filter, compile_filter, lookup, metadata_path, number_of
from skycore.graph import element
from skycore.graph.fields import fields
from skycore.gremlin.operation import (
    COUNT,
    EDGES,
    ELEMENT_KINDS,
    METRICS,
    NODES,
    OBJECT,
    SOCKETS,
    VALUES,
    Execution,
    Kind,
    Operation,
    Stream,
    Work,
    chunks,
    column,
    fetch,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.steps.metrics import KeysOfMetrics, SumMetrics
from skycore.gremlin.steps.sockets import ValuesOfSockets

_ELEMENTS: Final = (NODES, EDGES)


def _empty(value: Any) -> bool:
    return value is MISSING or value in ([], {})


@final
@attrs.frozen
class TakeValues(Operation):
    """The values of a key; elements without it, or with an empty list or object there, are left out."""

    looks_around: ClassVar[bool] = False

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found = yield from column(execution, ELEMENT_KINDS[stream.kind], self.key, stream.items)
        taken: list[Any] = []
        for part in chunks(found, 4096):
            taken += [value for value in part if type(value) is str or not _empty(value)]
            execution.hold(len(taken))
            yield
        return Stream(VALUES, taken)


@step("Values", parameters="(key)", gives=dict.fromkeys((*_ELEMENTS, SOCKETS), VALUES), named_refusal=True)
def values(call: Call, kind: Kind) -> Operation:
    """The value of the key of each element that has it, of sockets: of each socket."""
    key = call.one_text(f"Values requires 1 parameter : {call.shown()}")
    return ValuesOfSockets(key) if kind == SOCKETS else TakeValues(key)


@final
@attrs.frozen
class TakeValueMaps(Operation):
    """An object with those of the keys that an element has; elements without any are left out."""

    looks_around: ClassVar[bool] = False

    keys: tuple[str, ...]

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        columns: list[list[Any]] = []
        for key in self.keys:
            columns.append((yield from column(execution, ELEMENT_KINDS[stream.kind], key, stream.items)))
        taken: list[Any] = []
        for part in chunks(zip(*columns, strict=True)):
            for row in part:
                found = {key: value for key, value in zip(self.keys, row, strict=True) if value is not MISSING}
                if found:
                    taken.append(found)
            yield
        return Stream(VALUES, taken)


@step("ValueMap", parameters="(key, …)", gives=dict.fromkeys(_ELEMENTS, VALUES), named_refusal=True)
def value_map(call: Call, kind: Kind) -> Operation:
    """Of each element an object with those of the keys that it has; `Has` may follow."""
    message = f"ValueMap requires at least one key parameter, keys have to be strings : {call.shown()}"
    if not call.arguments:
        raise call.error(message)
    return TakeValueMaps(tuple(dict.fromkeys(call.text(argument, message) for argument in call.arguments)))


@final
@attrs.frozen
class NarrowValues(Operation):
    """Keep the objects for which a filter holds."""

    looks_around: ClassVar[bool] = False

    filter: Filter

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        holds = compile_filter(self.filter)
        kept: list[Any] = []
        for part in chunks(stream.items):
            kept += [value for value in part if holds(partial(_inside, value))]
            yield
        return Stream(stream.kind, kept)


def _inside(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        return MISSING
    # ValueMap names what it took by the whole key.
    return value[key] if key in value else lookup(value, metadata_path(key))


@final
@attrs.frozen
class TakeKeys(Operation):
    """All keys that some element has, those of objects inside each other joined by dots: fields, then metadata."""

    looks_around: ClassVar[bool] = False

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind = ELEMENT_KINDS[stream.kind]
        beside: dict[str, None] = {}
        found: set[str] = set()
        for part in chunks(dict.fromkeys(stream.items), 64):
            for revision in (yield from fetch(execution.view, kind, part)):
                get = fields(revision)
                beside.update((field, None) for field in _FIELDS[kind] if get(field) is not MISSING)
                found.update(_keys(revision.metadata(), ""))
            execution.hold(len(found))
            yield
        return Stream(VALUES, [*beside, *sorted(found)])


_COMMON: Final = ("@ID", "@Host", "@Origin", "@CreatedAt", "@UpdatedAt", "@DeletedAt", "@Revision", "@Stale")
_FIELDS: Final[dict[element.Kind, tuple[str, ...]]] = {"node": _COMMON, "edge": (*_COMMON, "Parent", "Child")}


def _keys(value: Any, before: str) -> Iterator[str]:
    # As deep as metadata may be, which is bounded where it enters the graph.
    if isinstance(value, dict):
        for key, member in value.items():
            # What has a dot or nothing in its name cannot be asked for.
            if key and "." not in key:
                yield before + key
                yield from _keys(member, f"{before}{key}.")
    elif isinstance(value, list):
        for member in value:
            if isinstance(member, dict):
                yield from _keys(member, before)


@step("Keys", parameters="()", gives=dict.fromkeys((*_ELEMENTS, METRICS), VALUES), named_refusal=True)
def keys(call: Call, kind: Kind) -> Operation:
    """The keys that there are to ask for; of metrics: their counters."""
    call.refuse_parameters()
    return KeysOfMetrics() if kind == METRICS else TakeKeys()


@final
@attrs.frozen
class SumValues(Operation):
    """The sum of what counts as a number under a key, members of lists included."""

    looks_around: ClassVar[bool] = False

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found = yield from column(execution, ELEMENT_KINDS[stream.kind], self.key, stream.items)
        total: int | float = 0
        for part in chunks(found, 1024):
            for value in part:
                for member in value if isinstance(value, list) else (value,):
                    number = number_of(member)
                    if number is not None:
                        total += number
            yield
        return Stream(COUNT, (total,))


@step("Sum", parameters="([key])", gives={NODES: COUNT, EDGES: COUNT, METRICS: OBJECT}, named_refusal=True)
def sum_(call: Call, kind: Kind) -> Operation:
    """The sum of the key's numbers; of metrics without a key: one metric object, each counter summed."""
    if kind == METRICS and not call.arguments:
        return SumMetrics(None)
    key = call.one_text(f"Sum requires 1 parameter : {call.shown()}")
    return SumMetrics(key) if kind == METRICS else SumValues(key)


STEPS = (values, value_map, keys, sum_)
