"""What a FlowQuery means over JSON records, and what is needed to split it between several who answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial, total_ordering
from typing import Any, Final, TypeAlias, final

import msgspec

from skycore.filter import EVERYTHING, MISSING, All, Filter, Not, compile_filter
from skycore.filter import Any as AnyOf
from skycore.flow import fields
from skycore.flow.query import FlowQuery, FlowSpan

Record: TypeAlias = dict[str, Any]
"""One flow, decoded."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def decode(json: bytes) -> Record:
    """One record.  Raises msgspec.DecodeError."""
    return _decode(json)


def rank(found: Any) -> tuple[int, Any]:
    """What to sort by: numbers, then strings, then other values by their JSON; what is missing comes last."""
    if found is MISSING:
        return (9, 0)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return (2, _encode(found))
    return (1, found) if isinstance(found, str) else (0, found)


@final
@total_ordering
class _Reversed:
    __slots__ = ("rank",)

    def __init__(self, rank: tuple[int, Any]) -> None:
        self.rank = rank

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.rank == other.rank

    def __lt__(self, other: _Reversed) -> bool:
        return other.rank < self.rank

    __hash__ = None  # type: ignore[assignment]


def order_of(query: FlowQuery) -> Callable[[Record], Any]:
    """What records are compared by, so that the smallest comes first; only for a query with an order."""
    key = query.sort_by
    assert key is not None

    def order(record: Record) -> Any:
        found = rank(fields.value(record, key))
        missing = found[0] == 9
        return missing, _Reversed(found) if query.descending else found, record.get("UUID", "")

    return order


def test_of(filter: Filter) -> Callable[[Record], bool]:
    """A function that tells whether a filter over canonical keys holds for a record."""
    holds = compile_filter(filter)
    return lambda record: holds(partial(fields.value, record))


def same_as(record: Record, key: str) -> Hashable | None:
    """What makes two records the same for ``dedup_by``; None: it is the same as no other."""
    found = rank(fields.value(record, key))
    return None if found[0] == 9 else found


def alive(record: Record, span: FlowSpan, expire_ms: int) -> bool:
    """Whether a flow was alive in a span."""
    start: int = record["Start"]
    last: int = record["Last"]
    return start <= span.until_ms and last >= span.since_ms - expire_ms


def evaluate(
    records: Iterable[Record], query: FlowQuery, span: FlowSpan | None = None, expire_ms: int = 0
) -> list[Record]:
    """The answer, step by step as FlowQuery says it; over records that are all at hand."""
    holds = test_of(query.filter)
    found = [
        record
        for record in records
        if (query.nodes is None or record.get("NodeTID") in query.nodes)
        and (span is None or alive(record, span, expire_ms))
        and holds(record)
    ]
    if query.sort_by is not None:
        found.sort(key=order_of(query))
    if query.dedup_by is not None:
        found = list(_first_of_each(found, query.dedup_by))
    return found[query.offset : None if query.limit is None else query.offset + query.limit]


def _first_of_each(records: Iterable[Record], key: str) -> Iterator[Record]:
    seen: set[Hashable] = set()
    for record in records:
        identity = same_as(record, key)
        if identity is None or identity not in seen:
            seen.add(identity)
            yield record


def keys_of(query: FlowQuery) -> Iterator[str]:
    """All keys that a query looks at."""
    yield from _keys(query.filter)
    yield from (key for key in (query.sort_by, query.dedup_by) if key is not None)


def _keys(filter: Filter) -> Iterator[str]:
    match filter:
        case All(filters) | AnyOf(filters):
            for one in filters:
                yield from _keys(one)
        case Not(inner):
            yield from _keys(inner)
        case leaf:
            yield leaf.key


def weaker(filter: Filter, keep: Callable[[str], bool]) -> Filter:
    """A filter over those keys alone that ``keep`` accepts; it holds wherever the given one does, or more often."""
    match filter:
        case All(filters):
            parts = [part for one in filters if (part := weaker(one, keep)) != EVERYTHING]
            return parts[0] if len(parts) == 1 else All(tuple(parts))
        case AnyOf(filters):
            some = tuple(weaker(one, keep) for one in filters)
            return EVERYTHING if EVERYTHING in some else AnyOf(some)
        case Not():
            return filter if all(map(keep, _keys(filter))) else EVERYTHING
        case leaf:
            return leaf if keep(leaf.key) else EVERYTHING


def window(records: Iterable[Any], query: FlowQuery) -> Iterator[Any]:
    """The query's window of what comes in its order."""
    end = None if query.limit is None else query.offset + query.limit
    for place, record in enumerate(records):
        if end is not None and place >= end:
            return
        if place >= query.offset:
            yield record
