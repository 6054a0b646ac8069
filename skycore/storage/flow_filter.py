"""Filters over flows as SQL: as much as columns can answer, and what is left for the records.

The condition holds wherever the filter does.  What SQL cannot say as the filter means it (a numeric string that counts
as its number), or no column knows, stays in ``Pushed.rest`` and is asked of the record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import attrs
import msgspec

from skycore.filter import All, Compare, Equals, Filter, InNetwork, Leaf, Matches, Not, Present, value_test
from skycore.filter import Any as AnyOf
from skycore.flow.fields import known_to_tables
from skycore.storage.flow_rows import BY_KEY, Column

_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_NEVER: Final = "0"
_ALWAYS: Final = "1"
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1
_PARTS: Final = 200
"""Parts of one condition; SQLite takes expressions up to a depth of 1,000."""
PASSES: Final = "passes"
"""The SQL function that asks Python: passes(number of the test, value)."""


@final
@attrs.frozen
class Pushed:
    """``where``: an SQL condition with its ``values``; ``tests``: what ``passes`` asks, by number.

    ``rest`` is what must still hold for the record, None when the condition says all.  ``selective``: one of its
    parts leaves few flows.
    """

    where: str
    values: tuple[Any, ...]
    tests: tuple[Callable[[Any], bool], ...]
    rest: Filter | None
    selective: bool

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Let a connection know the tests."""
        tests = self.tests
        connection.create_function(
            PASSES, 2, lambda number, value: value is not None and tests[number](value), deterministic=True
        )


@final
@attrs.frozen
class _Part:
    """A condition, and what of its filter must still be asked of the record."""

    where: str
    values: tuple[Any, ...] = ()
    rest: Filter | None = None
    selective: bool = False


@final
class _Translation:
    def __init__(self, late_since_ms: int | None, by_time: bool) -> None:
        self.tests: list[Callable[[Any], bool]] = []
        self._late_since_ms = late_since_ms
        self._by_time = by_time

    def part(self, filter: Filter) -> _Part:
        match filter:
            case All(filters):
                parts = [self.part(one) for one in filters[:_PARTS]]
                rests = (*(one.rest for one in parts if one.rest is not None), *filters[_PARTS:])
                return attrs.evolve(
                    _joined(" AND ", _ALWAYS, parts),
                    rest=All(rests) if rests else None,
                    selective=any(one.selective for one in parts),
                )
            case AnyOf(filters) if len(filters) > _PARTS:
                return self._one_of(filters) or _unknown(filter)
            case AnyOf(filters):
                parts = [self.part(one) for one in filters]
                return attrs.evolve(
                    _joined(" OR ", _NEVER, parts),
                    rest=None if all(one.rest is None for one in parts) else filter,
                    selective=all(one.selective for one in parts),
                )
            case Not(inner):
                part = self.part(inner)
                # Where the condition is only wider, its opposite says nothing.
                return _Part(f"({part.where}) IS NOT TRUE", part.values) if part.rest is None else _unknown(filter)
            case leaf:
                column = BY_KEY.get(leaf.key)
                if column is None:
                    return _unknown(leaf)
                part = self._leaf(leaf, column)
                return part if known_to_tables(leaf.key) else self._unless_late(leaf, part)

    def _one_of(self, filters: Sequence[Filter]) -> _Part | None:
        """Many texts that the same column may have."""
        keys = {one.key if isinstance(one, Equals) and isinstance(one.value, str) else None for one in filters}
        column = BY_KEY.get(key) if len(keys) == 1 and (key := keys.pop()) is not None else None
        if column is None or column.type != "TEXT" or not known_to_tables(column.key):
            return None
        texts = [one.value for one in filters if isinstance(one, Equals) and _is_text(str(one.value))]
        where = f"{column.name} IN (SELECT value FROM json_each(?))"
        return _Part(where, (msgspec.json.encode(texts).decode(),), selective=column.index == "few")

    def _unless_late(self, leaf: Leaf, part: _Part) -> _Part:
        """The graph may know by now what it did not know when the flow was stored."""
        if self._late_since_ms is None:
            return part
        late = "bare AND last >= ?"
        where = f"({part.where}) OR ({late})"
        if part.selective:
            # Said so that both indexes are used whatever else is asked.
            where = f"id IN (SELECT id FROM flow WHERE {part.where} UNION ALL SELECT id FROM flow WHERE {late})"
        return attrs.evolve(part, where=where, values=(*part.values, self._late_since_ms), rest=leaf)

    def _leaf(self, leaf: Leaf, column: Column) -> _Part:
        name, text = column.name, column.type == "TEXT"
        match leaf:
            case Present():
                return _Part(f"{name} IS NOT NULL")
            case Equals(_, value):
                if isinstance(value, bool) or (isinstance(value, str) and not (text and _is_text(value))):
                    return _Part(_NEVER)
                if text and not isinstance(value, str):
                    return _unknown(leaf)
                if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
                    return _Part(_NEVER)
                hidden = "+" if self._by_time and column.index == "many" else ""
                return _Part(f"{hidden}{name} = ?", (value,), selective=column.index == "few")
            case Compare(_, sign, bound):
                if text:
                    return _unknown(leaf)
                if isinstance(bound, int) and not _SMALLEST <= bound <= _LARGEST:
                    return _Part(f"{name} IS NOT NULL" if (sign in ("lt", "lte")) == (bound > 0) else _NEVER)
                return _Part(f"{name} {_SIGNS[sign]} ?", (bound,))
            case Matches() | InNetwork():
                if not text:
                    return _Part(_NEVER)
                self.tests.append(value_test(leaf))
                return _Part(f"{PASSES}({len(self.tests) - 1}, {name})")


def pushed(filter: Filter, *, late_since_ms: int | None, by_time: bool) -> Pushed:
    """Translate a filter over canonical keys.

    ``late_since_ms``: flows with unknown ends that were seen since then are looked at again by those who ask for what
    stands at an end; None: no flow is.  ``by_time``: the flows are read by time, unless few are left by the filter.
    """
    translation = _Translation(late_since_ms, by_time)
    part = translation.part(filter)
    if part.selective and not by_time:
        # The parts that many flows pass are no way in, then.
        translation = _Translation(late_since_ms, by_time=True)
        part = translation.part(filter)
    return Pushed(part.where, part.values, tuple(translation.tests), part.rest, part.selective)


def _unknown(filter: Filter) -> _Part:
    return _Part(_ALWAYS, rest=filter)


def _joined(word: str, empty: str, parts: Sequence[_Part]) -> _Part:
    where = word.join(f"({one.where})" for one in parts)
    return _Part(where or empty, tuple(value for one in parts for value in one.values))


def _is_text(value: str) -> bool:
    """Whether it can be written in UTF-8; what cannot, no flow has."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
