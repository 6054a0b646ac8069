"""Columns and their values: what a database says of its types, and how values and their differences are read.

Sources: RFC 7047, 3.2 (schemas) and 5.1 (values); ovsdb-server(7), 4.1.14 (``<row-update2>``: of a column that holds
at most one value the new value is sent, of a set or map the difference).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import attrs

from skydive_probe_ovsdb.errors import BadAnswer

Atom = str | int | float | bool
Value = Atom | None | frozenset[Any] | dict[Any, Any]
"""None is an empty column that holds at most one value; references are the text of a UUID."""
Row = dict[str, Value]


class Shape(Enum):
    """How many values a column holds."""

    ONE = "one"
    SET = "set"
    MAP = "map"


@attrs.frozen
class Column:
    """``refers`` says whether values are (or, in maps, whether they hold) references to rows."""

    shape: Shape
    refers: bool = False

    def read(self, raw: Any) -> Value:
        """A value as the wire has it; raises BadAnswer."""
        if self.shape is Shape.MAP:
            return _pairs(raw)
        if self.shape is Shape.SET:
            return frozenset(_members(raw))
        members = _members(raw)
        if len(members) > 1:
            raise BadAnswer(f"{len(members)} values in a column that holds one")
        return members[0] if members else None

    def apply(self, before: Value, raw: Any) -> Value:
        """The value after the difference ``raw`` (of update2); raises BadAnswer."""
        change = self.read(raw)
        if isinstance(change, frozenset):
            return change ^ before if isinstance(before, frozenset) else change
        if isinstance(change, dict):
            after = dict(before) if isinstance(before, dict) else {}
            for key, value in change.items():
                if key in after and after[key] == value:
                    del after[key]
                else:
                    after[key] = value
            return after
        return change

    @property
    def default(self) -> Value:
        """What a row has that was made without saying this column, as far as the difference rules need it."""
        if self.shape is Shape.ONE:
            return None
        return frozenset() if self.shape is Shape.SET else {}

    def references(self, value: Value) -> frozenset[str]:
        """The rows that a value names."""
        if not self.refers or value is None:
            return frozenset()
        if isinstance(value, dict):
            return frozenset(str(one) for one in (*value.keys(), *value.values()))
        return value if isinstance(value, frozenset) else frozenset({str(value)})


Tables = Mapping[str, Mapping[str, Column]]
"""table → column → its type"""


def read_schema(answer: Any) -> dict[str, dict[str, Column]]:
    """The result of ``get_schema``; raises BadAnswer."""
    try:
        return {
            str(table): {str(name): _column(column["type"]) for name, column in schema["columns"].items()}
            for table, schema in answer["tables"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"a schema that cannot be read: {error!r}") from error


def _column(type: Any) -> Column:
    if isinstance(type, str):
        return Column(Shape.ONE, type == "uuid")
    refers = any(_base(type.get(part)) == "uuid" for part in ("key", "value"))
    if "value" in type:
        return Column(Shape.MAP, refers)
    return Column(Shape.ONE if type.get("max", 1) == 1 else Shape.SET, refers)


def _base(type: Any) -> Any:
    return type.get("type") if isinstance(type, dict) else type


_TAGS: Final = frozenset({"uuid", "named-uuid"})


def _atom(raw: Any) -> Atom:
    if isinstance(raw, str | int | float):
        return raw
    if isinstance(raw, list) and len(raw) == 2 and raw[0] in _TAGS and isinstance(raw[1], str):
        return raw[1]
    raise BadAnswer(f"a value that is none: {str(raw)[:80]}")


def _members(raw: Any) -> list[Atom]:
    if isinstance(raw, list) and len(raw) == 2 and raw[0] == "set":
        if not isinstance(raw[1], list):
            raise BadAnswer(f"a set that is none: {str(raw)[:80]}")
        return [_atom(member) for member in raw[1]]
    return [_atom(raw)]


def _pairs(raw: Any) -> dict[Atom, Atom]:
    try:
        tag, pairs = raw
        if tag != "map":
            raise ValueError(tag)
        return {_atom(key): _atom(value) for key, value in pairs}
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"a map that is none: {str(raw)[:80]}") from error
