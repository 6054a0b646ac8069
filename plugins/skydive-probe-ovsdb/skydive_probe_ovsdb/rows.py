"""A copy of the watched tables, kept by the server's updates, with who refers to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skydive_probe_ovsdb.client import Update
from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.schema import Column, Row, Value

Ref = tuple[str, str]
"""A row: its table and its UUID."""


class Rows:
    """The rows of each table.  ``before`` holds what the rows changed by the last update were before it."""

    def __init__(self, columns: Mapping[str, Mapping[str, Column]]) -> None:
        self.tables: dict[str, dict[str, Row]] = {table: {} for table in columns}
        self._columns = columns
        self._referring: dict[str, set[Ref]] = {}

    def get(self, table: str, uuid: str) -> Row | None:
        return self.tables.get(table, {}).get(uuid)

    def referring(self, uuid: str, table: str) -> list[str]:
        """The rows of a table that refer to this one, sorted."""
        return sorted(other for where, other in self._referring.get(uuid, ()) if where == table)

    def everyone_referring(self, uuid: str) -> Iterable[Ref]:
        return tuple(self._referring.get(uuid, ()))

    def apply(self, update: Update) -> dict[Ref, Row | None]:
        """Take in an update; returns the rows that changed, each with what it was before (None: it is new).

        Raises BadAnswer for what cannot follow on what is known.
        """
        changed: dict[Ref, Row | None] = {}
        for table, rows in update.rows.items():
            columns = self._columns.get(table)
            if columns is None:
                raise BadAnswer(f"an update of the table {table[:60]!r}, which was not asked for")
            for uuid, change in rows.items():
                before = self.tables[table].get(uuid)
                after = (
                    _whole_row(columns, before, change)
                    if update.method == "update"
                    else _changed_row(columns, before, change)
                )
                if after != before:
                    changed[table, uuid] = before
                    self._set(table, uuid, before, after)
        return changed

    def _set(self, table: str, uuid: str, before: Row | None, after: Row | None) -> None:
        columns = self._columns[table]
        old, new = _references(columns, before), _references(columns, after)
        for target in old - new:
            self._referring[target].discard((table, uuid))
            if not self._referring[target]:
                del self._referring[target]
        for target in new - old:
            self._referring.setdefault(target, set()).add((table, uuid))
        if after is None:
            self.tables[table].pop(uuid, None)
        else:
            self.tables[table][uuid] = after


def _references(columns: Mapping[str, Column], row: Row | None) -> set[str]:
    if row is None:
        return set()
    return {target for name, column in columns.items() if column.refers for target in column.references(row.get(name))}


def _read(columns: Mapping[str, Column], raw: Any) -> dict[str, Value]:
    if not isinstance(raw, dict):
        raise BadAnswer(f"a row that is none: {str(raw)[:80]}")
    return {name: columns[name].read(value) for name, value in raw.items() if name in columns}


def _whole_row(columns: Mapping[str, Column], before: Row | None, change: Mapping[str, Any]) -> Row | None:
    """``<row-update>``, RFC 7047, 4.1.6: ``new`` is the whole row, absent when it was deleted."""
    new = change.get("new")
    if new is None:
        return None
    return {**_defaults(columns), **(before or {}), **_read(columns, new)}


def _changed_row(columns: Mapping[str, Column], before: Row | None, change: Mapping[str, Any]) -> Row | None:
    """``<row-update2>``: values equal to a column's default are left out of ``initial`` and ``insert``."""
    if "delete" in change:
        return None
    for word in ("initial", "insert"):
        if word in change:
            return {**_defaults(columns), **_read(columns, change[word])}
    if "modify" in change:
        if before is None:
            raise BadAnswer("a change of a row that was never told")
        raw = change["modify"]
        if not isinstance(raw, dict):
            raise BadAnswer(f"a row that is none: {str(raw)[:80]}")
        return {**before, **{n: columns[n].apply(before.get(n), v) for n, v in raw.items() if n in columns}}
    raise BadAnswer(f"an update of a row that says neither insert, modify nor delete: {str(change)[:80]}")


def _defaults(columns: Mapping[str, Column]) -> Row:
    return {name: column.default for name, column in columns.items()}
